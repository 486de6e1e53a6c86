"""The daemon's own log: structured, on standard error, JSON or readable.

For operators, and never the record: that is the ledger. Values of arguments, secrets and output are
not logged anywhere; what is logged are ids, names, codes and counts.
"""

import logging
import sys

import structlog

from daemon.config import Log


def configure_log(log: Log) -> None:
    """Sets up structlog for this process."""
    text = log.format == "text" or (log.format == "auto" and sys.stderr.isatty())
    level: int = getattr(logging, log.level.upper())
    renderer: structlog.types.Processor = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
        if text
        else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.StackInfoRenderer(),
            # Tracebacks without local variables: those may hold a secret.
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )

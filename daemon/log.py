"""The daemon's own log: structured, on standard error, JSON or readable.

For operators, and never the record: that is the ledger. Values of arguments, secrets and output are
not logged anywhere; what is logged are ids, names, codes and counts.
"""

import logging
import sys

import structlog

from daemon.config import Log

# Loggers keep what they were made with; this is looked at with every line, so it can be changed.
_least = logging.INFO


def set_level(level: str) -> None:
    """The least severe line that is written from now on."""
    global _least
    _least = getattr(logging, level.upper())


def _severe_enough(
    _logger: object, method: str, line: structlog.types.EventDict
) -> structlog.types.EventDict:
    severity = logging.ERROR if method == "exception" else getattr(logging, method.upper())
    if severity < _least:
        raise structlog.DropEvent
    return line


def configure_log(log: Log) -> None:
    """Sets up structlog for this process."""
    text = log.format == "text" or (log.format == "auto" and sys.stderr.isatty())
    set_level(log.level)
    renderer: structlog.types.Processor = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
        if text
        else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[
            _severe_enough,
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.StackInfoRenderer(),
            # Tracebacks without local variables: those may hold a secret.
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )

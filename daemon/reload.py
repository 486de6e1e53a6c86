"""What SIGHUP does: `config.toml` is read again, and what can change in a running daemon changes.

That is how much is logged, and how long a stop may take. A file that is not valid, or not whole,
changes nothing; what only a restart can change is named. Either way the daemon serves on. Raises
nothing.
"""

from dataclasses import dataclass
from pathlib import Path

import anyio.to_thread
import structlog

from daemon.config import Config, load_config
from daemon.errors import ConfigError
from daemon.log import set_level

_log = structlog.get_logger("stockade.service")

# Sections and keys that take effect at once; everything else does at the next start.
LIVE = ("log.level", "server.drain_seconds")


@dataclass(frozen=True, slots=True)
class Reloaded:
    """What came of it."""

    config: Config
    status: str


async def reload(path: Path, now: Config, started: Config) -> Reloaded:
    """Reads the file; `started` is what the rest of the daemon was made with."""
    try:
        # Abandoned where the daemon ends: a disk that hangs must not keep it.
        found = await anyio.to_thread.run_sync(load_config, path, abandon_on_cancel=True)
    except ConfigError as error:
        _log.error("config.refused", reason=error.message, fix=error.fix)
        return Reloaded(now, f"serves; config.toml was refused: {error.message}")
    set_level(found.log.level)
    waiting = sorted(differing(started, found) - set(LIVE))
    _log.info("config.reloaded", changed=sorted(differing(now, found)), at_restart=waiting)
    told = f"serves; changed, but not before a restart: {', '.join(waiting)}" if waiting else ""
    return Reloaded(found, told or "serves; config.toml was read again")


def differing(one: Config, other: Config) -> set[str]:
    """The keys, as `section.key`, whose values differ."""
    before, after = one.model_dump(), other.model_dump()
    return {
        f"{section}.{key}"
        for section in before
        for key in {*before[section], *after[section]}
        if before[section].get(key) != after[section].get(key)
    }

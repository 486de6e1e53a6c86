"""An environment file as a source of secrets. Its version is the second of its last change.

Read anew for each run, in a thread, and believed only if no other user could have written it.
Leaves `Unavailable` (SOURCE_UNUSABLE, SOURCE_MALFORMED).
"""

from pathlib import Path
from typing import Final

import anyio.to_thread

from daemon.config.elsewhere import EnvFile
from daemon.errors import Unavailable
from vault.burn import burn
from vault.envfile import parse_environment
from vault.errors import RootError, SourceError
from vault.privatefile import read_private
from vault.secret import Secret

MAX_BYTES: Final = 1024 * 1024


class EnvironmentFile:
    """See the module."""

    def __init__(self, section: EnvFile) -> None:
        self._path = Path(section.path)
        self._variables = section.names

    kind = "environment file"

    @property
    def place(self) -> str:
        """Its path."""
        return str(self._path)

    def names(self) -> frozenset[str]:
        """The names in the configuration."""
        return frozenset(self._variables)

    async def reach(self) -> None:
        """Reads it."""
        content = await anyio.to_thread.run_sync(self._content)
        burn(content)

    async def admits(self) -> bool:
        """Nobody has to be let in."""
        return True

    async def fetch(self, name: str) -> tuple[int, Secret] | None:
        """The variable of that name."""
        return await anyio.to_thread.run_sync(self._read, self._variables[name])

    def _read(self, variable: str) -> tuple[int, Secret] | None:
        version = self._changed()
        content = self._content()
        try:
            value = parse_environment(content, variable)
        except SourceError as error:
            message = f"{self._path}: {error.message}"
            raise Unavailable(message, code=str(error.code), fix=error.fix) from None
        finally:
            burn(content)
        return None if value is None else (version, value)

    def _changed(self) -> int:
        try:
            return int(self._path.stat().st_mtime)
        except OSError as error:
            raise _unusable(f"{self._path}: {error.strerror}") from None

    def _content(self) -> bytes:
        try:
            content = read_private(self._path, MAX_BYTES)
        except RootError as error:
            raise _unusable(error.message) from None
        except OSError as error:
            raise _unusable(f"{self._path}: {error.strerror}") from None
        if len(content) > MAX_BYTES:
            burn(content)
            raise _unusable(f"{self._path} has more than {MAX_BYTES} bytes")
        return content


def _unusable(message: str) -> Unavailable:
    return Unavailable(
        message,
        code="SOURCE_UNUSABLE",
        fix="a regular file of the daemon's own user, with mode 0600",
    )

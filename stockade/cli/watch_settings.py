"""`client/watch.toml`: how this device wants to be told of a new approval. Read strictly.

    command = ["/home/me/bin/asked"]   # started for each, never through a shell
    desktop = true                     # a desktop notification, by notify-send
    bell = true                        # the terminal's bell

The file names what is started, so it must be this user's and nobody else's to change. Leaves
`UsageError`.
"""

import shutil
import stat
import tomllib
from dataclasses import dataclass, replace
from os import geteuid
from pathlib import Path
from typing import Any

from stockade.cli.terminal import UsageError

FILE = "watch.toml"
_FIX = "docs/approvals.md#being-told"


@dataclass(frozen=True, slots=True)
class WatchSettings:
    """What is to be done for a new approval."""

    command: tuple[str, ...] = ()
    desktop: bool = False
    bell: bool = False

    def with_command(self, program: str) -> "WatchSettings":
        """The same with this program instead."""
        return replace(self, command=(_program(program),))


def load_settings(folder: Path) -> WatchSettings:
    """What the file in the client's folder says; nothing at all if there is none."""
    path = folder / FILE
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(path.stat().st_mode)
            if path.stat().st_uid not in (geteuid(), 0) or mode & 0o022:
                raise UsageError(f"others can change {path}", fix=f"chmod go-w {path}")
            fields = tomllib.load(file)
    except FileNotFoundError:
        return WatchSettings()
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: {error}", fix=_FIX) from None
    return _settings(path, fields)


def _settings(path: Path, fields: dict[str, Any]) -> WatchSettings:
    flags = {name: fields.pop(name, False) for name in ("desktop", "bell")}
    command = fields.pop("command", [])
    if fields:
        raise UsageError(f"{path}: unknown: {', '.join(sorted(fields))}", fix=_FIX)
    if not all(isinstance(flag, bool) for flag in flags.values()):
        raise UsageError(f"{path}: desktop and bell are true or false", fix=_FIX)
    if not isinstance(command, list) or not all(isinstance(one, str) for one in command):
        raise UsageError(f"{path}: command is a list of texts", fix=_FIX)
    if command:
        command = [_program(command[0]), *command[1:]]
    return WatchSettings(tuple(command), **flags)


def _program(name: str) -> str:
    """Where it is, now: what PATH finds later may be another."""
    found = shutil.which(name)
    if found is None:
        raise UsageError(f"there is no program {name!r:.200}", fix="name one that can be started")
    return str(Path(found).absolute())

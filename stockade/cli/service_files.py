"""The files of the service: which there are, where each goes, and what is filled in.

The unit files are in `stockade/units`, as they are read by people; only the program's place and the
operator's choices are put in. Pure but for `write` and `remove`, which touch only these files, and
a drop-in folder only when it is empty. Raises `UsageError` and `OSError`.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from stockade.cli.terminal import UsageError

SERVICE, SOCKET = "stockaded.service", "stockaded.socket"
ACCOUNT = "stockade"
CREDENTIAL = "stockade-vault-root"
CREDENTIAL_FILE = Path("/etc/credstore.encrypted") / CREDENTIAL
SYSUSERS = Path("/etc/sysusers.d/stockade.conf")
TMPFILES = Path("/etc/tmpfiles.d/stockade.conf")
_SYSTEM = Path("/etc/systemd/system")
_PROGRAM = "ExecStart=/usr/bin/stockaded serve"
_UNSAFE = frozenset(" \t\n\"'%\\$:;")


@dataclass(frozen=True, slots=True)
class Choices:
    """What the operator asked for."""

    program: Path
    socket: bool = False
    containers: bool = False
    workspaces: Sequence[Path] = ()
    home: str = ""  # STOCKADE_HOME of a user's service


def unit_folder(*, user: bool) -> Path:
    """Where unit files of an administrator, or of this user, are."""
    if not user:
        return _SYSTEM
    config = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(config) / "systemd" / "user"


def files(choices: Choices, *, user: bool) -> Mapping[Path, str]:
    """Every file, with its text."""
    folder = unit_folder(user=user)
    source = "user/" if user else ""
    service = _read(source + SERVICE).replace(
        _PROGRAM, f"ExecStart={_plain(choices.program)} serve"
    )
    if choices.home:
        home = _plain(Path(choices.home))
        service = service.replace("UMask=", f"Environment=STOCKADE_HOME={home}\nUMask=", 1)
    found = {folder / SERVICE: service}
    if choices.socket:
        found[folder / SOCKET] = _read(source + SOCKET)
    if user:
        return found
    found[SYSUSERS], found[TMPFILES] = _read("sysusers.conf"), _read("tmpfiles.conf")
    if choices.containers:
        found[_drop_in("50-containers.conf")] = _read("containers.conf")
    if choices.workspaces:
        found[_drop_in("50-workspaces.conf")] = _workspaces(choices.workspaces)
    return found


def installed(*, user: bool) -> Sequence[Path]:
    """Those that are there now, whatever was chosen when they were written."""
    folder = unit_folder(user=user)
    ours = [folder / SERVICE, folder / SOCKET]
    if not user:
        ours += [SYSUSERS, TMPFILES]
        ours += [_drop_in("50-containers.conf"), _drop_in("50-workspaces.conf")]
    return [path for path in ours if path.exists()]


def write(found: Mapping[Path, str]) -> None:
    """Each whole, for all to read."""
    for path, text in found.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(path.name + ".new")
        temporary.write_text(text)
        temporary.chmod(0o644)
        temporary.replace(path)


def remove(paths: Sequence[Path]) -> None:
    """These, and the folder of drop-ins if nothing else is in it."""
    for path in paths:
        path.unlink(missing_ok=True)
    folder = _drop_in("")
    if any(path.parent == folder for path in paths) and not any(folder.iterdir()):
        folder.rmdir()


def _drop_in(name: str) -> Path:
    return _SYSTEM / f"{SERVICE}.d" / name


def _workspaces(paths: Sequence[Path]) -> str:
    lines = [f"BindPaths={_plain(path)}" for path in paths]
    return "\n".join(
        [
            "# Written by `stockade service install --workspace`: beside its own directories the",
            "# daemon may write here, if the directory's permissions let it.",
            "[Service]",
            *lines,
            "",
        ]
    )


def _plain(path: Path) -> str:
    """A path that means itself in a unit file."""
    text = str(path)
    if not text.startswith("/") or _UNSAFE & set(text):
        raise UsageError(
            f"{text!r} cannot stand in a unit file",
            fix="an absolute path without blanks, quotes, and any of %$:;\\",
        )
    return text


def _read(name: str) -> str:
    return resources.files("stockade").joinpath("units", *name.split("/")).read_text("utf-8")

"""The files of a policy folder, as they are: what is no policy file is a problem, by name.

Raises `UsageError` for a folder that cannot be meant.
"""

import errno
import os
import stat
from dataclasses import asdict, dataclass
from pathlib import Path

from stockade.cli.terminal import UsageError
from stockade.cli.visible import as_text
from stockade.home import Home

MAX_BYTES = 1024 * 1024  # as the daemon takes them
_FIX = "policy files are regular files of UTF-8 text, of at most 1 MiB"


@dataclass(frozen=True)
class Finding:
    """Something wrong with a policy set: as in the protocol."""

    file: str
    line: int
    code: str
    message: str
    fix: str
    severity: str = "error"

    def to_json(self) -> dict[str, object]:
        """For programs."""
        return asdict(self)


def meant(folder: Path | None, pattern: str = "*.cedar") -> Path:
    """The folder that is meant; it has to hold such files."""
    where = folder or Home.locate().policies
    if not where.is_dir():
        what = "is not a folder" if where.exists() else "does not exist"
        raise UsageError(f"{where} {what}", fix="name the folder of the policies")
    if not any(where.glob(pattern)):
        others = sorted(path.name for path in where.iterdir())
        instead = f", only {others[0]}" + " and others" * (len(others) > 1) if others else ""
        # An empty set would deny everything; nobody applies that by a mistyped name.
        raise UsageError(
            f"{where} holds no {pattern} files{instead}",
            fix="name the folder of the policies; an empty set is one file with a comment",
        )
    return where


def read(where: Path, pattern: str = "*.cedar") -> tuple[dict[str, str], list[Finding]]:
    """The text of each file, and what cannot be read."""
    files: dict[str, str] = {}
    findings: list[Finding] = []
    for path in sorted(where.glob(pattern)):
        shown = as_text(path.name)
        if shown != path.name:
            findings.append(Finding(shown, 0, "POLICY_UNREADABLE", "its name is not UTF-8", _FIX))
            continue
        try:
            files[path.name] = _read(path)
        except UnicodeDecodeError as error:
            line = error.object[: error.start].count(b"\n") + 1
            message = f"not UTF-8: byte 0x{error.object[error.start]:02x}"
            findings.append(Finding(path.name, line, "POLICY_UNREADABLE", message, _FIX))
        except (OSError, ValueError) as error:
            message = getattr(error, "strerror", None) or str(error)
            if getattr(error, "errno", None) == errno.ELOOP:
                message = "a symbolic link"
            findings.append(Finding(path.name, 0, "POLICY_UNREADABLE", message, _FIX))
    return files, findings


def _read(path: Path) -> str:
    # O_NONBLOCK: opening a pipe must not wait for a writer.
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError("not a regular file")
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise ValueError(f"larger than {MAX_BYTES} bytes")
    return data.decode("utf-8")

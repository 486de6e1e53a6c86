"""systemd, asked and told: units, users, directories, credentials.

Starts systemd's own programs from the system's directories and nothing else (and `stockaded
new-root`, whose key goes from one to the other without being seen here). Raises `StockadeError`.
"""

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from stockade.errors import StockadeError

SECONDS = 240.0
_PLACES = ("/usr/bin", "/bin", "/usr/sbin", "/sbin")


@dataclass(frozen=True, slots=True)
class Systemd:
    """The manager of the system, or of this user."""

    user: bool

    def systemctl(self, *arguments: str, check: bool = True) -> str:
        """What it prints."""
        scope = ("--user",) if self.user else ()
        return run("systemctl", *scope, "--no-pager", *arguments, check=check)

    def properties(self, unit: str, names: Sequence[str]) -> Mapping[str, str]:
        """Of a unit, by name; empty where it has none."""
        shown = self.systemctl("show", unit, f"--property={','.join(names)}", check=False)
        found = dict(line.partition("=")[::2] for line in shown.splitlines())
        return {name: found.get(name, "") for name in names}

    def require(self) -> None:
        """Refuses where there is none to be told anything."""
        if not Path("/run/systemd/system").is_dir():
            raise StockadeError(
                "this machine was not started by systemd",
                reason="NO_SYSTEMD",
                fix="`stockade up --detach` runs the daemon without it",
            )
        if self.user and not os.environ.get("XDG_RUNTIME_DIR"):
            raise StockadeError(
                "there is no session of this user's, and so no service manager",
                reason="NO_SYSTEMD",
                fix="log in as this user, or `loginctl enable-linger` it",
            )
        if not self.user and os.geteuid() != 0:
            raise StockadeError(
                "a service of the system is root's to install and to remove",
                reason="NOT_ROOT",
                fix="run it as root, or with --user",
            )


def run(program: str, *arguments: str, check: bool = True) -> str:
    """Runs one of systemd's programs; what it prints."""
    try:
        done = subprocess.run(  # noqa: S603 - the system's own program, no shell
            [_found(program), *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise _failed(program, arguments, f"no answer in {SECONDS:.0f} s") from None
    if check and done.returncode != 0:
        raise _failed(program, arguments, done.stderr.strip().replace("\n", "; "))
    return done.stdout


def make_credential(stockaded: Path, name: str, path: Path) -> None:
    """A new root key, encrypted for this machine's service manager alone."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with subprocess.Popen(  # noqa: S603 - our own program, no shell
        [stockaded, "new-root"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    ) as made:
        sealed = subprocess.run(  # noqa: S603 - the system's own program, no shell
            [_found("systemd-creds"), "encrypt", f"--name={name}", "-", path],
            stdin=made.stdout,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
    if made.returncode != 0 or sealed.returncode != 0:
        raise _failed("systemd-creds", ("encrypt",), sealed.stderr.strip().replace("\n", "; "))


def runs_as(program: Path, uid: int, gid: int) -> bool:
    """Whether that user can run the program at all."""
    try:
        done = subprocess.run(  # noqa: S603 - our own program, no shell
            [program, "--help"],
            user=uid,
            group=gid,
            extra_groups=[],
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def _found(program: str) -> str:
    for place in _PLACES:
        if os.access(path := f"{place}/{program}", os.X_OK):
            return path
    raise StockadeError(
        f"{program} is not installed", reason="NO_SYSTEMD", fix="install systemd 252 or newer"
    )


def _failed(program: str, arguments: Sequence[str], why: str) -> StockadeError:
    return StockadeError(
        f"{' '.join((program, *arguments))}: {why or 'failed'}",
        reason="SERVICE_FAILED",
        fix="`journalctl -u stockaded -n 20` (with --user for a user's) says more",
    )

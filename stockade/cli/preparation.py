"""A home is made ready: the daemon creates what is missing and signs this device's key.

The key is made here and stays here; `stockaded init` signs it because whoever runs it may. With an
`Account` the daemon belongs to another user than the one who types, who then has to be root: each
writes its own files, as itself. Starts `stockaded` and nothing else. Raises `StockadeError`.
"""

import json
import os
import re
import socket
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from stockade.cli import installed
from stockade.cli.terminal import UsageError, note
from stockade.errors import CredentialsError, StockadeError
from stockade.files import write_whole
from stockade.home import Home

INIT_SECONDS = 120.0

_ERROR = re.compile(r"stockaded: ([A-Z][A-Z0-9_]*): (.*)")


@dataclass(frozen=True, slots=True)
class Account:
    """The user that the daemon runs as, and what tells it where its home is."""

    uid: int
    gid: int
    environment: Mapping[str, str]


def prepare(
    home: Home, program: Path, vault_root: str | None, account: Account | None = None
) -> None:
    """Has the daemon create what is missing, and this device's certificate issued if need be."""
    from stockade.credentials import (
        Credentials,
        certificate_request,
        checked,
        ensure_key,
        save_credentials,
    )

    if vault_root is None and _is_prepared(home):
        return
    key = ensure_key(home.client)
    # Each of the two sees only its own: what they exchange lies where the daemon may write.
    with TemporaryDirectory(dir=home.data if account else home.client, prefix=".init-") as folder:
        request, certificate, authority = (
            Path(folder) / name for name in ("request.pem", "certificate.pem", "authority.pem")
        )
        write_whole(request, certificate_request(key))
        if account is not None:
            for path in (Path(folder), request):
                os.chown(path, account.uid, account.gid)
        told = _init(
            home,
            program,
            ["--certificate-request", str(request)]
            + ["--certificate-out", str(certificate), "--authority-out", str(authority)]
            + ["--device-name", _device_name()]
            + (["--vault-root", vault_root] if vault_root else []),
            account,
        )
        issued = Credentials(
            device_id=str(told.get("device_id", "")),
            name=_device_name(),
            address=None,
            key=key,
            certificate=certificate.read_bytes(),
            authority=authority.read_bytes(),
        )
    save_credentials(home.client, checked(issued))
    if told.get("vault_root") is None:
        note("no OS keychain works here, and no other place was chosen: there will be no secrets")
        note("  choose one with `stockade up --vault-root file` (a 0600 file)")


def _is_prepared(home: Home) -> bool:
    from stockade.credentials import load_credentials, now

    if not home.config_file.exists() or not home.data.is_dir():
        return False
    try:
        credentials = load_credentials(home.client)
        # After a rotation this device may know only an authority that is not accepted any more.
        current = (home.data / "authority.pem").read_bytes().strip()
        return current in credentials.authority and not credentials.expired(now())
    except OSError:
        return False
    except CredentialsError as error:
        if error.reason in ("KEY_READABLE", "KEY_FOREIGN"):
            raise
        return False


def _init(
    home: Home, program: Path, options: list[str], account: Account | None
) -> dict[str, object]:
    environment = {**installed.environment(home), **(account.environment if account else {})}
    done = subprocess.run(  # noqa: S603 - our own program, no shell
        [program, "init", *options],
        env=environment,
        cwd="/",
        user=account.uid if account else None,
        group=account.gid if account else None,
        extra_groups=[] if account else None,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=INIT_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        raise relayed(done.stderr.decode(errors="replace"), done.returncode)
    try:
        told = json.loads(done.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        told = None
    if not isinstance(told, dict):
        raise StockadeError("stockaded init answered nonsense", reason="INIT_FAILED")
    return told


def relayed(said: str, status: int, log: Path | None = None) -> StockadeError:
    """The daemon's own error, found in what it printed."""
    kind = UsageError if status == 2 else StockadeError
    found = list(_ERROR.finditer(said))
    if found:
        last = found[-1]
        fix = re.search(r"^fix: (.*)$", said[last.end() :], re.MULTILINE)
        return kind(last[2], reason=last[1], fix=fix[1] if fix else "")
    lines = [line for line in said.splitlines() if re.search("[A-Za-z]", line)]
    return kind(
        f"the daemon ended with status {status}" + (f": {lines[-1].strip()}" if lines else ""),
        reason="START_FAILED",
        fix=f"see {log}" if log else "run `stockade doctor`",
    )


def _device_name() -> str:
    """The host's name in the letters of a device's name."""
    name = re.sub(r"[^a-z0-9-]+", "-", socket.gethostname().lower().split(".")[0]).strip("-")
    return name[:48] or "local"

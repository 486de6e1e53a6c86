"""`stockade up`: the daemon of this home.

Starts `stockaded` and nothing else (see `stockade.cli.installed`). `up` sees to the pairing of this
device first: the key is made here, and the daemon's `init` signs it because it is run by the same
user. Raises `StockadeError`.
"""

import json
import os
import re
import select
import socket
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from stockade.cli import installed, machine
from stockade.cli.options import Json, examples
from stockade.cli.terminal import UsageError, note, say, spinner
from stockade.endpoint import Endpoint, is_served, load_endpoint
from stockade.errors import CredentialsError, DaemonUnreachable, StockadeError
from stockade.files import make_private_folder, write_whole
from stockade.home import Home

READY_SECONDS = 60.0
INIT_SECONDS = 120.0

UP_EXAMPLES = examples(
    "stockade up                         # in the foreground, until Ctrl-C",
    "stockade up --detach",
    "stockade up --detach --vault-root file   # where there is no keychain",
)

_ERROR = re.compile(r"stockaded: ([A-Z][A-Z0-9_]*): (.*)")
_VAULT_ROOTS = ("keychain", "file", "credential", "passphrase", "token")


def up(
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Leave it running.")] = False,
    vault_root: Annotated[
        str | None,
        typer.Option(
            "--vault-root",
            metavar="KIND",
            help="Where the root key is kept: keychain, file, credential, passphrase, token.",
        ),
    ] = None,
    json_: Json = False,
) -> int:
    """Start the daemon of this home; the first time, set it up and pair this device.

    A daemon that already serves is left alone.
    """
    if vault_root is not None and vault_root not in _VAULT_ROOTS:
        raise UsageError(f"no vault root {vault_root!r}", fix=f"one of {', '.join(_VAULT_ROOTS)}")
    home = Home.locate()
    program = installed.program()
    if is_served(home):
        _refuse_ended(home)
        if vault_root is not None:
            note("--vault-root changes nothing while the daemon serves: `stockade down` first")
        return _say_serving(home, _endpoint(home), "already serves", json_)
    _refuse_foreign(home)
    _prepare(home, program, vault_root)
    if not detach:
        sys.stdout.flush()
        os.execve(program, [str(program), "serve"], installed.environment(home))  # noqa: S606
    _start(home, program)
    if vault_root == "passphrase":
        note("the vault has no passphrase yet: `stockade secrets unlock` asks for one")
    return _say_serving(home, _endpoint(home), "serves", json_)


def _refuse_foreign(home: Home) -> None:
    from stockade.credentials import PROFILE

    try:
        profile = json.loads((home.client / PROFILE).read_bytes())
        address = profile["address"]
    except (OSError, ValueError, KeyError, TypeError):
        return
    if address is not None:
        raise CredentialsError(
            f"this home is paired with the daemon at {address}",
            reason="PAIRED_ELSEWHERE",
            fix="set STOCKADE_HOME to another directory for a daemon of your own",
        )


def _refuse_ended(home: Home) -> None:
    """A certificate that has ended is issued again by `init`, which needs the daemon's lock."""
    from stockade.credentials import load_credentials, now

    try:
        ended = load_credentials(home.client).expired(now())
    except CredentialsError:
        return
    if ended:
        raise CredentialsError(
            "the daemon serves, but this device's certificate has run out",
            reason="CERTIFICATE_EXPIRED",
            fix="`stockade down`, then `stockade up`: the start issues it again",
        )


def _prepare(home: Home, program: Path, vault_root: str | None) -> None:
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
    with TemporaryDirectory(dir=home.client, prefix=".init-") as folder:
        request, certificate, authority = (
            Path(folder) / name for name in ("request.pem", "certificate.pem", "authority.pem")
        )
        write_whole(request, certificate_request(key))
        told = _init(
            home,
            program,
            ["--certificate-request", str(request)]
            + ["--certificate-out", str(certificate), "--authority-out", str(authority)]
            + ["--device-name", _device_name()]
            + (["--vault-root", vault_root] if vault_root else []),
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


def _init(home: Home, program: Path, options: list[str]) -> dict[str, object]:
    done = subprocess.run(  # noqa: S603 - our own program, no shell
        [program, "init", *options],
        env=installed.environment(home),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=INIT_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        raise _relayed(done.stderr.decode(errors="replace"), done.returncode)
    try:
        told = json.loads(done.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        told = None
    if not isinstance(told, dict):
        raise StockadeError("stockaded init answered nonsense", reason="INIT_FAILED")
    return told


def _start(home: Home, program: Path) -> None:
    """Starts it in a session of its own, and returns when it serves."""
    make_private_folder(home.data)
    log = os.open(home.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    before = os.fstat(log).st_size
    reading, writing = os.pipe()
    try:
        process = subprocess.Popen(  # noqa: S603 - our own program, no shell
            [program, "serve", "--ready-fd", str(writing)],
            env=installed.environment(home),
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=[writing],
            start_new_session=True,
        )
        os.close(writing)
        with spinner("starting the daemon"):
            ready = _await_ready(reading)
    except KeyboardInterrupt:
        # It is in a session of its own, so the terminal's Ctrl-C did not reach it.
        _give_up(process)
        raise
    finally:
        os.close(log)
        os.close(reading)
    if ready:
        # It outlives this process, which therefore never reaps it.
        process.returncode = 0
        return
    _give_up(process)
    with home.log.open("rb") as text:
        text.seek(before)
        said = text.read(1024 * 1024).decode(errors="replace")
    raise _relayed(said, process.returncode, log=home.log)


def _await_ready(reading: int) -> bool:
    """The daemon wrote its word; false when it closed the pipe, or took too long."""
    deadline = time.monotonic() + READY_SECONDS
    said = b""
    while b"\n" not in said:
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([reading], [], [], left)[0]:
            return False
        data = os.read(reading, 64)
        if not data:
            return False
        said += data
    return said.startswith(b"ready\n")


def _give_up(process: "subprocess.Popen[bytes]") -> None:
    for stop in (process.terminate, process.kill):
        try:
            process.wait(5)
            return
        except subprocess.TimeoutExpired:
            stop()
    process.wait()


def _relayed(said: str, status: int, log: Path | None = None) -> StockadeError:
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


def _endpoint(home: Home) -> Endpoint:
    """Where it listens; a daemon that has just taken the lock writes it a moment later."""
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        if endpoint := load_endpoint(home):
            return endpoint
        time.sleep(0.05)
    raise DaemonUnreachable(
        "a daemon holds the lock of this home but does not serve", fix=f"see {home.log}"
    )


def _say_serving(home: Home, endpoint: Endpoint, verb: str, as_json: bool) -> int:
    if as_json:
        machine.emit(
            {"address": endpoint.address, "pid": endpoint.pid, "started": verb == "serves"}
        )
        return 0
    say(f"the daemon {verb} at {endpoint.address} (process {endpoint.pid})")
    if verb == "serves":
        say(f"  home  {home.config}")
        say(f"  log   {home.log}")
        say("next: stockade status · stockade tools list · stockade approvals watch")
    return 0


def _device_name() -> str:
    """The host's name in the letters of a device's name."""
    name = re.sub(r"[^a-z0-9-]+", "-", socket.gethostname().lower().split(".")[0]).strip("-")
    return name[:48] or "local"

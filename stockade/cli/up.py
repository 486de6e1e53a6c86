"""`stockade up`: the daemon of this home.

Starts `stockaded` and nothing else (see `stockade.cli.installed`). `up` sees to the pairing of this
device first: the key is made here, and the daemon's `init` signs it because it is run by the same
user. Raises `StockadeError`.
"""

import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from stockade.cli import installed, machine
from stockade.cli.options import Json, examples
from stockade.cli.preparation import prepare, relayed
from stockade.cli.terminal import Interrupted, UsageError, note, say, spinner
from stockade.endpoint import Endpoint, is_served, load_endpoint
from stockade.errors import CredentialsError, DaemonUnreachable
from stockade.files import make_private_folder
from stockade.home import Home

READY_SECONDS = 60.0

UP_EXAMPLES = examples(
    "stockade up                         # in the foreground, until Ctrl-C",
    "stockade up --detach",
    "stockade up --detach --vault-root file   # where there is no keychain",
)

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
    prepare(home, program, vault_root)
    if not detach:
        if sys.stderr.isatty():
            note("the daemon runs in this terminal, until Ctrl-C; what follows is its log")
        sys.stdout.flush()
        # Until it can hear it: Ctrl-C while Python starts would be a traceback.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
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


def _start(home: Home, program: Path) -> None:
    """Starts it in a session of its own, and returns when it serves."""
    make_private_folder(home.data)
    log = os.open(home.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    before = os.fstat(log).st_size
    reading, writing = os.pipe()
    # Held back until there is something to end, and in the daemon until it can hear it.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
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
        ready = _followed(process, reading, writing)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
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
    raise relayed(said, process.returncode, log=home.log)


def _followed(process: "subprocess.Popen[bytes]", reading: int, writing: int) -> bool:
    """Whether it serves; Ctrl-C here ends it, since none in its session would."""
    os.close(writing)
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        with spinner("starting the daemon"):
            return _await_ready(reading)
    except KeyboardInterrupt:
        process.send_signal(signal.SIGINT)
        with spinner("stopping it again"):
            _give_up(process)
        raise Interrupted("no daemon was left running") from None


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

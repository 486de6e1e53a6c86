"""The console script `stockaded`: `init` makes a data directory, `serve` runs the daemon.

`check` looks at policies without one; `backup` and `restore` keep a home and make it anew.

Nothing of gRPC may be imported before `_configure_grpc` has run: the library reads its cipher list
from the environment when it is loaded.
"""

import argparse
import json
import os
import signal
import sys
import threading
import time
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from daemon import interrupts
from daemon.errors import Fault, StartError
from daemon.origin import check_origin

if TYPE_CHECKING:
    from vault.secret import Secret

# BoringSSL configures TLS 1.3 suites apart. The server's key is ECDSA, so a list of nothing but an
# RSA suite leaves TLS 1.2 and below without a cipher they could agree on. gRPC for Python has no
# option for a minimum version; the gate checks the version of every connection besides.
_NO_TLS12 = "ECDHE-RSA-AES128-GCM-SHA256"
_LEAVE_SECONDS = 1.0


def _configure_grpc() -> None:
    os.environ["GRPC_SSL_CIPHER_SUITES"] = _NO_TLS12
    # Who waits for requests reads them itself, and no other thread has to wake it: docs/adr/0043.
    os.environ.setdefault("GRPC_EXPERIMENTS", "-event_engine_listener")
    # Its C core writes lines of its own to standard error, between those of our log.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")


def _without_rich() -> None:
    # structlog loads rich, where it is installed, for tracebacks that are not used here: 10 MB and
    # 60 ms. It is for the command line; None makes its import fail, as if it were absent.
    sys.modules["rich"] = None  # type: ignore[assignment]


def main() -> None:
    """Parses the command line, runs, and turns a fault into two lines and an exit status."""
    interrupts.leave_at_once()
    _configure_grpc()
    _without_rich()
    arguments = _parser().parse_args()
    try:
        check_origin()
        _obey(arguments)
    except Exception as caught:
        error = caught
        while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
            error = error.exceptions[0]  # what a task group wrapped
        if isinstance(error, OSError):
            error = _refused_by_system(error)
        if not (isinstance(error, Fault) or hasattr(error, "fix")):
            raise
        _complain(error)
        _leave_what_hangs(2)
        raise SystemExit(2) from None


def _obey(arguments: argparse.Namespace) -> None:
    if arguments.command == "serve":
        _serve(arguments)
        return
    interrupts.raise_again()
    try:
        if arguments.command == "init":
            _init(arguments)
        elif arguments.command == "check":
            _check(arguments)
        elif arguments.command == "new-root":
            _new_root()
        elif arguments.command == "backup":
            _back_up(arguments)
        else:
            _restore(arguments)
    except KeyboardInterrupt:
        interrupts.tell("it was done")
        _leave_what_hangs(interrupts.STATUS)
        raise SystemExit(interrupts.STATUS) from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="stockaded",
        description="The Stockade daemon. `stockade up` runs it; $STOCKADE_HOME says where.",
    )
    parser.add_argument(
        "--version", action="version", version=f"stockaded {metadata.version('stockade')}"
    )
    commands = parser.add_subparsers(dest="command", required=True)
    init = commands.add_parser("init", help="make a data directory and pair the local command line")
    init.add_argument("--certificate-request", type=Path, required=True, metavar="FILE")
    init.add_argument("--certificate-out", type=Path, required=True, metavar="FILE")
    init.add_argument("--authority-out", type=Path, required=True, metavar="FILE")
    init.add_argument("--device-name", default="local", metavar="NAME")
    init.add_argument(
        "--vault-root",
        choices=["keychain", "file", "credential", "passphrase", "token"],
        help="where the vault's root key lives; pinned in config.toml",
    )
    serve = commands.add_parser("serve", help="run in the foreground until SIGTERM")
    check = commands.add_parser("check", help="check a folder of policies, without a daemon")
    check.add_argument("--policies", type=Path, required=True, metavar="DIR")
    check.add_argument("--schema", type=Path, metavar="FILE", help="against this Cedar schema")
    serve.add_argument("--ready-fd", type=int, metavar="FD", help="written to once it serves")
    for name, does in (("backup", "write this home to a file"), ("restore", "make it anew of one")):
        one = commands.add_parser(name, help=f"{does}; the passphrase is read from standard input")
        one.add_argument("--file", type=Path, required=True, metavar="FILE")
    commands.add_parser(
        "new-root",
        help="print a new root key for the vault, for a service manager to keep",
        description="Prints a new root key: stockaded new-root | systemd-creds encrypt"
        " --name=stockade-vault-root - FILE",
    )
    return parser


def _new_root() -> None:
    if sys.stdout.isatty():
        raise StartError(
            "a root key is not shown on a terminal",
            code="ROOT_TO_TERMINAL",
            fix="stockaded new-root | systemd-creds encrypt --name=stockade-vault-root - FILE",
        )
    from vault.rootkey import generate_root

    print(generate_root(os.urandom))  # noqa: T201 - the command's answer


def _init(arguments: argparse.Namespace) -> None:
    import anyio

    from daemon.initialise import LocalPairing, initialise
    from stockade.home import Home

    pairing = LocalPairing(
        request=arguments.certificate_request,
        certificate=arguments.certificate_out,
        authority=arguments.authority_out,
        name=arguments.device_name,
    )
    outcome = anyio.run(initialise, Home.locate(), pairing, arguments.vault_root)
    print(json.dumps(outcome))  # noqa: T201 - the command's answer


def _check(arguments: argparse.Namespace) -> None:
    from daemon.policy.offline_check import check
    from stockade.home import Home

    answer = check(arguments.policies, Home.locate(), arguments.schema)
    print(json.dumps(answer))  # noqa: T201 - the command's answer


def _back_up(arguments: argparse.Namespace) -> None:
    from daemon.home_backup import back_up
    from stockade.home import Home

    facts, left_out = back_up(Home.locate(), _passphrase(), arguments.file)
    print(json.dumps({**asdict(facts), "left_out": left_out}))  # noqa: T201 - the command's answer


def _restore(arguments: argparse.Namespace) -> None:
    from daemon.home_restore import restore
    from stockade.home import Home

    facts = restore(Home.locate(), _passphrase(), arguments.file)
    print(json.dumps(asdict(facts)))  # noqa: T201 - the command's answer


def _passphrase() -> "Secret":
    from vault.secret import Secret

    return Secret(sys.stdin.buffer.read().removesuffix(b"\n"))


def _serve(arguments: argparse.Namespace) -> None:
    import anyio

    from daemon.composition import serve
    from stockade.home import Home

    interrupts.raise_again()
    try:
        anyio.run(serve, Home.locate(), arguments.ready_fd)
    except KeyboardInterrupt:
        # Before it serves: from then on the signal is an orderly end.
        interrupts.tell("it served")
        _leave_what_hangs(interrupts.STATUS)
        raise SystemExit(interrupts.STATUS) from None
    for told in (signal.SIGTERM, signal.SIGINT):
        signal.signal(told, signal.SIG_IGN)  # it has ended in order: let that be its status
    _leave_what_hangs(0)


def _leave_what_hangs(status: int) -> None:
    """Ends the process where threads that were abandoned would keep it: a disk that hangs.

    The interpreter waits for every thread. All that has to be written is written by now.
    """
    ends = time.monotonic() + _LEAVE_SECONDS
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join(max(0.0, ends - time.monotonic()))
            if thread.is_alive():
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(status)


def _refused_by_system(error: OSError) -> StartError:
    """A file or directory that nobody nearer had a word for: a full disk, a missing right."""
    return StartError(
        f"{error.strerror or error}: {error.filename or 'the data directory'}",
        code="SYSTEM_REFUSED",
        fix="check the path, its permissions, and the free space of its file system",
    )


def _complain(error: Exception) -> None:
    code = getattr(error, "code", "INTERNAL")
    message = getattr(error, "message", error)
    print(f"stockaded: {code}: {message}", file=sys.stderr)  # noqa: T201
    if fix := getattr(error, "fix", ""):
        print(f"fix: {fix}", file=sys.stderr)  # noqa: T201


if __name__ == "__main__":
    main()

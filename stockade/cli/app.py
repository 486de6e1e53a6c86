"""All commands: wires the groups; turns errors into two lines and a status.

No traceback reaches the user for anything foreseen. Modules of commands are imported at once and
are light; gRPC and rich are imported inside the commands that need them.
"""

import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from stockade.cli import (
    agents,
    approvals,
    backup,
    call,
    calls,
    devices,
    doctor,
    down,
    leases,
    ledger,
    pair,
    policy,
    secrets_sources,
    service,
    status,
    tools,
    up,
)
from stockade.cli.help_page import for_people
from stockade.cli.main import EXIT_INTERRUPTED
from stockade.cli.options import Listing
from stockade.cli.terminal import Interrupted, UsageError, note, report, say
from stockade.errors import CredentialsError, DaemonUnreachable, StockadeError

EXIT_ERROR = 1
EXIT_USAGE = 2
EXIT_UNREACHABLE = 20


def _version(wanted: bool) -> None:
    if wanted:
        from importlib import metadata

        say(f"stockade {metadata.version('stockade')}")
        raise typer.Exit


app = typer.Typer(
    name="stockade",
    cls=Listing,
    help="Put a daemon between AI agents and the tools they call.",
    epilog="\b\nStart here:\n  stockade up --detach\n  stockade tools list\n  stockade doctor",
    rich_markup_mode=None,
    add_completion=True,
    pretty_exceptions_enable=False,
)


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option("--version", help="Show the version.", callback=_version, is_eager=True),
    ] = False,
) -> None:
    pass


app.command("up", epilog=up.UP_EXAMPLES)(up.up)
app.command("down", epilog=down.EXAMPLES)(down.down)
app.command("status", epilog=status.STATUS_EXAMPLES)(status.status)
app.command("whoami", epilog=status.WHOAMI_EXAMPLES)(status.whoami)
app.command("doctor", epilog=doctor.EXAMPLES)(doctor.doctor)
app.command("call", epilog=call.EXAMPLES)(call.call)
app.command("pair", epilog=pair.EXAMPLES)(pair.pair)
app.command("backup", epilog=backup.BACKUP_EXAMPLES)(backup.backup)
app.command("restore", epilog=backup.RESTORE_EXAMPLES)(backup.restore)
for group in (
    tools,
    calls,
    approvals,
    leases,
    policy,
    secrets_sources,
    devices,
    agents,
    ledger,
    service,
):
    app.add_typer(group.app)
for_people(app)


def run(arguments: Sequence[str]) -> int:
    """One command; its exit status."""
    # gRPC's own log would stand between a command's lines; what matters comes as an error.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    try:
        return _invoke(list(arguments) or ["--help"])
    except Interrupted as left:
        _end_line()
        note(left.message)
        return EXIT_INTERRUPTED
    except KeyboardInterrupt:  # where Typer itself is at work, before a command or after it
        _end_line()
        return EXIT_INTERRUPTED
    except UsageError as error:
        report(error)
        return EXIT_USAGE
    except (DaemonUnreachable, CredentialsError) as error:
        # Without good credentials no daemon is in reach either.
        report(error)
        return EXIT_UNREACHABLE
    except StockadeError as error:
        report(error)
        return EXIT_ERROR
    except BrokenPipeError:
        # Whoever read our output has gone. Python would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_ERROR
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        fix = "look at the path, and at who may read or write there"
        report(StockadeError(f"{where}{error.strerror or error}", reason="FILE_ERROR", fix=fix))
        return EXIT_ERROR


def _invoke(arguments: list[str]) -> int:
    if any(not _is_text(argument) for argument in arguments):
        raise UsageError("an argument is not UTF-8 text", fix="pass bytes with k=@FILE")
    try:
        code = app(args=arguments, prog_name="stockade", standalone_mode=False)
    except typer.Abort:
        note("aborted: nothing was done")
        return EXIT_ERROR
    except typer.TyperException as error:
        context = getattr(error, "ctx", None)
        path = context.command_path if context is not None else "stockade"
        message = error.format_message().replace("\n", " ")
        raise UsageError(message, fix=f"{_words(context)}see `{path} --help`") from None
    if code == EXIT_INTERRUPTED:
        _end_line()
    return code if isinstance(code, int) else 0


def _words(context: object) -> str:
    """What could have come next, of a group of commands; nothing of a command."""
    commands = getattr(getattr(context, "command", None), "commands", {})
    shown = [name for name, command in commands.items() if not command.hidden]
    return f"one of {', '.join(shown)}; " if shown else ""


def _end_line() -> None:
    """After Ctrl-C a terminal's cursor stands behind `^C`, or behind a question."""
    if sys.stderr.isatty():
        note()


def _is_text(argument: str) -> bool:
    try:
        argument.encode()
    except UnicodeEncodeError:
        return False
    return True

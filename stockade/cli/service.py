"""`stockade service`: the daemon as a service of systemd's, of the system or of one user.

Trusted to change nothing but the files that `service_files` names, the account of the service, and,
if asked to purge, its directories. Raises `StockadeError`.
"""

import os
import pwd
import sys
from pathlib import Path
from typing import Annotated

import typer

from stockade.cli import installed, machine, service_files
from stockade.cli.options import Json, Yes, examples, group
from stockade.cli.preparation import Account, prepare
from stockade.cli.service_files import (
    ACCOUNT,
    CREDENTIAL,
    CREDENTIAL_FILE,
    SERVICE,
    SOCKET,
    Choices,
)
from stockade.cli.systemd import Systemd, make_credential, run, runs_as
from stockade.cli.terminal import UsageError, ask, facts, note, say
from stockade.errors import StockadeError
from stockade.home import Home
from stockade.trees import remove_tree

app = group(
    "service",
    "Run the daemon as a service of systemd's.",
    "stockade service install                 # as root: a service of the system",
    "stockade service install --user",
    "stockade service status",
    "stockade service uninstall --purge",
)

User = Annotated[bool, typer.Option("--user", help="Of this user, not of the system.")]
_ENVIRONMENT = {"XDG_CONFIG_HOME": "/etc", "XDG_DATA_HOME": "/var/lib", "HOME": "/var/lib/stockade"}
_SHOWN = ("LoadState", "UnitFileState", "ActiveState", "SubState", "MainPID", "StatusText")
_COUNTED = ("NRestarts", "Result")


@app.command(
    epilog=examples(
        "stockade service install",
        "stockade service install --socket --workspace /srv/notes",
        "stockade service install --containers",
        "stockade service install --user --vault-root file",
    )
)
def install(
    user: User = False,
    socket: Annotated[
        bool, typer.Option("--socket", help="systemd listens; the daemon is started on demand.")
    ] = False,
    containers: Annotated[
        bool,
        typer.Option("--containers", help="Let it use Docker Engine, which is as good as root."),
    ] = False,
    workspace: Annotated[
        list[Path] | None,
        typer.Option("--workspace", metavar="DIR", help="A directory it may write; repeatable."),
    ] = None,
    vault_root: Annotated[
        str | None,
        typer.Option("--vault-root", metavar="KIND", help="With --user: as for `stockade up`."),
    ] = None,
    start: Annotated[bool, typer.Option(help="Start it now.")] = True,
) -> None:
    """Install the daemon as a service, set it up, pair this device, and start it.

    May be run again: it brings the files up to date and keeps all data.
    """
    systemd = Systemd(user)
    systemd.require()
    home, program = Home.locate(), installed.program()
    if user and (containers or workspace):
        raise UsageError("--containers and --workspace are for a service of the system")
    if not user and vault_root is not None:
        raise UsageError("the system's service keeps the vault's root as a systemd credential")
    if not user and os.environ.get("STOCKADE_HOME"):
        raise UsageError("a service of the system has its own home", fix="unset STOCKADE_HOME")
    chosen = Choices(
        program,
        socket,
        containers,
        [path.absolute() for path in workspace or ()],
        str(home.config) if os.environ.get("STOCKADE_HOME") else "",
    )
    service_files.write(service_files.files(chosen, user=user))
    if user:
        prepare(home, program, vault_root)
    else:
        _prepare_system(home, program)
    systemd.systemctl("daemon-reload")
    systemd.systemctl("enable", "--quiet", SERVICE, *([SOCKET] if socket else []))
    if start:
        # One that ran without the socket unit has the port, which systemd is to have now.
        systemd.systemctl("stop", SERVICE, check=False)
        systemd.systemctl("restart", *([SOCKET] if socket else []), SERVICE)
    say(f"installed{' and started' if start else ''}: {SERVICE}{', ' + SOCKET if socket else ''}")
    say("next: stockade service status · stockade doctor")


@app.command(epilog=examples("stockade service status", "stockade service status --user --json"))
def status(user: User = False, json_: Json = False) -> int:
    """Show what the service manager knows of the daemon. Exit status 1 if it does not run."""
    systemd = Systemd(user)
    found = {
        unit: systemd.properties(unit, (*_SHOWN, *(_COUNTED if unit == SERVICE else ())))
        for unit in (SERVICE, SOCKET)
    }
    runs = found[SERVICE]["ActiveState"] in ("active", "reloading")
    if json_:
        machine.emit({"runs": runs, **found})
        return 0 if runs else 1
    for unit, properties in found.items():
        if unit == SOCKET and properties["LoadState"] != "loaded":
            continue
        if properties["LoadState"] != "loaded":
            say(f"{unit} is not installed: `stockade service install`")
            continue
        state = f"{properties['ActiveState']} ({properties['SubState']})"
        lines = [(unit, f"{state}, {properties['UnitFileState']}")]
        if unit == SERVICE:
            lines += [
                ("process", properties["MainPID"]),
                ("says", properties["StatusText"] or "-"),
                ("restarts", f"{properties['NRestarts']}, last result {properties['Result']}"),
            ]
        facts(lines, label=18)
    return 0 if runs else 1


@app.command(
    epilog=examples("stockade service uninstall", "stockade service uninstall --purge --yes")
)
def uninstall(
    user: User = False,
    purge: Annotated[
        bool,
        typer.Option("--purge", help="Remove data, secrets, ledger and configuration too."),
    ] = False,
    yes: Yes = False,
) -> int:
    """Stop the service and remove what `install` wrote; data stays, unless it is purged."""
    systemd = Systemd(user)
    systemd.require()
    if purge and not yes:
        if not sys.stdin.isatty():
            raise UsageError("--purge removes the ledger and all secrets", fix="add --yes")
        if not ask("Remove all data, secrets and the ledger for good?"):
            note("nothing was done")
            return 1
    home, units = Home.locate(), (SOCKET, SERVICE)
    systemd.systemctl("disable", "--now", "--quiet", *units, check=False)
    service_files.remove(service_files.installed(user=user))
    systemd.systemctl("daemon-reload")
    systemd.systemctl("reset-failed", *units, check=False)
    if purge:
        for folder in (home.data, home.config):
            if folder.exists():
                remove_tree(folder)
        if not user:
            CREDENTIAL_FILE.unlink(missing_ok=True)
            _remove_account()
    say("uninstalled; nothing is left" if purge else f"uninstalled; data stays in {home.data}")
    return 0


def _prepare_system(home: Home, program: Path) -> None:
    """Account, directories, root key, authority, and this device's certificate."""
    run("systemd-sysusers", str(service_files.SYSUSERS))
    run("systemd-tmpfiles", "--create", str(service_files.TMPFILES))
    entry = pwd.getpwnam(ACCOUNT)
    if not runs_as(program, entry.pw_uid, entry.pw_gid):
        raise StockadeError(
            f"the service's user {ACCOUNT} cannot run {program}",
            reason="PROGRAM_OUT_OF_REACH",
            fix="install Stockade where every user can read it: /opt/stockade, or pipx --global",
        )
    if not CREDENTIAL_FILE.exists():
        make_credential(program, CREDENTIAL, CREDENTIAL_FILE)
    fresh = None if home.config_file.exists() else "credential"
    prepare(home, program, fresh, Account(entry.pw_uid, entry.pw_gid, _ENVIRONMENT))


def _remove_account() -> None:
    try:
        pwd.getpwnam(ACCOUNT)
    except KeyError:
        return
    run("userdel", ACCOUNT)

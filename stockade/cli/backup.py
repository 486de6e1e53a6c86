"""`stockade backup` and `stockade restore`: this home in one sealed file, and out of it again.

Both are done by the `stockaded` of this installation, on the files: no daemon has to serve, and one
that serves goes on. The passphrase is read from standard input or a hidden prompt.
"""

from pathlib import Path
from typing import Annotated

import typer

from stockade.cli import installed, machine
from stockade.cli.options import Json, examples
from stockade.cli.secrets_vault import read_passphrase
from stockade.cli.terminal import UsageError, note, say
from stockade.cli.visible import visible
from stockade.home import Home

_ELSEWHERE = (
    "Not in it: a root key kept in a keychain, token or credential; and files outside the home."
)

BACKUP_EXAMPLES = examples("stockade backup stockade.backup")
RESTORE_EXAMPLES = examples("STOCKADE_HOME=/srv/stockade stockade restore stockade.backup")


def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A new file; it is made 0600.")],
    json_: Json = False,
) -> None:
    """Write everything of this home to a file, sealed under a passphrase.

    The database with its ledger, the daemon's keys, policies, tools, configuration, and this
    device's credentials. Root keys that are kept elsewhere are not in it: see `stockade secrets
    backup`.
    """
    if file.exists():
        raise UsageError(f"{file} is there already", fix="name a new file")
    home = Home.locate()
    if not home.data.is_dir():
        raise UsageError(f"there is no home in {home.config}", fix="set STOCKADE_HOME to the one")
    passphrase = read_passphrase(new=True)
    answer = installed.ask(
        home, ("backup", "--file", str(file.absolute())), passphrase, patient=True
    )
    if json_:
        machine.emit({"file": str(file), **answer})
        return
    say(f"{file} has this home, with {answer['receipts']} receipts")
    if left_out := answer["left_out"]:
        note(f"left out, as no plain files or folders: {visible(', '.join(left_out))}")
    note(f"{_ELSEWHERE} Without the passphrase nobody reads it, not you.")


def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `backup` wrote.")],
    json_: Json = False,
) -> None:
    """Make a home out of a backup; nothing that is there is touched.

    It is put in place only when all of it was verified: that nothing was changed or cut off, that
    the database is whole, and its ledger, with its keys, from the first receipt to the last.
    """
    home = Home.locate()
    if not file.exists() or file.is_dir():  # it may be a pipe
        raise UsageError(f"{file} is no file", fix="name what `stockade backup` wrote")
    passphrase = read_passphrase(new=False)
    answer = installed.ask(
        home, ("restore", "--file", str(file.absolute())), passphrase, patient=True
    )
    if json_:
        machine.emit({"home": str(home.config), **answer})
        return
    say(f"{home.config} is restored, and verified: {answer['receipts']} receipts")
    note(f"{_ELSEWHERE} Do not start it where the daemon it was copied from still runs.")

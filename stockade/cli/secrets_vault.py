"""`stockade secrets`, as far as the vault itself is concerned: keys, root, backup.

Passphrases are read from standard input or a hidden prompt, like values.
"""

import base64
import binascii
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from stockade.cli import machine
from stockade.cli.options import Json, Yes, examples
from stockade.cli.secrets import app, full_reference, hidden, read_value
from stockade.cli.terminal import UsageError, ask, many, note, say
from stockade.errors import StockadeError

ROOTS = ("keychain", "file", "credential", "passphrase", "token")
_HEADER, _LENGTH, _NUMBER = 93, 4, 9
_BATCH = 8 * 1024 * 1024


@app.command(
    epilog=examples(
        "stockade secrets rotate github-token            # a new data key",
        "stockade secrets rotate --all",
        "stockade secrets rotate --root                  # a new root key, same place",
        "stockade secrets rotate --root --to passphrase  # a new root key, elsewhere",
    )
)
def rotate(
    name: Annotated[str, typer.Argument(metavar="[NAME]", help="One secret.")] = "",
    all_: Annotated[bool, typer.Option("--all", help="New data keys for all secrets.")] = False,
    root: Annotated[bool, typer.Option("--root", help="A new root key.")] = False,
    to: Annotated[
        str, typer.Option("--to", metavar="|".join(ROOTS), help="Where the new root key is kept.")
    ] = "",
    credential: Annotated[
        str, typer.Option("--credential", metavar="NAME", help="The credential that holds it.")
    ] = "",
    json_: Json = False,
) -> None:
    """Change keys: a secret's data keys, or with --root the key that wraps all of them."""
    if sum((bool(name), all_, root)) != 1:
        raise UsageError("what is to be rotated?", fix="NAME, --all, or --root")
    if to and (to not in ROOTS or not root):
        raise UsageError(f"no root {to!r}", fix=f"--root --to {'|'.join(ROOTS)}")
    if root:
        _rotate_root(to, credential, json_)
        return
    from stockade.client import Client

    with Client.open() as client:
        answer = client.rotate_secrets(full_reference(name) if name else "")
    if json_:
        machine.emit(answer)
    else:
        say(f"{answer.versions} versions have new data keys")


def _rotate_root(to: str, credential: str, json_: bool) -> None:
    from stockade.client import Client

    with Client.open() as client:
        kept = to or ("passphrase" if "passphrase" in client.status().vault.root else "")
        passphrase = read_passphrase(new=True) if kept == "passphrase" else b""
        answer = client.rotate_vault_root(to, passphrase=passphrase, credential=credential)
    if json_:
        machine.emit(answer)
        return
    say(f"{answer.versions} versions are under a new root key: {answer.root}")
    for left in answer.left:
        note(f"left to do: {left}")


@app.command(epilog=examples("stockade secrets unlock", "stockade secrets unlock < passphrase"))
def unlock(json_: Json = False) -> int:
    """Have the daemon try to get the root key again; asks for a passphrase if it takes one."""
    from stockade.client import Client

    with Client.open() as client:
        answer = client.unlock_vault()
        if answer.code in ("ROOT_LOCKED", "ROOT_ABSENT") and "passphrase" in answer.root:
            new = answer.code == "ROOT_ABSENT"
            answer = client.unlock_vault(read_passphrase(new=new), create=new)
    if json_:
        machine.emit(answer)
        return 0 if answer.available else 1
    if not answer.available:
        raise StockadeError(answer.reason, reason=answer.code, fix=answer.fix)
    say(f"the vault is open: {answer.root}")
    return 0


@app.command(epilog=examples("stockade secrets key"))
def key(json_: Json = False) -> None:
    """Print the vault's public key, to which values can be sealed elsewhere."""
    from stockade.client import Client

    with Client.open() as client:
        text = base64.b64encode(client.get_vault_key()).decode()
    if json_:
        machine.emit({"public_key": text})
    else:
        say(text)


@app.command(epilog=examples("stockade secrets seal gh --key KEY < token.txt > gh.box"))
def seal(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The secret it is for.")],
    key_: Annotated[str, typer.Option("--key", help="What `secrets key` printed.")],
    keep_newline: Annotated[
        bool, typer.Option("--keep-newline", help="Keep a final line break of standard input.")
    ] = False,
) -> None:
    """Seal a value here, without a daemon, for `secrets put --sealed`; bytes on output."""
    from stockade.sealing import seal_to

    reference = full_reference(name)
    value = read_value(reference, keep_newline)
    try:
        sealed = seal_to(base64.b64decode(key_, validate=True), reference, value)
    except (binascii.Error, ValueError):
        raise UsageError("that is no vault's key", fix="`stockade secrets key`") from None
    sys.stdout.buffer.write(sealed)
    sys.stdout.buffer.flush()


@app.command(epilog=examples("stockade secrets backup vault.backup"))
def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A new file; it is made 0600.")],
    json_: Json = False,
) -> None:
    """Write all secrets to a file, sealed under a passphrase."""
    from stockade.client import Client
    from stockade.files import write_whole

    if file.exists():
        raise UsageError(f"{file} is there already", fix="name a new file")
    passphrase = read_passphrase(new=True)
    with Client.open() as client, client.back_up_vault(passphrase) as answers:
        parts = list(answers)
    write_whole(file, b"".join(part.data for part in parts))
    count = parts[-1].secrets
    if json_:
        machine.emit({"file": str(file), "secrets": count})
    else:
        held = f"{many(count, 'secret')} {'is' if count == 1 else 'are'} in {file}"
        say(f"{held}; without the passphrase nobody reads them, not you")


@app.command(epilog=examples("stockade secrets restore vault.backup"))
def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `secrets backup` wrote.")],
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Also put secrets that are there, anew.")
    ] = False,
    json_: Json = False,
) -> None:
    """Put the secrets of a backup, here or on another machine."""
    from stockade.client import Client

    batches = list(_batches(file.read_bytes()))
    passphrase = read_passphrase(new=False)
    restored: list[str] = []
    kept: list[str] = []
    with Client.open() as client:
        for batch in batches:
            answer = client.restore_vault(passphrase, batch, overwrite=overwrite)
            restored += answer.restored
            kept += answer.kept
    if json_:
        machine.emit({"restored": restored, "kept": kept, "complete": answer.complete})
    else:
        there = f"{len(kept)} {'was' if len(kept) == 1 else 'were'} there already and left alone"
        say(f"{many(len(restored), 'secret')} restored, {there}")
    if not answer.complete:
        raise StockadeError(
            f"{file} ends before its end: it was cut off",
            reason="BACKUP_DAMAGED",
            fix="use another copy of it",
        )


@app.command("accept-rollback", epilog=examples("stockade secrets accept-rollback"))
def accept_rollback(yes: Yes = False, json_: Json = False) -> None:
    """After a restored database was noticed: use it as it is."""
    from stockade.client import Client

    question = "Secrets removed or replaced since that backup are back. Use them?"
    if not yes and not ask(question):
        raise typer.Abort
    with Client.open() as client:
        answer = client.accept_vault_rollback()
    if json_:
        machine.emit(answer)
    else:
        say("the vault goes on from here; see `stockade secrets list`")


def _batches(data: bytes) -> Iterator[bytes]:
    """A backup in parts of a size that a request may have, each with the header."""
    header, at, start, expected = data[:_HEADER], _HEADER, _HEADER, 0
    while at < len(data):
        frame = data[at + _LENGTH : at + _LENGTH + _NUMBER]
        if len(frame) < _NUMBER or int.from_bytes(frame[1:], "big") != expected:
            raise StockadeError(
                "the backup is damaged: a record is missing or cut off",
                reason="BACKUP_DAMAGED",
                fix="use another copy of it",
            )
        expected += 1
        end = at + _LENGTH + int.from_bytes(data[at : at + _LENGTH], "big")
        if end - start > _BATCH and at > start:
            yield header + data[start:at]
            start = at
        at = end
    yield header + data[start:]


def read_passphrase(*, new: bool) -> bytes:
    """A passphrase from standard input, or from a hidden prompt: twice if it is a new one."""
    if sys.stdin.isatty():
        return hidden("a new passphrase" if new else "its passphrase", twice=new).encode()
    return sys.stdin.buffer.read(4096).rstrip(b"\r\n")

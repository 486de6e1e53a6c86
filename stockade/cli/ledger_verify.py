"""`stockade ledger verify`, the offline verifier, which asks no daemon; and `ledger checkpoint`.

A checkpoint is fetched from the daemon and, where there is an older one, believed only as far as
the proof goes.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stockade.cli import machine
from stockade.cli.options import Json
from stockade.cli.terminal import UsageError, many, note, say
from stockade.errors import StockadeError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ledger.checkpoint import Checkpoint
    from ledger.cosign import WitnessKeys
    from ledger.errors import BadEntry
    from ledger.lineage import Lineage
    from stockade.client import Client

MAX_KEYS = 4 * 1024 * 1024


_KINDS = (
    (b'{"chain":', "evidence", "`stockade ledger report {file} --key {key}`"),
    (b'{"digest":', "an export", "`stockade ledger verify {file} --key {key}`"),
    (b"<!DOCTYPE html>", "a page to be read", "name the evidence that it was made of"),
    (
        b"stockade/",
        "a checkpoint",
        "`stockade ledger verify EXPORT --key {key} --checkpoint {file}`",
    ),
)


def verify(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="From `stockade ledger export`.")],
    key: Annotated[Path, typer.Option("--key", help="The ledger's public keys.")],
    checkpoint: Annotated[
        list[Path] | None,
        typer.Option(
            "--checkpoint", help="One obtained elsewhere than the export; may be repeated."
        ),
    ] = None,
    witness: Annotated[
        list[Path] | None,
        typer.Option("--witness", metavar="PUB", help="Keys that signed each checkpoint, too."),
    ] = None,
    jobs: Annotated[
        int, typer.Option("--jobs", min=0, max=256, help="Processes; 0: one a core.")
    ] = 0,
    json_: Json = False,
) -> int:
    """Verify an export offline; names the first bad entry. Exit status 1 when there is one.

    Memory does not grow with the file. Without a checkpoint, entries that were cut off its
    end are not missed.
    """
    from ledger.errors import BadEntry, LedgerError
    from stockade.cli.ledger_jobs import default_jobs, keys_in, verify_file

    try:
        public = read_keys(key)
        witnesses = [read_keys(one) for one in witness or ()]
        ahead = keys_in(file, public) if checkpoint else public
        vouched = [read_checkpoint(one, ahead, witnesses) for one in checkpoint or ()]
        seen = seen_by(checkpoint or (), ahead, witnesses)
        verified = verify_file(file, public, vouched, jobs or default_jobs(), seen)
    except BadEntry as bad:
        check_kind(file, key, "an export")
        if json_:
            machine.emit(_bad(bad))
        message = f"line {bad.line}, entry {bad.sequence}: {bad.message}"
        raise StockadeError(message, reason=bad.code, fix=bad.fix) from None
    except LedgerError as error:
        raise StockadeError(error.message, reason=error.code, fix=error.fix) from None
    covered = verified.covered if vouched else None
    if json_:
        machine.emit(
            {"ok": True, "chain": public.chain, "entries": verified.count, "covered": covered,
             "root": verified.root.hex(), "rotations": _rotations(verified.keys)}
        )  # fmt: skip
        return 0
    entries = many(verified.count, "entry", "entries")
    say(f"{entries} of chain {public.chain}: whole, in order, signed")
    for number in _rotations(verified.keys):
        say(f"the keys were rotated by entry {number}, signed by the old ones and the new")
    if covered is None:
        note("without a checkpoint from elsewhere, a cut-off end cannot be seen")
    else:
        say(f"the checkpoint vouches for the first {covered}")
    return 0


def check_kind(file: Path, key: Path, wanted: str) -> None:
    """Raises `UsageError` for a file that is whole, and of another kind than is wanted."""
    with file.open("rb") as content:
        begins = content.read(16)
    for beginning, kind, command in _KINDS:
        if begins.startswith(beginning) and kind != wanted:
            raise UsageError(f"{file} is {kind}", fix=command.format(file=file, key=key))


def checkpoint(
    since: Annotated[
        Path | None, typer.Option("--since", metavar="OLD", help="Only if it adds to this one.")
    ] = None,
    key: Annotated[
        Path | None, typer.Option("--key", help="The ledger's public keys, for --since.")
    ] = None,
) -> None:
    """Print a checkpoint of the chain as it is now. Keep it away from the daemon's machine.

    With --since it is printed only after the proof was verified that the new one adds to the
    old one and changes nothing before it.
    """
    from stockade.client import Client

    if (since is None) != (key is None):
        raise UsageError("--since goes with --key", fix="name both, or neither")
    if since is None or key is None:
        with Client.open() as client:
            _print(client.checkpoint_ledger())
        return
    from ledger.checkpoint import check_advance, parse_checkpoint
    from ledger.errors import LedgerError

    try:
        with Client.open() as client:
            public = followed(read_keys(key), client)
            old = read_checkpoint(since, public)
            answer = client.checkpoint_since(old.size)
        new = parse_checkpoint(answer.checkpoint, public)
        check_advance(old, new, answer.consistency)
    except LedgerError as error:
        raise StockadeError(error.message, reason=error.code, fix=error.fix) from None
    note(f"{many(new.size, 'receipt')}; the first {old.size} are those of {since}")
    _print(answer.checkpoint)


def _print(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.flush()


def read_keys(path: Path) -> "Lineage":
    """The public keys in a file that somebody named; what it has is theirs to mend."""
    from ledger.errors import LedgerError
    from ledger.lineage import parse_lineage

    try:
        return parse_lineage(_small(path))
    except LedgerError as error:
        raise StockadeError(
            f"{path}: {error.message}",
            reason=error.code,
            fix="name the file of the public keys: `stockade ledger keys` prints them",
        ) from None


def followed(keys: "Lineage", client: "Client") -> "Lineage":
    """The keys, and those that they have handed over to as the daemon says and they have signed."""
    from ledger.lineage import parse_lineage

    return keys.extended(parse_lineage(client.ledger_keys()))


def read_checkpoint(
    path: Path, keys: "Lineage", witnesses: "Sequence[WitnessKeys]" = ()
) -> "Checkpoint":
    """The checkpoint in a file, signed by both keys, and by each witness; LedgerError if not."""
    from ledger.checkpoint import parse_checkpoint
    from ledger.cosign import parse_cosigned

    note = _small(path)
    for one in witnesses:
        parse_cosigned(note, keys, one)
    return parse_checkpoint(note, keys)


def seen_by(
    paths: "Sequence[Path]", keys: "Lineage", witnesses: "Sequence[WitnessKeys]"
) -> dict[int, int]:
    """When the ledger was first seen at the size of each checkpoint, by its witnesses."""
    from ledger.cosign import parse_cosigned

    seen: dict[int, int] = {}
    for path in paths:
        for one in witnesses:
            found, seconds = parse_cosigned(_small(path), keys, one)
            seen[found.size] = min(seconds, seen.get(found.size, seconds))
    return seen


def _rotations(keys: "Lineage") -> list[int]:
    return [one.sequence for one in keys.rotations]


def _bad(bad: "BadEntry") -> dict[str, object]:
    return {
        "ok": False,
        "line": bad.line,
        "sequence": bad.sequence,
        "reason": bad.code,
        "message": bad.message,
    }


def _small(path: Path) -> bytes:
    with path.open("rb") as file:
        data = file.read(MAX_KEYS + 1)
    if len(data) > MAX_KEYS:
        raise UsageError(f"{path} is too large to be keys or a checkpoint", fix="name the file")
    return data

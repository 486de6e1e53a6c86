"""`stockade ledger export`: the ledger in a file, whole to be verified, or in part for other tools.

With a cursor, each run goes on where the last one ended: the file has each receipt once, also where
a run was killed in the middle, since what it wrote beyond its cursor is cut off first. Raises
`StockadeError`, OSError.
"""

import json
import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import typer

from stockade.cli import ledger_filter as having
from stockade.cli import machine
from stockade.cli.options import Json
from stockade.cli.terminal import UsageError, say
from stockade.files import check_replaceable

if TYPE_CHECKING:
    from stockade.v1 import ledger_pb2

FORMATS = ("ndjson", "cef", "ocsf")
_MOST = 2**63 - 1


def export(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Written whole, or not at all; - for a pipe.")
    ],
    form: Annotated[
        str, typer.Option("--format", metavar="FORMAT", help="ndjson (verifies), cef, or ocsf.")
    ] = "ndjson",
    cursor: Annotated[
        Path | None,
        typer.Option("--cursor", metavar="PLACE", help="Remember how far; go on from there."),
    ] = None,
    principal: having.Principal = "",
    tool: having.Tool = "",
    kind: having.Kind = None,
    decision: having.Decision = "",
    since: having.Since = "",
    until: having.Until = "",
    json_: Json = False,
) -> None:
    """Write the whole chain to a file, or a part of it, in a form of a security tool.

    Only the whole chain as ndjson verifies. With --cursor, receipts are appended to FILE.
    """
    if form not in FORMATS:
        raise UsageError(f"{form!r} is no format", fix="one of: " + ", ".join(FORMATS))
    wanted = having.only(principal, tool, kind, decision, since, until)
    job = _Job(_encoder(form), wanted, [form, principal, tool, kind, decision, since, until])
    if str(file) == "-":
        if cursor is not None:
            raise UsageError("a cursor says how long a file is", fix="name a file instead of -")
        job.stream(sys.stdout.buffer)
        return
    size = job.whole(file) if cursor is None else job.resume(file, cursor)
    if json_:
        machine.emit({"file": str(file), "bytes": size})
    else:
        say(f"{file}: {size} bytes")


@dataclass(frozen=True, slots=True)
class _Job:
    encode: Callable[[bytes], bytes]
    wanted: "ledger_pb2.ReceiptFilter | None"
    # What a cursor belongs to: another export must not go on with it.
    asked: list[Any]

    def whole(self, file: Path) -> int:
        """Write it anew."""
        check_replaceable(file)
        part = file.with_name(file.name + ".part")
        try:
            with part.open("wb") as out:
                self._write(out, 0, lambda _: None)
                size = out.tell()
            part.replace(file)
        finally:
            part.unlink(missing_ok=True)
        return size

    def stream(self, out: BinaryIO) -> None:
        """Write it to whoever reads, who sees by our status whether it is whole."""
        self._write(out, 0, lambda _: None)
        out.flush()

    def resume(self, file: Path, cursor: Path) -> int:
        """Append what is new since the cursor."""
        after, size = self._reached(file, cursor)
        if not cursor.exists():
            # First: without it nobody would know of whoever is killed how far that came.
            _keep(cursor, {"asked": self.asked, "through": 0, "bytes": 0})
        with file.open("r+b" if file.exists() else "wb") as out:
            out.truncate(size)
            out.seek(size)

            def reached(through: int) -> None:
                out.flush()
                os.fsync(out.fileno())
                _keep(cursor, {"asked": self.asked, "through": through, "bytes": out.tell()})

            self._write(out, after, reached)
            return out.tell()

    def _reached(self, file: Path, cursor: Path) -> tuple[int, int]:
        if not cursor.exists():
            if file.exists():
                raise UsageError(
                    f"{file} is there, and {cursor} is not", fix="name a new file, or remove it"
                )
            return 0, 0
        try:
            kept = json.loads(cursor.read_bytes())
            after, size, asked = int(kept["through"]), int(kept["bytes"]), kept["asked"]
            if not (0 <= after <= _MOST and 0 <= size <= _MOST):
                raise ValueError
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            raise UsageError(f"{cursor} is no cursor", fix="name the one of this file") from None
        if asked != self.asked:
            raise UsageError(
                f"{cursor} is of another export: {asked}", fix="ask as before, or a new cursor"
            )
        if (file.stat().st_size if file.exists() else 0) < size:
            raise UsageError(
                f"{file} is shorter than {cursor} says", fix="remove both to export anew"
            )
        return after, size

    def _write(self, out: BinaryIO, after: int, reached: Callable[[int], None]) -> None:
        from stockade.client import Client

        with Client.open() as client:
            chunks: Iterable[ledger_pb2.ExportLedgerResponse]
            chunks = client.export_ledger(after, self.wanted)
            for number, chunk in enumerate(chunks, 1):
                out.write(self.encode(chunk.lines))
                after = max(after, chunk.through)
                if number % 64 == 0:
                    reached(after)
            reached(after)


def _keep(cursor: Path, state: dict[str, Any]) -> None:
    fresh = cursor.with_name(cursor.name + ".new")
    with fresh.open("w") as file:
        json.dump(state, file)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(cursor)


def _encoder(form: str) -> Callable[[bytes], bytes]:
    """What makes lines of another form of an export's lines."""
    if form == "ndjson":
        return lambda lines: lines
    from ledger import siem
    from ledger.export import parse_line

    line = siem.cef_line if form == "cef" else siem.ocsf_line

    def encode(lines: bytes) -> bytes:
        parsed = map(parse_line, lines.splitlines(keepends=True))
        return "".join(line(one.receipt, one.entry) + "\n" for one in parsed).encode()

    return encode

"""Evidence: some receipts, each with the proof that it is in the ledger, and what they name.

One file of NDJSON, each line canonical JSON: a head with the checkpoint, entries in order,
documents, an end with both counts. Trusted to accept one only if the checkpoint is signed by both
keys, every entry is authentic and proved to be in the checkpoint's tree at its place, every
document has a digest that one of the receipts names, as a document of its sort, and nothing is
missing between the first line and the last. What it is evidence of is in no signature, so every
entry has to be of that.

Evidence of a period has no gap, and reaches beyond both ends of it, or to the ledger's own. It is
complete where a later receipt closes it; else only up to where its checkpoint ends, which may be an
old one. Evidence of a call or a lease shows that its receipts are in the ledger, not that there are
no others. Reads a line at a time. Raises EvidenceError, and CheckpointError for the
checkpoint.
"""

import base64
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final, NoReturn

import orjson

from ledger.authentic import Inauthentic, Reader
from ledger.canonical import encode
from ledger.chain import Entry
from ledger.checkpoint import Checkpoint, parse_checkpoint
from ledger.documents import digest_of_document
from ledger.errors import EvidenceError, KeyFileError, ProofError, ReceiptError, RotationError
from ledger.export import encode_line
from ledger.keys import PublicKeys
from ledger.lineage import Lineage, parse_lineage
from ledger.merkle import verify_inclusion
from ledger.receipt import Receipt, parse_time

TYPE: Final = "stockade.ledger/evidence/v1"
MAX_LINE: Final = 160 * 1024 * 1024
"""A policy state is one line; a set may have 128 MiB."""
_SUBJECTS: Final = ({"call"}, {"lease"}, {"from", "to"})
_HEX: Final = re.compile(r"[0-9a-f]{64}")

_NAMED_BY: Final = {
    "arguments_digest": "arguments",
    "redacted_arguments_digest": "redacted-arguments",
    "kept_digest": "output",
    "statement_digest": "statement",
    "manifest_digest": "agent-manifest",
    "terms_digest": "lease",
    "policy_digest": "policy",
    "tool_digest": "tool",
}
Name = tuple[str, str]
"""A sort of document, and a digest."""

Subject = Mapping[str, str]
"""{"call": id}, {"lease": id} or {"from": time, "to": time}."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was verified."""

    chain: str
    subject: Subject
    checkpoint: Checkpoint
    receipts: tuple[Receipt, ...] = field(repr=False)
    # By the digest that receipts name them by.
    documents: Mapping[str, Mapping[str, Any]] = field(repr=False)

    @property
    def complete(self) -> bool:
        """Whether it is shown that there are no other receipts of this subject."""
        closed = "from" in self.subject and bool(self.receipts)
        return closed and parse_time(self.receipts[-1].time) > parse_time(self.subject["to"])


def head_line(chain: str, subject: Subject, checkpoint: bytes, keys: str) -> bytes:
    """The first line. Of the keys a verifier takes what follows from its own: the rotations."""
    head = {"chain": chain, "checkpoint": checkpoint.decode(), "keys": keys, "subject": subject}
    return encode({**head, "type": TYPE}) + b"\n"


def entry_line(entry: Entry, proof: Sequence[bytes]) -> bytes:
    """The line of an entry with its inclusion proof."""
    path = encode([base64.b64encode(item).decode() for item in proof])
    return b'{"entry":%b,"proof":%b}\n' % (encode_line(entry).removesuffix(b"\n"), path)


def document_line(document: Mapping[str, Any]) -> bytes:
    """The line of a document."""
    return encode({"document": document}) + b"\n"


def end_line(entries: int, documents: int) -> bytes:
    """The last line."""
    return encode({"end": {"documents": documents, "entries": entries}}) + b"\n"


def names(receipts: Iterable[Receipt]) -> set[Name]:
    """What documents the receipts' bodies name: by the field that is for their sort."""
    found: set[Name] = set()
    places: list[object] = [receipt.body for receipt in receipts]
    while places:
        place = places.pop()
        if isinstance(place, Mapping):
            for name, value in place.items():
                sort = _NAMED_BY.get(name)
                if sort is not None and isinstance(value, str) and _HEX.fullmatch(value):
                    found.add((sort, value))
                else:
                    places.append(value)
        elif isinstance(place, list):
            places.extend(place)
    return found


def verify_evidence(lines: Iterable[bytes], known: PublicKeys | Lineage) -> Evidence:
    """The evidence in a file, with keys obtained elsewhere."""
    rest = iter(lines)
    head = _decoded(next(rest, b""))
    if head.keys() != {"type", "chain", "subject", "checkpoint", "keys"} or head["type"] != TYPE:
        _refuse("HEAD", "no evidence of a version that is known here")
    subject, note = head["subject"], head["checkpoint"]
    if type(subject) is not dict or set(subject) not in _SUBJECTS or type(note) is not str:
        _refuse("HEAD", "the first line does not say what this is evidence of")
    if any(type(value) is not str for value in subject.values()) or head["chain"] != known.chain:
        _refuse("HEAD", "the evidence is of another ledger")
    keys = _followed(known, head["keys"])
    checkpoint = parse_checkpoint(note.encode(), keys)
    receipts, documents = _read(rest, Reader(keys), checkpoint)
    if "from" in subject:
        _check_period(receipts, subject, checkpoint)
    else:
        _check_subject(receipts, subject)
    named = names(receipts)
    for digest, one in documents.items():
        if (one["what"], digest) not in named:
            _refuse("DOCUMENT", f"a document, {one['what']}, is not what any of the receipts names")
    return Evidence(keys.chain, subject, checkpoint, tuple(receipts), documents)


def _followed(known: PublicKeys | Lineage, stated: object) -> Lineage:
    """The keys that are known, and those they have handed over to by the rotations stated."""
    lineage = known if isinstance(known, Lineage) else Lineage(known)
    if not isinstance(stated, str):
        return lineage
    try:
        return lineage.extended(parse_lineage(stated.encode()))
    except (KeyFileError, RotationError):
        return lineage  # of other keys nothing is believed


def _read(
    lines: Iterator[bytes], reader: Reader, checkpoint: Checkpoint
) -> tuple[list[Receipt], dict[str, Mapping[str, Any]]]:
    receipts: list[Receipt] = []
    documents: dict[str, Mapping[str, Any]] = {}
    for line in lines:
        if line == end_line(len(receipts), len(documents)):
            break
        fields = _decoded(line)
        if fields.keys() == {"entry", "proof"} and not documents:
            receipt = _entry(fields, reader, checkpoint)
            if receipts and receipt.sequence <= receipts[-1].sequence:
                _refuse("ORDER", "the entries are not in order")
            receipts.append(receipt)
        elif fields.keys() == {"document"}:
            documents[digest_of_document(fields["document"])] = fields["document"]
        else:
            _refuse("END", "a line is none of evidence, or the counts at its end are others")
    else:
        _refuse("END", "the evidence is cut off")
    if next(lines, None) is not None:
        _refuse("END", "something follows the end")
    return receipts, documents


def _entry(fields: dict[str, Any], reader: Reader, checkpoint: Checkpoint) -> Receipt:
    proof = fields["proof"]
    if type(proof) is not list or any(type(item) is not str for item in proof):
        _refuse("PROOF", "a proof is a list of hashes")
    try:
        line = reader.authentic(encode(fields["entry"]) + b"\n")
        path = [base64.b64decode(item, validate=True) for item in proof]
        index = line.receipt.sequence - 1
        verify_inclusion(line.entry.digest, index, checkpoint.size, path, checkpoint.root)
    except Inauthentic as error:
        raise EvidenceError(error.fault, error.message) from error
    except (ProofError, ValueError) as error:
        raise EvidenceError(
            "PROOF", "an entry is not shown to be in the ledger that the checkpoint vouches for"
        ) from error
    return line.receipt


def _check_subject(receipts: list[Receipt], subject: Subject) -> None:
    """Each receipt is of the call; or of the lease, or of a call that it is of."""
    (name, value), *_ = subject.items()
    mine = [receipt.body for receipt in receipts if receipt.body.get(name) == value]
    calls = {body.get("call") for body in mine}
    if name == "lease":
        # The call that it was given with is named by the approval that the two share.
        asked = {body["approval"] for body in mine if "approval" in body}
        calls |= {r.body.get("call") for r in receipts if r.body.get("approval") in asked}
    calls.discard(None)
    others = (r for r in receipts if r.body.get(name) != value and r.body.get("call") not in calls)
    if not mine or next(others, None) is not None:
        _refuse("SUBJECT", f"not all of it, or none, is of the {name} that it says it is of")


def _check_period(receipts: list[Receipt], subject: Subject, checkpoint: Checkpoint) -> None:
    try:
        start, end = parse_time(subject["from"]), parse_time(subject["to"])
    except ReceiptError as error:
        raise EvidenceError("HEAD", "the period has no times") from error
    if not receipts:
        # Nothing before the first receipt: only an empty ledger shows that without one.
        _refuse("PERIOD", "the period is not shown to be empty")
    for before, after in pairwise(receipts):
        if after.sequence != before.sequence + 1:
            _refuse("PERIOD", f"entry {before.sequence + 1} of the period is missing")
    first, last = receipts[0], receipts[-1]
    if first.sequence != 1 and parse_time(first.time) >= start:
        _refuse("PERIOD", "the beginning of the period is missing")
    if last.sequence != checkpoint.size and parse_time(last.time) <= end:
        _refuse("PERIOD", "the end of the period is missing")


def _decoded(line: bytes) -> dict[str, Any]:
    if len(line) > MAX_LINE:
        _refuse("LINE", "a line is too long")
    try:
        fields = orjson.loads(line)
        if type(fields) is dict and encode(fields) + b"\n" == line:
            return fields
    except (orjson.JSONDecodeError, ReceiptError):
        pass
    raise EvidenceError("LINE", "a line is not canonical JSON")


def _refuse(code: str, message: str) -> NoReturn:
    raise EvidenceError(code, message)

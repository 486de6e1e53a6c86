"""The documents that receipts name by digest, as far as this daemon still has them.

Trusted to give a document only under the digest that a receipt names: what was changed since, or is
kept in another form, is left out. Reads the database and the copies of tools. Raises StoreFault.
"""

import base64
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from daemon.contents.output import unpack
from daemon.store import agents, approvals, calls, leases, policies
from daemon.store.ids import AgentId, CallId, LeaseId, PolicyDigest
from daemon.tools.errors import SnapshotError
from daemon.tools.snapshot import check_copy
from daemon.tools.tree import parse_digest
from ledger.documents import digest_of_document
from ledger.errors import EvidenceError
from ledger.evidence import Name
from ledger.receipt import Receipt

Document = Mapping[str, Any]
Wanted = tuple[str, str]
"""A sort of thing and its name: ("call", id), ("policy", digest), ("tool", digest), ..."""

MANIFEST = "manifest.toml"


def wanted_by(receipt: Receipt) -> Iterator[Wanted]:
    """What a receipt names that may be kept."""
    names = {
        "call": "call",
        "policy_digest": "policy",
        "tool_digest": "tool",
        "agent": "agent",
        "lease": "lease",
    }
    for field, sort in names.items():
        value = receipt.body.get(field)
        if isinstance(value, str) and value:
            yield sort, value


class Documents:
    """Looks up what is wanted. Its methods block."""

    def __init__(self, connection: Connection, tools: Path) -> None:
        self._connection = connection
        self._tools = tools
        self._sorts: Mapping[str, Callable[[str], Iterator[Document]]] = {
            "call": self._of_call,
            "policy": self._policy,
            "tool": self._tool,
            "agent": self._agent,
            "lease": self._lease,
        }

    def find(self, wanted: Wanted, named: set[Name]) -> Iterator[tuple[str, Document]]:
        """The documents of one thing that a digest among `named` is of, with that digest."""
        for document in self._sorts[wanted[0]](wanted[1]):
            try:
                digest = digest_of_document(document)
            except EvidenceError:
                continue
            if (document["what"], digest) in named:
                yield digest, document

    def _of_call(self, name: str) -> Iterator[Document]:
        row = calls.get(self._connection, CallId(name))
        if row is not None:
            yield from _text("arguments", row.arguments)
            yield from _text("redacted-arguments", row.redacted or b"")
            yield from _output(calls.output(self._connection, CallId(name)) or b"")
            for approval in approvals.of_call(self._connection, CallId(name)):
                yield from _text("statement", approval.statement)

    def _policy(self, digest: str) -> Iterator[Document]:
        row = policies.get(self._connection, PolicyDigest(digest))
        if row is not None and row.schema is not None and row.data is not None:
            yield {
                "what": "policy",
                "files": json.loads(row.files),
                "schema": json.loads(row.schema)["cedar"],
                "data": row.data.decode(),
            }

    def _tool(self, name: str) -> Iterator[Document]:
        digest = parse_digest(name)
        if digest is None:
            return
        try:
            files = check_copy(self._tools / digest, digest)
        except SnapshotError:
            return
        listed = [
            {
                "path": path,
                "executable": entry.executable,
                "sha256": hashlib.sha256(entry.content).hexdigest(),
            }
            for path, entry in sorted(files.items())
        ]
        for text in _text("tool", files[MANIFEST].content) if MANIFEST in files else ():
            yield {"what": "tool", "files": listed, "manifest": text["text"]}

    def _agent(self, name: str) -> Iterator[Document]:
        row = agents.get(self._connection, AgentId(name))
        if row is not None:
            yield from _text("agent-manifest", row.manifest)

    def _lease(self, name: str) -> Iterator[Document]:
        row = leases.get(self._connection, LeaseId(name))
        if row is not None:
            yield from _text("lease", row.terms)


def _output(stored: bytes) -> Iterator[Document]:
    try:
        kept = unpack(stored)
    except ValueError:
        return  # by another hand
    for one in kept.values():
        start, end = (base64.b64encode(part).decode() for part in (one.start, one.end))
        yield {"what": "output", "start": start, "end": end, "left_out": one.left_out}


def _text(what: str, data: bytes) -> Iterator[Document]:
    try:
        yield {"what": what, "text": data.decode()}
    except UnicodeDecodeError:
        return  # by another hand

"""Promise 6: the ledger cannot be quietly changed. An export, the public key, no daemon."""

import base64
import hashlib
import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from ledger.authentic import Inauthentic, Reader
from ledger.keys import parse_public
from tests.ledger.test_tampering import edits, rehash
from tests.promises.acting import ALONE, apply, run
from tests.running import STOCKADE, RunningDaemon, running

Lines = list[bytes]

DIGEST_DOMAIN = b"stockade.ledger/receipt/v1\x00"
SIGNATURE_DOMAIN = b"stockade.ledger/receipt-signature/v1\x00"


def compact(value: object) -> bytes:
    """Canonical JSON, as far as receipts need it: no floats, ASCII keys."""
    text = json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=False)
    return text.encode()


@dataclass
class Book:
    """What an auditor was given; the daemon is gone."""

    folder: Path
    lines: Lines

    def verify(self, lines: Lines, *extra: str) -> tuple[int, dict[str, Any], str]:
        """What `stockade ledger verify` says of these lines."""
        file = self.folder / "ledger.jsonl"
        file.write_bytes(b"".join(lines))
        key = self.folder / "ledger.pub"
        done = subprocess.run(
            [STOCKADE, "ledger", "verify", str(file), "--key", str(key), "--json", *extra],
            env={"STOCKADE_HOME": str(self.folder / "nobody-is-home"), "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        said = json.loads(done.stdout.splitlines()[0]) if done.stdout else {}
        return done.returncode, said, done.stderr


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Book:
    """Some calls of a daemon, exported by the command line, with keys and a checkpoint."""
    folder = tmp_path_factory.mktemp("auditor")
    with running() as daemon:
        with daemon.client() as client:
            apply(client, ALONE)
            for number in range(4):
                run(client, "run_shell", command=f"echo {number}")
            run(client, "run_shell", command="exit 3")
        of_every_sort(daemon)
        exported = folder / "exported.jsonl"
        assert daemon.cli("ledger", "export", str(exported)).status == 0
        lines = exported.read_bytes().splitlines(keepends=True)
        checkpoint = daemon.cli("ledger", "checkpoint")
        (folder / "checkpoint.txt").write_text(checkpoint.out)
        (folder / "ledger.pub").write_bytes(daemon.home.ledger_keys.read_bytes())
        assert daemon.cli("ledger", "keys").out.encode() == daemon.home.ledger_keys.read_bytes()
        # Written after the checkpoint and exported again: the checkpoint vouches for a part.
        assert daemon.cli("ledger", "export", str(exported)).status == 0
        assert exported.read_bytes().splitlines(keepends=True)[: len(lines)] == lines
        lines = exported.read_bytes().splitlines(keepends=True)
    return Book(folder, lines)


def of_every_sort(daemon: RunningDaemon) -> None:
    """Receipts of what else there is: refusals, devices, policies, secrets."""
    daemon.cli("call", "no_such_tool")
    auditor = daemon.pair_device("auditor", "auditors")
    daemon.cli("policy", "maintenance", "on", home=auditor)
    daemon.cli("devices", "groups", "auditor", "auditors", "callers")
    daemon.cli("secrets", "put", "secret://global/api-key", stdin="correct horse")
    daemon.cli("secrets", "remove", "secret://global/api-key")
    daemon.cli("policy", "maintenance", "on")
    daemon.cli("policy", "maintenance", "off")
    daemon.cli("devices", "revoke", "auditor", "--yes")


def test_an_untouched_export_verifies_without_a_daemon(book: Book) -> None:
    """The file and the public key are enough: no daemon, no home, no network."""
    status, said, _ = book.verify(book.lines)
    assert (status, said["ok"], said["entries"]) == (0, True, len(book.lines))
    assert said["covered"] is None


def test_the_checkpoint_vouches_for_the_beginning(book: Book) -> None:
    """With a checkpoint it is said how much of the ledger it covers."""
    checkpoint = f"--checkpoint={book.folder / 'checkpoint.txt'}"
    status, said, _ = book.verify(book.lines, checkpoint)
    assert (status, said["ok"]) == (0, True)
    assert 0 < said["covered"] <= len(book.lines)


def edited(lines: Lines) -> Lines:
    assert b'"tool":"run_shell"' in lines[_a_call(lines)]
    changed = lines[_a_call(lines)].replace(b'"tool":"run_shell"', b'"tool":"read_file"')
    return _with(lines, _a_call(lines), changed)


def resealed(lines: Lines) -> Lines:
    """Edited by somebody who knows the format, digest and all, but has no key."""
    place = _a_call(lines)
    entry = json.loads(lines[place])
    entry["receipt"]["body"]["tool"] = "read_file"
    digest = hashlib.sha256(DIGEST_DOMAIN + compact(entry["receipt"]))
    entry["digest"] = digest.hexdigest()
    return _with(lines, place, compact(entry) + b"\n")


def _a_call(lines: Lines) -> int:
    return next(n for n, line in enumerate(lines) if b'"kind":"call.received"' in line)


def _with(lines: Lines, place: int, line: bytes) -> Lines:
    return [*lines[:place], line, *lines[place + 1 :]]


def other_signature(lines: Lines) -> Lines:
    entry, other = json.loads(lines[6]), json.loads(lines[7])
    return _with(lines, 6, lines[6].replace(entry["sig"].encode(), other["sig"].encode()))


TAMPERINGS: dict[str, tuple[Callable[[Lines], Lines], int | None, set[str]]] = {
    # name: what is done, the entry to be named (None: looked up below), the words allowed for it
    "edited": (edited, None, {"EDITED"}),
    "edited and sealed again": (resealed, None, {"BAD_SIGNATURE"}),
    "another signature": (other_signature, 7, {"BAD_SIGNATURE"}),
    "one dropped": (lambda lines: lines[:4] + lines[5:], 5, {"MISSING"}),
    "the first dropped": (lambda lines: lines[1:], 1, {"MISSING"}),
    "one inserted again": (lambda lines: [*lines[:8], lines[2], *lines[8:]], 3, {"DUPLICATE"}),
    "two swapped": (
        lambda lines: [*lines[:3], lines[4], lines[3], *lines[5:]],
        5,
        {"REORDERED"},
    ),
    "not an entry": (lambda lines: [*lines[:5], b"{}\n", *lines[5:]], 6, {"MALFORMED"}),
    "white space": (
        lambda lines: _with(lines, 5, lines[5].replace(b'","receipt"', b'", "receipt"')),
        6,
        {"NOT_CANONICAL"},
    ),
    "half a line": (lambda lines: [*lines[:-1], lines[-1][:-20]], None, {"MALFORMED"}),
}


def test_every_edit_of_every_kind_is_an_edit(book: Book) -> None:
    """Each place in a receipt of each kind, set to another value, removed, and one added.

    With the digest as it was, and made anew by somebody who knows the format and has no key.
    """
    reader = Reader(parse_public((book.folder / "ledger.pub").read_bytes()))
    seen = set()
    for line in book.lines:
        kind = json.loads(line)["receipt"]["kind"]
        if kind in seen:
            continue
        seen.add(kind)
        assert reader.authentic(line).receipt.kind == kind
        for what, changed in edits(json.loads(line)):
            for sealed in (False, True):
                if sealed:
                    rehash(changed)
                with pytest.raises(Inauthentic) as found:
                    reader.authentic(compact(changed) + b"\n")
                words = {"MALFORMED", "VERSION", "NOT_CANONICAL"}
                words |= {"BAD_SIGNATURE", "OTHER_CHAIN"} if sealed else {"EDITED"}
                assert found.value.fault in words, f"{kind}: {what}"
    assert {
        *("call.received", "call.denied", "call.running", "call.succeeded", "call.failed"),
        *("daemon.started", "policy.applied", "policy.maintenance", "device.paired"),
        *("device.revoked", "secret.put", "secret.removed", "rpc.refused", "ledger.exported"),
    } <= seen


@pytest.mark.parametrize("how", TAMPERINGS)
def test_the_first_bad_entry_is_named(book: Book, how: str) -> None:
    """Edit, drop, insert, reorder: exit status not 0, the entry by its number, a word for it."""
    tamper, entry, words = TAMPERINGS[how]
    lines = tamper(book.lines)
    if entry is None:
        entry = len(lines) if how == "half a line" else _a_call(book.lines) + 1
    status, said, complaint = book.verify(lines)
    assert status != 0
    assert said["ok"] is False
    assert said["sequence"] == entry
    assert said["reason"] in words
    assert said["reason"] in complaint
    assert f"entry {entry}" in complaint


def test_a_cut_tail_is_seen_by_the_checkpoint(book: Book) -> None:
    """Without a checkpoint a shorter ledger looks whole; with one from elsewhere it does not."""
    cut = book.lines[: len(book.lines) // 2]
    assert book.verify(cut)[0] == 0
    checkpoint = f"--checkpoint={book.folder / 'checkpoint.txt'}"
    status, said, _ = book.verify(cut, checkpoint)
    assert status != 0
    assert said["reason"] == "TRUNCATED"
    status, said, _ = book.verify([], checkpoint)
    assert (status != 0, said["reason"]) == (True, "TRUNCATED")


def test_a_checkpoint_that_was_tampered_with_vouches_for_nothing(book: Book) -> None:
    """A changed checkpoint is refused, not ignored."""
    text = (book.folder / "checkpoint.txt").read_text()
    size = text.splitlines()[1]
    forged = book.folder / "forged.txt"
    forged.write_text(text.replace(f"\n{size}\n", f"\n{int(size) - 1}\n", 1))
    status, _, _ = book.verify(book.lines, f"--checkpoint={forged}")
    assert status != 0


def test_another_ledgers_key_verifies_nothing(book: Book, tmp_path: Path) -> None:
    """The key decides whose ledger it is: with another chain's key every entry is bad."""
    with running() as other:
        key = tmp_path / "other.pub"
        key.write_bytes(other.home.ledger_keys.read_bytes())
        file = tmp_path / "ledger.jsonl"
        file.write_bytes(b"".join(book.lines))
        answer = other.cli("ledger", "verify", str(file), "--key", str(key), "--json")
    assert answer.status != 0
    assert answer.lines()[0]["sequence"] == 1


def test_the_chain_verifies_with_cryptography_alone(book: Book) -> None:
    """Digest, chain and signature of every entry, by an auditor who has none of this code."""
    first_line = (book.folder / "ledger.pub").read_text().splitlines()[0]
    encoded = first_line.split("+", 2)[2]
    public = Ed25519PublicKey.from_public_bytes(base64.b64decode(encoded)[1:])
    before = "0" * 64
    for number, line in enumerate(book.lines, 1):
        entry = json.loads(line)
        receipt, signature = entry["receipt"], base64.b64decode(entry["sig"])
        canonical = compact(receipt)
        assert canonical in line
        assert (receipt["seq"], receipt["prev"]) == (number, before)
        digest = hashlib.sha256(DIGEST_DOMAIN + canonical).digest()
        assert digest.hex() == entry["digest"]
        public.verify(signature, SIGNATURE_DOMAIN + digest)
        with pytest.raises(InvalidSignature):
            public.verify(signature, SIGNATURE_DOMAIN + bytes(32))
        before = entry["digest"]


def test_the_ledger_goes_on_over_a_restart(daemon: RunningDaemon, tmp_path: Path) -> None:
    """A chain that began anew with each start would hide a deleted piece; this one is one."""
    with daemon.client() as client:
        apply(client, ALONE)
        run(client, "run_shell", command="true")
    daemon.restart()
    file = tmp_path / "ledger.jsonl"
    assert daemon.cli("ledger", "export", str(file)).status == 0
    kinds = [json.loads(line)["receipt"]["kind"] for line in file.read_bytes().splitlines()]
    assert kinds.count("daemon.started") == 2
    assert kinds.count("daemon.stopped") == 1
    key = str(daemon.home.ledger_keys)
    assert daemon.cli("ledger", "verify", str(file), "--key", key).status == 0

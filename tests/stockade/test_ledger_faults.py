"""`stockade ledger verify` names the first bad entry, of each kind there is, by its word."""

from collections.abc import Callable
from pathlib import Path

import pytest

from ledger.chain import Chain, Entry, Head
from ledger.checkpoint import Checkpoint, sign
from ledger.cosign import add_signatures, cosign
from ledger.keys import encode_public
from ledger.receipt import format_time
from stockade.cli.ledger_verify import verify
from stockade.errors import StockadeError
from tests.ledger.specimen import (
    KEYS,
    OTHER_KEYS,
    PUBLIC,
    START_MS,
    STOLEN_NAME,
    fork,
    ledger,
    lines_of,
    root_of,
)
from tests.ledger.test_rotation import FORGED, rotate
from tests.ledger.test_verify import resigned

ENTRIES = ledger(4200)  # more than the verifier remembers
LINES = lines_of(ENTRIES)
Lines = list[bytes]


def forged_rotation(lines: Lines) -> Lines:
    last = ENTRIES[99]
    chain = Chain("alpha", KEYS.signer(), Head("alpha", 100, last.digest, last.time))
    entry = rotate(chain, KEYS, STOLEN_NAME, FORGED["by the old keys alone"])
    return [*lines[:100], *lines_of([entry])]


def early() -> Entry:
    changes = {"sequence": 9, "prev": ENTRIES[7].digest, "time": format_time(START_MS)}
    return resigned(**changes)


KINDS: dict[str, tuple[Callable[[Lines], Lines], int]] = {
    # what is done to the lines, and the entry that is named
    "EDITED": (lambda ls: [*ls[:6], ls[6].replace(b"builder", b"bu1lder"), *ls[7:]], 7),
    "MISSING": (lambda ls: ls[:6] + ls[7:], 7),
    "REORDERED": (lambda ls: [*ls[:6], ls[7], ls[6], *ls[8:]], 8),
    "DUPLICATE": (lambda ls: [*ls[:6], ls[2], *ls[6:]], 3),
    "INSERTED": (lambda ls: [*ls, ls[2]], 3),
    "TRUNCATED": (lambda ls: ls[:40], 41),
    "FORKED": (lambda ls: ls[:50] + lines_of(fork(ENTRIES[:60], 40, 20))[50:], 51),
    "ROLLED_BACK": (lambda _: lines_of(fork(ENTRIES[:60], 40, 20)), 61),
    "BAD_SIGNATURE": (lambda ls: ls[:6] + lines_of(ledger(8, STOLEN_NAME))[6:], 7),
    "OTHER_CHAIN": (lambda ls: ls[:6] + lines_of(ledger(8, OTHER_KEYS))[6:], 7),
    "CLOCK_BACK": (lambda ls: [*ls[:8], *lines_of([early()])], 9),
    "BAD_ROTATION": (forged_rotation, 101),
    "VERSION": (lambda ls: [*ls[:6], ls[6].replace(b'"v":1}', b'"v":0}'), *ls[7:]], 7),
    "NOT_CANONICAL": (lambda ls: [*ls[:6], b" " + ls[6], *ls[7:]], 7),
    "MALFORMED": (lambda ls: [*ls[:6], b"{}\n", *ls[7:]], 7),
    "OVERSIZE": (lambda ls: [*ls[:6], b"x" * (1024 * 1024 + 1), *ls[7:]], 7),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The keys, and a checkpoint that a witness saw while the ledger had its first 4,200."""
    made = tmp_path_factory.mktemp("auditor")
    (made / "ledger.pub").write_bytes(encode_public(PUBLIC))
    (made / "witness.pub").write_bytes(encode_public(OTHER_KEYS.public()))
    checkpoint = Checkpoint("alpha", len(ENTRIES), root_of(ENTRIES))
    # So that what is in a history of its own later is of after it.
    seen = cosign(checkpoint, OTHER_KEYS, START_MS // 1000 + 50)
    (made / "checkpoint").write_bytes(add_signatures(sign(checkpoint, KEYS), seen))
    return made


@pytest.mark.parametrize("word", KINDS)
def test_the_first_bad_entry_is_named_by_its_word(folder: Path, word: str) -> None:
    """The word, the entry's number, and what to do."""
    tamper, entry = KINDS[word]
    file = folder / "export"
    file.write_bytes(b"".join(tamper(LINES)))
    with pytest.raises(StockadeError) as named:
        verify(
            file,
            folder / "ledger.pub",
            [folder / "checkpoint"],
            [folder / "witness.pub"],
            jobs=1,
        )
    assert (named.value.reason, f"entry {entry}:" in str(named.value)) == (word, True)
    assert named.value.fix


def test_the_whole_one_is_whole(folder: Path) -> None:
    """By the same keys, checkpoint and witness."""
    file = folder / "export"
    file.write_bytes(b"".join(LINES))
    found = verify(
        file, folder / "ledger.pub", [folder / "checkpoint"], [folder / "witness.pub"], jobs=1
    )
    assert found == 0

"""Appending to a chain."""

import pytest

from ledger.chain import Chain, Ed25519Signer, Entry, Head
from ledger.errors import ChainError, LedgerError
from ledger.export import encode_line, parse_line
from ledger.receipt import NO_PREVIOUS, digest_of, format_time, message_of
from ledger.verify import verify

from .specimen import BODY, KEYS, PUBLIC, START_MS, extend, ledger, lines_of, uuid7


def new_chain(head: Head | None = None) -> Chain:
    return Chain("alpha", KEYS.signer(), head)


def append(chain: Chain, now_ms: int = START_MS) -> Entry:
    return chain.append("call.received", BODY, receipt_id=uuid7(1), now_ms=now_ms)


def test_entries_are_chained_and_signed() -> None:
    """Every entry names the digest of the one before, and carries a signature over its own."""
    prev = NO_PREVIOUS
    for number, entry in enumerate(ledger(5), start=1):
        receipt = parse_line(encode_line(entry)).receipt
        assert (entry.sequence, receipt.sequence, receipt.prev) == (number, number, prev)
        assert entry.digest == digest_of(entry.canonical)
        assert PUBLIC.verifies_ed25519(message_of(entry.digest), entry.signature)
        prev = entry.digest


def test_a_chain_continues_from_its_head() -> None:
    """A chain restarted from the head it left off at goes on as one that never stopped."""
    chain = new_chain()
    first = extend(chain, 3)
    whole = first + extend(new_chain(chain.head), 3, first=3)
    assert whole == first + extend(chain, 3, first=3)
    assert verify(lines_of(whole), PUBLIC).count == 6


def test_time_never_goes_back() -> None:
    """A clock set back gives the time of the entry before, and says by how much it lay behind."""
    chain = new_chain()
    append(chain, START_MS)
    behind = append(chain, START_MS - 1500)
    again = append(chain, START_MS - 1)
    same = append(chain, START_MS)
    receipts = [parse_line(encode_line(entry)).receipt for entry in (behind, again, same)]
    assert {item.time for item in receipts} == {format_time(START_MS)}
    assert [item.clock_behind_ms for item in receipts] == [1500, 1, None]


def test_a_refused_receipt_changes_nothing() -> None:
    """After any refusal the head is where it was, and the next entry takes the number."""
    chain = new_chain()
    append(chain)
    head = chain.head
    bad: list[tuple[str, dict[str, object], str, int]] = [
        ("not a kind", {}, uuid7(1), START_MS),
        ("kind", {"risk": 0.5}, uuid7(1), START_MS),
        ("kind", {}, "no-uuid", START_MS),
        ("kind", {}, uuid7(1), -1),
        ("kind", {"x": "\ud800"}, uuid7(1), START_MS),
        ("kind", {"x": "x" * 1024 * 1024}, uuid7(1), START_MS),
    ]
    for kind, body, receipt_id, now_ms in bad:
        with pytest.raises(LedgerError):
            chain.append(kind, body, receipt_id=receipt_id, now_ms=now_ms)
        assert chain.head == head
    assert append(chain).sequence == 2


def test_a_signer_that_fails_changes_nothing() -> None:
    """No signature, no entry: the head stays, whether the signer raises or returns rubbish."""

    class Broken:
        def __init__(self) -> None:
            self.answers: list[bytes | Exception] = [OSError("token removed"), b"short", b""]

        def sign(self, message: bytes, /) -> bytes:
            answer = self.answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer + message[:0]

    chain = Chain("alpha", Broken(), None)
    with pytest.raises(OSError, match="token removed"):
        append(chain)
    for _ in range(2):
        with pytest.raises(ChainError, match="SIGNER"):
            append(chain)
    assert chain.head is None


def test_rewinding_forgets_what_rolled_back() -> None:
    """After a rollback the chain goes on from the durable head as if nothing had been appended."""
    chain = new_chain()
    durable = extend(chain, 2)
    head = chain.head
    extend(chain, 3, first=2, tag="rolled back")
    chain.rewind(head)
    assert chain.head == head
    assert verify(lines_of(durable + extend(chain, 3, first=2)), PUBLIC).count == 5
    chain.rewind(None)
    assert chain.head is None
    assert append(chain).sequence == 1


def test_rewinding_never_leaves_the_chain() -> None:
    """A head that is ahead, of another history or of another chain is refused."""
    chain, ahead, other = new_chain(), new_chain(), new_chain()
    extend(chain, 2)
    extend(ahead, 3)
    extend(other, 2, tag="other")
    for head in (ahead.head, other.head, Head("beta", 1, bytes(32), format_time(0))):
        with pytest.raises(ChainError):
            chain.rewind(head)
    with pytest.raises(ChainError, match="OTHER_CHAIN"):
        new_chain(Head("beta", 1, bytes(32), format_time(0)))


@pytest.mark.parametrize(
    ("chain", "sequence", "digest", "time"),
    [
        ("Alpha", 1, bytes(32), format_time(0)),
        ("alpha", 0, bytes(32), format_time(0)),
        ("alpha", True, bytes(32), format_time(0)),
        ("alpha", 1, bytes(31), format_time(0)),
        ("alpha", 1, bytes(32), "1970-01-01"),
    ],
)
def test_a_head_is_checked(chain: str, sequence: int, digest: bytes, time: str) -> None:
    """A head that could not be one (a damaged row) is refused before anything is appended."""
    with pytest.raises(ChainError, match="HEAD"):
        Head(chain, sequence, digest, time)


@pytest.mark.parametrize("chain", ["", "A", "a b", "a/b", "a+b"])
def test_a_chain_id_is_checked(chain: str) -> None:
    """A chain id that could not stand in a key name is refused."""
    with pytest.raises(ChainError, match="CHAIN"):
        Chain(chain, KEYS.signer(), None)


@pytest.mark.parametrize("seed", [b"", bytes(31), bytes(33), bytes(64)])
def test_a_seed_has_its_size(seed: bytes) -> None:
    """A seed of another size is refused, and the error does not hold it."""
    with pytest.raises(ChainError, match="SEED") as caught:
        Ed25519Signer(seed)
    assert caught.value.__cause__ is None

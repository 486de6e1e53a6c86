"""Ledgers to test with: fixed keys, fixed ids, so that the same lines come out every time."""

from collections.abc import Mapping

from ledger.canonical import encode
from ledger.chain import Chain, Entry, Head
from ledger.export import encode_line
from ledger.keys import SigningKeys
from ledger.merkle import CompactRange

KEYS = SigningKeys("alpha", bytes([1]) * 32, bytes([2]) * 32)
OTHER_KEYS = SigningKeys("beta", bytes([3]) * 32, bytes([4]) * 32)
STOLEN_NAME = SigningKeys("alpha", bytes([5]) * 32, bytes([6]) * 32)
PUBLIC = KEYS.public()
START_MS = 1_750_000_000_000
BODY: Mapping[str, object] = {
    "call": "0197a3a1-0000-7000-8000-000000000001",
    "principal": "agent/builder",
    "allowed": True,
    "lease": None,
    "risk": {"score_milli": 420, "inputs": [1, -2, 3]},
    "note": 'naïve "quotes", a\nnewline, \u2028 and 😀',
}


def uuid7(number: int) -> str:
    return f"0197a3a0-0000-7000-8000-{number:012x}"


def extend(chain: Chain, count: int, *, first: int = 0, tag: str = "") -> list[Entry]:
    return [
        chain.append(
            "call.permitted" if number % 2 else "call.received",
            {**BODY, "number": number, "tag": tag},
            receipt_id=uuid7(first + number),
            now_ms=START_MS + 1000 * (first + number),
        )
        for number in range(count)
    ]


def ledger(count: int, keys: SigningKeys = KEYS, *, tag: str = "") -> list[Entry]:
    return extend(Chain(keys.chain, keys.signer(), None), count, tag=tag)


def fork(entries: list[Entry], at: int, count: int) -> list[Entry]:
    """A second history: the daemon was set back to after entry `at`, and went on."""
    last = entries[at - 1]
    head = Head(KEYS.chain, last.sequence, last.digest, last.time) if at else None
    chain = Chain(KEYS.chain, KEYS.signer(), head)
    return entries[:at] + extend(chain, count, first=at, tag="fork")


def lines_of(entries: list[Entry]) -> list[bytes]:
    return [encode_line(entry) for entry in entries]


def root_of(entries: list[Entry]) -> bytes:
    tree = CompactRange()
    for entry in entries:
        tree.append(entry.digest)
    return tree.root()


def line_of(fields: object) -> bytes:
    """Any JSON value as a canonical line."""
    return encode(fields) + b"\n"

"""A writer with real keys, and the check of what it wrote."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

from sqlalchemy import Engine

from daemon.store import receipts
from daemon.store.commit import Tx
from daemon.store.ids import CallId
from daemon.store.writer import Writer
from ledger.export import encode_line
from ledger.keys import PublicKeys, SigningKeys, generate
from ledger.verify import Verified, verify

CHAIN = "test-1"


def seeded(seed: int = 7) -> Callable[[int], bytes]:
    """The same bytes every time, so that a child process signs with the same keys."""
    return lambda size: bytes([seed]) * size


KEYS: SigningKeys = generate(CHAIN, seeded())
PUBLIC: PublicKeys = KEYS.public()


def clock(start: int = 1_800_000_000_000) -> Callable[[], int]:
    counter = itertools.count(start)
    return lambda: next(counter)


def writer(engine: Engine, **options: Any) -> Writer:
    return Writer(engine, CHAIN, KEYS.signer(), now_ms=clock(), **options)


def note(text: str) -> Callable[[Tx], int]:
    """An operation that leaves one receipt and returns its sequence number."""
    return lambda tx: tx.receipt("test.noted", {"text": text}, call_id=CallId(text)).sequence


def noted(engine: Engine) -> list[str]:
    """The texts of all receipts, in the order of the chain; the chain is verified first."""
    verified(engine)
    with engine.connect() as connection:
        return [str(row.call_id) for row in receipts.stream(connection, CHAIN, size=100)]


def verified(engine: Engine) -> Verified:
    """What the offline verifier says of everything in the database; raises if it is not whole."""
    return verify(exported(engine), PUBLIC)


def exported(engine: Engine) -> Iterator[bytes]:
    with engine.connect() as connection:
        for row in receipts.stream(connection, CHAIN):
            yield encode_line(row.entry)

"""What came after the last checkpoint is looked at before it is gone on with."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, delete, select, update

from daemon.errors import StartError
from daemon.ledger.checkpoints import Rhythm
from daemon.store.engine import writing
from daemon.store.tables import receipts
from ledger.chain import Chain, Head
from ledger.keys import SigningKeys
from tests.daemon.checkpoints.conftest import Opened
from tests.daemon.store import specimen

SELDOM = Rhythm(seconds=10_000, receipts=10_000)
STRANGER = SigningKeys(specimen.CHAIN, bytes([1]) * 32, bytes([2]) * 32)


def change(number: int, **values: Any) -> Callable[[Connection], None]:
    def made(connection: Connection) -> None:
        connection.execute(update(receipts).where(receipts.c.sequence == number).values(**values))

    return made


def edited(connection: Connection) -> None:
    of = receipts.c.sequence == 7
    text = connection.execute(select(receipts.c.canonical).where(of)).scalar_one()
    changed = text.replace(b'"text"', b'"texT"')
    connection.execute(update(receipts).where(of).values(canonical=changed))


def taken_out(connection: Connection) -> None:
    connection.execute(delete(receipts).where(receipts.c.sequence == 7))


def signed_by_another(connection: Connection) -> None:
    """Digest and signature made anew by somebody who has no key of this ledger."""
    row = connection.execute(select(receipts).where(receipts.c.sequence == 6)).mappings().one()
    chain = Chain(
        specimen.CHAIN, STRANGER.signer(), Head(specimen.CHAIN, 6, row["digest"], row["time"])
    )
    made = chain.append(
        "test.noted",
        {},
        receipt_id="01970000-0000-7000-8000-000000000007",
        now_ms=1_900_000_000_000,
    )
    change(7, canonical=made.canonical, digest=made.digest, signature=made.signature)(connection)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "attack",
    [
        *(edited, taken_out, signed_by_another, change(7, signature=bytes(64))),
        *(change(7, kind="other.kind"), change(7, time="2026-01-01T00:00:00.000Z")),
        change(7, receipt_id="01970000-0000-7000-8000-00000000abcd"),
    ],
)
async def test_receipts_changed_since_the_last_checkpoint_are_not_gone_on_with(
    opened: Opened, engine: Engine, attack: Callable[[Connection], None]
) -> None:
    """Edited, resealed, taken out: the next checkpoint would have vouched for it."""
    async with opened(rhythm=SELDOM) as ledger:
        await ledger.note(4)
        await ledger.checkpoints.take()
        await ledger.note(5)
    async with opened(rhythm=SELDOM):
        pass
    with writing(engine).begin() as connection:
        attack(connection)
    with pytest.raises(StartError) as refused:
        async with opened(rhythm=SELDOM):
            pass
    assert (refused.value.code, "entry 7" in refused.value.message) == ("LEDGER_FORKED", True)

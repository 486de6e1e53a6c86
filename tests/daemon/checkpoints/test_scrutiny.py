"""The whole ledger is looked through: what was damaged long ago is told, and nothing else is."""

from collections.abc import Callable

import pytest
from sqlalchemy import Connection, Engine

from daemon.errors import Fault
from daemon.ledger import scrutiny
from daemon.ledger.keys import LedgerKeys
from daemon.ledger.scrutiny import Scrutiny
from daemon.store.engine import writing
from daemon.store.faults import StoreFault
from daemon.store.reader import Reader
from ledger.lineage import Lineage
from stockade.cli.doctor import _reported
from stockade.v1 import daemon_pb2
from tests.daemon.checkpoints.conftest import Opened
from tests.daemon.checkpoints.test_tail import change, edited, signed_by_another, taken_out
from tests.daemon.store import specimen

pytestmark = pytest.mark.anyio
NOTES = 130  # more than two pages


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scrutiny, "PAUSE_SECONDS", 0)


def looking(engine: Engine, told: list[str], last: int = NOTES) -> Scrutiny:
    keys = LedgerKeys(specimen.KEYS, Lineage(specimen.PUBLIC))
    return Scrutiny(Reader(engine), keys, lambda: last, told.append)


async def test_a_ledger_as_it_was_signed_is_not_told_of(opened: Opened, engine: Engine) -> None:
    """All of its pages, from the first entry to the last."""
    told = list[str]()
    async with opened() as ledger:
        await ledger.note(NOTES)
        looked = looking(engine, told)
        await looked.look_through()
    assert (looked.damage, told) == ("", [])


@pytest.mark.parametrize("attack", [edited, taken_out, signed_by_another, change(99, kind="x")])
async def test_damage_of_long_ago_is_told_once(
    opened: Opened, engine: Engine, attack: Callable[[Connection], None]
) -> None:
    """Below the last checkpoint, where no start looks: by the number of the first bad entry."""
    told = list[str]()
    async with opened() as ledger:
        await ledger.note(NOTES)
        await ledger.checkpoints.take()
        with writing(engine).begin() as connection:
            attack(connection)
        looked = looking(engine, told)
        await looked.look_through()
    number = 7 if attack in (edited, taken_out, signed_by_another) else 99
    assert told == [looked.damage]
    assert looked.damage.startswith(f"LEDGER_DAMAGED: entry {number} of the ledger")


async def test_a_store_that_is_ill_is_no_damaged_ledger(
    opened: Opened, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cannot be read just now is read later, and what looked wrong once is looked at again."""
    told, faults = list[str](), list[Fault]()
    faults += [StoreFault("STORE_BUSY", "later"), StoreFault("STORE_CORRUPT", "once")]
    async with opened() as ledger:
        await ledger.note(NOTES)
        looked = looking(engine, told)
        read = looked._page

        async def ill(*place: object) -> object:
            if faults:
                raise faults.pop(0)
            return await read(*place)  # type: ignore[arg-type] # whatever it is asked with

        monkeypatch.setattr(looked, "_page", ill)
        await looked.look_through()
    assert (looked.damage, told, faults) == ("", [], [])


def test_doctor_says_what_was_found() -> None:
    """As a finding of its own, beside a ledger that goes on."""
    said = "LEDGER_DAMAGED: entry 7 of the ledger was changed"
    answer = daemon_pb2.GetStatusResponse(ledger_state="ok", ledger_damage=said, health="ok")
    found = [one for one in _reported(answer) if one.what == "ledger"]
    assert [(one.ok, one.message) for one in found] == [(True, "entry 0"), (False, said)]

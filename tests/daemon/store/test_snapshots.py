"""The contract of the store of entity snapshots."""

import pytest
from sqlalchemy import Engine

from daemon.store import snapshots
from daemon.store.engine import writing


def save(engine: Engine, digest: str, now_ms: int, room: int = 10) -> bool:
    with writing(engine).begin() as connection:
        return snapshots.save(connection, digest, digest.encode() * 4, now_ms, room=room)


def kept(engine: Engine, *digests: str) -> list[str]:
    with engine.connect() as connection:
        return [one for one in digests if snapshots.get(connection, one) is not None]


def test_a_snapshot_is_stored_once(engine: Engine) -> None:
    """The same digest is the same entities."""
    assert save(engine, "a", 1)
    assert not save(engine, "a", 2)
    with engine.connect() as connection:
        assert snapshots.get(connection, "a") == b"aaaa"
        assert snapshots.get(connection, "b") is None


def test_the_oldest_go_when_there_is_no_room(engine: Engine) -> None:
    """There is room for two of four bytes each in ten: the third pushes the first out."""
    for number, digest in enumerate("abc"):
        save(engine, digest, number)
    assert kept(engine, *"abc") == ["b", "c"]


def test_what_is_used_again_is_not_the_oldest(engine: Engine) -> None:
    """Entities that came back are those of today's decisions."""
    save(engine, "a", 1)
    save(engine, "b", 2)
    save(engine, "a", 3)
    save(engine, "c", 4)
    assert kept(engine, *"abc") == ["a", "c"]


@pytest.mark.parametrize("room", [0, 3])
def test_the_newest_stays_whatever_its_size(engine: Engine, room: int) -> None:
    """A decision's own entities are kept with it, if nothing else is."""
    save(engine, "a", 1, room)
    save(engine, "b", 2, room)
    assert kept(engine, "a", "b") == ["b"]

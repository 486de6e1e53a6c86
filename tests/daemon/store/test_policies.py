"""The contract of the policies store."""

import pytest
from sqlalchemy import Engine

from daemon.store import policies
from daemon.store.engine import writing
from daemon.store.faults import StoreFault
from daemon.store.ids import PolicyDigest
from daemon.store.policies import Activation, PolicyRow
from tests.daemon.store.conftest import EngineFactory
from tests.daemon.store.test_calls import race


def row(digest: str) -> PolicyRow:
    return PolicyRow(PolicyDigest(digest), b"files of " + digest.encode(), 1)


@pytest.fixture
def stored(engine: Engine) -> Engine:
    with writing(engine).begin() as connection:
        for digest in ("p1", "p2"):
            assert policies.save(connection, row(digest))
    return engine


def test_a_policy_set_is_stored_once(stored: Engine) -> None:
    """The same digest is the same set: a second one does not replace the first."""
    with writing(stored).begin() as connection:
        assert not policies.save(connection, PolicyRow(PolicyDigest("p1"), b"forged", 2))
        assert policies.get(connection, PolicyDigest("p1")) == row("p1")
        assert policies.get(connection, PolicyDigest("none")) is None


def test_nothing_is_in_force_at_first(stored: Engine) -> None:
    """Saving is not activating: until then no set is in force."""
    with stored.connect() as connection:
        assert policies.current(connection) is None
        assert policies.history(connection) == ()


def test_history_names_every_activation(stored: Engine) -> None:
    """Going back to an earlier set is an activation of its own, with who and when."""
    expected: list[Activation] = []
    with writing(stored).begin() as connection:
        for number, digest in enumerate(("p1", "p2", "p1"), start=1):
            before = policies.current(connection)
            assert policies.activate(
                connection, PolicyDigest(digest), after=before, activated_by="op", now_ms=number
            )
            expected.insert(0, Activation(number, PolicyDigest(digest), number, "op"))
            assert policies.current(connection) == expected[0]
        assert policies.history(connection) == tuple(expected)
        assert policies.history(connection, limit=2) == tuple(expected[:2])


def test_a_stale_activation_is_refused(stored: Engine) -> None:
    """Who did not know the set in force does not replace it."""
    with writing(stored).begin() as connection:
        digest = PolicyDigest("p1")
        assert policies.activate(connection, digest, after=None, activated_by="a", now_ms=1)
        assert not policies.activate(connection, digest, after=None, activated_by="b", now_ms=2)
        wrong = Activation(1, PolicyDigest("p2"), 1, "a")
        assert not policies.activate(connection, digest, after=wrong, activated_by="b", now_ms=2)
        ahead = Activation(7, digest, 1, "a")
        assert not policies.activate(connection, digest, after=ahead, activated_by="b", now_ms=2)
        assert len(policies.history(connection)) == 1


def test_what_was_not_saved_cannot_be_in_force(stored: Engine) -> None:
    """A digest without its files cannot be activated."""
    with writing(stored).begin() as connection, pytest.raises(StoreFault) as caught:
        policies.activate(connection, PolicyDigest("none"), after=None, activated_by="a", now_ms=1)
    assert caught.value.code == "STORE_CONFLICT"


@pytest.mark.usefixtures("stored")
def test_of_two_that_activate_one_does(engines: EngineFactory) -> None:
    """Of several that replace the same set at the same time one does."""

    def attempt(engine: Engine) -> bool:
        with writing(engine).begin() as connection:
            return policies.activate(
                connection, PolicyDigest("p1"), after=None, activated_by="a", now_ms=1
            )

    assert race(engines, attempt) == 1

"""The contract of the policies store."""

import pytest
from sqlalchemy import Engine, func, select

from daemon.store import policies
from daemon.store.engine import writing
from daemon.store.faults import StoreFault
from daemon.store.ids import PolicyDigest
from daemon.store.policies import Activation, Document, PackedPolicy
from daemon.store.tables import policy_documents
from tests.daemon.store.conftest import EngineFactory
from tests.daemon.store.test_calls import race

SCHEMA = b"the schema"


def files_of(digest: str) -> bytes:
    return b"files of " + digest.encode()


def packed(digest: str, files: bytes | None = None) -> PackedPolicy:
    return PackedPolicy(
        PolicyDigest(digest),
        Document.of(files or files_of(digest)),
        Document.of(SCHEMA),
        Document.of(b"{}"),
    )


@pytest.fixture
def stored(engine: Engine) -> Engine:
    with writing(engine).begin() as connection:
        for digest in ("p1", "p2"):
            assert policies.save(connection, packed(digest), 1)
    return engine


def test_a_policy_state_is_stored_once(stored: Engine) -> None:
    """The same digest is the same state: a second one does not replace the first."""
    with writing(stored).begin() as connection:
        assert not policies.save(connection, packed("p1", b"forged"), 2)
        found = policies.get(connection, PolicyDigest("p1"))
        assert found is not None
        assert (found.files, found.schema, found.data) == (files_of("p1"), SCHEMA, b"{}")
        assert policies.get(connection, PolicyDigest("none")) is None


def test_what_states_share_is_kept_once(stored: Engine) -> None:
    """Two states of one schema and one entity data: four documents, not six."""
    with stored.connect() as connection:
        count = connection.execute(select(func.count()).select_from(policy_documents)).scalar_one()
    assert count == 4


@pytest.mark.parametrize("content", [b"not packed", Document.of(b"another").packed, b""])
def test_a_damaged_document_is_not_taken_for_the_policy(stored: Engine, content: bytes) -> None:
    """What does not have its digest any more is refused, and not put in force."""
    with writing(stored).begin() as connection:
        digest = Document.of(files_of("p1")).digest
        connection.execute(
            policy_documents.update()
            .where(policy_documents.c.digest == digest)
            .values(content=content)
        )
        with pytest.raises(StoreFault) as caught:
            policies.get(connection, PolicyDigest("p1"))
    assert caught.value.code == "STORE_CORRUPT"


def test_a_state_is_found_by_the_beginning_of_its_digest(stored: Engine) -> None:
    """A beginning that several have finds them all."""
    with stored.connect() as connection:
        assert policies.beginning(connection, "p") == ("p1", "p2")
        assert policies.beginning(connection, "p2") == ("p2",)
        assert policies.beginning(connection, "%") == ()
        assert policies.beginning(connection, "p3") == ()


def test_nothing_is_in_force_at_first(stored: Engine) -> None:
    """Saving is not activating: until then no state is in force."""
    with stored.connect() as connection:
        assert policies.current(connection) is None
        assert policies.history(connection) == ()
        assert policies.numbered(connection, 1) is None


def test_history_names_every_activation(stored: Engine) -> None:
    """Going back to an earlier state is an activation of its own, with who, when and why."""
    expected: list[Activation] = []
    with writing(stored).begin() as connection:
        for number, digest in enumerate(("p1", "p2", "p1"), start=1):
            before = policies.current(connection)
            assert policies.activate(
                connection,
                PolicyDigest(digest),
                after=before,
                activated_by="op",
                cause="applied",
                now_ms=number,
            )
            files = Document.of(files_of(digest)).digest
            made = Activation(number, PolicyDigest(digest), number, "op", "applied", files)
            expected.insert(0, made)
            assert policies.current(connection) == expected[0]
            assert policies.numbered(connection, number) == expected[0]
        assert policies.history(connection) == tuple(expected)
        assert policies.history(connection, limit=2) == tuple(expected[:2])


def activate(engine: Engine, digest: str, after: Activation | None) -> bool:
    with writing(engine).begin() as connection:
        return policies.activate(
            connection,
            PolicyDigest(digest),
            after=after,
            activated_by="a",
            cause="applied",
            now_ms=1,
        )


def test_a_stale_activation_is_refused(stored: Engine) -> None:
    """Who did not know the state in force does not replace it."""
    assert activate(stored, "p1", None)
    assert not activate(stored, "p1", None)
    assert not activate(stored, "p1", Activation(1, PolicyDigest("p2"), 1, "a", "applied", ""))
    assert not activate(stored, "p1", Activation(7, PolicyDigest("p1"), 1, "a", "applied", ""))
    with stored.connect() as connection:
        assert len(policies.history(connection)) == 1


def test_what_was_not_saved_cannot_be_in_force(stored: Engine) -> None:
    """A digest without its files cannot be activated."""
    with pytest.raises(StoreFault) as caught:
        activate(stored, "none", None)
    assert caught.value.code == "STORE_CONFLICT"


@pytest.mark.usefixtures("stored")
def test_of_two_that_activate_one_does(engines: EngineFactory) -> None:
    """Of several that replace the same state at the same time one does."""
    assert race(engines, lambda engine: activate(engine, "p1", None)) == 1

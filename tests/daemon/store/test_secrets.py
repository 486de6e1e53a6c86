"""The contract of the secrets store."""

from dataclasses import replace

import pytest
from sqlalchemy import Engine, text

from daemon.store import secrets
from daemon.store.engine import writing
from daemon.store.secrets import SecretRow, SecretState
from tests.daemon.store.conftest import EngineFactory
from tests.daemon.store.test_calls import race


def seal(version: int) -> bytes:
    return b"sealed-%d" % version


def test_versions_count_up(engine: Engine) -> None:
    """Each put is sealed for its own version number, and is the one in use."""
    with writing(engine).begin() as connection:
        for version in (1, 2, 3):
            assert secrets.put(connection, "user", "token", seal=seal, now_ms=version) == version
            assert secrets.current(connection, "user", "token") == SecretRow(
                "user", "token", version, seal(version), version, SecretState.CURRENT
            )
        assert secrets.put(connection, "user", "other", seal=seal, now_ms=1) == 1
        assert secrets.put(connection, "other", "token", seal=seal, now_ms=1) == 1
        assert secrets.current(connection, "user", "nothing") is None
        listed = [(row.scope, row.name, row.version) for row in secrets.list_current(connection)]
    assert listed == [("other", "token", 1), ("user", "other", 1), ("user", "token", 3)]


def test_a_version_is_never_given_twice(engine: Engine) -> None:
    """After removal the numbers go on: an old sealed blob cannot pass for a new version."""
    with writing(engine).begin() as connection:
        secrets.put(connection, "s", "n", seal=seal, now_ms=1)
        secrets.put(connection, "s", "n", seal=seal, now_ms=1)
        assert secrets.remove(connection, "s", "n")
        assert not secrets.remove(connection, "s", "n")
        assert secrets.current(connection, "s", "n") is None
        assert secrets.list_current(connection) == ()
        assert secrets.put(connection, "s", "n", seal=seal, now_ms=1) == 3


def test_removing_erases_every_version(engine: Engine) -> None:
    """No sealed bytes of a removed secret stay in any row, and no other secret is touched."""
    with writing(engine).begin() as connection:
        for name in ("n", "n", "kept"):
            secrets.put(connection, "s", name, seal=seal, now_ms=1)
        secrets.remove(connection, "s", "n")
        found = connection.execute(text("SELECT name, sealed FROM secrets ORDER BY name, version"))
        assert [tuple(row) for row in found] == [("kept", b"sealed-1"), ("n", b""), ("n", b"")]


def test_a_seal_that_fails_stores_nothing(engine: Engine) -> None:
    """If sealing fails, the version before stays the one in use."""

    def broken(_version: int) -> bytes:
        raise RuntimeError("the keychain is locked")

    with writing(engine).begin() as connection:
        secrets.put(connection, "s", "n", seal=seal, now_ms=1)
    with pytest.raises(RuntimeError), writing(engine).begin() as connection:
        secrets.put(connection, "s", "n", seal=broken, now_ms=2)
    with engine.connect() as connection:
        found = secrets.current(connection, "s", "n")
    assert found is not None
    assert found.version == 1


def test_puts_at_once_get_different_versions(engines: EngineFactory) -> None:
    """Of several puts at the same time each gets a version of its own."""
    versions: list[int] = []

    def attempt(engine: Engine) -> bool:
        with writing(engine).begin() as connection:
            versions.append(secrets.put(connection, "s", "n", seal=seal, now_ms=1))
        return True

    race(engines, attempt)
    assert sorted(versions) == [1, 2, 3, 4]


def test_rewrapping_meets_everything_sealed_once(engine: Engine) -> None:
    """A new root key reaches every version that holds something, and replaces what it read."""
    with writing(engine).begin() as connection:
        for name in ("a", "a", "b", "gone", "c"):
            secrets.put(connection, "s", name, seal=seal, now_ms=1)
        secrets.remove(connection, "s", "gone")
        met: list[SecretRow] = []
        after = None
        while page := secrets.sealed(connection, after=after, limit=2):
            for row in page:
                assert secrets.rewrap(connection, row, b"new-" + row.sealed)
                assert not secrets.rewrap(connection, row, b"late")
            met += page
            after = page[-1]
        assert [(row.name, row.version) for row in met] == [("a", 1), ("a", 2), ("b", 1), ("c", 1)]
        rewrapped = secrets.sealed(connection)
        assert rewrapped == tuple(replace(row, sealed=b"new-" + row.sealed) for row in met)


def test_a_sealed_secret_is_in_no_repr(engine: Engine) -> None:
    """Sealed bytes are not printed with the row."""
    with writing(engine).begin() as connection:
        secrets.put(connection, "s", "n", seal=seal, now_ms=1)
        assert "sealed-1" not in repr(secrets.list_current(connection))

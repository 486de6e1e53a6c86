"""The contract of the secrets store."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, text

from daemon.store import secrets
from daemon.store.engine import scrub, writing
from daemon.store.secrets import SealedValue, SecretFacts, SecretRow, SecretState
from tests.daemon.store.conftest import EngineFactory
from tests.daemon.store.test_calls import race

ROOT, OTHER = "00" * 8, "11" * 8


def seal(version: int) -> SealedValue:
    return SealedValue(ROOT, b"sealed-%d" % version)


def put(connection: Connection, scope: str, name: str, *, now_ms: int = 1, keep: int = 9) -> int:
    return secrets.put(connection, scope, name, seal=seal, now_ms=now_ms, keep=keep)[0]


def test_versions_count_up(engine: Engine) -> None:
    """Each put is sealed for its own version number, and is the one in use."""
    with writing(engine).begin() as connection:
        for version in (1, 2, 3):
            assert put(connection, "user", "token", now_ms=version) == version
            assert secrets.current(connection, "user", "token") == SecretRow(
                scope="user",
                name="token",
                version=version,
                root_key_id=ROOT,
                created_ms=version,
                expires_ms=None,
                state=SecretState.CURRENT,
                sealed=b"sealed-%d" % version,
            )
        assert put(connection, "user", "other") == 1
        assert put(connection, "other", "token") == 1
        assert secrets.current(connection, "user", "nothing") is None
        listed = secrets.page_of_current(connection)
    assert [(one.scope, one.name, one.version, one.older) for one in listed] == [
        ("other", "token", 1, 0),
        ("user", "other", 1, 0),
        ("user", "token", 3, 2),
    ]


def test_so_many_older_versions_are_kept(engine: Engine) -> None:
    """What is older than the kept ones is erased with the put; what is kept can be read."""
    with writing(engine).begin() as connection:
        counts = [secrets.put(connection, "s", "n", seal=seal, now_ms=1, keep=2) for _ in range(5)]
        assert counts == [(1, 0), (2, 0), (3, 0), (4, 1), (5, 1)]
        kept = [secrets.get(connection, "s", "n", version) for version in range(1, 6)]
        assert [row.version for row in kept if row is not None] == [3, 4, 5]
        assert secrets.put(connection, "s", "n", seal=seal, now_ms=1, keep=0) == (6, 3)
        assert [row.version for row in secrets.page(connection)] == [6]


@pytest.mark.parametrize("state", [SecretState.REMOVED, SecretState.REVOKED])
def test_a_version_is_never_given_twice(engine: Engine, state: SecretState) -> None:
    """After removal the numbers go on: an old sealed blob cannot pass for a new version."""
    with writing(engine).begin() as connection:
        put(connection, "s", "n")
        put(connection, "s", "n")
        assert secrets.erase(connection, "s", "n", state)
        assert not secrets.erase(connection, "s", "n", SecretState.REMOVED)
        assert secrets.current(connection, "s", "n") is None
        assert secrets.page_of_current(connection) == ()
        assert secrets.latest(connection, "s", "n") == SecretFacts("s", "n", 2, 1, None, state)
        assert put(connection, "s", "n") == 3


def test_removing_erases_every_version(engine: Engine) -> None:
    """No sealed bytes of a removed secret stay in any row, and no other secret is touched."""
    with writing(engine).begin() as connection:
        for name in ("n", "n", "kept"):
            put(connection, "s", name)
        secrets.erase(connection, "s", "n", SecretState.REMOVED)
        found = connection.execute(text("SELECT name, sealed FROM secrets ORDER BY name, version"))
        assert [tuple(row) for row in found] == [("kept", b"sealed-1"), ("n", b"")]
        assert secrets.root_key_ids(connection) == {ROOT}


def sealed_as(blob: bytes) -> Callable[[int], SealedValue]:
    return lambda _version: SealedValue(ROOT, blob)


@pytest.mark.parametrize("sizes", [(60, 200), (3000, 5000), (65_600, 65_632)])
def test_what_was_erased_is_in_no_file(engine: Engine, path: Path, sizes: tuple[int, int]) -> None:
    """Removed, superseded beyond what is kept, sealed anew: once scrubbed, no byte run is left."""
    chance = random.Random(7)  # noqa: S311 - the same in every run
    live: dict[str, list[bytes]] = {}
    dead: list[bytes] = []
    # Written and erased in turn, so that pages fill, split, and are given up again.
    for step in range(400 if sizes[1] < 10_000 else 60):
        name = f"n{chance.randrange(25)}"
        with writing(engine).begin() as connection:
            if chance.random() < 0.3:
                secrets.erase(connection, "s", name, SecretState.REMOVED)
                dead += live.pop(name, [])
                continue
            blob = chance.randbytes(chance.randint(*sizes))
            secrets.put(connection, "s", name, seal=sealed_as(blob), now_ms=step, keep=1)
            versions = live.setdefault(name, [])
            versions.append(blob)
            dead += [versions.pop(0) for _ in range(len(versions) - 2)]
    with writing(engine).begin() as connection:
        for row in secrets.page(connection):
            fresh = chance.randbytes(len(row.sealed))
            assert secrets.reseal(connection, row, SealedValue(OTHER, fresh))
            dead.append(row.sealed)
    assert scrub(engine)
    content = b"".join(file.read_bytes() for file in path.parent.iterdir())
    assert len(dead) > 10
    pieces = [(blob[:24], blob[24:48], blob[-24:]) for blob in dead]
    assert not [one for one in pieces if any(piece in content for piece in one)]
    with engine.connect() as connection:
        kept = secrets.page(connection)
    assert all(row.sealed[-24:] in content for row in kept)  # the search would find it


def test_a_scrub_that_must_wait_says_so(engine: Engine, path: Path) -> None:
    """While somebody reads an older state the log stays, and that is said; afterwards it goes."""
    with writing(engine).begin() as connection:
        put(connection, "s", "n")
    with engine.connect() as reading:
        assert secrets.current(reading, "s", "n") is not None
        with writing(engine).begin() as connection:
            secrets.erase(connection, "s", "n", SecretState.REMOVED)
        assert not scrub(engine)
    assert scrub(engine)
    assert b"sealed-1" not in b"".join(file.read_bytes() for file in path.parent.iterdir())


def test_a_seal_that_fails_stores_nothing(engine: Engine) -> None:
    """If sealing fails, the version before stays the one in use."""

    def broken(_version: int) -> SealedValue:
        raise RuntimeError("the keychain is locked")

    with writing(engine).begin() as connection:
        put(connection, "s", "n")
    with pytest.raises(RuntimeError), writing(engine).begin() as connection:
        secrets.put(connection, "s", "n", seal=broken, now_ms=2, keep=1)
    with engine.connect() as connection:
        found = secrets.current(connection, "s", "n")
    assert found is not None
    assert found.version == 1


def test_puts_at_once_get_different_versions(engines: EngineFactory) -> None:
    """Of several puts at the same time each gets a version of its own."""
    versions: list[int] = []

    def attempt(engine: Engine) -> bool:
        with writing(engine).begin() as connection:
            versions.append(put(connection, "s", "n"))
        return True

    race(engines, attempt)
    assert sorted(versions) == [1, 2, 3, 4]


def test_what_is_under_a_root_is_found_until_it_is_moved(engine: Engine) -> None:
    """A new root key reaches every version that holds something, and replaces what it read."""
    with writing(engine).begin() as connection:
        for name in ("a", "a", "b", "gone", "c"):
            put(connection, "s", name)
        secrets.erase(connection, "s", "gone", SecretState.REMOVED)
        met: list[SecretRow] = []
        while rows := secrets.under(connection, ROOT, limit=2):
            for row in rows:
                assert secrets.reseal(connection, row, SealedValue(OTHER, b"new-" + row.sealed))
                assert not secrets.reseal(connection, row, SealedValue(OTHER, b"late"))
            met += rows
        assert sorted((r.name, r.version) for r in met) == [("a", 1), ("a", 2), ("b", 1), ("c", 1)]
        assert secrets.root_key_ids(connection) == {OTHER}
        assert [row.sealed for row in secrets.page(connection, limit=500)] == [
            b"new-" + row.sealed for row in sorted(met, key=lambda row: (row.name, row.version))
        ]


def test_pages_go_on_where_the_last_ended(engine: Engine) -> None:
    """Every secret is met once, whatever the size of a page."""
    names = [f"n{number:02}" for number in range(7)]
    with writing(engine).begin() as connection:
        for name in reversed(names):
            put(connection, "s", name)
        met: list[str] = []
        after = ("", "")
        while found := secrets.page_of_current(connection, after=after, limit=3):
            met += [one.name for one in found]
            after = (found[-1].scope, found[-1].name)
    assert met == names


def test_what_expires_is_counted(engine: Engine) -> None:
    """Of secrets in use: those whose time comes before then."""
    with writing(engine).begin() as connection:
        for name, expires in (("a", 10), ("b", 20), ("c", None), ("a", 30)):
            secrets.put(connection, "s", name, seal=seal, now_ms=1, keep=1, expires_ms=expires)
        assert secrets.expiring(connection, 20) == 1
        assert secrets.expiring(connection, 30) == 2


def test_a_sealed_secret_is_in_no_repr(engine: Engine) -> None:
    """Sealed bytes are not printed with the row."""
    with writing(engine).begin() as connection:
        put(connection, "s", "n")
        assert "sealed-1" not in repr(secrets.page(connection))

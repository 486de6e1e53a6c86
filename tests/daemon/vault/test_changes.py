"""Putting, keeping, reverting, revoking, expiring: each with its receipt, none with the value."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import pytest
from sqlalchemy import Connection, update

from daemon.errors import BadRequest, Conflict, Fault, NotFound
from daemon.store import secrets, tables
from daemon.store.engine import writing
from tests.daemon.vault.opened import TOKEN, Opened, home_at, opened
from tests.running import CONFIG
from vault.secret import Secret

pytestmark = pytest.mark.anyio


async def code_of(work: Awaitable[object]) -> str:
    """The code of the fault that it ends in."""
    with pytest.raises(Fault) as caught:
        await work
    assert caught.value.fix
    return caught.value.code


@pytest.mark.parametrize(
    ("size", "code"), [(65_536, ""), (65_537, "VALUE_TOO_LARGE"), (0, "VALUE_EMPTY")]
)
async def test_the_largest_value_and_one_more(tmp_path: Path, size: int, code: str) -> None:
    """65,536 bytes are accepted and come back; 65,537 and none at all are refused."""
    value = bytes(range(256)) * 256 + b"!"
    async with opened(home_at(tmp_path)) as it:
        if code:
            with pytest.raises(BadRequest) as caught:
                await it.put(TOKEN, value[:size])
            assert caught.value.code == code
        else:
            await it.put(TOKEN, value[:size])
            assert await it.value(TOKEN) == value[:size]


async def test_versions_are_kept_as_configured(tmp_path: Path) -> None:
    """Two besides the one in use can be gone back to; what is older is erased."""
    async with opened(home_at(tmp_path)) as it:
        for number in range(1, 6):
            assert await it.put(TOKEN, b"value-%d" % number) == number
        (facts,) = await it.vault.changes.listing(("", ""), 10)
        assert (facts.version, facts.older) == (5, 2)
        assert await code_of(it.vault.changes.revert(TOKEN, 2, "me")) == "UNKNOWN_VERSION"
        assert (await it.vault.changes.revert(TOKEN, 3, "me"))[0] == 6
        assert await it.value(TOKEN) == b"value-3"


@pytest.mark.parametrize("keep", [0, 1, 3])
async def test_as_many_versions_are_kept_as_are_configured(tmp_path: Path, keep: int) -> None:
    """None, one, three: by `vault.keep_versions`."""
    config = CONFIG.replace("[vault]\n", f"[vault]\nkeep_versions = {keep}\n")
    async with opened(home_at(tmp_path, config)) as it:
        for number in range(1, 6):
            await it.put(TOKEN, b"value-%d" % number)
        (facts,) = await it.vault.changes.listing(("", ""), 10)
        assert (facts.version, facts.older) == (5, keep)
        assert len(await it.base.reader.read(_all_sealed)) == 1 + keep


async def _removed(it: Opened) -> None:
    await it.vault.changes.remove(TOKEN, "me")


async def _revoked(it: Opened) -> None:
    await it.vault.changes.revoke(TOKEN, False, "me")


async def _replaced(it: Opened) -> None:
    for number in range(3):
        await it.put(TOKEN, b"another-%d" % number)


@pytest.mark.parametrize("act", [_removed, _revoked, _replaced])
async def test_what_is_taken_away_is_in_no_file(
    tmp_path: Path, act: Callable[[Opened], Awaitable[None]]
) -> None:
    """Removed, revoked, older than what is kept: its sealed bytes are gone when the act is done."""
    home = home_at(tmp_path)
    async with opened(home) as it:
        await it.put("secret://global/stays", b"stays")
        await it.put(TOKEN, b"one")
        await it.put(TOKEN, b"two")
        stays, *gone = await it.base.reader.read(_all_sealed)
        assert len(gone) == 2
        await act(it)
        content = b"".join(file.read_bytes() for file in home.data.glob("stockade.db*"))
        assert stays in content
        assert not [one for one in gone if one[13:61] in content or one[-24:] in content]


async def test_a_revoked_secret_says_so_until_it_is_put_again(tmp_path: Path) -> None:
    """Revoked, removed and never there are told apart; a new value makes it live again."""
    async with opened(home_at(tmp_path)) as it:
        await it.put(TOKEN, b"value")
        assert await code_of(it.vault.keeper.check(["secret://global/no"])) == "UNKNOWN_SECRET"
        await it.vault.changes.revoke(TOKEN, True, "me")
        assert await code_of(it.vault.keeper.check([TOKEN])) == "SECRET_REVOKED"
        assert await code_of(it.vault.keeper.open([TOKEN], "c")) == "SECRET_REVOKED"
        assert await code_of(it.vault.changes.revoke(TOKEN, True, "me")) == "SECRET_REVOKED"
        assert it.vault.keeper.holders(TOKEN) == frozenset()
        assert await it.put(TOKEN, b"other") == 2
        assert await it.value(TOKEN) == b"other"
        await it.vault.changes.remove(TOKEN, "me")
        assert await code_of(it.vault.keeper.check([TOKEN])) == "UNKNOWN_SECRET"


async def test_an_expired_secret_is_refused(tmp_path: Path) -> None:
    """It is counted before its time and refused after it; a time that is past is refused."""
    async with opened(home_at(tmp_path)) as it:
        now = it.base.clock.now_ms()
        assert await code_of(it.vault.changes.put(TOKEN, Secret(b"v"), now, "me")) == "EXPIRY_PAST"
        await it.put(TOKEN, b"value", now + 1_000_000)
        assert await it.vault.changes.expiring() == 1
        await it.vault.keeper.check([TOKEN])
        it.pass_time(1_000_000)
        assert await code_of(it.vault.keeper.check([TOKEN])) == "SECRET_EXPIRED"
        with pytest.raises(Conflict):
            await it.value(TOKEN)


async def test_it_is_known_which_calls_hold_a_secret(tmp_path: Path) -> None:
    """From before it is looked up until the run is over; also where opening fails half-way."""
    async with opened(home_at(tmp_path)) as it:
        await it.put(TOKEN, b"value")
        keeper = it.vault.keeper
        await keeper.open([TOKEN], "one")
        await keeper.open([TOKEN], "two")
        assert keeper.holders(TOKEN) == {"one", "two"}
        keeper.release([TOKEN], "one")
        with pytest.raises(NotFound):
            await keeper.open([TOKEN, "secret://global/no"], "three")
        assert keeper.holders(TOKEN) == {"two"}


async def test_new_data_keys_open_the_same_values(tmp_path: Path) -> None:
    """Every version is sealed anew, under its own number; no old bytes are left in any file."""
    home = home_at(tmp_path)
    async with opened(home) as it:
        await it.put(TOKEN, b"one")
        await it.put(TOKEN, b"two")
        await it.put("secret://global/other", b"three")
        before = await it.base.reader.read(_all_sealed)
        count, _ = await it.vault.changes.seal_anew("", "me")
        assert count == 3
        after = await it.base.reader.read(_all_sealed)
        assert not set(before) & set(after)
        assert await it.value(TOKEN) == b"two"
        await it.vault.changes.revert(TOKEN, 1, "me")
        assert await it.value(TOKEN) == b"one"
        content = b"".join(file.read_bytes() for file in home.data.glob("stockade.db*"))
        assert not [one for one in before if one[13:61] in content]
        assert (
            await code_of(it.vault.changes.seal_anew("secret://global/no", "me"))
            == "UNKNOWN_SECRET"
        )


def _all_sealed(connection: Connection) -> list[bytes]:
    return [row.sealed for row in secrets.page(connection)]


async def test_every_change_and_every_refusal_is_a_receipt(tmp_path: Path) -> None:
    """With handle and version; without value, length, or anything made of the value."""
    async with opened(home_at(tmp_path)) as it:
        value = b"low-entropy-zQ91"
        await it.put(TOKEN, value)
        await it.put(TOKEN, value)
        await it.vault.changes.revert(TOKEN, 1, "me")
        await it.vault.changes.seal_anew(TOKEN, "me")
        await it.vault.changes.refused("put", TOKEN, "me", "VALUE_TOO_LARGE")
        await it.vault.changes.refused("put", "low-entropy-zQ91", "me", "REFERENCE_MALFORMED")
        await it.vault.changes.revoke(TOKEN, False, "me")
        await it.put(TOKEN, value)
        await it.vault.changes.remove(TOKEN, "me")
        kinds = await it.kinds()
        assert kinds == [
            "vault.root_taken",
            *("secret.put", "secret.put", "secret.reverted", "secret.rotated"),
            *("secret.refused", "secret.refused", "secret.revoked"),
            *("secret.put", "secret.removed"),
        ]
        text = b"".join(entry.canonical for entry in await it.receipts())
        assert b"zQ91" not in text
        assert b'"reference":"secret://global/token"' in text
        assert b'"version":3' in text
        assert b'"length"' not in text


async def test_two_writers_at_once(tmp_path: Path) -> None:
    """Of puts at the same time each is a version of its own, and the last one is in use, whole."""
    async with opened(home_at(tmp_path)) as it:
        versions: dict[int, bytes] = {}

        async def put(value: bytes) -> None:
            versions[await it.put(TOKEN, value)] = value

        async with anyio.create_task_group() as group:
            for number in range(20):
                group.start_soon(put, b"value-%02d" % number * 50)
        assert sorted(versions) == list(range(1, 21))
        assert await it.value(TOKEN) == versions[20]


async def test_a_flipped_bit_in_the_database_is_found(tmp_path: Path) -> None:
    """Whatever bit of what is stored is flipped: the call is refused, and no value comes out."""
    async with opened(home_at(tmp_path)) as it:
        await it.put(TOKEN, b"value")
        row = await it.base.reader.read(lambda c: secrets.current(c, "global", "token"))
        assert row is not None
        engine = it.base.writer._engine
        for bit in range(len(row.sealed) * 8):
            changed = bytearray(row.sealed)
            changed[bit // 8] ^= 1 << bit % 8
            with writing(engine).begin() as connection:
                connection.execute(update(tables.secrets).values(sealed=bytes(changed)))
            code = await code_of(it.vault.keeper.open([TOKEN], "call"))
            assert code.startswith(("SEALED_", "ROOT_MISMATCH"))


@pytest.mark.parametrize(
    "moved",
    [{"name": "other"}, {"scope": "tool/x"}, {"version": 7}],
    ids=["name", "scope", "version"],
)
async def test_a_blob_that_was_moved_does_not_open(
    tmp_path: Path, moved: dict[str, object]
) -> None:
    """To another name, scope or version, by whoever can write the database."""
    async with opened(home_at(tmp_path)) as it:
        await it.put(TOKEN, b"value")
        with writing(it.base.writer._engine).begin() as connection:
            connection.execute(update(tables.secrets).values(**moved))
        place = {"scope": "global", "name": "token", **moved}
        reference = f"secret://{place['scope']}/{place['name']}"
        assert await code_of(it.vault.keeper.open([reference], "call")) == "SEALED_TAMPERED"


@pytest.mark.parametrize(
    "reference",
    [
        *("secret://global/a/b", "secret://global/..", "secret://global/a..b", "secret://global/."),
        *("secret://global/a\0b", "secret://global/" + "n" * 300, "secret://global/A", "global/a"),
        *(
            "secret://global/",
            "secret://../global/a",
            "secret://global/a%2fb",
            "secret://global/\xe9",
        ),
        "secret://device/" + "d" * 64 + "/a",
    ],
)
async def test_a_name_in_any_other_form_is_refused(tmp_path: Path, reference: str) -> None:
    """Slashes, dots, NUL, 300 bytes, capitals, escapes: refused everywhere, and not repeated."""
    async with opened(home_at(tmp_path)) as it:
        changes = it.vault.changes
        for work in (
            changes.put(reference, Secret(b"v"), None, "me"),
            changes.remove(reference, "me"),
            changes.revoke(reference, True, "me"),
            changes.revert(reference, 1, "me"),
            it.vault.keeper.open([reference], "c"),
            it.vault.keeper.check([reference]),
        ):
            with pytest.raises(BadRequest) as caught:
                await work
            assert caught.value.code == "REFERENCE_MALFORMED"
            assert "n" * 300 not in caught.value.message


async def test_listing_ten_thousand_reads_no_value(tmp_path: Path) -> None:
    """Pages of metadata: the rows that come have no sealed bytes in them at all."""
    async with opened(home_at(tmp_path)) as it:
        for number in range(7):
            await it.put(f"secret://global/n{number}", b"x" * 60_000)
        met: list[str] = []
        after = ("", "")
        while found := await it.vault.changes.listing(after, 3):
            assert all(not hasattr(one, "sealed") for one in found)
            met += [one.name for one in found]
            after = (found[-1].scope, found[-1].name)
        assert met == [f"n{number}" for number in range(7)]

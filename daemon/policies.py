"""The policy set in force: checked, applied and remembered.

What is in force is what the database says was activated last. A set that does not validate against
this daemon's schema and tools changes nothing. Raises `BadRequest` (POLICY_INVALID, with the
problems), `NotFound`, and `Unavailable`.
"""

import json
from collections.abc import Mapping, Sequence

import anyio.to_thread
from sqlalchemy import Connection

from daemon.clock import Clock
from daemon.errors import BadRequest, NotFound, StartError
from daemon.store import policies
from daemon.store.commit import Tx
from daemon.store.ids import PolicyDigest
from daemon.store.policies import Activation, PolicyRow
from daemon.store.reader import Reader
from daemon.store.writer import Writer
from daemon.world import World, schema_text
from daemon.worlds import Worlds
from ledger.chain import Entry
from policy.bundle import Bundle
from policy.errors import BundleError, PolicyError, Problem


class PolicyInvalid(BadRequest):
    """A policy set with its problems."""

    code = "POLICY_INVALID"

    def __init__(self, problems: Sequence[Problem]) -> None:
        first = problems[0]
        place = f"{first.file}:{first.line}: " if first.file else ""
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        super().__init__(f"{place}{first.message}{more}", fix=first.fix)
        self.problems = tuple(problems)


class Policies:
    """See the module."""

    def __init__(self, worlds: Worlds, reader: Reader, writer: Writer, clock: Clock) -> None:
        self._worlds = worlds
        self._reader = reader
        self._writer = writer
        self._clock = clock

    async def stored(self) -> dict[str, str] | None:
        """The files that were activated last, or None before the first time."""

        def query(connection: Connection) -> bytes | None:
            activation = policies.current(connection)
            row = policies.get(connection, activation.digest) if activation else None
            return row.files if row else None

        files = await self._reader.read(query)
        return None if files is None else _decode(files)

    async def files_of(self, digest: str) -> dict[str, str]:
        """The files of a set that was in force once."""
        row = await self._reader.read(lambda c: policies.get(c, PolicyDigest(digest)))
        if row is None:
            raise NotFound(
                "there was never such a policy set",
                code="UNKNOWN_POLICY",
                fix="name one that was in force, by its whole digest",
            )
        return _decode(row.files)

    async def history(self) -> tuple[Activation, ...]:
        """The sets that were in force, newest first."""
        return await self._reader.read(policies.history)

    async def check(self, files: Mapping[str, str]) -> tuple[tuple[Problem, ...], str]:
        """What is wrong with a set, and the digest it would have."""
        schema = schema_text(self._worlds.current.registry)
        try:
            bundle = await anyio.to_thread.run_sync(Bundle.build, files, schema)
        except BundleError as error:
            return error.problems, ""
        return (), bundle.digest

    async def apply(self, files: Mapping[str, str], principal: str) -> tuple[str, Entry]:
        """Puts a set in force for everybody at once."""
        async with self._worlds.changing() as world:
            try:
                changed = await self._worlds.build(files, world.registry, world.unavailable)
            except BundleError as error:
                raise PolicyInvalid(error.problems) from None
            except PolicyError as error:
                raise BadRequest(str(error), code=error.code, fix=error.fix) from None
            entry = await self.record(changed, principal)
            self._worlds.replace(changed)
            return changed.bundle.digest, entry

    async def record(self, world: World, principal: str) -> Entry:
        """Makes a world's policies the ones that the next start begins with."""
        digest, now = PolicyDigest(world.bundle.digest), self._clock.now_ms()
        row = PolicyRow(digest, json.dumps(dict(world.bundle.files)).encode(), now)

        def operation(tx: Tx) -> Entry:
            policies.save(tx.connection, row)
            after = policies.current(tx.connection)
            policies.activate(
                tx.connection, digest, after=after, activated_by=principal, now_ms=now
            )
            body = {"principal": principal, "policy_digest": str(digest)}
            return tx.receipt("policy.applied", body, principal=principal)

        return await self._writer.write(operation)


def _decode(files: bytes) -> dict[str, str]:
    decoded = json.loads(files)
    if not isinstance(decoded, dict):
        raise StartError(
            "the stored policies are damaged",
            code="STORE_CORRUPT",
            fix="restore the data directory from a backup",
        )
    return {str(name): str(text) for name, text in decoded.items()}

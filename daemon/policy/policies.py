"""The policy set in force: checked, applied, rolled back and remembered.

What is in force is what the database says was activated last. A set that does not validate against
this daemon's schema and tools changes nothing. Raises `BadRequest` (POLICY_INVALID, with the
problems), `NotFound`, and `Unavailable`.
"""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import anyio.to_thread
from sqlalchemy import Connection

from daemon.background_work import beside_calls, rest
from daemon.clock import Clock
from daemon.errors import BadRequest, NotFound, StartError
from daemon.policy import states as policy_states
from daemon.policy.enactment import Enacted, Enactment
from daemon.store import policies
from daemon.store.ids import PolicyDigest
from daemon.store.policies import Activation, PolicyRow
from daemon.store.reader import Reader
from daemon.store.writer import Writer
from daemon.world import World, schema_text
from daemon.worlds import Worlds
from policy.bundle import Bundle
from policy.entity_data import EntityData, parse_entity_data, state_digest
from policy.errors import BundleError, PolicyError, Problem
from policy.lint import Known, lint

_NUMBER = re.compile(r"[1-9][0-9]{0,6}")
_DIGEST = re.compile(r"[0-9a-f]{8,64}")
# Of these there are no others than those of the world. Groups and toolsets are made by naming them.
_KNOWN_TYPES = frozenset({"Agent", "Device", "Secret", "Tool", "Workspace"})
WHICH = "`stockade policy history` shows them: name one by its number or its digest"


class PolicyInvalid(BadRequest):
    """A policy set with its problems."""

    code = "POLICY_INVALID"

    def __init__(self, error: BundleError) -> None:
        super().__init__(str(error), fix=error.fix)
        self.problems = error.problems


@dataclass(frozen=True, slots=True)
class Version:
    """A policy state that was in force once."""

    # 0 where it was named by its digest.
    number: int
    digest: str
    files: Mapping[str, str] = field(repr=False)
    # None where they were not kept: Cedar's schema, the tools' own that it was made from, the data.
    schema: str | None = field(repr=False)
    tools: Mapping[str, Mapping[str, object]] | None = field(repr=False)
    data: EntityData | None = field(repr=False)


class Policies:
    """See the module."""

    def __init__(self, worlds: Worlds, reader: Reader, writer: Writer, clock: Clock) -> None:
        self._worlds = worlds
        self._reader = reader
        self._writer = writer
        self._clock = clock
        self._enactment = Enactment(worlds, writer, clock)

    async def stored(self) -> Version | None:
        """What was activated last, or None before the first time."""

        def query(connection: Connection) -> tuple[Activation, PolicyRow | None] | None:
            activation = policies.current(connection)
            if activation is None:
                return None
            return activation, policies.get(connection, activation.digest)

        found = await self._reader.read(query)
        return None if found is None or found[1] is None else _version(found[0].number, found[1])

    async def version(self, reference: str) -> Version:
        """A state that was in force once, by its number or the beginning of its digest."""

        def query(connection: Connection) -> tuple[int, list[PolicyRow]]:
            digests: tuple[PolicyDigest, ...] = ()
            number = 0
            if _NUMBER.fullmatch(reference):
                activation = policies.numbered(connection, int(reference))
                if activation is not None:
                    digests, number = (activation.digest,), activation.number
            elif _DIGEST.fullmatch(reference):
                digests = policies.beginning(connection, reference)
            rows = (policies.get(connection, digest) for digest in digests)
            return number, [row for row in rows if row is not None]

        number, rows = await self._reader.read(query)
        if len(rows) == 1:
            return _version(number, rows[0])
        what = "more than one begins like that" if rows else "there was never such a policy set"
        raise NotFound(f"{what}: {reference!r:.80}", code="UNKNOWN_POLICY", fix=WHICH)

    async def number(self) -> int:
        """The number of the state in force."""
        activation = await self._reader.read(policies.current)
        return 0 if activation is None else activation.number

    async def history(self) -> tuple[Activation, ...]:
        """The states that were in force, newest first."""
        return await self._reader.read(policies.history)

    async def check(self, files: Mapping[str, str]) -> tuple[tuple[Problem, ...], str]:
        """What is wrong with a set, warnings too, and the digest it would have."""
        return await anyio.to_thread.run_sync(_check, files, self._worlds.current)

    async def apply(
        self, files: Mapping[str, str], principal: str, cause: str = policy_states.APPLIED
    ) -> Enacted:
        """Puts a set in force for everybody at once."""
        read = await self._read(files)
        async with self._worlds.changing():
            changed = await self._rebuilt(read, None)
            return await self._apply(changed, principal, cause)

    async def rollback(self, reference: str, principal: str, *, with_data: bool) -> Enacted:
        """Puts a set in force again, if it still fits the schema and the tools there are now."""
        target = await self.version(reference or await self._before())
        data = target.data if with_data else None
        if with_data and data is None:
            raise NotFound(
                "the entity data of that time were not kept",
                code="UNKNOWN_POLICY",
                fix="roll back the policies alone, without --entities",
            )
        read = await self._read(target.files)
        async with self._worlds.changing() as world:
            if data is not None:
                # A switch is not rolled back: it says what is now.
                data = data.with_maintenance(world.data.maintenance)
            changed = await self._rebuilt(read, data)
            cause = policy_states.ROLLED_BACK
            body = {
                "cause": cause,
                "to": target.number,
                "to_digest": target.digest,
                "entities": with_data,
            }
            return await self._enactment.enact(
                changed, by=principal, cause=cause, kind="policy.rolled_back", body=body
            )

    async def supposed(self, files: Mapping[str, str]) -> World:
        """The world in force with these policies in place of its own; nothing is changed."""
        read = await self._read(files)
        async with self._worlds.changing():
            return await self._rebuilt(read, None)

    async def record(self, world: World, cause: str) -> None:
        """Makes the first world's policies the ones that the next start begins with."""
        if cause == policy_states.INITIALISED:
            await self._apply(world, "stockaded", cause)
            return
        now, packed = self._clock.now_ms(), await policy_states.pack(world)
        await self._writer.write(
            lambda tx: policy_states.follow(tx, packed, by="stockaded", cause=cause, now_ms=now)
        )

    async def _apply(self, changed: World, principal: str, cause: str) -> Enacted:
        return await self._enactment.enact(
            changed, by=principal, cause=cause, kind="policy.applied", body={"cause": cause}
        )

    async def _before(self) -> str:
        """The last version whose files were not those in force."""
        history = await self.history()
        for activation in history:
            if activation.files != history[0].files:
                return str(activation.number)
        raise NotFound("there is no earlier policy set", code="UNKNOWN_POLICY", fix=WHICH)

    async def _read(self, files: Mapping[str, str]) -> Bundle:
        with _refusing():
            return await self._worlds.read_policies(files)

    async def _rebuilt(self, read: Bundle, data: EntityData | None) -> World:
        with _refusing():
            return await self._worlds.rebuild(files=read.files, data=data, read=read)


def _check(files: Mapping[str, str], world: World) -> tuple[tuple[Problem, ...], str]:
    entities = world.pdp.entities
    known = Known(entities.entities.keys(), _KNOWN_TYPES, entities.ancestors)
    with beside_calls():
        try:
            bundle = Bundle.build(files, schema_text(world.registry), rest, world.bundle)
        except BundleError as error:
            return error.problems, ""
        return lint(bundle, known, rest), state_digest(bundle.digest, world.data)


@contextmanager
def _refusing() -> Iterator[None]:
    """What policy refuses, as the fault of a request."""
    try:
        yield
    except BundleError as error:
        raise PolicyInvalid(error) from None
    except PolicyError as error:
        raise BadRequest(str(error), code=error.code, fix=error.fix) from None


def _version(number: int, row: PolicyRow) -> Version:
    try:
        files, document = json.loads(row.files), json.loads(row.schema) if row.schema else {}
        schema, tools = document.get("cedar"), document.get("tools")
        data = parse_entity_data(row.data) if row.data else None
        if not isinstance(files, dict):
            raise TypeError("files")
    except (ValueError, KeyError, TypeError, PolicyError):
        raise StartError(
            "the stored policies are damaged",
            code="STORE_CORRUPT",
            fix="restore the data directory from a backup",
        ) from None
    named = {str(name): str(text) for name, text in files.items()}
    return Version(number, str(row.digest), named, schema, tools, data)

"""DaemonService: what runs, what works, what does not and how to mend it.

Trusted to tell of paths, engines and their escapes, and of what exactly is wrong, only whom policy
lets `examine_daemon`. What others are told is copied field by field: what is not copied stays here.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from daemon.battery import Battery
from daemon.calls.engine import Calls
from daemon.calls.judge import NO_VALID_POLICY
from daemon.calls.live import timestamp
from daemon.errors import Unavailable
from daemon.ledger.book import Book
from daemon.ledger.checkpoints import Checkpoints
from daemon.parts import Parts
from daemon.permission import Permission
from daemon.policy.watched import Watched
from daemon.principal import current_principal
from daemon.rpc.authorization import EXAMINE
from daemon.rpc.faults import Context
from daemon.rpc.port import Port
from daemon.tiers import Tiers
from daemon.world import World
from policy.risk import Tier
from sandbox.attacks import Verdict
from sandbox.engines import Engine
from sandbox.tier import ProbeReport
from stockade.v1 import daemon_pb2, daemon_pb2_grpc


@dataclass(frozen=True, slots=True)
class Facts:
    """What does not change while the daemon runs."""

    started_ms: int
    address: str
    data_directory: Path
    tiers: Tiers


class DaemonService(daemon_pb2_grpc.DaemonServiceServicer):
    """See proto/stockade/v1/daemon.proto."""

    def __init__(
        self,
        facts: Facts,
        parts: Parts,
        calls: Calls,
        book: Book,
        battery: Battery,
        health: Callable[[], str],
        damage: Callable[[], str],
        permission: Permission,
        port: Port,
    ) -> None:
        self._health = health
        self._damage = damage
        self._permission = permission
        self._port = port
        self._facts = facts
        self._worlds = parts.worlds
        self._policies = parts.policies
        self._calls = calls
        self._book = book
        self._vault = parts.vault
        self._watched = parts.watched
        self._battery = battery

    async def GetStatus(
        self, request: daemon_pb2.GetStatusRequest, context: Context
    ) -> daemon_pb2.GetStatusResponse:
        await self._facts.tiers.until_examined()
        answer = await self._whole()
        may_examine = self._permission.ask(current_principal(), EXAMINE).allowed
        return answer if may_examine else _reduced(answer)

    async def _whole(self) -> daemon_pb2.GetStatusResponse:
        world, vault = self._worlds.current, self._vault.keeper.state
        return daemon_pb2.GetStatusResponse(
            version=metadata.version("stockade"),
            started=timestamp(self._facts.started_ms),
            address=self._facts.address,
            policy_digest=world.digest,
            policy_version=await self._policy_version(world),
            policy_folder=_folder(self._watched),
            policy_state=_policy_state(world),
            maintenance=world.data.maintenance,
            tools=len(world.registry.tools),
            refused_tools=len(world.registry.refused),
            health=self._health(),
            running_calls=self._calls.running,
            pending_approvals=self._calls.pending,
            ledger_chain=self._book.chain,
            ledger_sequence=self._book.sequence,
            ledger_state=self._book.state,
            ledger_damage=self._damage(),
            tiers=[
                _tier(tier, report, self._facts.tiers.engines.get(tier, ()))
                for tier, report in self._facts.tiers.reports.items()
            ],
            vault=daemon_pb2.GetStatusResponse.Vault(
                root=vault.root,
                available=vault.available,
                code=vault.code,
                reason=vault.reason,
                fix=vault.fix,
                expiring_secrets=await self._expiring(),
            ),
            data_directory=str(self._facts.data_directory),
            engines=self._engines(),
            ledger_checkpoint=_checkpoint(self._book.checkpoints),
            connections=_connections(self._port),
        )

    async def _policy_version(self, world: World) -> int:
        """The number of the set in force; 0 for none, or where the store cannot be read just now.

        That the store is ill is what this answer is for: it must not be what keeps it away.
        """
        if world.fault:
            return 0
        try:
            return await self._policies.number()
        except Unavailable:
            return 0

    async def _expiring(self) -> int:
        try:
            return await self._vault.changes.expiring()
        except Unavailable:
            return 0  # see `_policy_version`

    def _engines(self) -> list[daemon_pb2.GetStatusResponse.Engine]:
        tiers = self._facts.tiers
        found = dict.fromkeys(engine for made_of in tiers.engines.values() for engine in made_of)
        return [_engine(engine, tiers.accepted_escapes) for engine in found]

    async def RunAttacks(
        self, request: daemon_pb2.RunAttacksRequest, context: Context
    ) -> AsyncIterator[daemon_pb2.RunAttacksResponse]:
        await self._facts.tiers.until_examined()
        principal = str(current_principal())
        async with aclosing(self._battery.run(request.tiers, request.names, principal)) as rows:
            async for found in rows:
                row = found.row
                yield daemon_pb2.RunAttacksResponse(
                    tier=row.tier,
                    name=row.name,
                    aim=row.aim,
                    verdict=_VERDICTS[row.verdict],
                    attack=row.attack,
                    grant=row.grant,
                    control=row.control,
                    number=found.number,
                    total=found.total,
                )


_VERDICTS: Mapping[Verdict, "daemon_pb2.RunAttacksResponse.Verdict.ValueType"] = {
    Verdict.HELD: daemon_pb2.RunAttacksResponse.VERDICT_HELD,
    Verdict.NOT_HELD: daemon_pb2.RunAttacksResponse.VERDICT_NOT_HELD,
    Verdict.UNPROVEN: daemon_pb2.RunAttacksResponse.VERDICT_UNPROVEN,
}


def _reduced(whole: daemon_pb2.GetStatusResponse) -> daemon_pb2.GetStatusResponse:
    """What whoever is paired may know: that it serves, what works, and why not by its code."""
    checkpoint = whole.ledger_checkpoint
    return daemon_pb2.GetStatusResponse(
        reduced=True,
        version=whole.version,
        started=whole.started,
        address=whole.address,
        policy_digest=whole.policy_digest,
        policy_version=whole.policy_version,
        policy_folder=daemon_pb2.GetStatusResponse.PolicyFolder(
            watched=whole.policy_folder.watched, reason=whole.policy_folder.reason
        ),
        policy_state=_code(whole.policy_state),
        maintenance=whole.maintenance,
        tools=whole.tools,
        refused_tools=whole.refused_tools,
        health=_code(whole.health),
        running_calls=whole.running_calls,
        pending_approvals=whole.pending_approvals,
        ledger_chain=whole.ledger_chain,
        ledger_sequence=whole.ledger_sequence,
        ledger_state=_code(whole.ledger_state),
        ledger_damage=_code(whole.ledger_damage),
        tiers=[
            daemon_pb2.GetStatusResponse.Tier(name=tier.name, works=tier.works)
            for tier in whole.tiers
        ],
        vault=daemon_pb2.GetStatusResponse.Vault(
            available=whole.vault.available, code=whole.vault.code
        ),
        ledger_checkpoint=daemon_pb2.GetStatusResponse.Checkpoint(
            size=checkpoint.size, made=checkpoint.made, state=_code(checkpoint.state)
        )
        if whole.HasField("ledger_checkpoint")
        else None,
    )


def _code(state: str) -> str:
    """A state's code, or "ok", without its message."""
    return state.partition(":")[0]


def _folder(watched: Watched | None) -> daemon_pb2.GetStatusResponse.PolicyFolder:
    refusal = watched.refusal if watched else None
    if refusal is None:
        return daemon_pb2.GetStatusResponse.PolicyFolder(watched=watched is not None)
    return daemon_pb2.GetStatusResponse.PolicyFolder(
        watched=True, reason=refusal.code, message=refusal.message, fix=refusal.fix
    )


def _engine(engine: Engine, accepted: Sequence[str]) -> daemon_pb2.GetStatusResponse.Engine:
    return daemon_pb2.GetStatusResponse.Engine(
        name=engine.name,
        version=engine.version,
        package_version=engine.package_version,
        known_escapes=[
            daemon_pb2.GetStatusResponse.KnownEscape(
                id=one.id, summary=one.summary, fixed_in=one.fixed_in
            )
            for one in engine.escapes(accepted)
        ],
    )


def _checkpoint(found: Checkpoints) -> daemon_pb2.GetStatusResponse.Checkpoint | None:
    if found.latest is None:
        return None
    return daemon_pb2.GetStatusResponse.Checkpoint(
        size=found.latest.size,
        made=timestamp(found.latest.made_ms),
        state=found.state,
        places=[
            daemon_pb2.GetStatusResponse.Place(
                name=one.place.name,
                size=one.size,
                reason=one.fault.code if one.fault else "",
                message=one.fault.message if one.fault else "",
                fix=one.fault.fix if one.fault else "",
            )
            for one in found.deliveries
        ],
    )


def _connections(port: Port) -> daemon_pb2.GetStatusResponse.Connections:
    return daemon_pb2.GetStatusResponse.Connections(
        of_principals=port.open["principals"],
        of_strangers=port.open["strangers"],
        most=port.most,
        most_of_a_principal=port.of_principal,
        ended=sum(port.ended.values()),
    )


def _policy_state(world: World) -> str:
    return "ok" if world.fault is None else f"{NO_VALID_POLICY}: {world.fault.message}"


def _tier(
    tier: Tier, report: ProbeReport, engines: Sequence[Engine]
) -> daemon_pb2.GetStatusResponse.Tier:
    return daemon_pb2.GetStatusResponse.Tier(
        name=tier.label,
        works=report.works,
        engines=[engine.name for engine in engines],
        missing=[
            daemon_pb2.GetStatusResponse.Missing(
                primitive=one.primitive, reason=one.reason, fix=one.fix
            )
            for one in report.missing
        ],
        controls=[
            daemon_pb2.GetStatusResponse.Control(
                name=name, achieved=control.achieved, requested=control.requested
            )
            for name, control in sorted(report.controls.items())
        ],
    )

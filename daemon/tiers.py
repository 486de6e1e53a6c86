"""The sandbox tiers of this host: what was seen to work, and what was not."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

import anyio
import structlog

from daemon.config import Config, Containers
from daemon.world import Unavailable
from policy.risk import Tier
from sandbox.container import ContainerSandbox
from sandbox.container_settings import ContainerSettings
from sandbox.engines import Engine, Escape, look
from sandbox.pool import PoolSettings
from sandbox.process import ProcessSandbox
from sandbox.settings import ProcessSettings
from sandbox.tier import Missing, ProbeReport, Sandbox

_log = structlog.get_logger("stockade.sandbox")

_LATER = (Tier.CONTAINER, Tier.GVISOR)
EXAMINE_SECONDS = 15.0
# To start a container, or to take one down, takes all of a small machine, longer than most calls.
REST_SECONDS = 0.1
_NOT_PROBED = ProbeReport(
    works=False,
    missing=(Missing("a probe", "the daemon is still looking", "ask again in a few seconds"),),
    controls={},
)

Tell = Callable[[Mapping[Tier, Unavailable]], Awaitable[None]]


class Tiers:
    """Every tier, with the sandbox that is it and the report of its probe."""

    def __init__(self, instance: str, config: Config) -> None:
        ready, pool = config.ready, _pool(config.containers)
        containers, give_way = config.containers, config.sandbox.give_way_seconds
        self.sandboxes: Mapping[Tier, Sandbox] = {
            Tier.PROCESS: ProcessSandbox(
                ProcessSettings(
                    instance=instance,
                    require_cgroups=config.sandbox.require_cgroups,
                    give_way_seconds=give_way,
                    pool=PoolSettings(
                        per_profile=ready.per_profile,
                        total=ready.total,
                        starts=ready.starts,
                        idle_seconds=ready.idle_seconds,
                    ),
                )
            ),
            Tier.CONTAINER: ContainerSandbox(
                ContainerSettings(
                    instance,
                    runtime=containers.runtime,
                    socket=containers.socket,
                    give_way_seconds=give_way,
                    pool=pool,
                )
            ),
            Tier.GVISOR: ContainerSandbox(
                ContainerSettings(
                    instance,
                    gvisor=True,
                    runtime=containers.gvisor_runtime,
                    socket=containers.socket,
                    give_way_seconds=give_way,
                    pool=pool,
                )
            ),
        }
        self.reports: dict[Tier, ProbeReport] = dict.fromkeys(self.sandboxes, _NOT_PROBED)
        # What each is made of; known once it was looked at.
        self.engines: dict[Tier, tuple[Engine, ...]] = {}
        self._chosen = config.sandbox
        self._pending = set(_LATER)
        self._examined = anyio.Event()

    async def examine_first(self) -> None:
        """Looks at the tier that needs no engine, which takes no time; the others come later."""
        await self._examine(Tier.PROCESS)

    async def attend(self, tell: Tell) -> None:
        """Looks at the other tiers, keeps sandboxes ready in those that work; until cancelled.

        When an engine goes or comes back, its tiers are looked at again. `tell` is told each time.
        """
        async with anyio.create_task_group() as group:
            if self.reports[Tier.PROCESS].works:
                group.start_soon(self.sandboxes[Tier.PROCESS].keep)
            for tier in _LATER:
                group.start_soon(self._attend, tier, tell)

    async def until_examined(self) -> None:
        """Waits, not for ever, until every tier has been looked at."""
        with anyio.move_on_after(EXAMINE_SECONDS):
            await self._examined.wait()

    async def _attend(self, tier: Tier, tell: Tell) -> None:
        sandbox = self.sandboxes[tier]
        try:
            while True:
                await self._examine(tier)
                await tell(self.unavailable)
                self._pending.discard(tier)
                if not self._pending:
                    self._examined.set()
                async with anyio.create_task_group() as group:
                    if self.reports[tier].works:
                        group.start_soon(sandbox.keep)
                    await sandbox.altered()
                    group.cancel_scope.cancel()
        finally:
            with anyio.CancelScope(shield=True):
                await sandbox.close()

    async def _examine(self, tier: Tier) -> None:
        sandbox = self.sandboxes[tier]
        left = await sandbox.reap()
        if left:
            _log.warning("sandbox.reaped", tier=tier.label, runs=left)
        self.engines[tier] = await look(tier.label)
        report = self.reports[tier] = self._judged(tier, await sandbox.probe())
        for missing in report.missing:
            _log.warning(
                "sandbox.missing",
                tier=tier.label,
                primitive=missing.primitive,
                reason=missing.reason,
                fix=missing.fix,
            )

    @property
    def accepted_escapes(self) -> tuple[str, ...]:
        """Those that the operator has looked into."""
        return self._chosen.accepted_escapes

    def _judged(self, tier: Tier, report: ProbeReport) -> ProbeReport:
        """The report of a probe; where known escapes are refused, with those."""
        escapes = tuple(
            Missing(engine.name, f"{engine.version} has {one.id}: {one.summary}", _upgrade(one))
            for engine in self.engines[tier]
            for one in engine.escapes(self._chosen.accepted_escapes)
        )
        for one in escapes:
            _log.warning("sandbox.known_escape", tier=tier.label, what=one.reason, fix=one.fix)
        if not (escapes and self._chosen.refuse_known_escapes):
            return report
        return replace(report, works=False, missing=(*report.missing, *escapes))

    @property
    def unavailable(self) -> dict[Tier, Unavailable]:
        """The tiers that refuse calls, with the reason."""
        return {
            tier: Unavailable(
                "; ".join(f"{one.primitive}: {one.reason}" for one in report.missing),
                "; ".join(one.fix for one in report.missing),
            )
            for tier, report in self.reports.items()
            if not report.works
        }


def _upgrade(escape: Escape) -> str:
    return f"upgrade {escape.engine} to {escape.fixed_in}, or accept it in config.toml"


def _pool(chosen: Containers) -> PoolSettings:
    return PoolSettings(
        per_profile=chosen.per_profile,
        total=chosen.total,
        starts=chosen.starts,
        idle_seconds=chosen.idle_seconds,
        rest_seconds=REST_SECONDS,
    )

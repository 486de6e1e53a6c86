"""The sandbox tiers of this host: what was seen to work, and what was not."""

from collections.abc import Mapping

import anyio
import structlog

from daemon.config import Ready
from daemon.world import Unavailable
from policy.risk import Tier
from sandbox.pool import PoolSettings
from sandbox.process import ProcessSandbox
from sandbox.settings import ProcessSettings
from sandbox.tier import ProbeReport, Sandbox

_log = structlog.get_logger("stockade.sandbox")

_NOT_BUILT = Unavailable(
    "this version of Stockade does not have it yet",
    "use a tool of less risk; the floors are under [risk] in config.toml",
)
_NOT_PROBED = ProbeReport(works=False, missing=(), controls={})


class Tiers:
    """Every tier, with the sandbox that is it and the report of its probe."""

    def __init__(self, instance: str, ready: Ready) -> None:
        pool = PoolSettings(
            per_profile=ready.per_profile, total=ready.total, idle_seconds=ready.idle_seconds
        )
        self.sandboxes: Mapping[Tier, Sandbox] = {
            Tier.PROCESS: ProcessSandbox(ProcessSettings(instance=instance, pool=pool)),
        }
        # Of the tiers there are; what a call needs besides is refused as not there.
        self.reports: dict[Tier, ProbeReport] = dict.fromkeys(self.sandboxes, _NOT_PROBED)

    async def examine(self) -> None:
        """Removes what an earlier daemon left, then runs something in each tier and looks."""
        for tier, sandbox in self.sandboxes.items():
            left = await sandbox.reap()
            if left:
                _log.warning("sandbox.reaped", tier=tier.label, runs=left)
            report = self.reports[tier] = await sandbox.probe()
            for missing in report.missing:
                _log.warning(
                    "sandbox.missing",
                    tier=tier.label,
                    primitive=missing.primitive,
                    reason=missing.reason,
                    fix=missing.fix,
                )

    async def keep(self) -> None:
        """Keeps sandboxes started ahead in the tiers that work, until cancelled."""
        async with anyio.create_task_group() as group:
            for tier, sandbox in self.sandboxes.items():
                if self.reports[tier].works:
                    group.start_soon(sandbox.keep)

    @property
    def unavailable(self) -> dict[Tier, Unavailable]:
        """The tiers that refuse calls, with the reason."""
        failing = {
            tier: Unavailable(
                "; ".join(f"{one.primitive}: {one.reason}" for one in report.missing),
                "; ".join(one.fix for one in report.missing),
            )
            for tier, report in self.reports.items()
            if not report.works
        }
        return {tier: _NOT_BUILT for tier in Tier if tier not in self.reports} | failing

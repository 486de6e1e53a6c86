"""The sandbox tiers of this host: what was seen to work, and what was not."""

from collections.abc import Mapping

import structlog

from daemon.world import Unavailable
from policy.risk import Tier
from sandbox.process import ProcessSandbox
from sandbox.settings import ProcessSettings
from sandbox.tier import Missing, ProbeReport, Sandbox

_log = structlog.get_logger("stockade.sandbox")

_NOT_BUILT = ProbeReport(
    works=False,
    missing=(
        Missing(
            "tier",
            "this version of Stockade does not have this tier yet",
            "lower the call's risk: a less sensitive tool, or another risk floor in config.toml",
        ),
    ),
    controls={},
)


class Tiers:
    """Every tier, with the sandbox that is it and the report of its probe."""

    def __init__(self, instance: str) -> None:
        self.sandboxes: Mapping[Tier, Sandbox] = {
            Tier.PROCESS: ProcessSandbox(ProcessSettings(instance=instance)),
        }
        self.reports: dict[Tier, ProbeReport] = dict.fromkeys(Tier, _NOT_BUILT)

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

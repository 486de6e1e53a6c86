"""Attacking our own tiers, on request, and recording what they held.

One battery at a time; each attack is bounded, harmless and beside its control (`sandbox.attacks`).
Runs in the daemon, because what is asked is what holds for the daemon's runs: with its user, its
groups, its engines. Raises `Conflict` while another is under way, `BadRequest` for a tier or attack
that there is not.
"""

import shutil
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from pathlib import Path

import anyio
import anyio.to_thread

from daemon.errors import BadRequest, Conflict
from daemon.store.writer import Writer
from daemon.tiers import Tiers
from policy.risk import Tier
from sandbox.attacks import ATTACKS, Attack, Row, Verdict
from sandbox.attacks.battery import one
from sandbox.settings import ProcessSettings


@dataclass(frozen=True, slots=True)
class Numbered:
    """A row, and where in the whole it is."""

    row: Row
    number: int
    total: int


class Battery:
    """Of one daemon."""

    def __init__(self, instance: str, tiers: Tiers, place: Path, writer: Writer) -> None:
        # Only the controls use it: as whom, and with which bubblewrap, they run outside.
        self._settings = ProcessSettings(instance)
        self._tiers = tiers
        self._place = place
        self._writer = writer
        self._turn = anyio.Lock()

    async def run(
        self, tiers: Sequence[str], names: Sequence[str], principal: str
    ) -> AsyncGenerator[Numbered]:
        """The rows, as they are reached. What was held is recorded at the end of each tier."""
        chosen, attacks = self._chosen(tiers), _attacks(names)
        try:
            self._turn.acquire_nowait()
        except anyio.WouldBlock:
            raise Conflict(
                "the tiers are being attacked already",
                code="ATTACKS_UNDER_WAY",
                fix="wait until that is over",
            ) from None
        try:
            await anyio.to_thread.run_sync(self._clear)
            number = 0
            for tier in chosen:
                rows = []
                for attack in attacks:
                    found = await one(
                        attack, self._tiers.sandboxes[tier], self._settings, self._place
                    )
                    rows.append(found)
                    number += 1
                    yield Numbered(found, number, len(chosen) * len(attacks))
                await self._record(tier, rows, principal)
        finally:
            self._turn.release()

    def _clear(self) -> None:
        """An empty directory that runs can reach, as the data directory itself is."""
        shutil.rmtree(self._place, ignore_errors=True)
        self._place.mkdir(mode=0o711)
        self._place.chmod(0o711)

    def _chosen(self, labels: Sequence[str]) -> list[Tier]:
        by_label = {tier.label: tier for tier in self._tiers.sandboxes}
        for label in labels:
            if label not in by_label:
                raise BadRequest(
                    f"there is no tier {label!r:.80}",
                    code="UNKNOWN_TIER",
                    fix=f"name one of {', '.join(by_label)}",
                )
            if not self._tiers.reports[by_label[label]].works:
                raise BadRequest(
                    f"the {label} tier does not work here",
                    code="TIER_UNAVAILABLE",
                    fix="`stockade doctor` says what is missing",
                )
        return [
            tier
            for tier in sorted(self._tiers.sandboxes)
            if self._tiers.reports[tier].works and (not labels or tier.label in labels)
        ]

    async def _record(self, tier: Tier, rows: Sequence[Row], principal: str) -> None:
        body = {
            "principal": principal,
            "tier": tier.label,
            "held": sum(row.verdict is Verdict.HELD for row in rows),
            "not_held": [row.name for row in rows if row.verdict is Verdict.NOT_HELD],
            "unproven": [row.name for row in rows if row.verdict is Verdict.UNPROVEN],
        }
        await self._writer.write(
            lambda tx: tx.receipt("sandbox.attacked", body, principal=principal)
        )


def _attacks(names: Sequence[str]) -> list[Attack]:
    found = [one for one in ATTACKS if not names or one.name.startswith(tuple(names))]
    if not found:
        raise BadRequest(
            f"no attack has a name that begins with {', '.join(names)!r:.80}",
            code="UNKNOWN_ATTACK",
            fix="`stockade doctor --attack` without a name runs all",
        )
    return found

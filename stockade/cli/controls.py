"""The table of controls of a tier: what is requested of it, and by what it is enforced here."""

from typing import TYPE_CHECKING

from stockade.cli import machine
from stockade.cli.terminal import facts, note, say

if TYPE_CHECKING:
    from stockade.v1 import daemon_pb2

# What a probe saw is behind `works`; the rest is what holds.
_OBSERVED = "observed."
_LABEL = 20


def controls(*, as_json: bool) -> int:
    """Those of every tier that works. Exit status 1 if this device is told of none."""
    from stockade.client import Client

    with Client.open() as client:
        answer = client.status()
    for tier in answer.tiers:
        show(tier, as_json=as_json)
    if any(tier.controls for tier in answer.tiers):
        return 0
    note("no tier works here: `stockade doctor` says what is missing")
    return 1


def show(tier: "daemon_pb2.GetStatusResponse.Tier", *, as_json: bool) -> None:
    """A tier that works has controls; one that does not has none to show."""
    rows = [one for one in tier.controls if not one.name.startswith(_OBSERVED)]
    if as_json:
        for one in rows:
            machine.emit({"tier": tier.name, "control": one.name, **_plain(one)})
        return
    if rows:
        say()
        say(f"Controls of the {tier.name} tier: what is requested; by what it is enforced here")
    for one in rows:
        achieved = one.achieved or "NOT ENFORCED HERE"
        facts([(f"  {one.name}", f"{one.requested}; {achieved}")], label=_LABEL)


def _plain(one: "daemon_pb2.GetStatusResponse.Control") -> dict[str, object]:
    return {"requested": one.requested, "achieved": one.achieved}

"""All attacks, and running them one after the other against one tier."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from sandbox.attacks import bombs, files, kernel, network, persistence, privilege, processes
from sandbox.attacks.attack import Attack, Row, failed, row
from sandbox.attacks.stage import Stage, fresh_place
from sandbox.settings import ProcessSettings
from sandbox.tier import Sandbox

ATTACKS: tuple[Attack, ...] = (
    *files.ATTACKS,
    *network.ATTACKS,
    *processes.ATTACKS,
    *privilege.ATTACKS,
    *kernel.ATTACKS,
    *bombs.ATTACKS,
    *persistence.ATTACKS,
)


async def run_battery(
    sandbox: Sandbox,
    settings: ProcessSettings,
    place: Path,
    attacks: Sequence[Attack] = ATTACKS,
) -> AsyncIterator[Row]:
    """The verdict on each attack, as it is reached.

    `place` is a directory of the daemon's own that the user of runs can reach: there the targets
    are made, each attack's own, and removed.
    """
    for attack in attacks:
        yield await one(attack, sandbox, settings, place)


async def one(attack: Attack, sandbox: Sandbox, settings: ProcessSettings, place: Path) -> Row:
    """One attack and its control."""
    try:
        with fresh_place(place) as here:
            pair = await attack.stage(Stage(sandbox, settings, here))
    except OSError as error:
        return failed(attack, sandbox.name, f"it could not be staged: {error}")
    return row(attack, sandbox.name, pair)

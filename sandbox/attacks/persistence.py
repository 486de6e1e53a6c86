"""Attacks on later: what goes on after its call, or waits for the next one."""

import os
import secrets

import anyio

from sandbox.attacks.attack import Attack, Effect, Inside, Outside, Pair
from sandbox.attacks.stage import Stage, mounted

_MACHINE = os.uname().machine


async def _outlive(stage: Stage) -> Pair:
    beats = stage.folder("beats")
    inside = {"beat": "/w/inside"}
    outside = {"beat": str(beats / "outside")}

    def goes_on(name: str) -> Effect:
        async def effect(_seen: object) -> str:
            path = beats / name
            await anyio.sleep(0.5)
            size = path.stat().st_size if path.exists() else 0
            await anyio.sleep(0.5)
            later = path.stat().st_size if path.exists() else 0
            return "it was alive a second after its call" if later > size else ""

        return effect

    attack = await stage.run(
        Inside("persistence.outlive", inside, (mounted(beats, "/w", writable=True),))
    )
    did = await goes_on("inside")(attack)
    control = await stage.run(Outside("persistence.outlive", outside))
    return Pair(attack, did, control, await goes_on("outside")(control))


async def _next_call(stage: Stage) -> Pair:
    key = secrets.randbelow(2**30) + 2**20
    leave = {"token": stage.token, "key": key, "machine": _MACHINE}
    find = {"key": key, "machine": _MACHINE}
    await stage.run(Inside("persistence.leave", leave))
    attack = await stage.run(Inside("persistence.find", find))
    await stage.run(Outside("persistence.leave", leave))
    control = await stage.run(Outside("persistence.find", find))
    return Pair(attack, await stage.says_token(attack), control, await stage.says_token(control))


ATTACKS = (
    Attack(
        "later.process",
        "leave a process behind, twice forked, in a session of its own",
        "run outside",
        _outlive,
    ),
    Attack(
        "later.call",
        "leave a token for the next call: files, shared memory, keyring",
        "both are run outside",
        _next_call,
    ),
)

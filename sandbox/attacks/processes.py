"""Attacks on processes outside, aimed at a victim that was started for it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio

from sandbox.attacks.attack import Attack, Effect, Inside, Outside, Pair, Seen
from sandbox.attacks.stage import Stage


class _Victim:
    """A process of the user that tools run as: its number, where its token lies, its end."""

    def __init__(self) -> None:
        self.pid = self.address = 0
        self.ready = anyio.Event()
        self.ended = anyio.Event()

    def hear(self, data: bytes) -> None:
        """It says its number and its address."""
        for line in data.split(b"\n"):
            words = line.split()
            if words[:1] == [b"ready"]:
                self.pid, self.address = int(words[1]), int(words[2])
                self.ready.set()

    async def effect(self, _seen: Seen) -> str:
        """Whether it was ended before its time."""
        with anyio.move_on_after(0.3):
            await self.ended.wait()
        return "the victim was ended" if self.ended.is_set() else ""


@asynccontextmanager
async def _a_victim(stage: Stage) -> AsyncIterator[_Victim]:
    victim = _Victim()
    environment = {"STOCKADE_VICTIM": stage.token}
    trial = Outside("processes.victim", {"token": stage.token}, environment=environment)

    async def live() -> None:
        await stage.run(trial, victim.hear)
        victim.ended.set()

    async with anyio.create_task_group() as group:
        group.start_soon(live)
        with anyio.move_on_after(5):
            await victim.ready.wait()
        yield victim
        group.cancel_scope.cancel()


async def _signal(stage: Stage) -> Pair:
    async with _a_victim(stage) as victim:
        given = {"pid": victim.pid}
        return await _both(stage, "processes.send_signal", given, victim.effect)


async def _trace(stage: Stage) -> Pair:
    async with _a_victim(stage) as victim:
        given = {"pid": victim.pid, "address": victim.address}
        return await _both(stage, "processes.trace", given, stage.says_token)


async def _read_memory(stage: Stage) -> Pair:
    async with _a_victim(stage) as victim:
        given = {"pid": victim.pid, "address": victim.address}
        return await _both(stage, "processes.read_memory", given, stage.says_token)


async def _environment(stage: Stage) -> Pair:
    async with _a_victim(stage):
        return await _both(stage, "processes.read_environments", {}, stage.says_token)


async def _both(stage: Stage, program: str, given: dict[str, int], effect: Effect) -> Pair:
    return await stage.pair(Inside(program, given), Outside(program, given), effect)


_OUTSIDE = "run outside, as the victim's user"

ATTACKS = (
    Attack("process.signal", "end a process outside", _OUTSIDE, _signal),
    Attack("process.ptrace", "trace a process outside and read its memory", _OUTSIDE, _trace),
    Attack("process.memory", "read its memory without tracing it", _OUTSIDE, _read_memory),
    Attack("process.environ", "read the environment of processes", _OUTSIDE, _environment),
)

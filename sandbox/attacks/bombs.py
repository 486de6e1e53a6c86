"""Attacks on what everybody shares. The one grant more is a higher limit."""

from collections.abc import Awaitable, Callable, Mapping

from sandbox.attacks.attack import Attack, Inside, Outside, Pair, Seen
from sandbox.attacks.stage import Stage, says

_MIB = 2**20


def _bomb(
    program: str, low: Mapping[str, float], high: Mapping[str, float], **given: object
) -> Callable[[Stage], Awaitable[Pair]]:
    """A bomb under a limit it passes, and under one that it does not."""

    async def stage_it(stage: Stage) -> Pair:
        return await stage.pair(
            Inside(program, given, limits=low), Inside(program, given, limits=high), says("all")
        )

    return stage_it


async def _output(stage: Stage) -> Pair:
    async def effect(seen: Seen) -> str:
        wrote = seen.outcome.stdout_bytes if seen.outcome else 0
        return f"{wrote} bytes came out" if wrote > _MIB else ""

    return await stage.pair(
        Inside("bombs.output", {"gib": 10}, limits={"output_bytes": _MIB}),
        Inside("bombs.output", {"gib": 10}, limits={"output_bytes": 16 * _MIB}),
        effect,
    )


async def _stop(stage: Stage) -> Pair:
    async def effect(seen: Seen) -> str:
        return "it was there after its time" if seen.overran else ""

    return await stage.pair(
        Inside("bombs.stop_itself", limits={"wall_seconds": 2}),
        Outside("bombs.stop_itself", seconds=2),
        effect,
    )


# Room for all of them: threads reserve address space, which is what a limit of memory without
# cgroups counts, and 80 processes take some.
_ROOM = {"memory_bytes": 8192 * _MIB}
_PIDS = ({"pids": 24, **_ROOM}, {"pids": 128, **_ROOM})
_MEMORY = ({"memory_bytes": 128 * _MIB}, {"memory_bytes": 512 * _MIB})
_TMP = ({"tmp_bytes": 8 * _MIB}, {"tmp_bytes": 64 * _MIB})
# Empty files take about a KiB each of the kernel's memory and none of the disk's.
_TIME = {"cpu_seconds": 60, "wall_seconds": 60}
_FILES = (
    {"tmp_bytes": 64 * _MIB, "memory_bytes": 64 * _MIB, **_TIME},
    {"tmp_bytes": 1024 * _MIB, "memory_bytes": 1024 * _MIB, **_TIME},
)
_LARGER = "a higher limit"

ATTACKS = (
    Attack("bomb.fork", "have 80 processes", _LARGER, _bomb("bombs.fork", *_PIDS, count=80)),
    Attack("bomb.threads", "have 80 threads", _LARGER, _bomb("bombs.threads", *_PIDS, count=80)),
    Attack(
        "bomb.zombies",
        "have 80 dead children that nobody waits for",
        _LARGER,
        _bomb("bombs.zombies", *_PIDS, count=80),
    ),
    Attack("bomb.memory", "hold 192 MiB", _LARGER, _bomb("bombs.memory", *_MEMORY, mib=192)),
    Attack(
        "bomb.memory-tree",
        "hold 192 MiB in six processes",
        _LARGER,
        _bomb("bombs.memory_of_children", *_MEMORY, mib=192, children=6),
    ),
    Attack(
        "bomb.disk",
        "put 32 MiB into /tmp",
        _LARGER,
        _bomb("bombs.disk", *_TMP, place="/tmp", mib=32),  # noqa: S108
    ),
    Attack(
        "bomb.shm",
        "put 32 MiB into /dev/shm",
        _LARGER,
        _bomb("bombs.disk", *_TMP, place="/dev/shm", mib=32),  # noqa: S108
    ),
    Attack(
        "bomb.inodes",
        "keep 100000 empty files in /tmp, in the kernel's memory",
        _LARGER,
        _bomb("bombs.inodes", *_FILES, place="/tmp", count=100_000),  # noqa: S108
    ),
    Attack(
        "bomb.file",
        "make a file of 32 MiB",
        _LARGER,
        _bomb(
            "bombs.file_size",
            {"file_size_bytes": 16 * _MIB},
            {"file_size_bytes": 64 * _MIB},
            path="/tmp/large",  # noqa: S108
            mib=32,
        ),
    ),
    Attack("bomb.output", "write 10 GiB", _LARGER, _output),
    Attack(
        "bomb.cpu",
        "compute for 2 s in two processes",
        _LARGER,
        _bomb("bombs.spin", {"cpu_seconds": 0.7}, {"cpu_seconds": 10}, seconds=2.0),
    ),
    Attack(
        "bomb.descriptors",
        "have 200 descriptors",
        _LARGER,
        _bomb("bombs.descriptors", {"open_files": 64}, {"open_files": 512}, count=200),
    ),
    Attack(
        "bomb.stop", "stop itself, so that it never ends", "run outside, without a clock", _stop
    ),
)

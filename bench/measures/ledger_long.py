"""The ledger at length: ten million signed receipts, a million verified, a minute without pause.

Asked for by name alone (`ONLY=long.`): it takes most of an hour and eight gigabytes. Rates are by
processor time of the one process where others share the machine's cores, which is said of each.
"""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import anyio
from sqlalchemy import Connection
from uuid_utils.compat import uuid7

from bench.filling import CHAIN, body_of
from bench.plan import Bench, Measure
from bench.result import Result, distribution, rate, timing
from bench.sampling import Samples, Step
from bench.store import Stored, stored
from daemon.store import receipt_search, receipts
from daemon.store.commit import Tx
from daemon.store.ids import CallId
from daemon.store.receipt_search import Wanted
from ledger.export import encode_line
from ledger.keys import encode_public
from stockade.cli.ledger_jobs import default_jobs

LONG, SHORT, VERIFIED = 10_000_000, 10_000, 1_000_000
SECONDS, WAITING = 60, 4096
MANY, ROUNDS, READS = 8192, 15, 200


def sustained(bench: Bench) -> Iterator[Result]:
    """A minute of as many writes as become durable, 4,096 waiting: by second, by processor time."""
    walls, cores = anyio.run(_sustained, bench.times(SECONDS))
    yield rate("long.ledger.sustained", "rec/s", walls, beside="long.ledger.sustained.cpu")
    yield rate("long.ledger.sustained.cpu", "rec/s", cores, beside="long.ledger.sustained")


async def _sustained(seconds: int) -> tuple[list[float], list[float]]:
    done = 0
    async with stored() as base:

        async def writing() -> None:
            nonlocal done
            while True:
                await base.writer.submit(_operation)
                done += 1

        walls: list[float] = []
        cores: list[float] = []
        tasks = [asyncio.create_task(writing()) for _ in range(WAITING)]
        await asyncio.sleep(1)
        for _ in range(seconds):
            before, wall, core = done, time.perf_counter(), time.process_time()
            await asyncio.sleep(1)
            walls.append((done - before) / (time.perf_counter() - wall))
            cores.append((done - before) / (time.process_time() - core))
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return walls, cores


def at_length(bench: Bench) -> Iterator[Result]:
    """Appending and reading at ten million and at ten thousand, in turn; a million verified."""
    lengths = bench.times(LONG), bench.times(SHORT)
    found = anyio.run(_at_length, lengths, bench.times(MANY), bench.times(ROUNDS), bench.times)
    for name, figures in found.rates.items():
        yield rate(f"long.ledger.{name}", "rec/s", figures, beside=found.beside(name))
    for name, samples in found.reads.items():
        yield timing(f"long.ledger.{name}", "ms", samples, beside=found.beside(name))
    for name, figures in found.memory.items():
        yield distribution(f"long.ledger.{name}", "MB", figures)


@dataclass(frozen=True, slots=True)
class _Found:
    rates: dict[str, list[float]]
    reads: dict[str, Samples]
    memory: dict[str, list[float]]

    def beside(self, name: str) -> str:
        """What ran in turn with it."""
        kind, _, end = name.rpartition("_")
        if end in ("10m", "10k"):
            return f"long.ledger.{kind}_{'10k' if end == '10m' else '10m'}"
        return f"long.ledger.{'verify_1m.jobs' if name == 'verify_1m' else 'verify_1m'}"


async def _at_length(
    lengths: tuple[int, int], many: int, rounds: int, times: Callable[[int], int]
) -> _Found:
    rates: dict[str, list[float]] = {"append_at_10m": [], "append_at_10k": []}
    reads: dict[str, Samples] = {}
    async with stored(lengths[0], signed=True) as long, stored(lengths[1], signed=True) as short:
        both = {"10m": long, "10k": short}
        for _ in range(rounds):
            for end, base in both.items():
                rates[f"append_at_{end}"].append(await _append(base, many))
        for what, read in _READS.items():
            steps = {f"{what}_at_{end}": _read(base, read) for end, base in both.items()}
            reads |= {name: Samples() for name in steps}
            for _ in range(times(READS)):
                for name, step in steps.items():
                    step.take(reads[name])
        verified, memory = _verified(long, times(VERIFIED))
    return _Found(rates | verified, reads, memory)


async def _append(base: Stored, many: int) -> float:
    began = time.perf_counter()
    await asyncio.gather(*(base.writer.submit(_operation) for _ in range(many)))
    return many / (time.perf_counter() - began)


Reading = Callable[[Connection, int], object]


def _read(base: Stored, read: Reading) -> Step:
    """Each in a connection of its own, as the daemon's reader has it."""

    def run() -> None:
        with base.engine.connect() as connection:
            read(connection, receipt_search.last(connection, CHAIN))

    return Step(run)


def _tail(connection: Connection, last: int) -> object:
    return receipt_search.backwards(connection, CHAIN, Wanted(), last + 1, 50)


def _filtered(connection: Connection, last: int) -> object:
    wanted = Wanted(principal=str(body_of("", 7)["principal"]), kinds=("call.",))
    return receipt_search.backwards(connection, CHAIN, wanted, last + 1, 50)


def _since(connection: Connection, last: int) -> object:
    wanted = Wanted(since="2020-01-01T00:00:00.000Z", until="2100-01-01T00:00:00.000Z")
    return receipt_search.backwards(connection, CHAIN, wanted, last + 1, 50)


def _call(connection: Connection, last: int) -> object:
    (newest,) = receipts.page(connection, CHAIN, after=last - 1, limit=1)
    assert newest.call_id is not None
    return receipts.by_call(connection, CHAIN, newest.call_id, limit=50)


_READS: dict[str, Reading] = {
    "tail": _tail,
    "filtered": _filtered,
    "since": _since,
    "call": _call,
}


def _verified(base: Stored, count: int) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """An export of so many, verified by the command line: one process, then one a core."""
    export, key = base.directory / "export", base.directory / "ledger.pub"
    key.write_bytes(encode_public(base.keys.public()))
    with base.engine.connect() as connection, export.open("wb") as out:
        for row in receipts.stream(connection, CHAIN):
            out.write(encode_line(row.entry))
            if row.entry.sequence == count:
                break
    rates: dict[str, list[float]] = {}
    memory: dict[str, list[float]] = {}
    for name, jobs in (("verify_1m", 1), ("verify_1m.jobs", default_jobs())):
        wall, core, peak = _run(export, key, jobs)
        # By one process the processor time counts, by several what passed.
        rates[name] = [count / (core if jobs == 1 else wall)]
        rates[f"{name}.cpu"] = [count / core]
        memory[f"{name}.memory"] = [peak]
    return rates, memory


# The most memory that it and any process it forked had, told by itself: what a parent is told of a
# child that was spawned counts the parent's own.
_TELLING = """
import atexit, resource
from stockade.cli.main import main
def tell():
    own = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
    print(max(int(own.split()[1]), resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))
atexit.register(tell)
main()
"""


def _run(export: Path, key: Path, jobs: int) -> tuple[float, float, float]:
    """Seconds that passed, seconds of processors, and the most memory of one process, in MB."""
    verify = ("ledger", "verify", str(export), "--key", str(key), "--jobs", str(jobs))
    before, began = os.times(), time.perf_counter()
    command = (sys.executable, "-I", "-c", _TELLING, *verify)
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    wall, after = time.perf_counter() - began, os.times()
    core = after.children_user + after.children_system
    core -= before.children_user + before.children_system
    return wall, core, int(said.split()[-1]) * 1024 / 1e6


def _operation(tx: Tx) -> None:
    call_id = str(uuid7())
    body = body_of(call_id, 0)
    tx.receipt("call.received", body, call_id=CallId(call_id), principal=str(body["principal"]))


_PAIRS = tuple(f"{what}_at_{end}" for what in ("append", *_READS) for end in ("10m", "10k"))
_VERIFY = tuple(f"verify_1m{what}" for what in ("", ".cpu", ".memory"))
_JOBS = tuple(f"verify_1m.jobs{what}" for what in ("", ".cpu", ".memory"))

MEASURES = (
    Measure(("long.ledger.sustained", "long.ledger.sustained.cpu"), sustained),
    Measure(tuple(f"long.ledger.{name}" for name in (*_PAIRS, *_VERIFY, *_JOBS)), at_length),
)

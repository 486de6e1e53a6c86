"""Receipts: how fast they become durable, alone and many at once, and how fast they verify."""

import asyncio
import os
import time
from collections.abc import Iterator

import anyio

from bench.filling import CHAIN
from bench.plan import Bench, Measure
from bench.result import Result, rate, timing
from bench.sampling import Samples, Step
from bench.store import Stored, stored
from daemon.store import receipts
from daemon.store.commit import Tx
from daemon.store.engine import LOG_PAGES
from ledger.export import encode_line
from ledger.lineage import Lineage
from stockade.cli.ledger_jobs import default_jobs, verify_file

ENTRIES = 20_000
ROUNDS = 5
RATE = 1000
WEAR = 5000
PAGE_BYTES = 4096
BODY = {
    "call": "01900000-0000-7000-8000-000000000001",
    "principal": "spiffe://bench.stockade/device/0123456789abcdef",
    "tool": "run_shell",
    "tool_digest": "ab" * 32,
    "arguments_digest": "cd" * 32,
    "origin": "ipv4:127.0.0.1:50000",
    "detach": False,
}


def append(bench: Bench) -> Iterator[Result]:
    """Many writes waiting at once, as under load: the rate until all are durable."""
    rates = anyio.run(_append, bench.times(ENTRIES), bench.times(ROUNDS))
    yield rate("ledger.append_rate", "rec/s", rates)


async def _append(entries: int, rounds: int) -> list[float]:
    async with stored() as base:
        return [await _append_once(base, entries) for _ in range(rounds)]


async def _append_once(base: Stored, entries: int) -> float:
    began = time.perf_counter()
    for start in range(0, entries, 8192):  # the writer takes 16,384 at a time
        many = range(min(8192, entries - start))
        await asyncio.gather(*(base.writer.submit(_operation) for _ in many))
    return entries / (time.perf_counter() - began)


def durable(bench: Bench) -> Iterator[Result]:
    """One receipt at a time, until it is on disk; beside it a bare 4 KiB append and fsync."""
    one, bare = anyio.run(_durable, bench.times(1000))
    yield timing("ledger.durable_latency", "ms", one, beside="bare.fsync")
    yield timing("bare.fsync", "ms", bare, beside="ledger.durable_latency")


async def _durable(n: int) -> tuple[Samples, Samples]:
    one, bare = Samples(), Samples()
    async with stored() as base:
        await _wear_in(base)
        file = os.open(base.directory / "bare", os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
        page = os.urandom(4096)

        def sync() -> None:
            os.write(file, page)
            os.fsync(file)

        step = Step(sync)
        for _ in range(n):
            began = time.perf_counter()
            await base.writer.write(_operation)
            one.seconds.append(time.perf_counter() - began)
            step.take(bare)
        os.close(file)
    return one, bare


async def _wear_in(base: Stored) -> None:
    """Until the file of the log has its full length, as in a daemon that has been used.

    What makes it longer takes the disk a third longer, for the length is written, too.
    """
    log = base.directory / "stockade.db-wal"
    for _ in range(WEAR):
        if log.stat().st_size >= LOG_PAGES * PAGE_BYTES:
            break
        await base.writer.write(_start)


def of_a_call(bench: Bench) -> Iterator[Result]:
    """What a call waits for that runs at once: up to its start, and its end, until on disk."""
    yield timing("ledger.durable_call", "ms", anyio.run(_of_a_call, bench.times(1000)))


async def _of_a_call(n: int) -> Samples:
    samples = Samples()
    async with stored() as base:
        await _wear_in(base)
        for _ in range(n):
            began = time.perf_counter()
            await base.writer.write(_start)
            await base.writer.write(_operation)
            samples.seconds.append(time.perf_counter() - began)
    return samples


def paced(bench: Bench) -> Iterator[Result]:
    """A thousand a second, each timed from when it was due until it is on disk."""
    samples = anyio.run(_paced, bench.times(5 * RATE))
    yield timing("ledger.durable_at_1000", "ms", samples)


async def _paced(n: int) -> Samples:
    samples = Samples()
    async with stored() as base:
        await base.writer.write(_operation)
        began = time.perf_counter() + 0.05

        async def one(due: float) -> None:
            await base.writer.write(_operation)
            samples.seconds.append(time.perf_counter() - due)

        async with asyncio.TaskGroup() as group:
            for number in range(n):
                due = began + number / RATE
                # Not later because the one before was late: what waits is part of the time. Nor
                # are all of them made at once: the first would be late for that alone.
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
                group.create_task(one(due))
    return samples


def at_length(bench: Bench) -> Iterator[Result]:
    """Appending to a ledger of ten million, beside one of ten thousand."""
    long, short, many = bench.times(10_000_000), bench.times(10_000), bench.times(8192)
    rates = anyio.run(_at_length, (long, short), many, bench.times(ROUNDS))
    yield rate("ledger.append_at_10m", "rec/s", rates[0], beside="ledger.append_at_10k")
    yield rate("ledger.append_at_10k", "rec/s", rates[1], beside="ledger.append_at_10m")


async def _at_length(
    lengths: tuple[int, int], many: int, rounds: int
) -> tuple[list[float], list[float]]:
    rates: tuple[list[float], list[float]] = ([], [])
    async with stored(lengths[0]) as long, stored(lengths[1]) as short:
        for _ in range(rounds):
            for base, found in zip((long, short), rates, strict=True):
                found.append(await _append_once(base, many))
    return rates


def verification(bench: Bench) -> Iterator[Result]:
    """An export: parsed, hashed, chained, signatures checked, Merkle root; by one core, by all."""
    one, every = anyio.run(_verify, bench.times(ENTRIES), bench.times(ROUNDS))
    yield rate("ledger.verify_rate", "rec/s", one, beside="ledger.verify_rate.jobs")
    yield rate("ledger.verify_rate.jobs", "rec/s", every, beside="ledger.verify_rate")


async def _verify(entries: int, rounds: int) -> tuple[list[float], list[float]]:
    async with stored() as base:
        await _append_once(base, entries)
        file = base.directory / "export"
        with base.engine.connect() as connection, file.open("wb") as out:
            out.writelines(encode_line(row.entry) for row in receipts.stream(connection, CHAIN))
        public, jobs = Lineage(base.keys.public()), (1, default_jobs())
        rates: tuple[list[float], list[float]] = ([], [])
        for _ in range(rounds):
            for number, found in zip(jobs, rates, strict=True):
                began = time.perf_counter()
                verified = verify_file(file, public, (), number)
                found.append(entries / (time.perf_counter() - began))
                assert verified.count == entries
    return rates


def _start(tx: Tx) -> None:
    for _ in range(3):  # received, permitted, running
        _operation(tx)


def _operation(tx: Tx) -> None:
    tx.receipt("call.received", BODY)


MEASURES = (
    Measure(("ledger.append_rate",), append),
    Measure(("ledger.durable_latency", "bare.fsync"), durable),
    Measure(("ledger.durable_call",), of_a_call),
    Measure(("ledger.durable_at_1000",), paced),
    Measure(("ledger.append_at_10m", "ledger.append_at_10k"), at_length),
    Measure(("ledger.verify_rate", "ledger.verify_rate.jobs"), verification),
)

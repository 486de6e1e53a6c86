"""Receipts: how fast they become durable, alone and many at once, and how fast they verify."""

import asyncio
import os
import time
from collections.abc import Iterator

import anyio

from bench.plan import Bench, Measure
from bench.result import Result, rate, timing
from bench.sampling import Samples, Step
from bench.store import CHAIN, Stored, stored
from daemon.store import receipts
from daemon.store.commit import Tx
from ledger.export import encode_line
from ledger.verify import verify

ENTRIES = 20_000
ROUNDS = 5
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


def verification(bench: Bench) -> Iterator[Result]:
    """An export read from memory: parsed, hashed, chained, signatures checked, Merkle root."""
    rates = anyio.run(_verify, bench.times(ENTRIES), bench.times(ROUNDS))
    yield rate("ledger.verify_rate", "rec/s", rates)


async def _verify(entries: int, rounds: int) -> list[float]:
    async with stored() as base:
        await _append_once(base, entries)
        with base.engine.connect() as connection:
            lines = [encode_line(row.entry) for row in receipts.stream(connection, CHAIN)]
        public = base.keys.public()
    rates = []
    for _ in range(rounds):
        began = time.perf_counter()
        verified = verify(lines, public)
        rates.append(entries / (time.perf_counter() - began))
        assert verified.count == entries
    return rates


def _operation(tx: Tx) -> None:
    tx.receipt("call.received", BODY)


MEASURES = (
    Measure(("ledger.append_rate",), append),
    Measure(("ledger.durable_latency", "bare.fsync"), durable),
    Measure(("ledger.verify_rate",), verification),
)

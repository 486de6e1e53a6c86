"""A secret from the store to a value in hand, and output on its way past the redactor."""

import os
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import anyio

from bench.plan import Bench, Measure
from bench.result import Result, rate, timing
from bench.sampling import Samples
from bench.store import stored
from daemon.clock import Clock
from daemon.elsewhere.sources import Sources
from daemon.vault.changes import Kept, VaultChanges
from daemon.vault.keeper import Keys, VaultKeeper, VaultState
from daemon.vault.notes import Notes
from vault.redact import Redaction
from vault.reference import SecretName
from vault.root import FileRoot
from vault.secret import Secret

SECRETS = 50
CHUNK = 64 * 1024
CHUNKS = 64
MEGABYTE = 1e6
REFERENCE = "secret://global/bench_key"


def resolve(bench: Bench) -> Iterator[Result]:
    """As the daemon does it for a run: unwrap the data key, open the value."""
    yield timing("vault.resolve", "us", anyio.run(_resolve, bench.times(2000)))


async def _resolve(n: int) -> Samples:
    samples = Samples()
    async with _vault() as (keeper, changes):
        await changes.put(REFERENCE, Secret(os.urandom(32)), None, "bench")
        for _ in range(n):
            began = time.perf_counter()
            opened = await keeper.open([REFERENCE], "bench")
            samples.seconds.append(time.perf_counter() - began)
            opened[REFERENCE][1].wipe()
            keeper.release([REFERENCE], "bench")
    return samples


@asynccontextmanager
async def _vault() -> AsyncIterator[tuple[VaultKeeper, VaultChanges]]:
    """A vault on a store of its own, open."""
    async with stored() as base:
        root = FileRoot(base.directory / "vault.root").create()
        keeper = VaultKeeper(base.reader, Clock(), Sources({}))
        keeper.hold(Keys(root, {root.key_id: root}), VaultState("bench", True))
        changes = VaultChanges(keeper, base.reader, base.writer, Clock(), Notes(()), Kept(2, 0))
        yield keeper, changes


def redact(bench: Bench) -> Iterator[Result]:
    """Log-like text in 64 KiB chunks, one secret in every tenth, 50 secrets looked for."""
    secrets = [
        (SecretName(f"key_{number}"), Secret(os.urandom(16).hex().encode()))
        for number in range(SECRETS)
    ]
    line = b"2026-11-20T12:00:00Z GET /v1/things/%d HTTP/1.1 200 %d bytes in 3 ms\n"
    text = b"".join(line % (number, number * 37) for number in range(2000))[:CHUNK]
    leaking = text[:1000] + secrets[7][1].reveal() + text[1000:]
    chunks = [leaking if number % 10 == 0 else text for number in range(CHUNKS)]
    size = sum(map(len, chunks)) / MEGABYTE
    rates = []
    for _ in range(bench.times(20)):
        redactor = Redaction(secrets).stream()
        began = time.perf_counter()
        for chunk in chunks:
            redactor.feed(chunk)
        redactor.finish()
        rates.append(size / (time.perf_counter() - began))
        assert redactor.count == sum(chunk is leaking for chunk in chunks)
    yield rate("vault.redact", "MB/s", rates)


MEASURES = (Measure(("vault.resolve",), resolve), Measure(("vault.redact",), redact))

"""A vault with ten thousand secrets beside one with ten: listing, getting, and another root."""

import os
import secrets
import shutil
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import anyio

from bench.daemon import make_directory
from bench.plan import Bench, Measure
from bench.result import Result, timing
from bench.sampling import Samples
from daemon.config import load_config
from daemon.estate import Estate, create, make_directories
from daemon.foundation import Foundation, foundation
from daemon.identity.authority_files import Files
from daemon.identity.authority_keys import AuthorityKeys
from daemon.initialise import ensure_root
from daemon.store.commit import Tx
from daemon.vault.composition import Vault
from daemon.vault.rows import VaultRows
from stockade.home import Home
from vault.reference import parse_reference
from vault.secret import Secret

FEW, MANY = 10, 10_000
AT_ONCE = 500
PAGE = 10


@dataclass(frozen=True, slots=True)
class Filled:
    """A vault with so many secrets."""

    size: int
    base: Foundation
    vault: Vault


@asynccontextmanager
async def _filled(size: int) -> AsyncIterator[Filled]:
    home = Home.under(make_directory())
    try:
        make_directories(home)
        home.config_file.write_text('[vault]\nroot = "file"\n')
        config = load_config(home.config_file)
        create(home, Files(home.data, AuthorityKeys(config.authority)))
        async with foundation(Estate.open(home), config) as base:
            await ensure_root(base)
            vault = Vault.over(base)
            assert (await vault.unlock()).available
            filled = Filled(size, base, vault)
            for first in range(0, size, AT_ONCE):
                await _put(filled, range(first, min(first + AT_ONCE, size)))
            yield filled
    finally:
        shutil.rmtree(home.data.parent, ignore_errors=True)


async def _put(filled: Filled, numbers: range) -> None:
    changes = filled.vault.changes

    def operation(tx: Tx) -> None:
        for number in numbers:
            with Secret(os.urandom(32)) as value:
                changes.next_version(tx, parse_reference(_name(number)), value, None)

    await changes.change(operation)


def _name(number: int) -> str:
    return f"secret://global/key-{number:05}"


def many(bench: Bench) -> Iterator[Result]:
    """A page of a list and a sealed value from the store, A B A B; then all under a new root."""
    yield from anyio.run(_many, bench.times(400))


async def _many(n: int) -> list[Result]:
    async with AsyncExitStack() as stack:
        vaults = [await stack.enter_async_context(_filled(size)) for size in (FEW, MANY)]
        listed, got = ({one.size: Samples() for one in vaults} for _ in range(2))
        for _ in range(n):
            for one in vaults:
                await _list(one, listed[one.size])
                await _get(one, got[one.size])
        began = time.perf_counter()
        done = await vaults[-1].vault.roots.rotate("", "", None, "bench")
        seconds = time.perf_counter() - began
        assert done.secrets == MANY
    return [
        *(timing(f"vault.list.{size}", "us", samples) for size, samples in listed.items()),
        *(timing(f"vault.get.{size}", "us", samples) for size, samples in got.items()),
        timing(f"vault.rewrap.{MANY}", "s", Samples([seconds])),
    ]


async def _list(one: Filled, samples: Samples) -> None:
    first = secrets.randbelow(one.size - PAGE + 1)
    after = ("global", f"key-{first:05}") if first else ("", "")
    began = time.perf_counter()
    page = await one.vault.changes.listing(after, PAGE)
    samples.seconds.append(time.perf_counter() - began)
    assert page


async def _get(one: Filled, samples: Samples) -> None:
    reference = parse_reference(_name(secrets.randbelow(one.size)))
    began = time.perf_counter()
    found = await VaultRows(one.base.reader).current([reference])
    samples.seconds.append(time.perf_counter() - began)
    assert found[reference]


NAMES = tuple(f"vault.{what}.{size}" for what in ("list", "get") for size in (FEW, MANY))
MEASURES = (Measure((*NAMES, f"vault.rewrap.{MANY}"), many),)

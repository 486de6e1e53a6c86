"""A vault on a store and in a home of its own, in this process, as the daemon makes one."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from daemon.config import Config, load_config
from daemon.estate import Estate, create, make_directories
from daemon.foundation import Foundation, foundation
from daemon.identity.authority_files import Files
from daemon.identity.authority_keys import AuthorityKeys
from daemon.initialise import ensure_root
from daemon.store import receipts
from daemon.vault.composition import Vault
from ledger.chain import Entry
from stockade.home import Home
from tests.running import CONFIG
from vault.reference import parse_reference
from vault.secret import Secret

TOKEN = "secret://global/token"
WORDS = b"correct horse battery staple"


@dataclass
class Opened:
    """A vault, and what it stands on."""

    base: Foundation
    vault: Vault

    def pass_time(self, ms: int) -> None:
        """So much later: as if the wall clock were set forward."""
        self.base.clock._offset += ms

    async def put(self, reference: str, value: bytes, expires_ms: int | None = None) -> int:
        version, _ = await self.vault.changes.put(reference, Secret(value), expires_ms, "me")
        return version

    async def value(self, reference: str) -> bytes:
        opened = await self.vault.keeper.open([reference], "call")
        self.vault.keeper.release([reference], "call")
        return opened[reference][1].reveal()

    async def kinds(self) -> list[str]:
        """The kinds of all receipts, in order."""
        return [entry.kind for entry in await self.receipts()]

    async def receipts(self) -> list[Entry]:
        chain = self.base.estate.chain_id
        rows = await self.base.reader.read(lambda c: list(receipts.stream(c, chain)))
        return [row.entry for row in rows]


def home_at(folder: Path, config: str = CONFIG) -> Home:
    """A home that was initialised, with this configuration."""
    home = Home.under(folder)
    make_directories(home)
    if not home.config_file.exists():
        home.config_file.write_text(config)
    create(home, Files(home.data, AuthorityKeys(Config().authority)))
    return home


@asynccontextmanager
async def opened(
    home: Home, passphrase: bytes | None = None, *, make_root: bool = True
) -> AsyncIterator[Opened]:
    """The vault of a home, unlocked as at a start."""
    config = load_config(home.config_file)
    async with foundation(Estate.open(home), config) as base:
        if make_root:
            await ensure_root(base)
        vault = Vault.over(base)
        await vault.unlock()
        if passphrase is not None:
            await vault.unlock(Secret(passphrase), create=make_root, principal="me")
        yield Opened(base, vault)


REFERENCE = parse_reference(TOKEN)

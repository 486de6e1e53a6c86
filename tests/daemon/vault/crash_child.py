"""Changes a vault until it is killed, telling on standard output what was acknowledged.

Usage: python -m tests.daemon.vault.crash_child HOME rotate|put
"""

import sys
from pathlib import Path

import anyio

from stockade.home import Home
from tests.daemon.vault.opened import TOKEN, WORDS, Opened, opened
from vault.secret import Secret


def tell(text: str) -> None:
    """One write(2): a line is either there whole or not at all."""
    sys.stdout.buffer.write(text.encode() + b"\n")
    sys.stdout.buffer.flush()


async def rotate(it: Opened) -> None:
    """To another file, to a passphrase and back, over and over."""
    while True:
        for kind in ("file", "passphrase", "file"):
            tell("begin")
            words = Secret(WORDS) if kind == "passphrase" else None
            await it.vault.roots.rotate(kind, "", words, "me")
            tell(kind)


async def put(it: Opened) -> None:
    """One value after the other, each of several pages."""
    facts = await it.vault.changes.listing(("", ""), 1)
    number = facts[0].version if facts else 0
    while True:
        number += 1
        value = b"%08d" % number * 2000
        tell(f"begin {number}")
        assert await it.put(TOKEN, value) == number
        tell(f"done {number}")


async def main(folder: Path, what: str) -> None:
    async with opened(Home.under(folder), WORDS) as it:
        assert it.vault.keeper.state.available, it.vault.keeper.state
        await {"rotate": rotate, "put": put}[what](it)


if __name__ == "__main__":
    anyio.run(main, Path(sys.argv[1]), sys.argv[2])

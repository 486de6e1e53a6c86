"""Writes until it is killed, telling on standard output what was acknowledged."""

import asyncio
import sys
from pathlib import Path

from daemon.store import meta
from daemon.store.commit import Tx
from daemon.store.engine import open_engine
from tests.daemon.store.specimen import note, writer


async def main(path: Path, run: str) -> None:
    """Twenty tasks, each writing a row and a receipt at a time."""
    async with writer(open_engine(path)) as store:

        async def work(task: int) -> None:
            for number in range(1_000_000):
                name = f"{run}-{task}-{number}"

                def operation(tx: Tx, name: str = name) -> int:
                    assert meta.swap(tx.connection, name, None, "1")
                    return note(name)(tx)

                sequence = await store.write(operation)
                # One write(2): a line is either there whole or not at all.
                sys.stdout.buffer.write(f"{sequence} {name}\n".encode())
                sys.stdout.buffer.flush()

        await asyncio.gather(*(work(task) for task in range(20)))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))

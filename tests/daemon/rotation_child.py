"""Rotates or retires an authority, and dies (SIGKILL) before its n-th step on disk.

The steps are those Python reports itself (audit events): opening, renaming and removing files of
the authorities. Ends well if there are fewer.
"""

import os
import signal
import sys
from pathlib import Path
from typing import Any

import anyio

from daemon.config import load_config
from daemon.estate import Estate
from daemon.foundation import foundation
from daemon.identity.rotation import Rotation
from stockade.home import Home

EVENTS = ("open", "os.rename", "os.remove")


def die_before(step: int) -> None:
    """Arranges it."""
    seen = 0

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal seen
        if event in EVENTS and "authority" in Path(str(arguments[0])).name:
            seen += 1
            if seen == step:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


async def main(root: Path, act: str, step: int) -> None:
    home = Home.under(root)
    async with foundation(Estate.open(home), load_config(home.config_file)) as base:
        rotation = Rotation(base, lambda: None)
        die_before(step)
        if act == "rotate":
            await rotation.rotate("tests")
        else:
            await rotation.retire_if_due()


if __name__ == "__main__":
    anyio.run(main, Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))

"""While the daemon serves: signals are heard, and the service manager is told.

SIGTERM and SIGINT stop it; SIGHUP has it read its configuration again, unless it was started on a
terminal, whose end SIGHUP then means. However many come at once, they are one; SIGTERM after the
first changes nothing: an end takes bounded time. SIGINT after it, a person's second Ctrl-C, ends
the calls that are waited for; it is never an exception in the middle of what ends. Raises nothing.
"""

import asyncio
import os
import signal
import sys
from contextlib import AbstractContextManager
from pathlib import Path
from types import FrameType

import anyio

from daemon.config import Config
from daemon.notify import ServiceManager
from daemon.reload import reload

# Besides draining: calls that are ended, the port, the last receipt.
STOP_MARGIN_SECONDS = 20
_END = {signal.SIGTERM, signal.SIGINT}


async def until_told_to_stop(
    manager: ServiceManager,
    config_file: Path,
    config: Config,
    found: AbstractContextManager[None],
) -> anyio.CancelScope:
    """Returns when it is to stop, with the scope to wait in for calls that are under way.

    `found` is entered when signals are heard: whoever learns from it that the daemon serves may
    send one at once.
    """
    again = anyio.Event()
    current = config

    async def read_again() -> None:
        nonlocal again, current
        while True:
            await again.wait()
            again = anyio.Event()
            manager.reloading()
            reloaded = await reload(config_file, current, config)
            current = reloaded.config
            manager.ready(reloaded.status)

    heard = (signal.SIGTERM, signal.SIGINT, *(() if _on_terminal() else (signal.SIGHUP,)))
    async with anyio.create_task_group() as group:
        with anyio.open_signal_receiver(*heard) as signals, found:
            manager.ready("serves")
            group.start_soon(manager.keep_alive)
            group.start_soon(read_again)
            async for received in signals:
                if received != signal.SIGHUP:
                    break
                again.set()
            signal.pthread_sigmask(signal.SIG_BLOCK, _END)  # until the handlers are there
        patience = anyio.move_on_after(current.server.drain_seconds)
        _told_already(patience)
        group.cancel_scope.cancel()
    manager.stopping(current.server.drain_seconds + STOP_MARGIN_SECONDS)
    return patience


def _told_already(patience: anyio.CancelScope) -> None:
    """Being told again does not end it sooner, nor out of order; SIGINT ends the waiting.

    Handlers and not SIG_IGN, which a tool that is started now would have inherited.
    """
    loop = asyncio.get_running_loop()

    def hurry(_number: int, _frame: FrameType | None) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(patience.cancel)

    signal.signal(signal.SIGTERM, lambda _number, _frame: None)
    signal.signal(signal.SIGINT, hurry)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _END)


def _on_terminal() -> bool:
    return sys.stdin is not None and not sys.stdin.closed and os.isatty(sys.stdin.fileno())

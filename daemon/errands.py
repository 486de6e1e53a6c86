"""Work that goes on to its end whether or not the RPC that asked for it does.

A change that is half made because its client went away (recorded but not in force, or the other way
round) is worse than either whole. The daemon's task group owns the work; the RPC only waits for it.
"""

from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import anyio
import structlog
from anyio.abc import TaskGroup

from daemon.errors import Unavailable

_log = structlog.get_logger("stockade")

T = TypeVar("T")


class Errands:
    """Runs errands in a task group."""

    def __init__(self, group: TaskGroup) -> None:
        self._group = group

    async def run(self, work: Callable[[], Awaitable[T]]) -> T:
        """What `work` returns or raises; if the waiter is cancelled, the work is not."""
        errand = _Errand(work)
        self._group.start_soon(errand.go)
        try:
            await errand.done.wait()
        except BaseException:
            errand.abandoned = True
            raise
        if errand.error is not None:
            raise errand.error
        if not errand.results:
            raise Unavailable("the daemon is stopping", code="STOPPING", fix="try again shortly")
        return errand.results[0]


class _Errand(Generic[T]):
    """One piece of work, and what came of it."""

    def __init__(self, work: Callable[[], Awaitable[T]]) -> None:
        self._work = work
        self.done = anyio.Event()
        self.results: list[T] = []
        self.error: Exception | None = None
        self.abandoned = False

    async def go(self) -> None:
        try:
            self.results.append(await self._work())
        except Exception as error:  # noqa: BLE001 - it is raised where the errand is waited for
            self.error = error
            if self.abandoned:
                _log.warning("errand.failed", reason=getattr(error, "code", type(error).__name__))
        finally:
            self.done.set()

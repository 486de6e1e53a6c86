"""Connections that get one answer each: so many at once, and each for so long.

Trusted to hold no more than that, whoever connects, and to end every connection. Raises nothing.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress


class OneAnswer:
    """What `asyncio.start_server` is given."""

    def __init__(
        self,
        answer: Callable[[asyncio.StreamReader], Awaitable[bytes]],
        *,
        most: int,
        seconds: float,
    ) -> None:
        self._answer = answer
        self._most = most
        self._seconds = seconds
        self._open = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, from beginning to end."""
        if self._open >= self._most:
            writer.close()
            return
        self._open += 1
        try:
            with suppress(
                OSError,
                TimeoutError,
                ValueError,
                asyncio.IncompleteReadError,
                asyncio.LimitOverrunError,  # more than anybody has to say is not answered
            ):
                async with asyncio.timeout(self._seconds):
                    writer.write(await self._answer(reader))
                    await writer.drain()
        finally:
            self._open -= 1
            writer.close()

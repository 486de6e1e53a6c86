"""The port of a daemon, with real connections to it."""

import socket
from contextlib import ExitStack
from dataclasses import replace

import anyio
import pytest

from daemon.rpc.port import Port
from daemon.source import peer_at
from tests.daemon.judging import agent_of, device

MOST = 16  # of which principals may have half, and one of them four
ONE, OTHER = device("a"), device("b")


def test_a_connection_with_a_long_stream_is_not_the_first_to_be_ended() -> None:
    """Of a device that has most, one that is only open goes before one that a watch came by."""
    with ExitStack() as open_:
        listener = open_.enter_context(socket.create_server(("127.0.0.1", 0)))
        number = int(listener.getsockname()[1])
        theirs, origins = list[socket.socket](), list[str]()
        for _ in range(9):
            one = open_.enter_context(socket.create_connection(("127.0.0.1", number)))
            open_.enter_context(listener.accept()[0])
            theirs.append(one)
            origins.append(peer_at(*one.getsockname()))

        async def main() -> None:
            told = anyio.Event()
            port = Port(MOST, MOST, "dev-local", lambda *_: told.set(), lambda: origins[:1])
            port.listens({number})
            for place, origin in enumerate(origins):
                whose = OTHER if place == 8 else (ONE if place < 4 else agent_of(ONE))
                await port.let_in(origin, replace(whose, origin=origin))
            async with anyio.create_task_group() as group:
                group.start_soon(port.keep)
                with anyio.fail_after(60):
                    await told.wait()
                group.cancel_scope.cancel()
            assert port.ended["CROWDED"] == 1

        anyio.run(main)
        theirs[1].settimeout(60)
        assert theirs[1].recv(1) == b""
        theirs[0].setblocking(False)
        with pytest.raises(BlockingIOError):
            theirs[0].recv(1)

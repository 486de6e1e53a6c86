"""An engine that takes requests and answers none: nobody waits for it for long."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from sandbox import ContainerSandbox
from sandbox.docker_engine import EngineError
from tests.sandbox.conftest import Collected, ContainerRunner, limits, shell, wait_until

pytestmark = pytest.mark.anyio

# Less than one request to an engine may take, and far more than this takes on a busy machine.
BOUND = 45
# For all that comes before it hangs.
BEFORE = 300


class Between:
    """Stands between a tier and its engine; frozen, it passes on nothing that is asked."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.flows = threading.Event()
        self.flows.set()
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(path))
        self._listening.listen(64)
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._serve)]
        self._threads[0].start()

    def _serve(self) -> None:
        while True:
            asked, _ = self._listening.accept()
            engine = socket.socket(socket.AF_UNIX)
            engine.connect("/var/run/docker.sock")
            self._open += (asked, engine)
            ways = ((asked, engine, self.on_its_way_in), (engine, asked, self.on_its_way_out))
            for pair in ways:
                self._threads.append(threading.Thread(target=self._pass_on, args=pair))
                self._threads[-1].start()
            if not self.path.exists():
                return

    def on_its_way_in(self, head: bytes) -> bytes:
        """The beginning of a request, as the engine gets it."""
        return head

    def on_its_way_out(self, head: bytes) -> bytes:
        """The beginning of an answer, as it is got of the engine."""
        return head

    def _pass_on(
        self, source: socket.socket, sink: socket.socket, seen: Callable[[bytes], bytes]
    ) -> None:
        with suppress(OSError):
            if head := source.recv(65536):
                self.flows.wait()
                sink.sendall(seen(head))
            while data := source.recv(65536):
                self.flows.wait()
                sink.sendall(data)
        with suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self.flows.set()
        with socket.socket(socket.AF_UNIX) as last:
            name = str(self.path)
            self.path.rename(f"{name}.last")
            last.connect(f"{name}.last")
            self._threads[0].join()
            for end in self._open:
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for end in (*self._open, self._listening):
            end.close()


@pytest.fixture
def between(tmp_path: Path) -> Iterator[Between]:
    """The machine's engine, which can be frozen for whoever asks it here."""
    made = Between(tmp_path / "engine.sock")
    yield made
    made.close()


@pytest.fixture
def sandbox(box: ContainerRunner, between: Between) -> Iterator[ContainerSandbox]:
    """The tier on that; what it leaves is gone once the engine goes on."""
    settings = replace(box.settings, socket=str(between.path), remove_seconds=1.0)
    made = ContainerSandbox(settings)
    yield made
    between.flows.set()

    async def tidy() -> None:
        with anyio.move_on_after(120):
            while box.groups():  # as a daemon looks again and again
                with suppress(EngineError):
                    await made.reap()
                await anyio.sleep(0.2)
        await made.close()

    anyio.run(tidy)


async def test_it_does_not_keep_a_tier_from_ending(
    sandbox: ContainerSandbox, between: Between, box: ContainerRunner
) -> None:
    """One waits, one runs, one is being started: all are dead, and it ends."""
    with anyio.fail_after(BEFORE) as bound:
        async with anyio.create_task_group() as group:
            group.start_soon(sandbox.keep)
            await anyio.wait_all_tasks_blocked()
            assert await sandbox.warm(shell("true"))
            running = anyio.Event()

            async def seen(_stream: str, _data: bytes) -> None:
                running.set()

            group.start_soon(sandbox.run, shell("echo on; sleep 60"), seen)
            await running.wait()
            assert await sandbox.warm(shell("true"))  # and nothing is being started
            between.flows.clear()
            bound.deadline = anyio.current_time() + BOUND
            group.start_soon(sandbox.altered)
            group.start_soon(sandbox.run, shell("true", limits=limits(pids=70)), seen)
            await anyio.sleep(0.1)
            group.cancel_scope.cancel()
        await sandbox.close()
    wait_until(lambda: not box.processes(), 30)
    assert box.processes() == []


async def test_a_run_that_is_under_way_ends_without_it(
    sandbox: ContainerSandbox, between: Between
) -> None:
    """What a tool writes, and how it ends, comes past the engine: the end needs nothing else."""
    if sandbox.name == "gvisor":
        pytest.skip("its streams come by the engine")
    sink = Collected()

    async def freeze(stream: str, data: bytes) -> None:
        if between.flows.is_set():
            between.flows.clear()
            bound.deadline = anyio.current_time() + BOUND
        await sink("stdout" if stream == "stdout" else "stderr", data)

    with anyio.fail_after(BEFORE) as bound:
        outcome = await sandbox.run(shell("echo on; sleep 0.3; echo off; exit 3"), freeze)
        await sandbox.close()
    assert (sink.out, outcome.exit_code) == (b"on\noff\n", 3)

"""Whatever an engine answers, one kind of error leaves; its tier is unavailable, no daemon dies."""

import itertools
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sandbox import ContainerSandbox, ContainerSettings
from sandbox.docker_engine import DockerEngine, EngineError

pytestmark = pytest.mark.anyio

BODIES = (
    b"",
    b"null",
    b"[]",
    b"{}",
    b"7",
    b"<html>",
    b"\xff\xfe",
    b"[null]",
    b"[" * 20_000,
    b'{"message": 7}',
    b'{"Id": 5, "State": null}',
    b'{"State": {"Pid": "x"}}',
    b'{"Volumes": 7, "Runtimes": [1], "SecurityOptions": 7}',
    b'{"Runtimes": {"runc": "x"}}',
    b'{"MinAPIVersion": "x.y"}',
)
STATES = ("101 UPGRADED", "200 OK", "302 Found", "404 Not Found", "409 Conflict", "500 Oops")
ASKED: dict[str, Callable[[DockerEngine], object]] = {
    "info": lambda engine: engine.info(),
    "image": lambda engine: engine.image("x"),
    "import_image": lambda engine: engine.import_image(b"x", "a", "b"),
    "look_into": lambda engine: engine.look_into("i", "n", {}, ("/etc",)),
    "start": lambda engine: engine.start("n", {}, ["v"]),
    "limit_pids": lambda engine: engine.limit_pids("c", 3),
    "ended": lambda engine: engine.ended("c"),
    "remove": lambda engine: engine.remove("c", ["v"]),
    "containers": lambda engine: engine.containers({"a": "b"}),
    "volumes": lambda engine: engine.volumes({"a": "b"}),
}


VERSION = (
    b'HTTP/1.1 200 OK\r\nContent-Length: 25\r\nConnection: close\r\n\r\n{"MinAPIVersion": "1.12"}'
)


class Answering:
    """Listens where an engine would, and answers everything alike."""

    def __init__(self, path: Path) -> None:
        self.path, self.answer, self.to_delete = path, b"", b""
        self.tells_its_version = True
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(path))
        self._listening.listen(16)
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            asked, _ = self._listening.accept()
            with asked:
                asked.settimeout(5)
                try:
                    heard = asked.recv(65536)
                    if heard == b"end":
                        return
                    known = self.tells_its_version and b" /version " in heard
                    deletes = heard.startswith(b"DELETE ") and self.to_delete
                    asked.sendall(VERSION if known else deletes or self.answer)
                except OSError:
                    continue  # who asked has left

    def close(self) -> None:
        with socket.socket(socket.AF_UNIX) as last:
            last.connect(str(self.path))
            last.sendall(b"end")
            self._thread.join()
        self._listening.close()


@pytest.fixture
def answering(tmp_path: Path) -> Iterator[Answering]:
    """A socket at which nothing sensible is said."""
    made = Answering(tmp_path / "engine.sock")
    yield made
    made.close()


def answers() -> Iterator[bytes]:
    for state, body in itertools.product(STATES, BODIES):
        where = "Location: http://127.0.0.1:1/\r\n" if state.startswith("302") else ""
        head = f"HTTP/1.1 {state}\r\n{where}Content-Length: {len(body)}\r\nConnection: close\r\n"
        yield head.encode() + b"\r\n" + body
    yield from (b"", b"no HTTP\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}")
    yield b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}"
    yield b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000


@pytest.mark.parametrize("version", [True, False])
@pytest.mark.parametrize("asked", ASKED)
def test_nothing_but_its_own_error_leaves(answering: Answering, asked: str, version: bool) -> None:
    """No answer is believed to be what it is not, and none is an error of another kind."""
    answering.tells_its_version = version
    for answering.answer in answers():
        engine = DockerEngine(str(answering.path))
        try:
            ASKED[asked](engine)
        except EngineError as error:
            assert str(error)  # noqa: PT017 - some answers are as good as the real ones
        finally:
            engine.close()


def test_a_removal_that_failed_for_another_is_no_removal(answering: Answering) -> None:
    """Docker tells who waits for a removal under way how that ended: not always by a removal."""
    said = b'{"StatusCode": 0, "Error": {"Message": "device or resource busy"}}'
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(said)}\r\nConnection: close\r\n\r\n"
    answering.answer = head.encode() + said
    refusal = b'{"message": "in progress"}'
    head = f"HTTP/1.1 409 No\r\nContent-Length: {len(refusal)}\r\nConnection: close\r\n\r\n"
    answering.to_delete = head.encode() + refusal
    engine = DockerEngine(str(answering.path))
    with pytest.raises(EngineError, match="device or resource busy"):
        engine.remove("c", ())
    engine.close()


@pytest.mark.parametrize("body", [b"null", b"{}", b"<html>", b'{"message": 7}'])
@pytest.mark.parametrize("state", ["200 OK", "500 Oops"])
async def test_a_tier_on_it_is_unavailable(answering: Answering, state: str, body: bytes) -> None:
    """Its probe says what is wrong; looking for it, and what it had, goes on without an error."""
    head = f"HTTP/1.1 {state}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    answering.answer = head.encode() + body
    sandbox = ContainerSandbox(ContainerSettings("abcd", socket=str(answering.path)))
    report = await sandbox.probe()
    assert not report.works
    assert next(one.primitive for one in report.missing) in ("Docker Engine", "the runtime")
    assert await sandbox.reap() == 0
    await sandbox._seen()
    await sandbox.close()

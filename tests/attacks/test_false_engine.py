"""Who answers in an engine's place, or has made an image, leads no running daemon."""

import secrets
from collections.abc import Iterator
from contextlib import suppress

import pytest

from bench.engines import SOCKET, runtimes
from sandbox.docker_engine import INSTANCE_LABEL, DockerEngine, EngineError
from stockade.client import Client
from stockade.v1 import call_pb2
from tests.host import missing
from tests.promises.acting import ALONE, add_tool, apply, receipts, run, until
from tests.running import (
    CONFIG,
    WITH_ENGINES,
    RunningDaemon,
    finished,
    make_directory,
    remove_directory,
    running,
)
from tests.sandbox.test_engine_answers import Answering
from tests.sandbox.test_images import packed

EVERYTHING = ALONE + "permit (principal, action, resource);"
RISKY = "[capabilities]\nnetwork = true\nfilesystem_write = true\n"


@pytest.fixture(scope="module")
def false_engine() -> Iterator[Answering]:
    """Listens where the daemon looks for an engine."""
    folder = make_directory("stockade-false-")
    made = Answering(folder / "engine.sock")
    yield made
    made.close()
    remove_directory(folder)


@pytest.fixture(scope="module")
def deceived(false_engine: Answering) -> Iterator[RunningDaemon]:
    """A daemon that looks for its engine there."""
    false_engine.answer = answer("200 OK", b"null")
    config = CONFIG.replace("/nonexistent/docker.sock", str(false_engine.path))
    with running(config) as daemon, daemon.client() as client:
        apply(client, EVERYTHING)
        add_tool(client, "risky", ["/bin/true"], sensitivity="0.5", rest=RISKY)
        yield daemon


def answer(state: str, body: bytes) -> bytes:
    head = f"HTTP/1.1 {state}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode() + body


def broken(client: Client) -> dict[str, str]:
    """The tiers that do not work, and why."""
    return {
        tier.name: " ".join(one.reason for one in tier.missing)
        for tier in client.status().tiers
        if not tier.works
    }


@pytest.mark.parametrize(
    ("said", "version"),
    [
        pytest.param(answer("200 OK", b"null"), True, id="null"),
        pytest.param(answer("200 OK", b"null"), False, id="null-version"),
        pytest.param(
            answer("200 OK", b'{"Runtimes": [1], "SecurityOptions": 7}'), True, id="types"
        ),
        pytest.param(answer("302 Found", b""), True, id="redirect"),
        pytest.param(answer("500 Oops", b'{"message": 7}'), True, id="fault"),
        pytest.param(b"no HTTP\r\n\r\n", True, id="noise"),
        pytest.param(b"", False, id="silence"),
    ],
)
def test_a_senseless_engine_ends_no_daemon(
    deceived: RunningDaemon, false_engine: Answering, said: bytes, version: bool
) -> None:
    """Its tiers are unavailable and say why; what they would run is refused; all else goes on."""
    false_engine.tells_its_version, false_engine.answer = version, said
    deceived.restart()
    with deceived.client() as client:
        found = broken(client)
        assert set(found) == {"container", "gvisor"}
        assert all(found.values())
        end = finished(run(client, "risky"))
        assert (end.state, end.reason) == (call_pb2.CALL_STATE_DENIED, "TIER_UNAVAILABLE")
        assert finished(run(client, "run_shell", command="true")).reason == "SUCCEEDED"
    assert deceived.stop() == 0
    assert "Traceback" not in deceived.log


def test_an_image_that_every_program_would_load_first_runs_nothing() -> None:
    """The call fails and says so, on record, too; no container is made of it."""
    if "runc" not in runtimes():
        missing("Docker Engine, or its command")
    engine, name = DockerEngine(SOCKET), f"stockade-attack-{secrets.token_hex(4)}"
    engine.import_image(
        packed({"etc/ld.so.preload": b"/evil.so\n", "evil.so": b""}), name, "latest"
    )
    try:
        image = engine.image(f"{name}:latest")
        assert image is not None
        with running(WITH_ENGINES) as daemon, daemon.client() as client:
            apply(client, EVERYTHING)
            before = f'image = "{image["Id"]}"\n'
            add_tool(client, "led", ["/bin/true"], before=before, sensitivity="0.5", rest=RISKY)
            events = run(client, "led")
            end = finished(events)
            assert (end.state, end.reason) == (call_pb2.CALL_STATE_FAILED, "IMAGE_REFUSED")
            assert "/etc/ld.so.preload" in end.message
            assert not any(event.HasField("output") for event in events)
            last = receipts(client, events[0].call_id)[-1]
            assert (last["kind"], last["body"]["reason"]) == ("call.failed", "IMAGE_REFUSED")
            chain = str(client.status().ledger_chain)
            assert until(lambda: engine.containers({INSTANCE_LABEL: chain}) == ())
    finally:
        with suppress(EngineError):
            engine.remove_image(f"{name}:latest")
        engine.close()

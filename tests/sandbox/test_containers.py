"""What only containers have: those that wait, Python run in place, images, an engine that goes."""

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import tarfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest

from sandbox import (
    ContainerSandbox,
    ContainerSettings,
    End,
    LimitName,
    Mount,
    RunSpec,
    SpecRefusedError,
    TierUnavailableError,
    docker_engine,
)
from sandbox.box import Box, Trailer
from sandbox.container_config import Profile, profile_of
from sandbox.docker_engine import Attached, EngineError
from sandbox.engine_answers import Ended
from tests.sandbox.conftest import (
    MIB,
    Collected,
    ContainerRunner,
    limits,
    make_spec,
    python,
    settled,
    shell,
    wait_until,
)
from tests.sandbox.test_in_place import ran
from tests.sandbox.test_limits import memory_bomb

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def kept(box: ContainerRunner) -> AsyncIterator[None]:
    async with anyio.create_task_group() as group:
        group.start_soon(box.sandbox.keep)
        await anyio.wait_all_tasks_blocked()
        yield
        group.cancel_scope.cancel()


async def test_a_container_is_used_once(box: ContainerRunner) -> None:
    """What waits serves one run; the next gets another container, whoever asks."""
    mark = "cat /tmp/mark 2>/dev/null; hostname >/tmp/mark; echo fresh"
    async with kept(box):
        seen = set()
        for _ in range(3):
            assert await box.sandbox.warm(shell(mark))
            before = {one.container for one in box.docker.containers(box.labels)}
            out, how = await ran(box, shell(mark))
            assert (out, how) == (b"fresh\n", "started ahead, used once")
            gone = before - {one.container for one in box.docker.containers(box.labels)}
            seen |= gone
        wait_until(lambda: len(box.docker.containers(box.labels)) <= 2, 60)


async def test_what_waits_knows_nothing(box: ContainerRunner) -> None:
    """Neither arguments, environment, input nor secrets are in what Docker says of a container."""
    token = secrets.token_hex(16)
    spec = shell(
        f"echo {token}1; sleep 0.5",
        env={"PLAIN": f"{token}2"},
        stdin=f"{token}3".encode(),
        secret_env={"TOKEN": f"{token}4".encode()},
        secret_files={"/run/secrets/key": f"{token}5".encode()},
    )
    said: list[str] = []

    async def look(_stream: str, _data: bytes) -> None:
        ours = box.docker.containers(box.labels)
        said.extend(json.dumps(inspected(one.container)) for one in ours)

    async with kept(box):
        assert await box.sandbox.warm(spec)
        await box.sandbox.run(spec, look)
    assert said
    assert not any(token in text for text in said)


def inspected(container: str) -> object:
    with socket.socket(socket.AF_UNIX) as asked:
        asked.connect("/var/run/docker.sock")
        asked.sendall(f"GET /containers/{container}/json HTTP/1.0\r\n\r\n".encode())
        text = b""
        while part := asked.recv(65536):
            text += part
    return json.loads(text.partition(b"\r\n\r\n")[2])


async def test_a_mount_that_was_replaced_is_not_the_old_one(
    box: ContainerRunner, place: Path
) -> None:
    """A container that waits with a directory that has another name by now is not used."""
    spec = with_tool(place, "old")
    async with kept(box):
        assert await box.sandbox.warm(spec)
        assert (await ran(box, with_tool(place, "new")))[0] == b"new"


def with_tool(place: Path, says: str) -> RunSpec:
    """A run that tells what a folder says; the one that had its name before has another now."""
    tool = place / "tool"
    if tool.exists():
        tool.rename(place / "away")
    tool.mkdir()
    (tool / "which").write_text(says)
    return shell("cat /tool/which", mounts=(Mount(str(tool), "/tool"),))


async def test_one_that_died_waiting_is_not_used(box: ContainerRunner) -> None:
    """A container that somebody removed while it waited costs a run nothing but time."""
    async with kept(box):
        assert await box.sandbox.warm(shell("echo ran"))
        for one in box.docker.containers(box.labels):
            box.docker.remove(one.container, ())
        wait_until(lambda: not box.processes(), 60)
        out, _ = await ran(box, shell("echo ran"))
        assert out == b"ran\n"


async def test_one_that_dies_as_it_is_taken_is_an_engine_that_failed(
    box: ContainerRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Gone with its groups before it had its request: nothing ran, and the engine is blamed."""
    start = box.sandbox._starter.start

    async def start_and_die(profile: Profile) -> Box:
        made = await start(profile)
        box.docker.remove(made.container, ())
        return made

    monkeypatch.setattr(box.sandbox._starter, "start", start_and_die)
    monkeypatch.setattr(box.sandbox._pool, "_start", start_and_die)
    outcome = await box.sandbox.run(shell("echo ran"), sink := Collected())
    assert (outcome.end, sink.out) == (End.ENGINE_FAILURE, b"")
    assert outcome.detail


async def test_a_run_that_may_write_to_the_host_starts_cold(
    box: ContainerRunner, place: Path
) -> None:
    """What protects a workspace is made for one run, so no container waits with it."""
    spec = shell("echo x >/w/file", mounts=(Mount(str(place), "/w", True),))
    async with kept(box):
        for _ in range(2):
            _, how = await ran(box, shell("echo x >/w/file", mounts=spec.mounts))
            assert how == "started for this run"
        assert not await box.sandbox.warm(spec)


async def test_a_tool_cannot_report_for_the_launcher(box: ContainerRunner) -> None:
    """What a tool writes is output, whatever it looks like: the number is not known to it."""
    forged = "import os; os.write(1, b'0' * 32 + b' exit 0 free'); os._exit(3)"
    outcome, sink = await box(python(forged))
    assert outcome.exit_code == 3
    assert b"exit 0 free" in sink.out


def test_a_report_is_found_however_it_is_cut() -> None:
    """The number may come in pieces, and what only begins like it is the tool's."""
    nonce = b"0123456789abcdef" * 2
    whole = b"out" + nonce[:5] + b"more" + nonce + b" exit 4 free\n"
    for size in (1, 2, 3, 7, 31, 200):
        trailer = Trailer(nonce)
        out = b"".join(trailer.feed(whole[at : at + size]) for at in range(0, len(whole), size))
        assert out == b"out" + nonce[:5] + b"more"
        assert trailer.report is not None
        assert (trailer.report.kind, trailer.report.number) == ("exit", 4)


@pytest.fixture
def image(box: ContainerRunner, place: Path) -> Iterator[str]:
    """An image of its own, by id: with a program, and without the host's /usr."""
    program = place / "program.c"
    program.write_text('#include <unistd.h>\nint main(void) { return write(1, "own\\n", 4) != 4; }')
    subprocess.run(["cc", "-static", "-o", str(place / "own"), str(program)], check=True)
    archive = place / "image.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(place / "own", "bin/own")
        tar.add(place / "own", "nonexistent")  # as it is named where nothing is to be found
    name = f"test-{secrets.token_hex(4)}"
    box.docker.import_image(archive.read_bytes(), name, "latest")
    found = box.docker.image(f"{name}:latest")
    assert found is not None
    yield str(found["Id"])
    anyio.run(settled, box)  # what was made of it is in its way
    box.docker.remove_image(f"{name}:latest")


async def test_a_tools_own_image(box: ContainerRunner, image: str) -> None:
    """An image named by digest is the root, read-only, with its own programs only."""
    assert (await ran(box, make_spec("/bin/own", image=image)))[0] == b"own\n"
    with pytest.raises(SpecRefusedError) as caught:
        await box(make_spec("/bin/sh", image=image))
    assert caught.value.code == "EXECUTABLE_MISSING"


async def test_nothing_of_an_image_runs_before_its_call(box: ContainerRunner, image: str) -> None:
    """What waits goes the way of a request, and ends at no program that an image could bring."""
    spec = make_spec("/bin/own", image=image)
    async with kept(box):
        assert await box.sandbox.warm(spec)
        await anyio.sleep(0.5)
        assert await ran(box, spec) == (b"own\n", "started ahead, used once")


async def test_an_image_that_is_not_there(box: ContainerRunner) -> None:
    """An image the engine does not have is refused; nothing is fetched."""
    with pytest.raises(SpecRefusedError) as caught:
        await box(make_spec("/bin/true", image="sha256:" + "0" * 64))
    assert caught.value.code == "IMAGE_MISSING"
    assert "docker pull" in caught.value.fix


@pytest.mark.parametrize("name", ["debian", "debian:12", "debian@sha256:00", "sha256:" + "A" * 64])
def test_an_image_by_tag_is_refused(name: str) -> None:
    """A name that can come to mean another image is not taken."""
    with pytest.raises(SpecRefusedError) as caught:
        make_spec("/bin/true", image=name)
    assert caught.value.code == "IMAGE_NOT_BY_DIGEST"


async def test_without_an_engine_nothing_runs() -> None:
    """No engine: the run is refused with what is missing and what to do, and so says the probe."""
    sandbox = ContainerSandbox(ContainerSettings("abcd", socket="/nonexistent/docker.sock"))
    with pytest.raises(TierUnavailableError) as caught:
        await sandbox.run(make_spec("/bin/true"), Collected())
    assert caught.value.code == "DOCKER_UNREACHABLE"
    report = await sandbox.probe()
    assert not report.works
    assert [one.primitive for one in report.missing] == ["Docker Engine"]
    assert await sandbox.reap() == 0


async def test_without_the_runtime_nothing_runs(box: ContainerRunner) -> None:
    """An engine without the runtime refuses; no other runtime is taken in its place."""
    settings = ContainerSettings(box.settings.instance, gvisor=True, runtime="no-such-runtime")
    sandbox = ContainerSandbox(settings)
    with pytest.raises(TierUnavailableError) as caught:
        await sandbox.run(make_spec("/bin/true"), Collected())
    await sandbox.close()
    assert caught.value.code == "RUNTIME_MISSING"
    assert "no-such-runtime" in caught.value.message


async def test_a_container_that_somebody_kills(box: ContainerRunner) -> None:
    """If the engine's container goes away under a run, the engine is blamed, not the tool."""

    async def kill(_stream: str, _data: bytes) -> None:
        for one in box.docker.containers(box.labels):
            box.docker.remove(one.container, ())

    with anyio.fail_after(45):  # and not the limit of 60
        outcome = await box.sandbox.run(shell("echo; sleep 1000"), kill)
    assert outcome.end is End.ENGINE_FAILURE


async def test_memory_that_ran_out_is_told_however_late_we_look(box: ContainerRunner) -> None:
    """The engine has taken the groups away, and may not know why it ended: the kernel told us."""

    async def ignorant(container: str) -> Ended | None:
        del container
        return Ended(running=False, out_of_memory=False, exit_code=137, error="")

    async def busy(_stream: str, _data: bytes) -> None:
        # Not a step is taken here until there is nothing to be looked at any more.
        (one,) = box.docker.containers(box.labels)
        if not box.gvisor:
            return  # there the first process stays, and with it the groups
        wait_until(lambda: not box.docker.containers(box.labels)[0].running, 60)
        wait_until(lambda: not Path("/sys/fs/cgroup/memory/docker", one.container).exists(), 60)

    if box.gvisor and os.geteuid() != 0:
        pytest.skip("only root is told by the kernel of what gVisor as a whole ran out of")
    box.sandbox._ended = ignorant  # type: ignore[method-assign]
    code = f"print(1, flush=True); {memory_bomb(96)}"
    outcome = await box.sandbox.run(python(code, limits=limits(memory_bytes=64 * MIB)), busy)
    assert (outcome.end, outcome.limit) == (End.KILLED_BY_LIMIT, LimitName.MEMORY), outcome


def patient(box: ContainerRunner) -> ContainerSandbox:
    """A tier of its own that waits for its engine, however long a busy one takes to remove."""
    return ContainerSandbox(replace(box.settings, remove_seconds=120.0))


async def test_what_the_engine_did_not_remove_it_is_asked_for_again(
    box: ContainerRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An engine that fails to remove a dead container does not keep it until a restart."""
    docker = box.sandbox._starter.docker
    settings = replace(box.settings, look_seconds=0.05)
    box.sandbox.settings = settings

    def busy(container: str, volumes: Sequence[str]) -> None:
        monkeypatch.undo()  # once
        raise EngineError(f"{container} is busy, with {len(volumes)} volumes")

    monkeypatch.setattr(docker, "remove", busy)
    await ran(box, make_spec("/bin/true"))
    assert box.groups()
    async with anyio.create_task_group() as group:
        group.start_soon(box.sandbox.altered)
        await anyio.to_thread.run_sync(wait_until, lambda: not box.groups(), 120)
        group.cancel_scope.cancel()
    assert box.groups() == []


async def test_what_no_thread_came_to_remove_in_time_is_removed_later(
    box: ContainerRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More that end at once than the engine is asked about at once, and it takes its time."""
    sandbox = ContainerSandbox(replace(box.settings, remove_seconds=0.2))
    starter, shape = sandbox._starter, make_spec("/bin/true")
    made = [await starter.start(profile_of(shape, await starter.image(""))) for _ in range(10)]
    before = starter.docker.remove

    def slow(container: str, volumes: Sequence[str]) -> None:
        time.sleep(1)
        before(container, volumes)

    monkeypatch.setattr(starter.docker, "remove", slow)
    async with anyio.create_task_group() as group:
        for one in made:
            group.start_soon(starter.discard, one)
    monkeypatch.undo()
    await settled(box, sandbox)
    assert (starter._held, box.groups()) == (set(), [])
    await sandbox.close()


async def test_what_the_engine_did_not_remove_goes_with_the_daemon(
    box: ContainerRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it is to be left before the next look, it is asked once more: also for volumes alone."""
    sandbox = patient(box)
    docker = sandbox._starter.docker

    def busy(name: str) -> None:
        monkeypatch.undo()
        raise EngineError(f"{name} is in use")

    monkeypatch.setattr(docker, "remove_volume", busy)
    outcome = await sandbox.run(
        make_spec("/bin/true", mounts=(Mount("/usr", "/probe"),)), Collected()
    )
    assert outcome.end is End.EXITED
    assert box.docker.containers(box.labels) == ()
    assert box.docker.volumes(box.labels)
    await sandbox.close()
    assert box.docker.volumes(box.labels) == ()


async def test_a_start_that_failed_in_the_engine_leaves_no_volume(
    box: ContainerRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An engine that made the volumes and failed then has them, and no container of that name."""
    sandbox = patient(box)
    docker = sandbox._starter.docker
    start = docker.start

    def failing(name: str, config: Mapping[str, Any], volumes: Sequence[str]) -> Attached:
        monkeypatch.undo()
        made = start(name, config, volumes)
        os.close(made.streams)
        docker.remove(made.container, ())
        raise EngineError("no space left on device")

    monkeypatch.setattr(docker, "start", failing)
    outcome = await sandbox.run(
        make_spec("/bin/true", mounts=(Mount("/usr", "/probe"),)), Collected()
    )
    assert outcome.end is End.ENGINE_FAILURE
    assert box.docker.volumes(box.labels)
    await sandbox.close()
    assert box.docker.volumes(box.labels) == ()


async def test_a_container_that_two_remove_leaves_no_volume(
    box: ContainerRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever comes second waits until the first is done: until then its volumes are in use."""
    monkeypatch.setattr(docker_engine, "_REMOVAL_SECONDS", 60)
    starter = patient(box)._starter
    for _ in range(3):
        made = await starter.start(
            profile_of(
                make_spec("/bin/true", mounts=(Mount("/usr", "/probe"),)), await starter.image("")
            )
        )
        async with anyio.create_task_group() as group:
            for _ in range(2):
                group.start_soon(starter.remove, made.container, made.mounted.volumes)
        assert not starter.left
        assert box.groups() == []
        await starter.discard(made)
    await starter.close()


_VICTIM = """
import sys, anyio
from sandbox import ContainerSandbox, ContainerSettings
from tests.sandbox.conftest import shell
async def main():
    async def say(_stream, data):
        print(data.decode(), end="", flush=True)
    gvisor = sys.argv[2] == "gvisor"
    settings = ContainerSettings(sys.argv[1], gvisor=gvisor, runtime=sys.argv[3])
    await ContainerSandbox(settings).run(shell("setsid sleep 1000 & echo up; sleep 1000"), say)
anyio.run(main)
"""


def leave_behind(command: list[str]) -> None:
    """Start a daemon's stand-in, and kill it in the middle of its run."""
    with subprocess.Popen(command, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE) as victim:
        assert victim.stdout is not None
        assert victim.stdout.readline() == b"up\n"
        os.kill(victim.pid, signal.SIGKILL)


async def test_what_a_killed_daemon_left_is_reaped(box: ContainerRunner) -> None:
    """With its daemon the run dies, by itself; a restart removes what the engine has of it."""
    command = [sys.executable, "-c", _VICTIM, box.settings.instance, box.tier, box.settings.runtime]
    leave_behind(command)
    wait_until(lambda: not box.processes(), 60)
    assert box.processes() == []
    assert box.groups()
    await box.sandbox.reap()
    await settled(box)
    assert box.groups() == []


_ELSEWHERE = """
import anyio
from sandbox import ContainerSandbox, ContainerSettings
async def main():
    report = await ContainerSandbox(ContainerSettings("elsewhere")).probe()
    print(report.works, [one.reason for one in report.missing])
anyio.run(main)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="a mount namespace of one's own takes root")
def test_an_engine_in_another_namespace_is_found_out(box: ContainerRunner) -> None:
    """Where Docker cannot mount what we opened, the tier does not count as working."""
    command = ["unshare", "--mount", sys.executable, "-W", "ignore", "-c", _ELSEWHERE]
    done = subprocess.run(
        command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False
    )
    if "Operation not permitted" in done.stderr:
        pytest.skip("no mount namespace can be made here")
    assert done.stdout.startswith("False"), done
    assert box.tier

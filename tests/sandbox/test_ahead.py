"""Runs of the process tier that are started ahead: told everything by a pipe, each used once."""

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox import Mount, Outcome, RunSpec
from sandbox.errors import SpecRefusedError
from sandbox.waiting import commands, shape_of
from tests.host import of_each_process
from tests.sandbox.conftest import (
    Collected,
    ProcessRunner,
    make_spec,
    process_runner,
    python,
    shell,
)

pytestmark = pytest.mark.anyio

_ECHO = "import os,sys;sys.stdout.buffer.write(b'\\0'.join(map(os.fsencode,sys.argv[1:])))"
_ENVIRONMENT = "import os,sys;sys.stdout.buffer.write(open('/proc/self/environ','rb').read())"
_TEXT = st.binary(max_size=60).map(lambda raw: os.fsdecode(raw.replace(b"\0", b"")))
_NAMES = st.from_regex(r"[A-Za-z_.][A-Za-z0-9_]{0,8}", fullmatch=True).filter(lambda n: n != "PWD")


@pytest.fixture
def run() -> Iterator[ProcessRunner]:
    """The process tier: what is told and how is its own."""
    yield from process_runner("cgroups")


@asynccontextmanager
async def kept(run: ProcessRunner) -> AsyncIterator[None]:
    async with anyio.create_task_group() as group:
        group.start_soon(run.sandbox.keep)
        await anyio.wait_all_tasks_blocked()
        yield
        group.cancel_scope.cancel()


async def ran(run: ProcessRunner, spec: RunSpec, *, ahead: bool = True) -> tuple[Outcome, bytes]:
    sink = Collected()
    outcome = await run.sandbox.run(spec, sink)
    assert outcome.exit_code == 0, (outcome, sink.err)
    assert outcome.controls["sandbox"].achieved.startswith("started ahead") == ahead
    return outcome, sink.out


def exact_argv(run: ProcessRunner, argv: list[str], stdin: bytes) -> None:
    async def story() -> None:
        spec = python("", env={"PWD": "/tmp"}, stdin=stdin)
        spec = make_spec(*spec.argv[:-1], _ECHO, *argv, env={"PWD": "/tmp"}, stdin=stdin)
        async with kept(run):
            assert await run.sandbox.warm(spec)
            _, out = await ran(run, spec)
        assert out == b"\0".join(map(os.fsencode, argv))

    anyio.run(story)


def test_arguments_arrive_as_they_were_given(run: ProcessRunner) -> None:
    """Whatever bytes an argument holds, the program gets them and the shell makes nothing of it."""
    for argv in (
        ["'", '"', "\\", "$(id)", "`id`", "a\nb", "", " ", "*", "~", "\x81\x88\udcff", "x;id"],
        ["'\\''", "'; exit 9; '", "\n\n", "$PWD", "${PWD}", "#", "!", "&", "|", "<", ">", "=", "é"],
    ):
        exact_argv(run, argv, b"")

    @settings(max_examples=25, deadline=None)
    @given(argv=st.lists(_TEXT, max_size=6))
    def any_argv(argv: list[str]) -> None:
        exact_argv(run, argv, b"unread")

    any_argv()


def test_the_environment_is_exactly_the_one_given(run: ProcessRunner) -> None:
    """No variable more, none less, none changed; where the shell could not, it starts cold."""

    async def story(env: dict[str, str], secret: bytes) -> None:
        spec = python(_ENVIRONMENT, env=env, secret_env={"SECRET_": secret})
        async with kept(run):
            warm = await run.sandbox.warm(spec)
            _, out = await ran(run, spec, ahead=warm)
        found = dict(entry.split(b"=", 1) for entry in out.split(b"\0") if entry)
        wanted = {os.fsencode(name): os.fsencode(value) for name, value in env.items()}
        assert found == {**wanted, b"SECRET_": secret}

    @settings(max_examples=30, deadline=None)
    @given(
        env=st.dictionaries(_NAMES, _TEXT, max_size=5),
        pwd=st.booleans(),
        secret=st.binary(max_size=40).map(lambda raw: raw.replace(b"\0", b"")),
    )
    def any_environment(env: dict[str, str], pwd: bool, secret: bytes) -> None:
        anyio.run(story, {**env, **({"PWD": "/tmp"} if pwd else {})}, secret)

    any_environment()


@pytest.mark.parametrize(
    "changes",
    [
        {"env": {"OPTIND": "x", "PWD": "/tmp"}},
        {"env": {"a.b": "x", "PWD": "/tmp"}},
        {"env": {"PWD": "/tmp"}, "argv": ("true",)},
        {"env": {"PWD": "/tmp", "PATH": "%builtin:/usr/bin"}, "argv": ("true",)},
        {"secret_files": {"/run/secrets/a": b"x"}},
        {"mounts": "writable"},
    ],
)
async def test_what_the_shell_could_take_otherwise_starts_cold(
    run: ProcessRunner, place: Path, changes: dict[str, object]
) -> None:
    """And so does what may write to the host, whose protected files are looked up at its start."""
    changes = dict(changes)
    argv = changes.pop("argv", ("/bin/true",))
    if "mounts" in changes:
        changes["mounts"] = (Mount(str(place), "/workspace", writable=True),)
    spec = make_spec(*argv, **changes)  # type: ignore[misc]
    assert shape_of(spec) is None
    async with kept(run):
        assert not await run.sandbox.warm(spec)
        await ran(run, spec, ahead=False)


async def test_a_sandbox_is_used_once(run: ProcessRunner) -> None:
    """What one run leaves (files, processes) no later one finds, whoever they are for."""
    leave = "echo $$ > /tmp/left; echo x > /dev/shm/left; setsid sleep 60 >/dev/null 2>&1 & "
    look = "ls /tmp /dev/shm; cat /proc/[0-9]*/cmdline 2>/dev/null | grep -ac 's[l]eep'; true"
    async with kept(run):
        seen = set()
        for _ in range(4):
            await run.sandbox.warm(shell(leave))
            await ran(run, shell(leave))
            await run.sandbox.warm(shell(look))
            _, out = await ran(run, shell(look))
            seen.add(out)
    assert seen == {b"/dev/shm:\n\n/tmp:\n0\n"}


async def test_nobody_sees_what_it_will_run(run: ProcessRunner) -> None:
    """Nothing of the run is in any command line of the host, nor in any environment but its own."""
    secret = b"swordfish-in-a-pipe"
    spec = shell("sleep 40", secret_env={"TOKEN": secret})
    own = {b"/bin/sh\0-c\0sleep 40\0", b"sleep\x0040\0"}
    holders: set[bytes] = set()
    looks = 0
    async with kept(run), anyio.create_task_group() as group:
        assert await run.sandbox.warm(spec)
        assert environments(secret) == set()
        group.start_soon(ran, run, spec)
        with anyio.fail_after(30):
            while looks < 10 or not holders:
                await anyio.sleep(0.02)
                assert not [argv for argv in of_each_process("cmdline").values() if secret in argv]
                holders |= environments(secret)
                looks += 1
        group.cancel_scope.cancel()
    assert holders <= own


def environments(secret: bytes) -> set[bytes]:
    """The command lines of the processes that have `secret` in their environment.

    Looked at in this order: a process that has it has its command line as well, until it ends.
    """
    found = set()
    for pid, environ in of_each_process("environ").items():
        with contextlib.suppress(OSError):
            if secret in environ and (argv := Path(f"/proc/{pid}/cmdline").read_bytes()):
                found.add(argv)
    return found


def waiting(run: ProcessRunner, spec: RunSpec) -> Any:
    """The box that waits for such a run. Nothing outside of a pool can see into one."""
    shelf = cast("Any", run.sandbox)._pool._shelves[shape_of(spec)]
    return shelf.boxes[0][0]


async def test_what_was_told_is_forgotten(run: ProcessRunner) -> None:
    """The commands, which hold the secret variables, are wiped when the run is over."""
    spec = shell("true", secret_env={"TOKEN": b"swordfish"})
    told = commands(spec)
    assert b"swordfish" in told
    async with kept(run):
        await run.sandbox.warm(spec)
        box = waiting(run, spec)
        await ran(run, spec)
        assert box.launched.secret == bytes(len(told))


def test_half_of_what_it_is_told_runs_nothing(place: Path) -> None:
    """A daemon that dies while it tells: wherever it stopped, the shell does none of it."""
    spec = make_spec("/usr/bin/touch", str(place / "a"), str(place / "b c"), env={"PWD": "/tmp"})
    told = bytes(commands(spec))
    waits = ["/bin/sh", "-c", "exec /bin/sh 3</dev/null 2>/dev/null"]
    for count in range(len(told) + 1):
        subprocess.run(waits, input=told[:count], env={}, check=False)
        ran = (place / "a").exists() or (place / "b c").exists()
        assert ran == (count >= len(told) - 1), told[:count]


@pytest.fixture
def tool(place: Path) -> Iterator[Path]:
    folder = place / "tool"
    folder.mkdir()
    (folder / "which").write_text("first")
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def replace(folder: Path, text: str) -> None:
    """Another directory under the name of this one."""
    folder.rename(folder.with_name("old"))
    folder.mkdir()
    (folder / "which").write_text(text)


async def test_a_mount_that_was_replaced_meanwhile_is_not_the_old_one(
    run: ProcessRunner, tool: Path
) -> None:
    """A path that names another directory by now: the sandbox that has the old one is not used."""
    spec = shell("cat /tool/which", mounts=(Mount(str(tool), "/tool"),))
    async with kept(run):
        assert await run.sandbox.warm(spec)
        _, out = await ran(run, shell("cat /tool/which", mounts=spec.mounts))
        assert out == b"first"
        assert await run.sandbox.warm(spec)
        replace(tool, "second")
        _, out = await ran(run, shell("cat /tool/which", mounts=spec.mounts), ahead=False)
        assert out == b"second"


async def test_a_mount_that_is_gone_is_refused(run: ProcessRunner, tool: Path) -> None:
    """As a cold start would refuse it."""
    spec = shell("true", mounts=(Mount(str(tool), "/tool"),))
    async with kept(run):
        assert await run.sandbox.warm(spec)
        shutil.move(tool, tool.with_name("old"))
        with pytest.raises(SpecRefusedError) as refused:
            await run.sandbox.run(spec, Collected())
        assert refused.value.code == "MOUNT_SOURCE"


async def test_one_that_died_waiting_is_not_used(run: ProcessRunner) -> None:
    """Killed from outside while it waits: the run has another."""
    spec = shell("echo ok")
    async with kept(run):
        assert await run.sandbox.warm(spec)
        box = waiting(run, spec)
        for pid in run.processes():
            with contextlib.suppress(ProcessLookupError):  # one takes others with it
                os.kill(pid, signal.SIGKILL)
        with anyio.fail_after(60):
            while box.usable:  # noqa: ASYNC110 - the host has no event for it
                await anyio.sleep(0.01)
        # Cold; or by another, if it was found dead and replaced by now.
        outcome = await run.sandbox.run(spec, sink := Collected())
        assert (outcome.exit_code, sink.out) == (0, b"ok\n")


async def test_much_to_tell_and_much_to_read(run: ProcessRunner) -> None:
    """More than a pipe holds of both: commands and standard input arrive whole."""
    argv = ["/usr/bin/python3", "-I", "-S", "-c"]
    code = "import sys;sys.stdout.write(f'{len(sys.stdin.buffer.read())} {sum(map(len,sys.argv))}')"
    spec = make_spec(*argv, code, *["y" * 100_000] * 8, stdin=b"x" * 3_000_000)
    async with kept(run):
        assert await run.sandbox.warm(spec)
        _, out = await ran(run, spec)
    assert out == b"3000000 800002"


async def test_only_what_was_asked_for_is_kept_ready(run: ProcessRunner) -> None:
    """Nothing waits before the first call; then sandboxes of its shape do, while they are kept."""
    async with kept(run):
        await anyio.sleep(0.1)
        assert run.processes() == []
        await ran(run, shell("true"), ahead=False)
        with anyio.fail_after(60):
            while not run.processes():  # noqa: ASYNC110 - the host has no event for it
                await anyio.sleep(0.01)
    assert run.processes() == []


async def until_dead(box: Any) -> None:
    with anyio.fail_after(60):
        while box.usable:  # noqa: ASYNC110 - the host has no event for it
            await anyio.sleep(0.01)


async def test_what_was_set_aside_for_a_run_is_that_runs_alone(run: ProcessRunner) -> None:
    """A like run that begins meanwhile gets another; so nothing is ever told to one box twice."""
    spec, other = shell("echo mine"), shell("echo other")
    async with kept(run):
        assert await run.sandbox.warm(spec)
        box = waiting(run, spec)
        run.sandbox.set_aside(spec)
        _, out = await run_any(run, other)
        assert (out, box.usable) == (b"other\n", True)
        _, out = await ran(run, spec)
        assert (out, box.usable) == (b"mine\n", False)


async def run_any(run: ProcessRunner, spec: RunSpec) -> tuple[Outcome, bytes]:
    sink = Collected()
    outcome = await run.sandbox.run(spec, sink)
    assert outcome.exit_code == 0, (outcome, sink.err)
    return outcome, sink.out


@pytest.mark.parametrize("kept_until", ["the end", "before it is let go"])
async def test_what_was_set_aside_and_is_not_run_is_ended(
    run: ProcessRunner, kept_until: str
) -> None:
    """A call that was cancelled while its start was recorded leaves nothing."""
    spec = shell("true")
    async with kept(run):
        assert await run.sandbox.warm(spec)
        box = waiting(run, spec)
        run.sandbox.set_aside(spec)
        if kept_until == "the end":
            await run.sandbox.let_go(spec.run_id)
            await until_dead(box)
    await run.sandbox.let_go(spec.run_id)
    assert not box.usable
    assert run.processes() == []
    await run_any(run, spec)  # its id is free again


async def test_what_died_after_it_was_set_aside_is_not_used(run: ProcessRunner) -> None:
    """The run has another sandbox, as if nothing had been held for it."""
    spec = shell("echo ok")
    async with kept(run):
        assert await run.sandbox.warm(spec)
        box = waiting(run, spec)
        run.sandbox.set_aside(spec)
        os.kill(box.launched.init_pid, signal.SIGKILL)
        await until_dead(box)
        _, out = await run_any(run, spec)
        assert out == b"ok\n"


async def test_a_run_that_cannot_begin_is_refused_when_it_is_to_be_set_aside(
    run: ProcessRunner,
) -> None:
    """As when it is run; and no sandbox is held for it."""
    spec = make_spec("/usr/bin/no-such-program")
    async with kept(run):
        with pytest.raises(SpecRefusedError) as refused:
            run.sandbox.set_aside(spec)
        assert refused.value.code == "EXECUTABLE_MISSING"
        with pytest.raises(SpecRefusedError):
            await run.sandbox.run(spec, Collected())


async def test_what_was_set_aside_is_for_no_other_run_of_its_id(
    run: ProcessRunner, place: Path
) -> None:
    """Another spec, which may grant something else, is refused; what is held is not touched."""
    spec = shell("cat /m/secret", mounts=(Mount(str(place), "/m"),))
    (place / "secret").write_text("of the first")
    other = shell("cat /m/secret", run_id=spec.run_id)
    async with kept(run):
        assert await run.sandbox.warm(spec)
        run.sandbox.set_aside(spec)
        with pytest.raises(SpecRefusedError, match="already running"):
            await run.sandbox.run(other, Collected())
        _, out = await ran(run, spec)
        assert out == b"of the first"


async def test_what_could_not_be_told_leaves_nothing(
    run: ProcessRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when those that wait are kept no more: what was set aside is the run's to end."""

    def broken(*_: object) -> None:
        raise OSError("no more descriptors")

    spec = shell("true")
    async with kept(run):
        assert await run.sandbox.warm(spec)
        run.sandbox.set_aside(spec)
    monkeypatch.setattr(run.sandbox._starter, "tell", broken)
    with pytest.raises(OSError, match="no more descriptors"):
        await run.sandbox.run(spec, Collected())
    assert run.processes() == []

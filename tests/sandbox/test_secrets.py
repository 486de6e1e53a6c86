"""Secrets reach the tool, and nobody and nothing else."""

import os
import secrets
import time
from pathlib import Path

import anyio
import pytest

from sandbox import ProcessSettings, bubblewrap
from sandbox.bubblewrap import Wiring
from sandbox.tier import Stream
from tests.host import of_each_process
from tests.sandbox.conftest import Runner, make_spec, shell

pytestmark = pytest.mark.anyio


async def test_secrets_arrive(run: Runner) -> None:
    """A secret variable and a secret file are there, byte for byte; the file is the tool's only."""
    spec = shell(
        "printf %s \"$TOKEN\"; cat /run/secrets/key; stat -c ' %a %u' /run/secrets/key",
        secret_env={"TOKEN": bytearray(b"t0k\xff")},
        secret_files={"/run/secrets/key": memoryview(b"\0k\n")},
    )
    _, sink = await run(spec)
    assert sink.out == b"t0k\xff\0k\n 400 %d\n" % run.uid


async def test_secret_file_in_tmp(run: Runner) -> None:
    """A secret file may lie in /tmp, which is a tmpfs of its own."""
    spec = shell("cat /tmp/key", secret_files={"/tmp/key": b"k"})
    assert await run.text(spec) == "k"


async def test_secrets_nowhere_else(run: Runner) -> None:
    """While the tool runs: not in any argv, nor any other environment, nor on any disk."""
    token, key, plain = (secrets.token_hex(16).encode() for _ in range(3))
    seen: list[str] = []
    begin, looked = time.time(), anyio.Event()

    async def look(_stream: Stream, _data: bytes) -> None:
        ours = run.processes()
        assert len(ours) >= 2
        for pid, argv in of_each_process("cmdline").items():
            seen.extend(f"argv of {pid}" for secret in (token, key, plain) if secret in argv)
        for pid in ours:
            environ = read(Path(f"/proc/{pid}/environ"))
            holds = [secret for secret in (token, key, plain) if secret in environ]
            engine = b"bwrap" in read(Path(f"/proc/{pid}/cmdline"))
            if holds and engine:
                seen.append(f"environ of {pid}")
        seen.extend(files_with((token, key, plain), begin))
        looked.set()

    spec = shell(
        "echo; exec sleep 1000",
        env={"PLAIN": plain.decode()},
        secret_env={"TOKEN": token},
        secret_files={"/run/key": key},
    )
    async with anyio.create_task_group() as group:
        group.start_soon(run.sandbox.run, spec, look)
        await looked.wait()
        group.cancel_scope.cancel()
    assert seen == []
    assert files_with((token, key, plain), begin) == []


def read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def files_with(needles: tuple[bytes, ...], since: float) -> list[str]:
    """Recent files in the places where programs leave temporary files."""
    found = []
    for root in ("/tmp", "/var/tmp", "/dev/shm", "/run"):
        for here, _, names in os.walk(root):
            for path in (Path(here, name) for name in names):
                try:
                    recent = path.is_file() and path.stat().st_mtime >= since - 1
                    small = recent and path.stat().st_size < 2**20
                except OSError:
                    continue
                if small and any(needle in read(path) for needle in needles):
                    found.append(str(path))
    return found


def test_arguments_are_not_in_argv() -> None:
    """Of the spec only the tool's own argv and the run id are on a command line."""
    settings = ProcessSettings("abcd")
    spec = make_spec(
        "/bin/true",
        "argument",
        env={"PLAIN": "value"},
        secret_env={"S": b"secret"},
        secret_files={"/key": b"content"},
    )
    argv = bubblewrap.command(spec, settings, 7)
    assert argv[-2:] == ["/bin/true", "argument"]
    assert not any("value" in word or "secret" in word or "PLAIN" in word for word in argv)
    wiring = Wiring(7, 8, 9, 10, {"/etc/passwd": 11}, {"/key": 12}, {})
    text = bytes(bubblewrap.arguments(spec, settings, wiring))
    assert b"\0--setenv\0S\0secret\0" in text
    assert b"content" not in text


async def test_secret_gone_after_the_run(run: Runner) -> None:
    """The next run sees nothing of the last one's secrets."""
    await run(shell("cat /run/key >/tmp/copy", secret_files={"/run/key": b"k"}))
    _, sink = await run(shell("ls /run /tmp; env"))
    assert b"key" not in sink.out
    assert b"copy" not in sink.out

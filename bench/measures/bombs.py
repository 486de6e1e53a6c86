"""What another caller's calls notice while one caller's tool is a bomb.

Blocks of calls without and with the bomb take turns, so that the machine's moods reach both. The
bomb is called again as soon as a limit has ended it.
"""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from bench.daemon import TOOL, RunningDaemon, finish
from bench.plan import Bench, Measure
from bench.result import Result, distribution, percentile, timing
from bench.sampling import Samples, Step
from stockade.v1 import call_pb2, tool_pb2

BOMB = "bench_bomb"
BLOCK = 50
SETTLE_SECONDS = 0.5

_MANIFEST = f"""\
name = "{BOMB}"
version = "1.0.0"
summary = "Take all of one thing there is."
argv = ["/usr/bin/python3", "-I", "-S", "/tool/bomb.py", "{{kind}}"]
[input]
type = "object"
required = ["kind"]
[input.properties.kind]
type = "string"
[risk]
data_sensitivity = 0.0
[limits]
cpu_seconds = 3600
wall_seconds = 3600
"""
_BOMB = b"""\
import os, sys
kind = sys.argv[1]
if kind == "fork":
    while True:
        os.fork()
if kind == "processor":
    for _ in range(5):
        os.fork()
    while True:
        pass
if kind == "memory":
    held = []
    while True:
        held.append(b"x" * (1 << 20))
if kind == "disk":
    while True:
        try:
            with open("/tmp/x", "wb", buffering=0) as file:
                while True:
                    file.write(bytes(1 << 20))
        except OSError:
            os.unlink("/tmp/x")
if kind == "files":
    number = 0
    while True:
        number += 1
        try:
            os.close(os.open(f"/tmp/{number}", os.O_CREAT))
        except OSError:
            number = 0
if kind == "output":
    while True:
        os.write(1, bytes(65536))
if kind == "zombies":
    while True:
        if os.fork() == 0:
            os._exit(0)
"""
KINDS = ("fork", "processor", "memory", "disk", "files", "output", "zombies")


def neighbour(bench: Bench) -> Iterator[Result]:
    """The same small call, quiet and beside each bomb."""
    daemon = bench.prepared()
    daemon.start()
    daemon.add_tool()
    _add_bomb(daemon)
    blocks = max(1, bench.times(300) // BLOCK)
    for kind in KINDS:
        quiet, beside = Samples(), Samples()
        with daemon.client() as client:
            call = Step(partial(finish, client, TOOL, {}, _SUCCEEDED))
            for _ in range(BLOCK):
                call.take(Samples())
            for _ in range(blocks):
                _block(call, quiet)
                with _bomb(daemon, kind):
                    _block(call, beside)
        name = f"bomb.{kind}.neighbour"
        yield timing(f"{name}.quiet", "ms", quiet, beside=name)
        yield timing(name, "ms", beside, beside=f"{name}.quiet")
        ratio = percentile(beside.seconds, 99) / percentile(quiet.seconds, 99)
        yield distribution(f"bomb.{kind}.p99_moves", "x", [ratio])


_SUCCEEDED = call_pb2.CALL_STATE_SUCCEEDED


def _block(call: Step, samples: Samples) -> None:
    for _ in range(BLOCK):
        call.take(samples)
        time.sleep(0.01)


def _add_bomb(daemon: RunningDaemon) -> None:
    files = {"manifest.toml": _MANIFEST.encode(), "bomb.py": _BOMB}
    with daemon.client() as client:
        client.add_tool(
            [tool_pb2.AddToolRequest.File(path=path, content=data) for path, data in files.items()]
        )


@contextmanager
def _bomb(daemon: RunningDaemon, kind: str) -> Iterator[None]:
    """A bomb that goes off again and again; its caller is a process of its own, as callers are."""
    command = [sys.executable, "-c", _CALLER, str(daemon.root), BOMB, kind]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as caller:
        assert caller.stdout is not None
        caller.stdout.readline()  # it has gone off for the first time
        time.sleep(SETTLE_SECONDS)
        try:
            yield
        finally:
            caller.kill()


_CALLER = """
import pathlib, sys
from stockade.client import Client
from stockade.home import Home
root, tool, kind = sys.argv[1:]
with Client.open(Home.under(pathlib.Path(root))) as client:
    while True:
        for event in client.call(tool, {"kind": kind}):
            if event.HasField("started"):
                print("started", flush=True)
"""


MEASURES = (
    Measure(
        tuple(
            name
            for kind in KINDS
            for name in (
                f"bomb.{kind}.neighbour.quiet",
                f"bomb.{kind}.neighbour",
                f"bomb.{kind}.p99_moves",
            )
        ),
        neighbour,
    ),
)

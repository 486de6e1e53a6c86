"""Half of what a tool was given: it must never act on that, however its call or the daemon ends."""

import os
import random
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from stockade.client import Client, new_call_id
from stockade.v1 import tool_pb2
from tests.promises.acting import ALONE, Events, apply, until, working_tiers
from tests.running import CONFIG, WITH_ENGINES, RunningDaemon, make_directory, running

EVERYTHING = ALONE + "permit (principal, action, resource);"
# What it was given is a script or a list, say: it does something with all of it, at its end.
READS = b"""
import os, time
seen, sleeps, mark = 0, float(os.environ["SLEEPS"]), f"/workspace/{time.monotonic()}"
os.mkdir(mark)
while data := os.read(0, 4096):
    if not seen:
        os.write(1, b"on\\n")
    seen += len(data)
    os.utime(mark)
    time.sleep(sleeps)
os.mkdir(f"/workspace/acted-on-{seen}")
"""
MANIFEST = """
name = "reads_{tier}"
version = "1"
summary = "s"
argv = ["/usr/bin/python3", "-I", "-S", "/tool/main.py"]
stdin = "{{text}}"
environment = {{ SLEEPS = "{sleeps}" }}
[input]
type = "object"
required = ["text", "workspace"]
[input.properties]
text = {{ type = "string" }}
workspace = {{ type = "string" }}
[capabilities]
filesystem_write = true
[workspace]
argument = "workspace"
access = "write"
[risk]
data_sensitivity = {sensitivity}
"""
SENSITIVITY = {"process": 0.1, "container": 0.2, "gvisor": 1.0}
SIZE = 900_000


@pytest.fixture
def place() -> Iterator[Path]:
    """A workspace for each tier, where its tool leaves marks."""
    made = make_directory("stockade-workspace-")
    for tier in SENSITIVITY:
        (made / tier).mkdir()
        (made / tier).chmod(0o777)
    yield made
    shutil.rmtree(made)


def add(client: Client, tier: str, *, sleeps: float) -> None:
    manifest = MANIFEST.format(tier=tier, sleeps=sleeps, sensitivity=SENSITIVITY[tier])
    files = {"manifest.toml": manifest.encode(), "main.py": READS}
    sent = [tool_pb2.AddToolRequest.File(path=path, content=text) for path, text in files.items()]
    client.add_tool(sent)


def begun(client: Client, tier: str, call_id: str) -> Events:
    """A call of the tool of that tier, which reads its input now."""
    arguments = {"text": "x" * SIZE, "workspace": tier}
    events = client.call(f"reads_{tier}", arguments, call_id=call_id)
    for event in events:
        assert not event.HasField("finished"), event
        if event.HasField("output"):
            return events
    raise AssertionError("it did not run")


def acted(place: Path) -> list[str]:
    return [mark.name for mark in place.glob("*/acted-on-*")]


def still(place: Path) -> bool:
    """Whether no tool reads: each leaves a mark five times a second."""
    before = marks(place)
    time.sleep(1)
    return marks(place) == before


def marks(place: Path) -> dict[Path, int]:
    return {mark: mark.stat().st_mtime_ns for mark in place.glob("*/[0-9]*")}


def with_workspaces(config: str, place: Path) -> str:
    named = "".join(
        f'[workspaces.{tier}]\npath = "{place / tier}"\naccess = "write"\n' for tier in SENSITIVITY
    )
    return config + named


def test_a_cancelled_call_does_not_act_on_half_its_input(place: Path) -> None:
    """Cancelled at any moment while its tool reads: the tool dies without seeing an end of it."""
    with running(with_workspaces(CONFIG, place)) as daemon, daemon.client() as client:
        apply(client, ALONE)
        add(client, "process", sleeps=0.0001)
        for _ in range(25):
            call_id = new_call_id()
            with begun(client, "process", call_id):
                time.sleep(random.uniform(0, 0.02))  # noqa: S311 - any moment
                client.cancel_call(call_id)
    assert set(acted(place)) <= {f"acted-on-{SIZE}"}


def test_a_tool_whose_daemon_is_killed_does_not_act_on_half_its_input(place: Path) -> None:
    """Kill -9 in the middle: in every tier the tool is dead in about a second, with no restart."""
    with running(with_workspaces(WITH_ENGINES, place)) as daemon:
        with daemon.client() as client:
            apply(client, EVERYTHING)
            tiers = working(daemon)
            for tier in tiers:
                add(client, tier, sleeps=0.2)
            calls = [begun(client, tier, new_call_id()) for tier in tiers]
            daemon.stop(signal.SIGKILL)
            for events in calls:
                events.cancel()
        # A busy machine takes its time; left alone, a tool would be at it for the better part of a
        # minute, and then act.
        assert until(lambda: still(place))
        assert len(marks(place)) == len(calls)
        assert acted(place) == []
        daemon.start()
        working(daemon)  # it has then taken away what was left in the engine


def working(daemon: RunningDaemon) -> list[str]:
    with daemon.client() as client:
        tiers = [tier for tier, works in working_tiers(client).items() if works]
    if os.environ.get("CI") == "true":
        assert len(tiers) == len(SENSITIVITY)
    return tiers

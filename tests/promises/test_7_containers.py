"""Promise 7 where tools run on Docker Engine: the engine is told no secret, nor is any process."""

import hashlib
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.host import missing, of_each_process
from tests.promises.acting import ALONE, apply, python_tool, until, working_tiers
from tests.promises.test_7_secrets import (
    ENV_SECRET,
    ENV_VALUE,
    FILE_SECRET,
    SECRETS,
    VALUE,
    seen_in,
)
from tests.running import WITH_ENGINES, RunningDaemon, running

TIERS = {
    "container": "",
    "gvisor": "[capabilities]\nnetwork = true\nfilesystem_write = true\nexternal_apis = true\n",
}
GRANT = 'permit (principal, action == Action::"use_secret", resource);'
WAITS = """
import hashlib, os, time
value = open("/run/secrets/deploy.key", "rb").read() + os.environb[b"API_TOKEN"]
mounts = [line.split() for line in open("/proc/mounts")]
kept = [kind for _, place, kind, *_ in mounts if place == "/run/secrets"]
print("up", hashlib.sha256(value).hexdigest(), *kept, flush=True)
time.sleep(60)
"""
DIGEST = hashlib.sha256(VALUE + ENV_VALUE).hexdigest().encode()


@pytest.fixture(scope="module")
def engines() -> Iterator[RunningDaemon]:
    """A daemon on this machine's engine, with two secrets."""
    with running(WITH_ENGINES) as daemon:
        with daemon.client() as client:
            client.put_secret(FILE_SECRET, VALUE)
            client.put_secret(ENV_SECRET, ENV_VALUE)
            apply(client, ALONE + GRANT)
        yield daemon


def engine(path: str) -> bytes:
    """What the engine answers."""
    with socket.socket(socket.AF_UNIX) as asked:
        asked.connect("/var/run/docker.sock")
        asked.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        text = b""
        while part := asked.recv(65536):
            text += part
    return text.partition(b"\r\n\r\n")[2]


def about_every_container() -> list[bytes]:
    """`docker inspect`, `docker logs`, `docker top` and `docker diff` of each there is."""
    asked = ("json", "logs?stdout=1&stderr=1", "top?ps_args=auxww", "changes")
    ids = [one["Id"] for one in json.loads(engine("/containers/json?all=1"))]
    return [engine(f"/containers/{container}/{what}") for container in ids for what in asked]


def kept_by_the_engine() -> list[Path]:
    """Whatever the engine has written of its containers, and handed to its runtimes."""
    roots = ("/var/lib/docker/containers", "/run/containerd", "/run/docker")
    # Not by a pattern: others' containers go while they are looked through.
    walked = (one for root in roots for one in os.walk(root))
    found = (Path(here, name) for here, _, names in walked for name in names)
    return [path for path in found if path.is_file()]


def environments() -> dict[str, bytes]:
    """Of every process, by its program."""
    programs = {pid: words.split(b"\0")[0] for pid, words in of_each_process("cmdline").items()}
    return {
        f"{pid} {programs.get(pid, b'').decode()}": environ
        for pid, environ in of_each_process("environ").items()
    }


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may read what the engine keeps")
@pytest.mark.parametrize("tier", TIERS)
def test_while_a_tool_has_it_nobody_else_has(engines: RunningDaemon, tier: str) -> None:
    """Not the engine's answers, files, log or processes; not an argv; not the daemon."""
    with engines.client() as client:
        if not working_tiers(client)[tier]:
            missing(tier)
        python_tool(
            client, f"waits_in_{tier}", WAITS, rest=SECRETS + TIERS[tier], sensitivity="1.0"
        )
        said = b""
        with client.call(f"waits_in_{tier}", {}) as events:
            for event in events:
                if event.HasField("started"):
                    assert event.started.tier == tier
                assert not event.HasField("finished"), event
                said += event.output.data
                if b"\n" in said:
                    break
            # Exactly the values: as a variable, and as a file that is on no disk.
            assert said == b"up %b tmpfs\n" % DIGEST
            told = about_every_container()
            assert any(b"stockade" in one for one in told)
            assert not any(seen_in(one) for one in told)
            assert not [path for path in kept_by_the_engine() if seen_in(_bytes(path))]
            for pid, words in of_each_process("cmdline").items():
                assert not seen_in(words), pid
            holders = [who for who, environ in environments().items() if ENV_VALUE in environ]
            assert all("python" in who for who in holders), holders
            assert not [who for who in holders if who.startswith(f"{engines.pid} ")]
    assert until(lambda: not any(ENV_VALUE in one for one in environments().values()))


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""

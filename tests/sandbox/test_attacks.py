"""The battery: every attack is held by every tier, and each pair shows that it could succeed."""

import platform
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox import End, Outcome, OutputDigest, ProcessSandbox, ProcessSettings, RunSpec, Usage
from sandbox.attacks import ATTACKS, Attack, Verdict
from sandbox.attacks.attack import Outside, Pair, Seen, row
from sandbox.attacks.battery import one
from sandbox.attacks.outside import run_outside
from sandbox.attacks.stage import fresh_place
from sandbox.tier import OutputSink, Sandbox
from tests.host import of_each_process
from tests.running import make_directory
from tests.sandbox.conftest import Runner, open_descriptors

pytestmark = pytest.mark.anyio
_BY_NAME = {attack.name: attack for attack in ATTACKS}
# What some kernels do not have at all, so that no control can show its effect there.
_NOT_EVERYWHERE = {
    "abi.x32": "this kernel has no x32 calls",
    "abi.i386": "this kernel has no i386 calls",
    "kernel.io_uring": "this kernel gives io_uring to nobody",
    "kernel.crypto-socket": "this kernel gives its ciphers to nobody by a socket",
    "kernel.perf": "this kernel lets only root count events",
    "kernel.userfaultfd": "this kernel lets only root handle page faults",
    "network.vsock": "this kernel has no vsock",
    "terminal.tiocsti": "this kernel lets nobody type into terminals",
    "terminal.tiocsti-high": "this kernel lets nobody type into terminals",
}
_ONLY_ROOT = {
    "privilege.device-made",
    "privilege.device-open",
    "privilege.cgroup",
    "privilege.core-pattern",
    "privilege.kernel-files",
    "kernel.bpf",
    "kernel.file-handle",
}


@pytest.fixture
def ground() -> Iterator[Path]:
    """A directory for targets, as the daemon's data directory would be."""
    path = make_directory("stockade-attacks-")
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.mark.parametrize("name", _BY_NAME)
async def test_held(run: Runner, ground: Path, name: str) -> None:
    """Each tier holds the attack, and the same program with one grant more does succeed."""
    await _held(run.sandbox, ground, name)


@pytest.mark.parametrize(
    "name", ["bomb.fork", "bomb.threads", "bomb.zombies", "bomb.memory", "bomb.memory-tree",
             "bomb.cpu", "bomb.inodes"],
)  # fmt: skip
async def test_held_without_cgroups(ground: Path, name: str) -> None:
    """Where there are no cgroups, rlimits and the eye on the tree hold the bombs as well."""
    settings = ProcessSettings(secrets.token_hex(6), use_cgroups=False)
    await _held(ProcessSandbox(settings), ground, name)


async def _held(sandbox: Sandbox, ground: Path, name: str) -> None:
    # The settings say as whom, and with which bubblewrap, controls run outside.
    found = await one(_BY_NAME[name], sandbox, ProcessSettings("controls"), ground)
    if found.verdict is Verdict.UNPROVEN:
        why = _NOT_EVERYWHERE.get(name, "it takes root to show" if name in _ONLY_ROOT else "")
        assert why, found
        pytest.skip(f"{why}: {found.control}")
    assert found.verdict is Verdict.HELD, found
    assert left_in(ground) == []


def left_in(ground: Path) -> list[str]:
    return [path.name for path in ground.iterdir()]


class Nothing:
    """A tier that isolates nothing: the program runs on the host, whatever was asked."""

    name = "nothing"

    def __init__(self, settings: ProcessSettings) -> None:
        self._settings = settings

    async def run(self, spec: RunSpec, output: OutputSink) -> Outcome:
        """As the user that tools run as, and that is all."""
        said: list[bytes] = []
        wanted = Outside("", seconds=spec.limits.wall_seconds)
        await run_outside(self._settings, wanted, spec.argv, bytes(spec.stdin), said.append)
        for data in said:
            await output("stdout", data)
        nothing = OutputDigest("")
        return Outcome(
            End.EXITED, 0, None, None, Usage(0, None, None), {}, nothing, nothing, 0, 0, ""
        )

    async def probe(self) -> "object":
        raise NotImplementedError

    async def reap(self) -> int:
        raise NotImplementedError


@pytest.mark.parametrize(
    "name",
    ["read.path", "write.path", "state.daemon", "network.tcp", "network.udp",
     "network.abstract", "network.unix", "process.signal", "process.ptrace", "process.environ",
     "privilege.setuid", "privilege.user-namespace", "privilege.mount", "later.call"],
)  # fmt: skip
async def test_the_battery_can_fail(ground: Path, name: str) -> None:
    """Against a tier that isolates nothing the very same attack is not held."""
    settings = ProcessSettings("abcd")
    sandbox: Sandbox = Nothing(settings)  # type: ignore[assignment]
    found = await one(_BY_NAME[name], sandbox, settings, ground)
    assert found.verdict is Verdict.NOT_HELD, found


def _pair(attack: Seen, did: str, control: Seen, did_too: str) -> Pair:
    return Pair(attack, did, control, did_too)


_RAN, _NOT_RUN = Seen(True, "refused"), Seen(False, "")


@pytest.mark.parametrize(
    ("pair", "verdict"),
    [
        (_pair(_RAN, "", _RAN, "effect"), Verdict.HELD),
        (_pair(_RAN, "effect", _RAN, "effect"), Verdict.NOT_HELD),
        (_pair(_RAN, "effect", _RAN, ""), Verdict.NOT_HELD),
        (_pair(_RAN, "", _RAN, ""), Verdict.UNPROVEN),
        (_pair(_NOT_RUN, "", _RAN, "effect"), Verdict.UNPROVEN),
    ],
)
def test_verdicts(pair: Pair, verdict: Verdict) -> None:
    """Held takes an attack that ran, had no effect, and a control that had one."""
    attack = Attack("a", "b", "c", stage=lambda _: None)  # type: ignore[arg-type,return-value]
    assert row(attack, "process", pair).verdict is verdict


async def test_an_engine_that_is_gone_holds_nothing(ground: Path) -> None:
    """A sandbox that does not start is not taken for one that holds."""
    settings = ProcessSettings("abcd", bubblewrap="/nonexistent/bwrap")
    found = await one(_BY_NAME["read.path"], ProcessSandbox(settings), settings, ground)
    assert found.verdict is Verdict.UNPROVEN
    assert "BWRAP_MISSING" in found.attack


def cgroups_mounted() -> list[str]:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [line for line in lines if " - cgroup" in line]


async def test_nothing_stays_mounted(run: Runner, ground: Path) -> None:
    """What an attack or its control mounted is gone with it, also where it was let."""
    before = cgroups_mounted()
    for name in ("privilege.cgroup", "privilege.mount", "kernel.mount-api"):
        await _held(run.sandbox, ground, name)
    assert cgroups_mounted() == before
    assert not [name for name in left_in(Path("/tmp")) if name.startswith("stockade-group-")]


async def test_a_control_leaves_nothing(ground: Path) -> None:
    """What runs outside is gone after its time: process, children and descriptors."""
    settings = ProcessSettings("abcd")
    mark = f"1000.{secrets.randbelow(10**6)}"
    before = open_descriptors()
    script = f"sleep {mark} & sleep {mark}"
    wanted = Outside("", seconds=0.3)
    overran = await run_outside(settings, wanted, ["/bin/sh", "-c", script], b"", lambda _: None)
    assert overran
    assert open_descriptors() == before
    assert not [argv for argv in of_each_process("cmdline").values() if mark.encode() in argv]
    with fresh_place(ground) as place:
        (place / "closed").mkdir(mode=0o000)
        (place / "link").symlink_to(ground.parent)
    assert ground.parent.stat().st_mode & 0o777 != 0o700
    assert left_in(ground) == []


def test_every_row_of_the_issue_is_there() -> None:
    """Groups of attacks: files, state, network, processes, privilege, ABIs, bombs, later."""
    groups = {name.partition(".")[0] for name in _BY_NAME}
    assert groups == {
        "read", "write", "state", "network", "process", "privilege", "abi", "kernel", "terminal",
        "bomb", "later",
    }  # fmt: skip
    assert len(_BY_NAME) == len(ATTACKS)
    assert platform.system() == "Linux"

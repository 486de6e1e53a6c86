"""Does this tier really work here? Run a sandbox, try what must fail, and observe.

Finding a binary proves nothing. Trusted never to report a control it has not seen refuse
something, and to say for what is missing why, and how to fix it. Raises nothing for a host that
does not work; that is what the report is for.
"""

import json
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from sandbox.diagnosis import diagnose
from sandbox.errors import SandboxError
from sandbox.interpreter import interpreter
from sandbox.outcome import Control, End, Outcome
from sandbox.spec import Limits, Mount, RunSpec
from sandbox.tier import Missing, ProbeReport, Sandbox, Stream

_OBSERVER = Path(__file__).with_name("observer.py")
_HOSTNAME = "probe"
_MIB = 2**20
_LIMITS = Limits(
    wall_seconds=20,
    cpu_seconds=10,
    memory_bytes=512 * _MIB,
    pids=16,
    output_bytes=64 * 1024,
    file_size_bytes=_MIB,
    open_files=64,
    tmp_bytes=_MIB,
)
_NO_CAPABILITIES = "0" * 16 * 5

# observation -> (values that prove the control, the control in words)
_WANTED: dict[str, tuple[frozenset[str], str]] = {
    "write_root": (frozenset({"EROFS"}), "read-only root"),
    "write_usr": (frozenset({"EROFS"}), "read-only /usr"),
    "root_flags": (frozenset({"ro"}), "root mounted read-only"),
    "usr_flags": (frozenset({"ro"}), "/usr mounted read-only"),
    # The other half of the pair: the same program with the grant does succeed.
    "write_tmp": (frozenset({"done"}), "private writable /tmp"),
    "write_sysctl": (frozenset({"EACCES", "EPERM", "EROFS"}), "kernel settings out of reach"),
    "init_memory": (frozenset({"ENOENT", "EACCES"}), "init of the sandbox out of reach"),
    "connect": (frozenset({"ENETUNREACH"}), "no network"),
    "interfaces": (frozenset({"lo"}), "loopback only"),
    "vsock": (frozenset({"EAFNOSUPPORT"}), "no vsock"),
    "mount": (frozenset({"EPERM"}), "mount refused"),
    "unshare": (frozenset({"EPERM"}), "new namespaces refused"),
    "ptrace": (frozenset({"EPERM"}), "ptrace refused"),
    "keyctl": (frozenset({"EPERM"}), "keyctl refused"),
    "capabilities": (frozenset({_NO_CAPABILITIES}), "no capabilities"),
    "no_new_privileges": (frozenset({"1"}), "no new privileges"),
    "seccomp": (frozenset({"2"}), "seccomp filter loaded"),
    "pid_small": (frozenset({"yes"}), "private pid namespace"),
    "hostname": (frozenset({_HOSTNAME}), "own host name"),
    "environment": (frozenset({"LC_ALL,PROBE"}), "exact environment"),
    "descriptors": (frozenset({"0,1,2,3"}), "no inherited descriptors"),  # 3 reads the list
    "session": (frozenset({"yes"}), "no terminal"),
}


class Probed(Protocol):
    """What a probe has to know of the tier it looks at."""

    @property
    def instance(self) -> str:
        """Any text; it is given to the observer as a variable."""
        ...

    @property
    def inside_uid(self) -> int:
        """The user a run has to have."""
        ...

    @property
    def differing(self) -> Mapping[str, frozenset[str]]:
        """Observations that prove a control in this tier though another one proves it elsewhere."""
        ...


async def observe(
    sandbox: Sandbox,
    settings: Probed,
    explain: Callable[[Outcome], tuple[Missing, ...]] = diagnose,
    mounts: tuple[Mount, ...] = (),
) -> ProbeReport:
    """Run the observer in `sandbox`, with `mounts`, and judge what it saw."""
    chunks: list[bytes] = []

    async def keep(stream: Stream, data: bytes) -> None:
        if stream == "stdout":
            chunks.append(data)

    try:
        outcome = await sandbox.run(_spec(settings, mounts), keep)
    except SandboxError as error:
        return ProbeReport(False, (Missing(_primitive(error), error.message, error.fix),), {})
    seen = _parse(b"".join(chunks))
    if outcome.end is not End.EXITED or outcome.exit_code != 0 or not seen:
        return ProbeReport(False, explain(outcome), outcome.controls)
    missing = judge(seen, settings)
    return ProbeReport(not missing, missing, {**outcome.controls, **_observed(seen, settings)})


def judge(seen: Mapping[str, str], settings: Probed) -> tuple[Missing, ...]:
    """What was not seen to hold. No observation is no proof."""
    return tuple(
        Missing(words, f"a probe saw {name}: {seen.get(name, 'nothing')}", _FIX)
        for name, (proof, words) in _wanted(settings).items()
        if seen.get(name) not in proof
    )


def _wanted(settings: Probed) -> dict[str, tuple[frozenset[str], str]]:
    wanted = {**_WANTED, "uid": (frozenset({str(settings.inside_uid)}), "not root inside")}
    for name, proof in settings.differing.items():
        wanted[name] = (proof, wanted[name][1])
    return wanted


_FIX = "do not use this tier on this host; report the versions of kernel and engine"


def _observed(seen: Mapping[str, str], settings: Probed) -> dict[str, Control]:
    return {
        f"observed.{name}": Control(words, seen[name] if seen.get(name) in proof else "")
        for name, (proof, words) in _wanted(settings).items()
    }


_PRIMITIVES = {
    "DOCKER_UNREACHABLE": "Docker Engine",
    "RUNTIME_MISSING": "the runtime",
    "CGROUPS_MISSING": "control groups",
    "CGROUPS_GONE": "control groups",
}


def _primitive(error: SandboxError) -> str:
    known = _PRIMITIVES.get(error.code)
    return known or error.code.lower().replace("_missing", "").replace("bwrap", "bubblewrap")


def _parse(text: bytes) -> dict[str, str]:
    try:
        seen = json.loads(text)
    except ValueError:
        return {}
    return seen if isinstance(seen, dict) and seen.get("ran") == "yes" else {}


def _spec(settings: Probed, more: tuple[Mount, ...] = ()) -> RunSpec:
    program, mounts = interpreter()
    return RunSpec(
        argv=(program, "-I", "-S", "-"),
        env={"LC_ALL": "C.UTF-8", "PROBE": settings.instance},
        stdin=_OBSERVER.read_bytes(),
        cwd="/tmp",  # noqa: S108 - inside the sandbox
        hostname=_HOSTNAME,
        mounts=(*mounts, *more),
        secret_env={},
        secret_files={},
        limits=_LIMITS,
        run_id=f"probe-{secrets.token_hex(8)}",
    )

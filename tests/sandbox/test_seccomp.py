"""The system call filter, by effect: the same program inside and outside."""

import errno
import platform
import signal
import struct
import subprocess
from pathlib import Path

import pytest

from sandbox import End, Mount
from sandbox.seccomp import build_program
from tests.sandbox.conftest import Runner, make_spec, open_descriptors, shell

pytestmark = pytest.mark.anyio
DENIED = (
    *("tiocsti", "tiocsti-high", "tioclinux", "unshare-user", "clone-user", "clone-high", "setns"),
    *("io_uring", "bpf", "keyctl", "add_key", "request_key", "userfaultfd", "ptrace"),
    *("personality", "perf", "fsopen", "open_tree", "open_tree_attr", "process_vm_readv", "kexec"),
    *("init_module", "kill-init", "kill-init-high", "tkill-init", "tgkill-init", "queue-init"),
    *("queue-init-thread", "limit-init", "signal-by-fd"),
)
_X86 = pytest.mark.skipif(platform.machine() != "x86_64", reason="x86_64 has two other ABIs")


async def inside(run: Runner, calls: Path, name: str) -> str:
    spec = make_spec("/w/calls", name, mounts=(Mount(str(calls), "/w"),))
    outcome, sink = await run(spec)
    if outcome.end is End.SIGNALLED:
        return f"signal {outcome.signal}"
    return sink.text


def outside(calls: Path, name: str, cwd: Path | None = None) -> str:
    program = str(calls / "calls")
    done = subprocess.run(
        [program, name], cwd=cwd, stdin=subprocess.PIPE, capture_output=True, check=True
    )
    return done.stdout.decode().strip()


def killed(run: Runner) -> str:
    """What a call of another ABI comes to: gVisor has none."""
    return str(errno.ENOSYS) if run.gvisor else f"signal {signal.SIGSYS.value}"


async def test_denied(run: Runner, calls: Path) -> None:
    """Refused with EPERM; also with bits above 32 that the kernel ignores and a filter may not."""
    script = f"for name in {' '.join(DENIED)}; do echo $name $(/w/calls $name); done"
    text = await run.text(shell(script, mounts=(Mount(str(calls), "/w"),)))
    wanted = dict.fromkeys(DENIED, str(errno.EPERM))
    if run.gvisor:
        wanted["open_tree_attr"] = str(errno.ENOSYS)  # it does not know the call at all
    assert dict(line.split() for line in text.splitlines()) == wanted


@pytest.mark.parametrize(
    "name", ["tiocsti", "tiocsti-high", "keyctl", "personality", "io_uring", "signal-by-fd"]
)
def test_the_filter_is_the_reason(calls: Path, name: str) -> None:
    """Outside, the same call gets past the entry of the kernel: the pair to the denials."""
    assert outside(calls, name) != str(errno.EPERM)


async def test_ordinary_calls(run: Runner, calls: Path) -> None:
    """The filter lets ordinary calls through, also the neighbours of what it denies."""
    assert await inside(run, calls, "getpid") == "done"
    assert await inside(run, calls, "inet") == "done"
    assert await inside(run, calls, "kill-self") == "done"
    assert await inside(run, calls, "limit-self") == "done"
    assert await inside(run, calls, "tcgets") == str(errno.ENOTTY)


async def test_clone3(run: Runner, calls: Path) -> None:
    """clone3 seems not to exist, so that callers fall back to clone, whose flags can be seen."""
    assert await inside(run, calls, "clone3") == str(errno.ENOSYS)
    assert outside(calls, "clone3") == str(errno.EINVAL)


_GIVES = ("fchmod", "fchmod-high", "fchmod-group", "fchmodat", "openat", "tmpfile", "mknodat")
_GIVES_BY_NAME = ("chmod", "open", "creat", "mknod")  # which newer architectures do not have
_UNSEEN = ("openat2", "fchmodat2")


async def test_no_file_gives_its_users_rights_to_whoever_starts_it(
    run: Runner, calls: Path
) -> None:
    """In a workspace it would be on the host, and the tool's user there may be the daemon's."""
    refused = (*_GIVES, *(_GIVES_BY_NAME if platform.machine() == "x86_64" else ()))
    wanted = dict.fromkeys(refused, str(errno.EPERM)) | dict.fromkeys(_UNSEEN, str(errno.ENOSYS))
    wanted |= dict.fromkeys(("no-chmod", "no-make"), "done")
    each = f"for name in {' '.join(wanted)}; do echo $name $(/w/calls sxid-$name); done"
    script = f"cd /tmp; {each}; find /tmp -perm /6000"
    text = await run.text(shell(script, mounts=(Mount(str(calls), "/w"),)))
    assert dict(line.split() for line in text.splitlines()) == wanted


@pytest.mark.parametrize("name", ["fchmod", "openat", "tmpfile", "mknodat", "openat2"])
def test_outside_a_file_may_give_its_users_rights(calls: Path, tmp_path: Path, name: str) -> None:
    """The pair to that."""
    assert outside(calls, f"sxid-{name}", tmp_path) == "done"


@pytest.mark.parametrize("name", ["vsock", "vsock-high"])
async def test_vsock(run: Runner, calls: Path, name: str) -> None:
    """No vsock: it reaches the hypervisor from inside any network namespace."""
    # gVisor's reader of filters knows one error.
    wanted = errno.EPERM if run.gvisor else errno.EAFNOSUPPORT
    assert await inside(run, calls, name) == str(wanted)


@_X86
@pytest.mark.parametrize("name", ["x32-getpid", "x32-ptrace"])
async def test_x32(run: Runner, calls: Path, name: str) -> None:
    """An x32 call, whose number no rule names, kills."""
    assert await inside(run, calls, name) == killed(run)


@_X86
async def test_i386(run: Runner, calls: Path) -> None:
    """An i386 call kills; outside, where the kernel has that ABI, it works."""
    if outside(calls, "i386-getpid") != "done":
        pytest.skip("this kernel has no i386 calls")
    assert await inside(run, calls, "i386-getpid") == killed(run)


def test_program_checks_architecture_first() -> None:
    """The first instruction loads the architecture, the second compares it."""
    program = build_program()
    assert len(program) % 8 == 0
    code, _, _, value = struct.unpack_from("=HBBI", program, 0)
    assert (code, value) == (0x20, 4)  # BPF_LD | BPF_W | BPF_ABS, offset of seccomp_data.arch
    code, _, _, _ = struct.unpack_from("=HBBI", program, 8)
    assert code == 0x15  # BPF_JMP | BPF_JEQ | BPF_K


async def test_every_run_is_filtered(run: Runner, calls: Path) -> None:
    """The second run has the filter too: a shared descriptor would be at its end by then."""
    before = open_descriptors()
    for _ in range(3):
        assert await inside(run, calls, "keyctl") == str(errno.EPERM)
    assert open_descriptors() == before

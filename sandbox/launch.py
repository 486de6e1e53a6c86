"""From a spec to a sandbox that is built, bounded and held shut before the tool's first step.

The order is the point: descriptors, group, spawn, the child's pid, its rlimits, and only then the
gate. Trusted to leave nothing running if any of it fails. Raises `LaunchError` and the
package's own errors, and never lets a secret into a message.
"""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import anyio

from sandbox import bubblewrap, processes, rlimits, seccomp, spawn, streams
from sandbox.cgroup import RunGroup
from sandbox.descriptors import Descriptors
from sandbox.limits import Limits
from sandbox.places import Identity, identity, pin
from sandbox.settings import ProcessSettings
from sandbox.spec import Contents, Mount, RunSpec


class LaunchError(Exception):
    """The engine could not build the sandbox. Becomes ENGINE_FAILURE; never leaves the tier."""


@dataclass(slots=True)
class Launched:
    """A spawned bubblewrap. `init_pid` and `init_fd` are set once the child is known.

    `unsent` is what is still to be written, by descriptor. `commands` is where a sandbox that
    was started ahead reads what to run, else -1; `places` what was mounted.
    """

    child: spawn.Child
    stdin: int
    stdout: int
    stderr: int
    status: int
    gate: int
    commands: int
    places: tuple[Identity, ...]
    bounded: bool
    unsent: dict[int, memoryview] = field(default_factory=dict)
    secret: bytearray = field(default_factory=bytearray, repr=False)
    init_pid: int = -1
    init_fd: int = -1

    def write(self, fd: int, data: memoryview, fds: Descriptors) -> None:
        """Send what fits now; the rest is left for the supervisor, else the pipe is closed.

        All of it fits where the kernel lets a pipe hold so much: then whoever reads it has the
        whole, whatever becomes of us. A daemon that dies closes its pipes before its sandboxes die.
        """
        streams.widen(fd, len(data))
        if rest := streams.offer(fd, data):
            self.unsent[fd] = rest
        else:
            fds.close(fd)

    def wipe(self) -> None:
        """Forget what it was told: that held secret variables."""
        self.secret[:] = bytes(len(self.secret))

    def kill(self) -> None:
        """Kill the sandbox's init, and with it its pid namespace, and the monitor."""
        if self.init_fd >= 0:
            spawn.kill(self.init_fd)
        spawn.kill(self.child.pidfd)


def begin(
    spec: RunSpec,
    settings: ProcessSettings,
    group: RunGroup,
    fds: Descriptors,
    *,
    ahead: bool = False,
) -> Launched:
    """Spawn bubblewrap. It builds the sandbox meanwhile and then waits at the gate.

    With `ahead`, the program reads from a pipe of its own, and the run's standard input is there
    besides, as descriptor `waiting.STDIN`.
    """
    stdin, stdout, stderr, status = (fds.pipe() for _ in range(4))
    commands = fds.pipe() if ahead else None
    gate = fds.gate()
    wiring = _wire(spec, settings, fds, status[1], gate)
    ends = [stdin[0], stdout[1], stderr[1]]
    if commands is not None:
        ends = [commands[0], *ends[1:], stdin[0]]
    if os.geteuid() == 0:
        for fd in ends:
            # So that the tool may open /dev/stdout, which checks the pipe's owner.
            os.fchown(fd, settings.root_becomes, settings.root_becomes)
    ours = [stdin[1], stdout[0], stderr[0], status[0]] + ([commands[1]] if commands else [])
    for fd in ours:
        os.set_blocking(fd, False)
    passed = _passed(wiring)
    bounds = rlimits.in_shell(spec.limits, group.enforces) if group.join else None
    command = bubblewrap.command(spec, settings, wiring.arguments)
    child = spawn.spawn(spawn.launcher(command, group.join, settings, bounds or ()), ends, passed)
    fds.own(child.pidfd)
    places = tuple(identity(wiring.mounts[mount.target]) for mount in bound_mounts(spec))
    fds.close(*(passed - {gate}), *ends)
    launched = Launched(
        child,
        stdin=stdin[1],
        stdout=stdout[0],
        stderr=stderr[0],
        status=status[0],
        gate=gate,
        commands=commands[1] if commands else -1,
        places=places,
        bounded=bounds is not None,
    )
    if not ahead:
        launched.write(stdin[1], memoryview(spec.stdin), fds)
    return launched


def _wire(
    spec: RunSpec, settings: ProcessSettings, fds: Descriptors, status: int, gate: int
) -> bubblewrap.Wiring:
    uid = settings.root_becomes
    mounts = {mount.target: pin(mount.source, uid, fds) for mount in bound_mounts(spec)}
    files = bubblewrap.etc_files(spec, settings)
    wiring = bubblewrap.Wiring(
        arguments=fds.memory(b""),
        seccomp=fds.memory(seccomp.build_program()),
        status=status,
        block=gate,
        files={path: fds.memory(content) for path, content in files.items()},
        secrets={path: fds.memory(content) for path, content in spec.secret_files.items()},
        mounts=mounts,
        placed=dict(_placed(spec, fds)),
    )
    text = bubblewrap.arguments(spec, settings, wiring)
    try:
        fds.fill(wiring.arguments, text)
    finally:
        text[:] = bytes(len(text))  # it held the secret variables
    return wiring


def _passed(wiring: bubblewrap.Wiring) -> set[int]:
    single = {wiring.arguments, wiring.seccomp, wiring.status, wiring.block}
    groups = (wiring.files, wiring.secrets, wiring.mounts)
    placed = {fd for fd, _ in wiring.placed.values()}
    return single | placed | {fd for group in groups for fd in group.values()}


def bound_mounts(spec: RunSpec) -> list[Mount]:
    """The mounts that are bound; the others are placed, by value."""
    return [mount for mount in spec.mounts if not _fits(mount.contents, spec.limits)]


def _fits(contents: Contents | None, limits: Limits) -> bool:
    """Whether it can be placed: the limits hold for that already, and it takes the run's memory."""
    if contents is None:
        return False
    sizes = [len(content) for content, _ in contents.files.values()]
    return max(sizes, default=0) <= limits.file_size_bytes and sum(sizes) * 8 <= limits.memory_bytes


def _placed(spec: RunSpec, fds: Descriptors) -> Iterator[tuple[str, tuple[int, bool]]]:
    bound = bound_mounts(spec)
    for mount in spec.mounts:
        if mount.contents is not None and mount not in bound:
            for path, (content, program) in mount.contents.files.items():
                yield f"{mount.target}/{path}", (fds.memory(content), program)


async def bound(
    launched: Launched, spec: RunSpec, settings: ProcessSettings, group: RunGroup, fds: Descriptors
) -> None:
    """Learn the child's pid, set its rlimits, open the gate."""
    line = b""
    with anyio.move_on_after(settings.setup_seconds):
        while not line.endswith(b"\n"):
            part = await streams.read(launched.status, 4096)
            if not part:
                break
            line += part
    pid = _field(line, "child-pid")
    if pid is None:
        raise LaunchError(_said(launched) or "bubblewrap did not start its child")
    try:
        launched.init_fd = fds.own(os.pidfd_open(pid))
        # Only the monitor's own child can be it: a number that was reused has another parent.
        if processes.parent(pid) != launched.child.pid:
            fds.close(launched.init_fd)
            launched.init_fd = -1
            raise LaunchError(_said(launched) or "bubblewrap's child ended at once")
        launched.init_pid = pid
        if not launched.bounded:
            wanted = rlimits.rlimits(spec.limits, group.enforces)
            await _set_rlimits(pid, wanted, settings, fds)
        os.write(launched.gate, b"!")
    except OSError as error:
        raise LaunchError(_said(launched) or f"the child could not be bounded: {error}") from None
    fds.close(launched.gate)


async def _set_rlimits(
    pid: int, wanted: Mapping[int, tuple[int, int]], settings: ProcessSettings, fds: Descriptors
) -> None:
    try:
        rlimits.apply(pid, wanted)
    except PermissionError:
        if os.geteuid() != 0:
            raise
        command = rlimits.helper(settings.prlimit, pid, wanted)
        null = fds.lift(os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC))
        helper = spawn.spawn([*spawn.without_root(settings), *command], (null, null, null))
        fds.own(helper.pidfd)
        with anyio.move_on_after(settings.setup_seconds):
            await anyio.wait_readable(helper.pidfd)
        spawn.kill(helper.pidfd)
        if spawn.reap(helper.pidfd) != 0:
            raise OSError(f"{settings.prlimit} failed") from None


def exit_code(launched: Launched) -> int | None:
    """The code bubblewrap reported for the tool; None if the tool never ran or was killed."""
    try:
        return _field(os.read(launched.status, 4096), "exit-code")
    except BlockingIOError:
        return None


def _field(text: bytes, name: str) -> int | None:
    for line in text.splitlines():
        try:
            value = json.loads(line).get(name)
        except (ValueError, AttributeError):
            continue
        if type(value) is int:
            return value
    return None


def _said(launched: Launched) -> str:
    """What the engine wrote to standard error. The tool has not run, so it is all the engine's."""
    try:
        return os.read(launched.stderr, 1024).decode("utf-8", "replace").strip()
    except OSError:
        return ""


def kill_marked(settings: ProcessSettings, run_id: str | None = None) -> set[str]:
    """Kill our own programs whose command line has the mark of this run, or of any; which runs."""
    programs = (settings.bubblewrap, settings.shell, settings.chroot)
    mark = bubblewrap.mark(settings.instance)
    killed = set()
    for pid, marked in processes.with_mark(programs, mark).items():
        if run_id not in (None, marked):
            continue
        try:
            fd = os.pidfd_open(pid)
        except OSError:
            continue
        try:
            # Looked up again with the descriptor in hand: a reused number is not ours to kill.
            if processes.with_mark(programs, mark).get(pid) == marked:
                spawn.kill(fd)
                killed.add(marked)
        except PermissionError:
            continue  # another user's, whatever its command line says
        finally:
            os.close(fd)
    return killed

"""The arguments bubblewrap gets: one step, one comment.

Pure: a spec and descriptor numbers in, NUL-separated bytes out. They go through `--args FD`, so
no value of the environment and no secret is ever in an argv. Nothing here is optional: there is
no argument list that gives a weaker sandbox.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache

from sandbox.hostview import root_directories, root_links
from sandbox.paths import ETC_FROM_HOST
from sandbox.settings import ProcessSettings
from sandbox.spec import RunSpec, SecretBytes

# Five device nodes that hold no state of the host. No tty, no ptmx: a run has no terminal.
_DEVICES = ("null", "zero", "full", "random", "urandom")
_DEVICE_LINKS = {"fd": "", "stdin": "/0", "stdout": "/1", "stderr": "/2"}
_ENV_PROGRAM = "/usr/bin/env"


@dataclass(frozen=True, slots=True)
class Wiring:
    """The descriptor numbers bubblewrap inherits."""

    arguments: int
    seccomp: int
    status: int
    block: int
    files: Mapping[str, int]
    secrets: Mapping[str, int]
    mounts: Mapping[str, int]
    placed: Mapping[str, tuple[int, bool]] = field(default_factory=dict)


def etc_files(spec: RunSpec, settings: ProcessSettings) -> dict[str, bytes]:
    """The whole of /etc that we make: no user, group or host of the real system is in it."""
    uid, name = settings.inside_uid, spec.hostname
    texts = {
        "/etc/passwd": f"tool:x:{uid}:{uid}::/tmp:/bin/sh\n",
        "/etc/group": f"tool:x:{uid}:\n",
        "/etc/hosts": f"127.0.0.1 localhost {name}\n::1 localhost {name}\n",
        "/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
    }
    return {path: text.encode() for path, text in texts.items()}


def command(spec: RunSpec, settings: ProcessSettings, arguments_fd: int) -> list[str]:
    """The argv of bubblewrap: a mark to find leftovers by, the arguments' descriptor, the tool."""
    return [
        settings.bubblewrap,
        *("--unsetenv", mark(settings.instance) + spec.run_id),
        *("--args", str(arguments_fd)),
        "--",
        *_exactly_this_environment(spec),
        *spec.argv,
    ]


def mark(instance: str) -> str:
    """How every run of `instance` begins its mark on the command line."""
    return f"stockade.{instance}."


def _exactly_this_environment(spec: RunSpec) -> tuple[str, ...]:
    # bubblewrap always sets PWD. Where the spec has no PWD, env(1) takes it out again; that
    # costs one more execve, so a caller in a hurry gives PWD=cwd.
    if "PWD" in spec.env:
        return ()
    return (_ENV_PROGRAM, "-u", "PWD", "--")


def arguments(spec: RunSpec, settings: ProcessSettings, wiring: Wiring) -> bytearray:
    """Everything else, NUL-separated. The caller wipes it: it holds the secret variables."""
    parts = (
        *_dev(spec),
        *_tmp(spec),
        *_etc(wiring),
        *_mounts(spec, wiring),
        *_placed(wiring),
        *_secrets(wiring),
        *_last(spec, wiring),
    )
    out: list[SecretBytes] = [_always(settings), *(_raw(part) + b"\0" for part in parts)]
    for name, value in spec.env.items():
        out.append(b"--setenv\0%b\0%b\0" % (_raw(name), _raw(value)))
    for name, secret in spec.secret_env.items():
        out += (b"--setenv\0%b\0" % _raw(name), secret, b"\0")
    # Made once at its full length: what grows leaves behind what it held.
    return bytearray().join(out)


@cache
def _always(settings: ProcessSettings) -> bytes:
    """What no run differs in."""
    return b"".join(_raw(part) + b"\0" for part in (*_isolation(settings), *_root(), *_proc()))


def _raw(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _isolation(settings: ProcessSettings) -> list[str]:
    return [
        # New user, ipc, pid, net, uts and cgroup namespaces; fail, never "try".
        *("--unshare-user", "--unshare-ipc", "--unshare-pid", "--unshare-net"),
        *("--unshare-uts", "--unshare-cgroup"),
        # No further user namespace inside, besides what seccomp says.
        "--disable-userns",
        # Dies with the thread that spawned it, by PR_SET_PDEATHSIG.
        "--die-with-parent",
        # No controlling terminal (TIOCSTI).
        "--new-session",
        # No capability, also not inside the user namespace.
        *("--cap-drop", "ALL"),
        # A number that is not root, inside; the host's number is the daemon's business.
        *("--uid", str(settings.inside_uid), "--gid", str(settings.inside_uid)),
        # Nothing of bubblewrap's own environment.
        "--clearenv",
    ]


def _root() -> list[str]:
    out = []
    for directory in root_directories():
        # The programs of the host, read-only.
        out += ["--ro-bind", directory, directory]
    for path, target in root_links().items():
        # /bin, /lib and friends, as on the host.
        out += ["--symlink", target, path]
    return out


def _proc() -> list[str]:
    return [
        # A procfs of the new pid namespace.
        *("--proc", "/proc"),
        # Hide the init of the sandbox: it has the tool's uid, so the tool could write to its
        # memory and make it forget to die with us.
        *("--perms", "0555", "--tmpfs", "/proc/1", "--remount-ro", "/proc/1"),
    ]


def _dev(spec: RunSpec) -> list[str]:
    out = []
    for name in _DEVICES:
        # One device node.
        out += ["--dev-bind", f"/dev/{name}", f"/dev/{name}"]
    for name, tail in _DEVICE_LINKS.items():
        # The usual names of the standard descriptors.
        out += ["--symlink", f"/proc/self/fd{tail}", f"/dev/{name}"]
    # POSIX shared memory, bounded.
    return [*out, "--perms", "1777", "--size", str(spec.limits.tmp_bytes), "--tmpfs", "/dev/shm"]  # noqa: S108


def _tmp(spec: RunSpec) -> list[str]:
    # The only place a run may write, bounded and gone with it.
    return ["--perms", "1777", "--size", str(spec.limits.tmp_bytes), "--tmpfs", "/tmp"]  # noqa: S108


def _etc(wiring: Wiring) -> list[str]:
    out = []
    for path, fd in wiring.files.items():
        # A file we made, copied from memory.
        out += ["--perms", "0444", "--file", str(fd), path]
    for path in ETC_FROM_HOST:
        # What the dynamic linker and Debian's links into /usr need.
        out += ["--ro-bind-try", path, path]
    return out


def _mounts(spec: RunSpec, wiring: Wiring) -> list[str]:
    out = []
    for mount in sorted(spec.mounts, key=lambda mount: mount.target):
        if mount.target not in wiring.mounts:
            continue  # it is placed by value
        # By descriptor: what was checked is what is bound. Outer before inner.
        kind = "--bind-fd" if mount.writable else "--ro-bind-fd"
        out += [kind, str(wiring.mounts[mount.target]), mount.target]
    return out


def _placed(wiring: Wiring) -> list[str]:
    out = []
    for path, (fd, program) in wiring.placed.items():
        # Copied from memory onto the private root: these are the bytes that were looked at.
        out += ["--perms", "0555" if program else "0444", "--file", str(fd), path]
    return out


def _secrets(wiring: Wiring) -> list[str]:
    out = []
    for path, fd in wiring.secrets.items():
        # Copied from memory onto the private root tmpfs, for the tool alone.
        out += ["--perms", "0400", "--file", str(fd), path]
    return out


def _last(spec: RunSpec, wiring: Wiring) -> list[str]:
    return [
        # The root is a tmpfs owned by the tool's uid: read-only from here on.
        *("--remount-ro", "/"),
        *("--hostname", spec.hostname),
        *("--chdir", spec.cwd),
        # The filter, loaded last before the tool.
        *("--seccomp", str(wiring.seccomp)),
        # Who the child is, and how it ended.
        *("--json-status-fd", str(wiring.status)),
        # The tool does not start before its limits are in place.
        *("--block-fd", str(wiring.block)),
    ]

"""A machine of our own: systemd as the first process of a container, with this checkout installed.

The image is an empty root whose /usr is the host's, read-only, so nothing is downloaded. What is
installed is this environment: its interpreter is bound to /opt/python, its packages to
/opt/stockade, where every user of that machine can read them. The container has no network but its
loopback. Nothing of it is left afterwards.
"""

import io
import secrets
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
# Where the machine has it: wherever it is here, which may be where the machine has its own /tmp.
INSIDE = "/opt/checkout"
SYSTEMD = Path("/usr/lib/systemd/systemd")
SECONDS = 180
IMAGE = "stockade-test-systemd"
_LINKS = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_FOLDERS = (
    *("dev", "home/ann", "opt/python", "opt/stockade/bin", "proc", "root", "run", "srv/notes"),
    *("sys", "tmp", "usr", "var/lib", "var/tmp", INSIDE.strip("/")),
    "etc/systemd/system/user@.service.d",
)
_OPEN = ("tmp", "var/tmp", "srv/notes")
_ETC = {
    "passwd": "root:x:0:0:root:/root:/bin/sh\nann:x:1000:1000::/home/ann:/bin/sh\n",
    "group": "root:x:0:\ndocker:x:900:\nann:x:1000:\n",
    "shadow": "root:*:19000::::::\nann:*:19000::::::\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
    "machine-id": "",
    "fstab": "",
    "os-release": "ID=stockade-test\nVERSION_ID=1\n",
    # An interpreter that was built apart has a library apart.
    "ld.so.conf": "/opt/python/lib\n",
    # Nobody logs in here: what a log-in would set is set.
    "systemd/system/user@.service.d/test.conf": (
        "[Service]\nPAMName=\nEnvironment=XDG_RUNTIME_DIR=/run/user/%i HOME=/home/ann\n"
    ),
}
_SCRIPT = "#!/opt/stockade/bin/python\nimport sys\nfrom {module} import main\nsys.exit(main())\n"
_SCRIPTS = {"stockade": "stockade.cli.main", "stockaded": "daemon.main"}


def _archive() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:

        def add(name: str, kind: bytes, mode: int, content: bytes = b"", link: str = "") -> None:
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode, entry.size, entry.linkname = kind, mode, len(content), link
            if name.startswith("home/ann"):
                entry.uid = entry.gid = 1000
            tar.addfile(entry, io.BytesIO(content))

        folders = {str(one) for name in _FOLDERS for one in (Path(name), *Path(name).parents)}
        for path in sorted(folders - {"."}):
            add(path, tarfile.DIRTYPE, 0o1777 if path in _OPEN else 0o755)
        for name in _LINKS:
            if Path("/", name).is_symlink():
                add(name, tarfile.SYMTYPE, 0o777, link=f"usr/{name}")
        for name, text in _ETC.items():
            add(f"etc/{name}", tarfile.REGTYPE, 0o644, text.encode())
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        home = "home = /opt/python/bin\ninclude-system-site-packages = false\n"
        add("opt/stockade/pyvenv.cfg", tarfile.REGTYPE, 0o644, home.encode())
        interpreter = f"/opt/python/bin/python{version}"
        add("opt/stockade/bin/python", tarfile.SYMTYPE, 0o777, link=interpreter)
        add("opt/stockade/lib", tarfile.DIRTYPE, 0o755)
        for name, module in _SCRIPTS.items():
            script = _SCRIPT.format(module=module).encode()
            add(f"opt/stockade/bin/{name}", tarfile.REGTYPE, 0o755, script)
    return out.getvalue()


@dataclass(frozen=True)
class Said:
    """What a program in the machine said."""

    status: int
    out: str
    err: str


@dataclass(frozen=True)
class Machine:
    """The booted container."""

    name: str

    def run(self, *command: str, user: str = "", stdin: str | None = None, **env: str) -> Said:
        """Runs a program in it."""
        options = [f"--env={key}={value}" for key, value in env.items()]
        options += [f"--user={user}"] if user else []
        options += ["--interactive"] if stdin is not None else []
        done = subprocess.run(
            ["docker", "exec", *options, self.name, *command],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        return Said(done.returncode, done.stdout, done.stderr)

    def ok(self, *command: str, user: str = "", stdin: str | None = None, **env: str) -> str:
        """The same, which has to succeed; what it printed."""
        said = self.run(*command, user=user, stdin=stdin, **env)
        if said.status != 0:
            raise AssertionError(f"{command}: {said.status}\n{said.out}{said.err}{self.journal()}")
        return said.out

    def stockade(self, *arguments: str, user: str = "", **env: str) -> Said:
        """The command line, as root there or as another user."""
        return self.run("/opt/stockade/bin/stockade", *arguments, user=user, **env)

    def journal(self, unit: str = "stockaded") -> str:
        """What the unit and its manager logged."""
        return self.run("journalctl", "--no-pager", "-q", "-o", "cat", "-u", unit, "-n", "80").out

    def property(self, name: str, unit: str = "stockaded.service") -> str:
        """A property of a unit."""
        return self.ok("systemctl", "show", "--value", f"--property={name}", unit).strip()

    def write(self, path: str, text: str) -> None:
        """A file of root's."""
        self.ok("sh", "-c", f"mkdir -p $(dirname {path}) && cat > {path}", stdin=text)


def unavailable() -> str:
    """Why no machine can be booted here; empty if one can."""
    if not SYSTEMD.exists():
        return "systemd is not installed"
    if shutil.which("docker") is None:
        return "the docker command is not installed"
    if subprocess.run(["docker", "info"], capture_output=True, check=False).returncode != 0:
        return "Docker Engine does not run here, or not for this user"
    return ""


needs_machine = pytest.mark.skipif(bool(unavailable()), reason=unavailable() or "there is one")


@contextmanager
def booted(binds: Mapping[Path, str] | None = None) -> Iterator[Machine]:
    """Boots it, and takes it away."""
    tag = f"{IMAGE}:{secrets.token_hex(4)}"
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    mounts = [
        (Path("/usr"), "/usr:ro"),
        (Path(sys.base_prefix), "/opt/python:ro"),  # which may be /usr, too
        (Path(sys.prefix, "lib", version), f"/opt/stockade/lib/{version}:ro"),
        (CHECKOUT, f"{INSIDE}:ro"),
        (Path("/sys/fs/cgroup"), "/sys/fs/cgroup"),
        *(binds or {}).items(),
    ]
    # What says where an environment finds the checkout.
    (pointer,) = Path(sys.prefix, "lib", version, "site-packages").glob("_editable*stockade.pth")
    with tempfile.NamedTemporaryFile("w", suffix=".pth") as moved:
        moved.write(f"{INSIDE}\n")
        moved.flush()
        Path(moved.name).chmod(0o644)
        target = f"/opt/stockade/lib/{version}/site-packages/{pointer.name}:ro"
        yield from _run([*mounts, (Path(moved.name), target)], tag)


def _run(mounts: Sequence[tuple[Path, str]], tag: str) -> Iterator[Machine]:
    name = f"stockade-test-{secrets.token_hex(4)}"
    _docker("import", "-", tag, given=_archive())
    try:
        _docker(
            *("run", "--detach", "--name", name, "--network=none", "--env=container=docker"),
            # systemd and what it starts set up namespaces; the sandboxes want a whole /proc.
            *("--cap-add=SYS_ADMIN", "--cap-add=SYS_PTRACE", "--cap-add=NET_ADMIN"),
            "--cgroupns=host",
            *("--security-opt=seccomp=unconfined", "--security-opt=systempaths=unconfined"),
            "--security-opt=apparmor=unconfined",
            *("--tmpfs=/run:exec,mode=755", "--tmpfs=/tmp:exec,mode=1777"),
            *(f"--volume={source}:{target}" for source, target in mounts),
            # As on a machine, where what is mounted later is seen in all namespaces.
            *(tag, "sh", "-c", f"mount --make-rshared / && exec {SYSTEMD}"),
        )
        machine = Machine(name)
        _await_boot(machine)
        machine.ok("ldconfig")
        yield machine
    finally:
        _docker("rm", "--force", "--volumes", name, check=False)
        _docker("rmi", "--force", tag, check=False)


def _docker(*arguments: str, given: bytes | None = None, check: bool = True) -> None:
    done = subprocess.run(["docker", *arguments], input=given, capture_output=True, check=False)
    assert not check or done.returncode == 0, done.stderr


def _await_boot(machine: Machine) -> None:
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        state = machine.run("systemctl", "is-system-running").out.strip()
        if state in ("running", "degraded"):
            return
        time.sleep(0.2)
    raise AssertionError(f"it does not boot: {state}")

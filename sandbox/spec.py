"""What a run is asked to be: argv, environment, mounts, secrets, limits. Validated, immutable.

Trusted to refuse, before anything starts, whatever would be read differently by us and by the
kernel (NUL bytes, unnormalised paths) or could not be started. Raises `SpecRefusedError` only.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from sandbox.errors import SpecRefusedError
from sandbox.limits import Limits
from sandbox.paths import check_absolute, check_source, check_target, encode, within

__all__ = ["Contents", "Limits", "Mount", "RunSpec", "SecretBytes"]

SecretBytes = bytes | bytearray | memoryview

MAX_STRING = 128 * 1024 - 1  # MAX_ARG_STRLEN of execve(2), less the NUL
MAX_TOTAL = 1024 * 1024  # well below a quarter of the usual 8 MiB stack
MAX_ARGV, MAX_ENV, MAX_MOUNTS = 4096, 1024, 160  # bubblewrap refuses more than 9000 arguments
MAX_SECRET_FILE = 1024 * 1024

_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}\Z")
_IMAGE = re.compile(r"(?:[a-z0-9][a-z0-9._/:-]{0,200}@)?sha256:[0-9a-f]{64}\Z")
_HOSTNAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\Z")


@dataclass(frozen=True, slots=True)
class Contents:
    """Files by what is in them: path below the mount, bytes, whether it is a program.

    Two are equal if their digests are: whoever makes one has seen that it is theirs.
    """

    digest: str
    files: Mapping[str, tuple[bytes, bool]] = field(repr=False, compare=False)

    def __post_init__(self) -> None:
        for path in self.files:
            check_absolute(f"/{path}", "a file of a mount")


@dataclass(frozen=True, slots=True)
class Mount:
    """A place of the host, shown inside the sandbox. The source must be its own real path.

    `contents`, if given, is what was found in the source when it was looked into: a tier that can
    places these very bytes at the target, read-only, and does not go back to the source.
    """

    source: str
    target: str
    writable: bool = False
    contents: Contents | None = None

    def __post_init__(self) -> None:
        check_source(self.source, "a mount source")
        check_target(self.target, "a mount target")
        if self.contents is not None and self.writable:
            raise _refuse("MOUNT_REFUSED", "what is given by value is not written", "bind it")


@dataclass(frozen=True, slots=True, eq=False)
class RunSpec:
    """One run. `env` and `secret_env` together are the whole environment, nothing is added.

    `secret_env` values never appear in an argv, in the environment of anything but the tool, or
    on disk; `secret_files` maps paths inside the sandbox to contents, readable by the tool only.
    `image`, if any, is the root file system, named by a digest: only containers have one. `python`
    says that argv is Python, which a tier that has an interpreter waiting may run in it. `asker` is
    whose run it is: where there is a queue, askers are served in turn.
    """

    argv: tuple[str, ...]
    env: Mapping[str, str]
    stdin: bytes = field(repr=False)
    cwd: str
    hostname: str
    mounts: tuple[Mount, ...]
    secret_env: Mapping[str, SecretBytes] = field(repr=False)
    secret_files: Mapping[str, SecretBytes] = field(repr=False)
    limits: Limits
    run_id: str
    image: str = ""
    python: bool = False
    asker: str = ""

    def __post_init__(self) -> None:
        for name in ("env", "secret_env", "secret_files"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))
        object.__setattr__(self, "argv", tuple(self.argv))
        object.__setattr__(self, "mounts", tuple(self.mounts))
        _check_names(self)
        _check_strings(self)
        _check_places(self)


def _refuse(code: str, message: str, fix: str) -> SpecRefusedError:
    return SpecRefusedError(code, message, fix)


def _check_names(spec: RunSpec) -> None:
    if _RUN_ID.match(spec.run_id) is None:
        raise _refuse("RUN_ID_REFUSED", "the run id is not 1 to 64 plain characters", "use a UUID")
    if spec.image and _IMAGE.match(spec.image) is None:
        raise _refuse("IMAGE_NOT_BY_DIGEST", "the image is not named by a digest", "NAME@sha256:..")
    if _HOSTNAME.match(spec.hostname) is None:
        raise _refuse("HOSTNAME_REFUSED", "the host name is not one DNS label", "use a-z, 0-9, -")
    check_absolute(spec.cwd, "the working directory")


def _check_strings(spec: RunSpec) -> None:
    """Argv and environment: encodable, no NUL, within what execve(2) takes."""
    _check_program(spec)
    if len(spec.argv) > MAX_ARGV or len(spec.env) + len(spec.secret_env) > MAX_ENV:
        raise _refuse("TOO_MANY_STRINGS", "too many arguments or variables", "pass fewer")
    sizes = [len(encode(arg, "an argument")) for arg in spec.argv]
    if set(spec.env) & set(spec.secret_env):
        raise _refuse("ENV_TWICE", "a variable is both plain and secret", "name it once")
    for name, value in spec.env.items():
        sizes.append(_env_size(name, len(encode(value, f"the variable {name!r}"))))
    for name, secret in spec.secret_env.items():
        if re.search(rb"\0", secret):  # looks at it where it is, and copies nothing
            raise _refuse("NUL_BYTE", "a secret variable contains a NUL byte", "use a file")
        sizes.append(_env_size(name, memoryview(secret).nbytes))
    if spec.env.get("PWD", spec.cwd) != spec.cwd or "PWD" in spec.secret_env:
        # bubblewrap sets PWD itself; any other value would be silently replaced.
        raise _refuse("PWD_REFUSED", "PWD must be the working directory", "leave it out")
    if max(sizes) > MAX_STRING:
        raise _refuse("STRING_TOO_LONG", "one argument or variable is too long", "use stdin")
    if sum(sizes) + 9 * len(sizes) > MAX_TOTAL:
        raise _refuse("ENV_TOO_LARGE", "arguments and environment are too large", "use stdin")


def _check_program(spec: RunSpec) -> None:
    if not spec.argv or not spec.argv[0]:
        raise _refuse("ARGV_EMPTY", "there is no program to run", "name one in argv[0]")
    if "=" in spec.argv[0] and "PWD" not in spec.env:
        # env(1), which removes bubblewrap's PWD, would read it as an assignment.
        raise _refuse("ARGV_REFUSED", "the program's name contains =", "add PWD=cwd to env")


def _env_size(name: str, length: int) -> int:
    raw = encode(name, "a variable name")
    if not name or "=" in name:
        raise _refuse("ENV_NAME", "a variable name is empty or contains =", "rename it")
    return len(raw) + 1 + length


def _check_places(spec: RunSpec) -> None:
    """Mounts and secret files: at distinct places, no secret where it would reach the disk."""
    targets = [mount.target for mount in spec.mounts]
    if len(targets) + len(spec.secret_files) > MAX_MOUNTS:
        raise _refuse("TOO_MANY_MOUNTS", f"more than {MAX_MOUNTS} mounts and files", "use fewer")
    if len(set(targets)) != len(targets):
        raise _refuse("MOUNT_TWICE", "two mounts have one target", "mount it once")
    for path, content in spec.secret_files.items():
        check_target(path, "a secret file")
        # Also within the file size limit: that holds already while the file is being written.
        if memoryview(content).nbytes > min(MAX_SECRET_FILE, spec.limits.file_size_bytes):
            raise _refuse("SECRET_TOO_LARGE", "a secret file is too large", "split it")
        if any(within(path, target) or within(target, path) for target in targets):
            # Below a mount the file would be written through to the host's disk.
            raise _refuse("SECRET_IN_MOUNT", "a secret file lies in a mount", "move it")
        if any(within(path, other) for other in spec.secret_files if other != path):
            raise _refuse("SECRET_IN_SECRET", "a secret file lies below another", "move it")

"""What is refused before anything starts."""

import math
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox import Limits, Mount, ProcessSettings, RunSpec, SpecRefusedError
from sandbox.hostview import check_startable
from sandbox.paths import check_absolute, check_target, within
from tests.sandbox.conftest import LIMITS, limits, make_spec

_LIMIT_NAMES = [field.name for field in fields(Limits)]


def code_of(action: Callable[[], object]) -> str:
    with pytest.raises(SpecRefusedError) as caught:
        action()
    assert caught.value.fix
    return caught.value.code


@pytest.mark.parametrize("name", _LIMIT_NAMES)
@pytest.mark.parametrize("value", [0, -1, 2**63, 1e30, math.nan, math.inf, -math.inf])
def test_absurd_limits(name: str, value: float) -> None:
    """A limit that is zero, negative, infinite, not a number or absurd is refused."""
    assert code_of(lambda: limits(**{name: value})).startswith("LIMIT_")


@pytest.mark.parametrize("name", _LIMIT_NAMES)
@pytest.mark.parametrize("value", [True, "10", None])
def test_limits_that_are_no_numbers(name: str, value: object) -> None:
    """A limit of another type is refused: True processes is a mistake, not one process."""
    assert code_of(lambda: limits(**{name: value})) == "LIMIT_NOT_A_NUMBER"


def test_whole_numbers() -> None:
    """Half a process is refused."""
    assert code_of(lambda: limits(pids=1.5)) == "LIMIT_NOT_A_NUMBER"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"env": {"A": "b\0c"}}, "NUL_BYTE"),
        ({"env": {"A\0": "b"}}, "NUL_BYTE"),
        ({"env": {"A=B": "c"}}, "ENV_NAME"),
        ({"env": {"": "c"}}, "ENV_NAME"),
        ({"env": {"A": "\ud800"}}, "NOT_ENCODABLE"),
        ({"env": {"PWD": "/"}}, "PWD_REFUSED"),
        ({"env": {}, "secret_env": {"PWD": b"/tmp"}}, "PWD_REFUSED"),
        ({"secret_env": {"A": b"b\0c"}}, "NUL_BYTE"),
        ({"env": {"A": "b"}, "secret_env": {"A": b"c"}}, "ENV_TWICE"),
        ({"env": {"A": "x" * 131072}}, "STRING_TOO_LONG"),
        ({"env": {f"A{n}": "x" * 100_000 for n in range(11)}}, "ENV_TOO_LARGE"),
        ({"secret_env": {f"A{n}": b"x" * 100_000 for n in range(11)}}, "ENV_TOO_LARGE"),
        (
            {"env": {f"A{n}": "x" * 1000 for n in range(1000)} | {"B": "x" * 120_000}},
            "ENV_TOO_LARGE",
        ),
        ({"env": {"A": "x" * 2 * 2**20}}, "STRING_TOO_LONG"),
        ({"env": {f"A{n}": "" for n in range(1025)}}, "TOO_MANY_STRINGS"),
        ({"run_id": "../../x"}, "RUN_ID_REFUSED"),
        ({"run_id": ""}, "RUN_ID_REFUSED"),
        ({"run_id": "a\n"}, "RUN_ID_REFUSED"),
        ({"hostname": "a.b"}, "HOSTNAME_REFUSED"),
        ({"hostname": "a\nb"}, "HOSTNAME_REFUSED"),
        ({"cwd": "tmp"}, "PATH_NOT_NORMAL"),
        ({"cwd": "/tmp/../etc"}, "PATH_NOT_NORMAL"),
        ({"mounts": (Mount("/a", "/w"), Mount("/b", "/w"))}, "MOUNT_TWICE"),
        ({"mounts": (Mount("/a", "/w", True),), "secret_files": {"/w/s": b""}}, "SECRET_IN_MOUNT"),
        ({"mounts": (Mount("/a", "/s/w"),), "secret_files": {"/s": b""}}, "SECRET_IN_MOUNT"),
        ({"secret_files": {"/s": b"", "/s/t": b""}}, "SECRET_IN_SECRET"),
        ({"secret_files": {"/etc/passwd": b""}}, "TARGET_RESERVED"),
        ({"secret_files": {"/usr/x": b""}}, "TARGET_RESERVED"),
        ({"secret_files": {"/s": b"x" * (2**20 + 1)}}, "SECRET_TOO_LARGE"),
        (
            {"secret_files": {"/s": bytes(4097)}, "limits": limits(file_size_bytes=4096)},
            "SECRET_TOO_LARGE",
        ),
    ],
)
def test_refused_specs(changes: dict[str, Any], code: str) -> None:
    """What the kernel would read differently, or could not start, is refused with its code."""
    assert code_of(lambda: make_spec("/bin/true", **changes)) == code


@pytest.mark.parametrize(
    ("argv", "code"),
    [
        ((), "ARGV_EMPTY"),
        (("",), "ARGV_EMPTY"),
        (("/bin/true", "a\0b"), "NUL_BYTE"),
        (("/bin/true", "x" * 131072), "STRING_TOO_LONG"),
        (("/bin/true", *["x"] * 4096), "TOO_MANY_STRINGS"),
    ],
)
def test_refused_argv(argv: tuple[str, ...], code: str) -> None:
    """An argv that would be cut at a NUL, or is too long, is refused."""
    assert code_of(lambda: make_spec(*argv)) == code


def test_assignment_as_program() -> None:
    """A program named like an assignment is refused where env(1) would read it as one."""
    assert code_of(lambda: make_spec("A=b", env={})) == "ARGV_REFUSED"


@pytest.mark.parametrize(
    "target",
    ["/", "/etc", "/tmp", "/proc", "/proc/1", "/dev/shm", "/usr", "/usr/bin", "/bin", "/lib64/x",
     "/sys", "/etc/passwd", "/etc/alternatives"],
)  # fmt: skip
def test_reserved_targets(target: str) -> None:
    """A mount never covers what the sandbox is made of."""
    assert code_of(lambda: Mount("/srv", target)) == "TARGET_RESERVED"


@pytest.mark.parametrize(
    ("source", "code"),
    [
        ("/", "MOUNT_REFUSED"),
        ("//", "PATH_NOT_NORMAL"),
        ("/proc/1/root", "MOUNT_REFUSED"),
        ("/sys", "MOUNT_REFUSED"),
        ("/dev/mem", "MOUNT_REFUSED"),
        ("/var/run/./docker.sock", "PATH_NOT_NORMAL"),
        ("/var//run", "PATH_NOT_NORMAL"),
        ("/srv/../", "PATH_NOT_NORMAL"),
        ("srv", "PATH_NOT_NORMAL"),
        ("/srv\0/x", "NUL_BYTE"),
    ],
)
def test_sources_that_are_refused(source: str, code: str) -> None:
    """The host's root, the kernel's files and every other spelling are no source of a mount."""
    assert code_of(lambda: Mount(source, "/w")) == code


@pytest.mark.parametrize("path", ["", "x", "//x", "/x/", "/x/./y", "/x/../y", "/x//y", "/x\0y"])
def test_two_spellings(path: str) -> None:
    """A path has one spelling; any other is refused, before string rules are applied to it."""
    assert code_of(lambda: Mount(path, "/w")) in ("PATH_NOT_NORMAL", "NUL_BYTE")
    assert code_of(lambda: Mount("/w", path)) in ("PATH_NOT_NORMAL", "NUL_BYTE")


@given(st.text())
def test_paths_are_closed(path: str) -> None:
    """Whatever the text, a path is accepted or refused with a code; nothing else escapes."""
    for check in (check_absolute, check_target):
        try:
            check(path, "it")
        except SpecRefusedError:
            continue
        assert path.startswith("/")
        assert "\0" not in path
        assert path == "/" or not {"", ".", ".."} & set(path[1:].split("/"))


@given(st.text(), st.text())
def test_specs_are_closed(argument: str, value: str) -> None:
    """Whatever the strings, a spec is made or refused with a code; nothing else escapes."""
    try:
        spec = make_spec("/bin/echo", argument, env={"A": value})
    except SpecRefusedError:
        return
    assert spec.argv[1] == argument


@given(st.sampled_from(["/a", "/a/b", "/ab", "/"]), st.sampled_from(["/a", "/a/b", "/ab", "/"]))
def test_within_is_by_component(path: str, tree: str) -> None:
    """/ab is not within /a."""
    assert within(path, tree) == (Path(tree) in (Path(path), *Path(path).parents))


@pytest.mark.parametrize(
    ("argv", "changes", "code"),
    [
        (("/usr/bin/no-such-program",), {}, "EXECUTABLE_MISSING"),
        (("no-such-program",), {}, "EXECUTABLE_MISSING"),
        (("true",), {"env": {"PATH": "/nowhere"}}, "EXECUTABLE_MISSING"),
        (("true",), {"env": {"PATH": "."}, "cwd": "/usr/bin"}, "EXECUTABLE_MISSING"),
        (("/usr/share",), {}, "EXECUTABLE_MISSING"),
        (("/etc/passwd",), {}, "EXECUTABLE_MISSING"),
        (("/root/.profile",), {}, "EXECUTABLE_MISSING"),
        (("/proc/self/exe",), {}, "EXECUTABLE_MISSING"),
        (("/bin/true",), {"cwd": "/home"}, "CWD_MISSING"),
        (("/bin/true",), {"cwd": "/tmp/made-later"}, "CWD_MISSING"),
        (("/bin/true",), {"cwd": "/usr/bin/true"}, "CWD_MISSING"),
    ],
)
def test_not_startable(argv: tuple[str, ...], changes: dict[str, Any], code: str) -> None:
    """A program or directory the sandbox will not have is refused before anything starts."""
    assert code_of(lambda: check_startable(make_spec(*argv, **changes))) == code


def test_startable(place: Path) -> None:
    """Programs are found through PATH, links of the root, and mounts."""
    (place / "tool").write_text("#!/bin/sh\n")
    (place / "tool").chmod(0o755)
    (place / "link").symlink_to("/w/tool")
    (place / "loop").symlink_to("/w/loop")
    mounts = (Mount(str(place), "/w"),)
    for argv in (("true",), ("/bin/sh",), ("/w/tool",), ("/w/link",)):
        check_startable(make_spec(*argv, mounts=mounts))
    check_startable(make_spec("./tool", mounts=mounts, cwd="/w", env={}))
    loop = make_spec("/w/loop", mounts=mounts)
    assert code_of(lambda: check_startable(loop)) == "EXECUTABLE_MISSING"


def test_mount_point_planted(place: Path) -> None:
    """A mount inside a mount needs its place to exist: nothing is planted on the host."""
    inner = Mount("/srv", "/w/.git")
    spec = make_spec("/bin/true", mounts=(Mount(str(place), "/w", True), inner))
    assert code_of(lambda: check_startable(spec)) == "MOUNT_POINT_MISSING"
    (place / ".git").mkdir()
    check_startable(spec)


def test_secrets_stay_out_of_repr() -> None:
    """The repr of a spec, which ends up in logs, shows no secret and no standard input."""
    spec = make_spec(
        "/bin/true", secret_env={"T": b"hunter2"}, secret_files={"/s": b"hunter2"}, stdin=b"hunter2"
    )
    assert "hunter2" not in repr(spec)


def test_spec_is_frozen() -> None:
    """What was judged cannot be changed afterwards through the caller's own dictionary."""
    env = {"A": "b"}
    spec = make_spec("/bin/true", env=env)
    env["LD_PRELOAD"] = "/evil.so"
    assert dict(spec.env) == {"A": "b"}
    assert isinstance(spec, RunSpec)
    with pytest.raises(TypeError):
        spec.env["A"] = "c"  # type: ignore[index]


@pytest.mark.parametrize("instance", ["", "abc", "ABCD", "a-bcd", "abcd\n", "x" * 33])
def test_instance_names(instance: str) -> None:
    """An instance name that could be a prefix of, or a path to, another's is refused."""
    assert code_of(lambda: ProcessSettings(instance)) == "INSTANCE_NAME"


@pytest.mark.parametrize("name", ["root_becomes", "inside_uid"])
def test_root_is_not_a_user_of_runs(name: str) -> None:
    """A run never has uid 0, on the host or inside."""
    assert (
        code_of(lambda: replace(ProcessSettings("abcd"), **cast("Any", {name: 0}))) == "UID_REFUSED"
    )


def test_limits_are_kept() -> None:
    """Reasonable limits are accepted as they are."""
    assert limits(pids=1) == Limits(**{n: getattr(LIMITS, n) for n in _LIMIT_NAMES} | {"pids": 1})

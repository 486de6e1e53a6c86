"""Python that is run by the interpreter that waits."""

from pathlib import Path

import pytest

from sandbox import End, Mount, RunSpec
from sandbox.frame import PYTHON
from tests.sandbox.conftest import Collected, ContainerRunner, make_spec

pytestmark = pytest.mark.anyio


def in_place(code: str, *arguments: str, **changes: object) -> RunSpec:
    return make_spec(*PYTHON, "-c", code, *arguments, python=True, **changes)


async def ran(box: ContainerRunner, spec: RunSpec) -> tuple[bytes, str]:
    sink = Collected()
    outcome = await box.sandbox.run(spec, sink)
    assert outcome.exit_code == 0, (outcome, sink.err)
    return sink.out, outcome.controls["sandbox"].achieved


async def test_python_in_place_is_python(box: ContainerRunner) -> None:
    """Run in the interpreter that waits, or started: the same program sees the same."""
    code = (
        "import sys, os; print(sys.argv, __name__, sys.flags.isolated, sys.flags.no_site,"
        " sorted(os.environ), os.getcwd(), sys.stdin.read(), os.getenv('S'))"
    )
    changes = {"stdin": b"in", "secret_env": {"S": b"s"}, "env": {"A": "b", "LANG": "C.UTF-8"}}
    started = make_spec(*PYTHON, "-c", code, "x", **changes)
    waited = in_place(code, "x", **changes)
    assert (await ran(box, started))[0] == (await ran(box, waited))[0]


async def test_python_in_place_has_the_modules_of_any_python(box: ContainerRunner) -> None:
    """What the launcher imported for itself is not there, and can be imported and used as ever."""
    code = (
        "import sys; print([one for one in ('ctypes', '_ctypes', 'struct') if one in sys.modules]);"
        " import ctypes, struct; print(ctypes.CDLL(None).getppid() >= 0, struct.calcsize('i'))"
    )
    started = await ran(box, make_spec(*PYTHON, "-c", code))
    waited = await ran(box, in_place(code))
    assert waited[0] == started[0] == b"[]\nTrue 4\n"


async def test_a_waiting_interpreter_has_its_memory_to_itself(box: ContainerRunner) -> None:
    """It was forked, and shares no page any more that it would have to copy in its tool's time."""
    code = (
        "import gc, resource; before = resource.getrusage(0).ru_minflt; gc.unfreeze();"
        " gc.collect(); print(resource.getrusage(0).ru_minflt - before)"
    )
    if box.gvisor:
        pytest.skip("gVisor does not count faults")
    faults, how = await ran(box, in_place(code))
    assert how == "started for this run"
    assert int(faults) < 100


@pytest.mark.parametrize(
    ("code", "status", "said"),
    [
        ("raise SystemExit(7)", 7, b""),
        ("import os; os._exit(9)", 9, b""),
        ("1/0", 1, b"ZeroDivisionError"),
        ("def", 1, b"SyntaxError"),
        ("import atexit; atexit.register(print, 'late')", 0, b""),
    ],
)
async def test_python_in_place_ends_as_python_does(
    box: ContainerRunner, code: str, status: int, said: bytes
) -> None:
    """Exit codes, tracebacks without our frames, and what runs at exit."""
    outcome, sink = await box(in_place(code))
    assert (outcome.end, outcome.exit_code) == (End.EXITED, status)
    assert said in sink.err
    assert b"launcher" not in sink.err
    assert b"run_python" not in sink.err
    if "atexit" in code:
        assert sink.out == b"late\n"


async def test_python_in_place_from_a_file(box: ContainerRunner, place: Path) -> None:
    """A file of the tool's folder is run as `python3 FILE` would run it."""
    (place / "main.py").write_text("import sys; print(__file__, sys.argv)")
    mounts = (Mount(str(place), "/tool"),)
    spec = make_spec(*PYTHON, "/tool/main.py", "a", python=True, mounts=mounts)
    assert (await ran(box, spec))[0] == b"/tool/main.py ['/tool/main.py', 'a']\n"

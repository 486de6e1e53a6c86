"""Python that is run by the interpreter that waits."""

import re
import subprocess
from pathlib import Path

import pytest

from sandbox import End, Mount, RunSpec
from sandbox import in_place as in_place_module
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


async def test_a_collection_does_not_touch_what_was_there_before(box: ContainerRunner) -> None:
    """The interpreter was forked, and its pages would be copied one by one in the tool's time."""
    code = (
        "import gc, resource; before = resource.getrusage(0).ru_minflt;"
        " gc.collect(); print(resource.getrusage(0).ru_minflt - before)"
    )
    if box.gvisor:
        pytest.skip("gVisor does not count faults")
    faults, how = await ran(box, in_place(code))
    assert how == "started for this run"
    assert int(faults) < 100


_LATE = "import os, sys; late = os.fdopen(os.dup(1), 'w'); late.write('late');"
_DYING = "class Dying:\n    def __del__(self): print('died', json.dumps([1]))\nimport json\n"
ENDINGS = {
    "status": "import sys; sys.exit(7)",
    "status of no byte": "import sys; sys.exit(-1)",
    "message": "import sys; sys.exit('said')",
    "true": "raise SystemExit(True)",
    "error": "1/0",
    "file": _LATE,
    "file of a function": _LATE + "keep = lambda: late; keep.itself = keep",
    "file of a signal": _LATE + "import signal; signal.signal(signal.SIGUSR1, lambda *_: late)",
    "file of an error": _LATE + "error = ValueError(late); raise KeyError(1) from error",
    "file of a frame": "def f():\n    " + _LATE + "\n    1/0\nf()",
    "file and status": _LATE + "sys.exit(3)",
    "finalizer": _DYING + "one = Dying()",
    "finalizer in a circle": _DYING + "one = Dying(); one.itself = one",
    "generator": "def f():\n    try: yield\n    finally: print('closed')\none = f(); next(one)",
    "exit handler": "import atexit; atexit.register(print, 'late')",
    "thread": "import threading, time; print(1)\n"
    "threading.Thread(target=lambda: (time.sleep(0.1), print('late'))).start()",
    "C library": "import ctypes; ctypes.CDLL(None).puts(b'late')",
    "output closed": "import os; print('lost'); os.close(1)",
    "output replaced": "import io, sys; print('kept', flush=True); sys.stdout = io.StringIO()",
    "output none": "import sys; print('kept', flush=True); sys.stdout = None",
    "output replaced, unwritten": "import io, sys; print('kept'); sys.stdout = io.StringIO()",
    "file of a handler": _LATE + "import signal\n"
    "signal.signal(signal.SIGUSR1, lambda *_, late=late: late)",
    "file of a hook": _LATE + "sys.excepthook = lambda *_, late=late: late",
    "file of a module": _LATE + "os.kept = late",
    "modules": "import sys; sys.modules['x'] = None; sys.modules['y'] = 1; print('kept')",
    "without main": "import sys; del sys.modules['__main__']; print('kept')",
}


@pytest.mark.parametrize("code", ENDINGS.values(), ids=ENDINGS)
def test_the_end_of_python_in_place_is_pythons(code: str) -> None:
    """Whether it leaves at once or takes itself apart: the same output, errors and status."""
    sent = Path(in_place_module.__file__).read_text("utf-8")
    words = [*(word.encode() for word in PYTHON), b"-c", code.encode()]
    waited = subprocess.run([*PYTHON, "-c", f"{sent}\nrun_python({words})"], capture_output=True)
    started = subprocess.run([*PYTHON, "-c", code], capture_output=True)
    assert (waited.returncode, waited.stdout) == (started.returncode, started.stdout)
    assert without_addresses(waited.stderr) == without_addresses(started.stderr)


def without_addresses(text: bytes) -> bytes:
    return re.sub(rb"0x[0-9a-f]+", b"0x", text)


def test_python_in_place_leaves_at_once() -> None:
    """Where nothing waits for its end, Python is not taken apart: no object of ours dies."""
    sent = Path(in_place_module.__file__).read_text("utf-8")
    ours = "class Ours:\n    def __del__(self): print('ours')\nours = Ours()\n"
    for code, taken_apart in (("import json", False), ("import threading", True)):
        words = [*(word.encode() for word in PYTHON), b"-c", code.encode()]
        text = f"{sent}\n{ours}\nKNOWN = set(sys.modules)\nrun_python({words})"
        done = subprocess.run([*PYTHON, "-c", text], capture_output=True, check=True)
        assert (done.stdout == b"ours\n") == taken_apart


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

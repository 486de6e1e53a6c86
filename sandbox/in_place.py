"""Python that the launcher runs itself, from its first line to its end.

Standalone, and sent before the launcher as one text with it: it imports nothing of ours. Trusted to
be to a program what `python3 FLAGS ...` would be. What a program cannot notice is left out: it does
not find the launcher in its traceback or among its modules, and at its end Python does not take
itself apart where nothing waits for that.
"""

import gc
import os
import sys

# Words of `python3 -I -S -X utf8`: how the launcher runs, and Python in place would be run.
FLAGS = 5
# What has something to do at the end that only Python's own end does.
LATE = {"threading", "atexit"}
# Of Python's own C libraries, those that leave nothing to the end of the process.
PLAIN = {"_bz2", "_decimal", "_hashlib", "_json", "_lzma", "_queue", "_typing", "_uuid"}


def run_python(argv: list[bytes]) -> None:
    """`python3 FLAGS -c CODE ...` or `python3 FLAGS FILE ...`, in this interpreter, to its end."""
    before, streams = finals(), (sys.stdout, sys.stderr)
    status, names = carried_out([os.fsdecode(word) for word in argv[FLAGS:]])
    # Not while an exception is handled: that would hold on to the tool's own objects.
    if isinstance(status, int) and (sys.stdout, sys.stderr) == streams:
        leave(status, names, before)
    sys.exit(status)


def carried_out(rest: list[str]) -> tuple[str | int, int]:
    """Its status, as `sys.exit` takes one, and which dictionary had its names."""
    main = type(sys)("__main__")
    main.__dict__["__builtins__"] = sys.modules["builtins"]
    status: str | int = 0
    try:
        if rest[0] == "-c":
            name, source, sys.argv = "<string>", rest[1].encode(), ["-c", *rest[2:]]
        else:
            name, sys.argv = rest[0], rest
            main.__file__ = name
            with open(name, "rb") as file:  # noqa: PTH123 - pathlib is no module of any Python
                source = file.read()
        sys.modules["__main__"] = main
        code = compile(source, name, "exec", dont_inherit=True)
        know_lines(code, rest[1] if rest[0] == "-c" else None)
        exec(code, main.__dict__)  # noqa: S102 - a tool
    except SystemExit as end:
        status = 0 if end.code is None else end.code
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - the tool's, shown as Python does
        show(error)
        status = 1
    return status, id(main.__dict__)


def know_lines(code: object, command: str | None) -> None:
    """From 3.13 on a traceback has the lines of `-c`, too: the tool's, not the launcher's."""
    lines = vars(sys.modules.get("linecache", sys))
    if "_register_code" in lines:
        lines["_interactive_cache"].clear()
        if command is not None:
            lines["_register_code"](code, command, "<string>")


def show(error: BaseException) -> None:
    """A traceback, without our part of it."""
    shown = error.with_traceback(error.__traceback__ and error.__traceback__.tb_next)
    sys.excepthook(type(shown), shown, shown.__traceback__)


def finals() -> list[object]:
    """What has an end of its own: open files, generators that wait, whatever has `__del__`."""
    return [one for one in gc.get_objects() if hasattr(type(one), "__del__")]


def leave(status: int, names: int, before: list[object]) -> None:
    """The end of Python that has run, at once where nobody can tell: objects go, files are flushed.

    Python would take itself apart before, which takes as long as a short tool. It does (this comes
    back) where something waits for that: threads, what is to be done at exit, a C library.
    """
    new = [name for name in sys.modules if name not in KNOWN]
    if LATE & sys.modules.keys() or not all(is_plain(sys.modules[name]) for name in new):
        return
    # The same steps as Python's, in its order: what goes first decides what finalizers find.
    gc.collect()
    modules = [id(sys.modules.pop(name).__dict__) for name in new]
    sys.modules.pop("__main__", None)
    gc.collect()
    left = {id(one): one for one in gc.get_objects() if type(one) is dict and "__name__" in one}
    for one in (names, *reversed(modules)):
        empty(left.get(one, {}))
    left.clear()
    gc.collect()
    known = {id(one) for one in before}
    if any(id(one) not in known for one in finals()):
        return  # a handler, a hook or a module of before holds it: only Python's end comes to it
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except Exception:  # noqa: BLE001 - Python finds the same, and says so
        return
    os._exit(status & 0xFF)


def is_plain(module: object) -> bool:
    """Whether it leaves nothing to the end of the process: it is not C, or is known not to."""
    if type(module) is not type(sys):
        return False  # a tool may put anything there
    spec = getattr(module, "__spec__", None)
    compiled = str(getattr(spec, "origin", "")).endswith(".so")
    return not compiled or getattr(spec, "name", "") in PLAIN


def empty(names: dict[str, object]) -> None:
    """A module's names, in Python's order: first those of its own."""
    for own in (True, False):
        for name in list(names):
            if name != "__builtins__" and own == (name[:1] == "_" and name[1:2] != "_"):
                names[name] = None


KNOWN = set(sys.modules)  # with the launcher's own, once it has them

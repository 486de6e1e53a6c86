"""Where one attack is staged: a directory and a token of its own, and both kinds of run.

Trusted to remove what an attack left in its directory. Raises OSError where it cannot be written.
"""

import json
import os
import secrets
import shutil
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from sandbox.attacks.attack import Effect, How, Inside, Outside, Pair, Seen
from sandbox.attacks.outside import run_outside
from sandbox.errors import SandboxError
from sandbox.interpreter import interpreter
from sandbox.settings import ProcessSettings
from sandbox.spec import Limits, Mount, RunSpec
from sandbox.tier import Sandbox, Stream

_PROGRAMS = Path(__file__).with_name("programs")
_BEGAN = "began\n"
# After the attack's own text: find the function, say that it began, say what came of it.
_TAIL = b"""
def _main():
    import json
    import sys
    print("began", flush=True)
    try:
        said = globals()[sys.argv[1]](**json.loads(sys.argv[2]))
    except OSError as error:
        said = f"refused: {error.strerror or error}"
    print(said, flush=True)
_main()
"""
_MIB = 2**20
_LIMITS = Limits(
    wall_seconds=20,
    cpu_seconds=10,
    memory_bytes=256 * _MIB,
    pids=32,
    output_bytes=_MIB,
    file_size_bytes=64 * _MIB,
    open_files=64,
    tmp_bytes=16 * _MIB,
)
_MAX_HEARD = 256 * 1024


class Stage:
    """For one attack; see the module."""

    def __init__(self, sandbox: Sandbox, settings: ProcessSettings, place: Path) -> None:
        self._sandbox = sandbox
        self.settings = settings
        self.place = place
        self.token = secrets.token_hex(16)

    @property
    def tier(self) -> str:
        """The tier that is attacked."""
        return self._sandbox.name

    def file(self, name: str, text: str = "", mode: int = 0o644) -> Path:
        """A file outside that only the sandbox keeps others from: its mode lets everybody."""
        path = self.place / name
        path.parent.mkdir(exist_ok=True, parents=True)
        for folder in path.parents:
            if folder != self.place and folder.is_relative_to(self.place):
                folder.chmod(0o755)
        path.write_text(text)
        path.chmod(mode)
        return path

    def folder(self, name: str) -> Path:
        """A folder that everybody may write."""
        path = self.place / name
        path.mkdir(exist_ok=True, parents=True)
        path.chmod(0o777)
        return path

    async def pair(self, attack: Inside, control: Inside | Outside, effect: Effect) -> Pair:
        """The attack, what it did; its control, what that did."""
        seen = await self.run(attack)
        did = await effect(seen)
        beside = await self.run(control)
        return Pair(seen, did, beside, await effect(beside))

    async def run(
        self, trial: Inside | Outside, heard: Callable[[bytes], None] | None = None
    ) -> Seen:
        """Run one program; `heard` gets its output as it comes."""
        program, mounts = interpreter()
        group, _, function = trial.program.partition(".")
        text = (_PROGRAMS / f"{group}.py").read_bytes() + _TAIL
        argv = (program, "-I", "-S", "-", function, json.dumps(dict(trial.given)))
        ears = _Ears(heard)
        if isinstance(trial, Outside):
            overran = await run_outside(self.settings, trial, argv, text, ears.hear)
            return ears.seen(overran=overran)
        spec = RunSpec(
            argv=argv,
            env={"PATH": "/usr/bin:/bin", "PWD": "/tmp", "LC_ALL": "C.UTF-8"},  # noqa: S108
            stdin=text,
            cwd="/tmp",  # noqa: S108 - the sandbox's own
            hostname="attack",
            mounts=(*mounts, *trial.mounts),
            secret_env={},
            secret_files={},
            limits=replace(_LIMITS, **trial.limits),  # type: ignore[arg-type]
            run_id=f"attack-{secrets.token_hex(8)}",
        )

        async def sink(_stream: Stream, data: bytes) -> None:
            ears.hear(data)

        try:
            outcome = await self._sandbox.run(spec, sink)
        except SandboxError as error:
            return Seen(False, f"{error.code}: {error.message}")
        overran = outcome.usage.wall_ms > (spec.limits.wall_seconds + 5) * 1000
        return replace(ears.seen(overran=overran), outcome=outcome)

    # What shows an effect.

    async def says_token(self, seen: Seen) -> str:
        """The program had what was only to be had from outside."""
        return "it had the token from outside" if self.token in seen.out else ""

    def contains_token(self, path: Path) -> Effect:
        """The file outside has what only the program would have written."""

        def look() -> str:
            return "the file outside was changed" if self.token in path.read_text() else ""

        async def effect(_seen: Seen) -> str:
            return look()

        return effect


def says(*words: str) -> Effect:
    """The program's last line begins with one of these."""

    async def effect(seen: Seen) -> str:
        return seen.said if seen.said.startswith(words) else ""

    return effect


def beside_the_host(
    program: str, *words: str, how: How = "user", **given: object
) -> Callable[[Stage], Awaitable[Pair]]:
    """An attack whose control is the same program outside, which then says one of these."""

    async def stage_it(stage: Stage) -> Pair:
        return await stage.pair(Inside(program, given), Outside(program, given, how), says(*words))

    return stage_it


@contextmanager
def fresh_place(parent: Path) -> Iterator[Path]:
    """A directory for one attack, gone afterwards whatever was put into it."""
    place = parent / f"attack-{secrets.token_hex(4)}"
    place.mkdir()
    place.chmod(0o755)
    try:
        yield place
    finally:
        for here, folders, _ in os.walk(place):
            for folder in (Path(here, name) for name in folders):
                if not folder.is_symlink():  # an attack's, and it leads outside
                    folder.chmod(0o700)
        shutil.rmtree(place, ignore_errors=True)


def mounted(path: Path, target: str = "", *, writable: bool = False) -> Mount:
    """The grant of a place, by default at its own path."""
    return Mount(str(path), target or str(path), writable)


class _Ears:
    """Keeps what a program says, up to a bound."""

    def __init__(self, heard: Callable[[bytes], None] | None) -> None:
        self._said = b""
        self._heard = heard

    def hear(self, data: bytes) -> None:
        self._said += data[: _MAX_HEARD - len(self._said)]
        if self._heard is not None:
            self._heard(data)

    def seen(self, *, overran: bool) -> Seen:
        out = self._said.decode("utf-8", "replace")
        began, _, rest = out.partition(_BEGAN)
        return Seen(_BEGAN in out, rest if _BEGAN in out else began, overran)

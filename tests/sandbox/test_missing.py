"""A program that is not there: refused by its reason in every tier, and nothing is left of it."""

from pathlib import Path

import pytest

from sandbox import Mount, SpecRefusedError
from tests.sandbox.conftest import Collected, ContainerRunner, Runner, make_spec, wait_until
from tests.sandbox.test_containers import kept

pytestmark = pytest.mark.anyio

MISSING = ("/usr/bin/no-such-program", "no-such-program", "/usr/share", "/etc/passwd", "/tmp/none")


@pytest.mark.parametrize("program", MISSING)
async def test_a_missing_executable_is_refused(run: Runner, program: str) -> None:
    """No such program, or none: EXECUTABLE_MISSING with what to do, and nothing was started."""
    sink = Collected()
    with pytest.raises(SpecRefusedError) as caught:
        await run.sandbox.run(make_spec(program), sink)
    assert (caught.value.code, sink.out, sink.err) == ("EXECUTABLE_MISSING", b"", b"")
    assert caught.value.fix
    assert run.groups() == []


@pytest.mark.parametrize("ahead", [False, True])
async def test_a_program_without_its_interpreter_is_refused(
    box: ContainerRunner, place: Path, ahead: bool
) -> None:
    """What only the container can find out is the same refusal, waiting or cold."""
    script = place / "script"
    script.write_text("#!/usr/bin/no-such-interpreter\n")
    script.chmod(0o755)
    spec = make_spec("/tool/script", mounts=(Mount(str(place), "/tool"),))
    async with kept(box):
        if ahead:
            assert await box.sandbox.warm(spec)
        with pytest.raises(SpecRefusedError) as caught:
            await box.sandbox.run(spec, Collected())
    assert caught.value.code == "EXECUTABLE_MISSING"
    wait_until(lambda: not box.groups(), 10)
    assert box.groups() == []

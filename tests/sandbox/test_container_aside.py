"""A container that is held for a run whose start is being recorded: for it alone, or ended."""

from pathlib import Path

import anyio
import pytest

from sandbox import SpecRefusedError
from sandbox.box import Box
from sandbox.spec import RunSpec
from tests.sandbox.conftest import Collected, ContainerRunner, make_spec, shell, wait_until
from tests.sandbox.test_containers import kept, with_tool
from tests.sandbox.test_in_place import ran

pytestmark = pytest.mark.anyio


async def held(box: ContainerRunner, spec: RunSpec) -> Box:
    """What is held, of a tier whose engine has been asked what it is."""
    await box.sandbox._ready()
    assert await box.sandbox.warm(spec)
    box.sandbox.set_aside(spec)
    return box.sandbox._aside[spec.run_id][1]


async def test_what_is_held_runs_what_it_is_held_for(box: ContainerRunner) -> None:
    """It was roused before; request and input come whole all the same, and to nobody else."""
    spec = shell("wc -c; echo mine", stdin=bytes(300_000))
    async with kept(box):
        aside = await held(box, spec)
        assert aside._sent == (4 if aside._input >= 0 else 0)
        out, _ = await ran(box, shell("echo other"))
        assert (out, aside.alive) == (b"other\n", True)
        assert await ran(box, spec) == (b"300000\nmine\n", "started ahead, used once")
        assert not box.sandbox._aside


@pytest.mark.parametrize("kept_until", ["the end", "before it is let go"])
async def test_what_is_held_and_not_run_is_ended(box: ContainerRunner, kept_until: str) -> None:
    """A call that was cancelled while its start was recorded leaves nothing."""
    spec = shell("true")
    async with kept(box):
        aside = await held(box, spec)
        if kept_until == "the end":
            await box.sandbox.let_go(spec.run_id)
    await box.sandbox.let_go(spec.run_id)
    assert not aside.alive
    assert box.groups() == []
    await ran(box, spec)  # its id is free again


async def test_what_died_while_it_was_held_is_not_used(box: ContainerRunner) -> None:
    """The run has another container, as if nothing had been held for it."""
    spec = shell("echo ok")
    async with kept(box):
        aside = await held(box, spec)
        aside.kill()
        wait_until(lambda: not aside.alive, 60)
        assert (await ran(box, spec))[0] == b"ok\n"


async def test_a_mount_that_is_replaced_while_it_is_held_is_not_the_old_one(
    box: ContainerRunner, place: Path
) -> None:
    """The run has a container with what the name means when it begins."""
    spec = with_tool(place, "old")
    async with kept(box):
        await held(box, spec)
        with_tool(place, "new")
        assert (await ran(box, spec))[0] == b"new"


async def test_a_run_that_cannot_begin_is_refused_when_it_is_to_be_held(
    box: ContainerRunner,
) -> None:
    """As when it is run; and no container is held for it."""
    spec = make_spec("/usr/bin/no-such-program")
    with pytest.raises(SpecRefusedError) as refused:
        box.sandbox.set_aside(spec)
    assert refused.value.code == "EXECUTABLE_MISSING"
    with pytest.raises(SpecRefusedError):
        await box.sandbox.run(spec, Collected())
    assert not box.sandbox._aside


async def test_what_is_held_is_for_no_other_run_of_its_id(box: ContainerRunner) -> None:
    """Another spec is refused, before and while it runs; what is held runs what it is held for."""
    spec = shell("wc -c", stdin=bytes(1000))
    other = shell("wc -c", stdin=bytes(2000), run_id=spec.run_id)
    refused = list[str]()

    async def again(one: RunSpec) -> None:
        try:
            await box.sandbox.run(one, Collected())
        except SpecRefusedError as error:
            refused.append(error.code)

    async with kept(box):
        await held(box, spec)
        await again(other)
        async with anyio.create_task_group() as group:
            group.start_soon(again, other)
            assert await ran(box, spec) == (b"1000\n", "started ahead, used once")
    assert refused == ["RUN_ID_IN_USE"] * 2

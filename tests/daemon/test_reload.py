"""Reading the configuration again: what changes, what waits, what is refused."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon import log
from daemon.config import Config, load_config
from daemon.reload import differing, reload

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def level() -> Iterator[None]:
    log.set_level("info")
    yield
    log.set_level("info")


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "config.toml"
    path.write_text(text)
    return path


async def test_the_level_and_the_time_of_draining_change_at_once(tmp_path: Path) -> None:
    """They are in force when the reload is over, and no restart is asked for."""
    path = written(tmp_path, '[log]\nlevel = "error"\n[server]\ndrain_seconds = 3\n')
    reloaded = await reload(path, Config(), Config())
    assert reloaded.config.server.drain_seconds == 3
    assert log._least == logging.ERROR
    assert "restart" not in reloaded.status


async def test_what_waits_for_a_restart_is_named(tmp_path: Path) -> None:
    """Until then it is said again, also when the next reload changes nothing."""
    path = written(tmp_path, "[calls]\nmax_running = 3\n[workspaces.w]\npath = '/srv'\n")
    first = await reload(path, Config(), Config())
    second = await reload(path, first.config, Config())
    for reloaded in (first, second):
        assert "calls.max_running, workspaces.w" in reloaded.status


@pytest.mark.parametrize("text", ["[log", '[log]\nlevel = "loud"\n', "[logs]\n", "[log]\nx = 1\n"])
async def test_a_file_that_is_not_valid_changes_nothing(tmp_path: Path, text: str) -> None:
    """Half written, a wrong value, an unknown key: what is in force stays, and is said why."""
    reloaded = await reload(written(tmp_path, text), (now := Config()), Config())
    assert reloaded.config is now
    assert log._least == logging.INFO
    assert "was refused: " in reloaded.status


async def test_a_file_that_is_gone_changes_nothing(tmp_path: Path) -> None:
    """A missing file is not the defaults."""
    now = load_config(written(tmp_path, "[calls]\nmax_running = 3\n"))
    reloaded = await reload(tmp_path / "gone.toml", now, now)
    assert reloaded.config is now
    assert "was refused" in reloaded.status


def test_a_difference_is_seen_wherever_it_is() -> None:
    """Also in sections whose keys are names."""
    one = Config.model_validate({"workspaces": {"a": {"path": "/a"}}})
    assert differing(one, Config()) == {"workspaces.a"}
    assert differing(one, one) == set()

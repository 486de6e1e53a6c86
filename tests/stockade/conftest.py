"""A served home, and the command line run against it in this process."""

import io
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from stockade.cli.app import run
from stockade.home import Home
from tests.stockade.at_desk import desk
from tests.stockade.serving import Daemon, World, home_under, pair_home

__all__ = ["desk"]  # a fixture


@dataclass
class Result:
    status: int
    out: str
    err: str


Stockade = Callable[..., Result]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return home_under(tmp_path)


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def daemon(world: World, home: Home) -> Iterator[Daemon]:
    serving = Daemon(world, home)
    pair_home(world, home)
    serving.start()
    yield serving
    serving.stop()


@pytest.fixture
def stockade(
    home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Stockade:
    """Runs one command; `stdin` is a pipe."""
    monkeypatch.setenv("STOCKADE_HOME", str(home.config))

    def stockade(*arguments: str, stdin: bytes = b"") -> Result:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        capsys.readouterr()
        status = run(arguments)
        captured = capsys.readouterr()
        return Result(status, captured.out, captured.err)

    return stockade

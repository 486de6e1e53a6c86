"""Attacks by another user of the machine, who listens where an engine is looked for."""

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sandbox import ContainerSandbox, ContainerSettings
from sandbox.engine_socket import distrusted

pytestmark = pytest.mark.anyio

NOBODY = 65534
Taken = Callable[[Path], None]


@pytest.fixture
def listening(place: Path) -> Iterator[tuple[Path, socket.socket]]:
    """Somebody listens there, in a folder below /tmp; who connects stays in the queue."""
    (place / "below").mkdir(mode=0o755)
    place.chmod(0o755)
    path = place / "below" / "docker.sock"
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))
        made.listen()
        made.setblocking(False)
        yield path, made


def anothers_socket(path: Path) -> None:
    os.chown(path, NOBODY, -1)


def anothers_folder(path: Path) -> None:
    os.chown(path.parent, NOBODY, -1)


def anothers_folder_above(path: Path) -> None:
    os.chown(path.parent.parent, NOBODY, -1)


def a_folder_for_all(path: Path) -> None:
    path.parent.chmod(0o777)


def a_sticky_folder_for_all(path: Path) -> None:
    path.parent.chmod(0o1777)


def a_folder_above_for_all(path: Path) -> None:
    path.parent.parent.chmod(0o777)


@pytest.mark.parametrize(
    "taken",
    [
        anothers_socket,
        anothers_folder,
        anothers_folder_above,
        a_folder_for_all,
        a_sticky_folder_for_all,
        a_folder_above_for_all,
    ],
)
async def test_nothing_is_sent_where_another_user_could_listen(
    listening: tuple[Path, socket.socket], taken: Taken
) -> None:
    """The tier is unavailable, and says why; nobody was connected to."""
    if os.geteuid() != 0 and taken.__name__.startswith("another"):
        pytest.skip("only root may give a file away")
    path, sock = listening
    taken(path)
    sandbox = ContainerSandbox(ContainerSettings("abcd", socket=str(path)))
    report = await sandbox.probe()
    await sandbox.close()
    assert not report.works
    (missing,) = report.missing
    assert "belongs to user id" in missing.reason or "writable by other users" in missing.reason
    with pytest.raises(BlockingIOError):
        sock.accept()


def test_an_engine_where_engines_are_is_asked(listening: tuple[Path, socket.socket]) -> None:
    """Root's own or ours, below folders of ours or /tmp; also by a link; also where none is."""
    path, _ = listening
    link = path.parent / "link"
    link.symlink_to(path.parent)
    assert [distrusted(str(one)) for one in (path, link / path.name, path / "none")] == [""] * 3
    assert distrusted("/var/run/docker.sock") == ""

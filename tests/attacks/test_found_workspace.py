"""A workspace that would hand Stockade's own files, keys among them, to the tools."""

from pathlib import Path

import pytest

from tests.conftest import config_with
from tests.running import RunningDaemon


@pytest.mark.parametrize("place", ["", "data", "data/tools", "policies", "tools", "client"])
def test_a_workspace_may_not_share_a_place_with_the_daemons_files(
    initialised: RunningDaemon, place: str
) -> None:
    """Keys, policies, tools and the ledger are in no workspace, also not in one that holds them."""
    path = initialised.root / place
    path.mkdir(exist_ok=True)
    initialised.home.config_file.write_text(config_with(path.resolve()))
    with pytest.raises(AssertionError, match=r"CONFIG_INVALID.*workspaces\.work\.path"):
        initialised.start()


def test_a_workspace_beside_the_daemons_files_is_fine(initialised: RunningDaemon) -> None:
    """Only what is Stockade's is kept apart: a directory beside it may be named."""
    path = initialised.root / "notes"
    path.mkdir()
    initialised.home.config_file.write_text(config_with(path.resolve()))
    initialised.start()


@pytest.mark.parametrize(
    "path",
    ["/", "//", "/etc", "/run", "/var/run", "/usr/local", "/proc/self", "/dev/shm", "/var/lib",
     "{root}/.", "{root}//notes", "{root}/notes/../notes", "{root}/link", "{root}/file"],
)  # fmt: skip
def test_a_workspace_that_cannot_be_meant(initialised: RunningDaemon, path: str) -> None:
    """The whole host, its own directories, other spellings, links and files are no workspaces."""
    root = initialised.root.resolve()
    (root / "notes").mkdir()
    (root / "file").write_text("")
    (root / "link").symlink_to("notes")
    initialised.home.config_file.write_text(config_with(Path(path.format(root=root))))
    text = initialised.home.config_file.read_text().replace(
        f'"{Path(path.format(root=root))}"', f'"{path.format(root=root)}"'
    )
    initialised.home.config_file.write_text(text)
    with pytest.raises(AssertionError, match=r"CONFIG_INVALID.*workspaces\.(work|docs)\.path"):
        initialised.start()

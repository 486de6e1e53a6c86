"""The folder of policies is read whole, when nobody writes to it, or not at all."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from daemon.policy import folder as policy_folder
from policy.bundle import load_directory
from policy.errors import BundleError

PERMIT = "permit (principal, action, resource);"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "policies"
    path.mkdir(mode=0o700)
    for name in ("a.cedar", "b.cedar"):
        (path / name).write_text(PERMIT)
        (path / name).chmod(0o600)
    (path / "notes.txt").write_text("not a policy")
    return path


def test_the_whole_folder(folder: Path) -> None:
    """All *.cedar files by name, and one digest of them."""
    found = policy_folder.read(folder)
    assert found is not None
    assert dict(found.files) == {"a.cedar": PERMIT, "b.cedar": PERMIT}
    (folder / "b.cedar").rename(folder / "c.cedar")
    renamed = policy_folder.read(folder)
    assert renamed is not None
    assert renamed.digest != found.digest


@pytest.mark.parametrize("flags", [os.O_WRONLY, os.O_RDWR, os.O_WRONLY | os.O_APPEND])
def test_a_file_that_is_being_written_is_not_read(folder: Path, flags: int) -> None:
    """Half of a change is no change: while somebody has a file open for writing, nothing is."""
    writer = os.open(folder / "b.cedar", flags)
    try:
        assert policy_folder.read(folder) is None
    finally:
        os.close(writer)
    assert policy_folder.read(folder) is not None


def test_a_reader_does_not_hold_it_up(folder: Path) -> None:
    """An editor that shows the file is not one that writes it."""
    with (folder / "a.cedar").open():
        assert policy_folder.read(folder) is not None


def test_a_folder_that_changes_meanwhile_is_not_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is put there between the first and the last look makes it another folder."""
    real = load_directory

    def meddled(path: Path) -> dict[str, str]:
        found = real(path)
        (folder / "late.cedar").write_text(PERMIT)
        return found

    monkeypatch.setattr(policy_folder, "load_directory", meddled)
    assert policy_folder.read(folder) is None


@pytest.mark.parametrize("mode", [0o602, 0o620, 0o666])
@pytest.mark.parametrize("which", ["a.cedar", "."])
def test_what_others_could_write_is_refused(folder: Path, which: str, mode: int) -> None:
    """Whoever can write a policy is an owner: a file, or the folder, that is open is not taken."""
    (folder / which).chmod(mode | 0o100 * (which == "."))
    with pytest.raises(BundleError) as caught:
        policy_folder.read(folder)
    [problem] = caught.value.problems
    assert problem.code == "POLICY_UNREADABLE"
    assert problem.fix.startswith("chmod go-w")


def test_links_and_folders_that_are_gone(folder: Path) -> None:
    """A link is not followed, also not to a file of ours; a folder that is gone is no empty set."""
    (folder / "link.cedar").symlink_to(folder / "a.cedar")
    with pytest.raises(BundleError):
        policy_folder.read(folder)
    (folder / "link.cedar").unlink()
    with pytest.raises(BundleError):
        policy_folder.read(folder / "nowhere")


def test_what_no_name_is_and_what_no_folder_is(folder: Path) -> None:
    """Refused by a name that can be told; whoever watches the folder goes on watching it."""
    (folder / os.fsdecode(b"caf\xe9.cedar")).write_text(PERMIT)
    with pytest.raises(BundleError) as caught:
        policy_folder.read(folder)
    [problem] = caught.value.problems
    assert (problem.file, problem.message) == ("caf\\xe9.cedar", "its name is not UTF-8")
    file = folder / "a.cedar"
    with pytest.raises(BundleError, match="Not a directory"):
        policy_folder.read(file)


def test_the_signature_sees_every_change(folder: Path) -> None:
    """Content of the same size, a name, a mode: each is another signature; a look is not."""
    seen = {policy_folder.signature(folder)}
    policy_folder.read(folder)
    assert policy_folder.signature(folder) in seen
    changes: list[Callable[[], object]] = [
        lambda: (folder / "a.cedar").write_text(PERMIT.replace("permit", "forbid")),
        lambda: (folder / "a.cedar").rename(folder / "z.cedar"),
        lambda: (folder / "z.cedar").chmod(0o640),
        lambda: (folder / "b.cedar").unlink(),
        lambda: folder.rename(folder.with_name("moved")),
    ]
    for change in changes:
        change()
        seen.add(policy_folder.signature(folder))
    assert len(seen) == len(changes) + 1

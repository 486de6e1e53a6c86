"""What is kept of copies that were compared, and when it no longer counts."""

import os
from collections.abc import Mapping
from pathlib import Path

import anyio
import pytest

from daemon.tools.compared import Compared
from daemon.tools.errors import Reason, SnapshotError
from daemon.tools.tree import FileEntry, ToolDigest, freeze_files, tree_digest
from daemon.tools.writing import EDITABLE, write_tree

FILES = {
    "manifest.toml": FileEntry(b"name = 1\n", False),
    "lib/main.py": FileEntry(b"pass\n", True),
}
LONG_AGO = -1.0  # a copy may be kept at once


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    path = tmp_path / "copy"
    write_tree(path, FILES, EDITABLE)
    return path


def digest() -> ToolDigest:
    return tree_digest(freeze_files(FILES))


async def files_of(compared: Compared, path: Path) -> Mapping[str, FileEntry]:
    return await compared.files(path, digest())


def test_a_copy_that_stays_as_it_was_is_read_once(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same bytes, and nothing is read for them."""

    async def scenario() -> None:
        compared = Compared(settled_seconds=LONG_AGO)
        first = await files_of(compared, copy)
        monkeypatch.setattr("daemon.tools.compared.check_copy", None)
        assert await files_of(compared, copy) is first
        assert first == FILES

    anyio.run(scenario)


def test_a_copy_that_was_written_a_moment_ago_is_read_again(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within one tick of the file system's clock a second change would look like the first."""

    async def scenario() -> None:
        compared = Compared()
        await files_of(compared, copy)
        monkeypatch.setattr("daemon.tools.compared.check_copy", None)
        with pytest.raises(TypeError):  # nothing to compare with: it was about to be
            await files_of(compared, copy)

    anyio.run(scenario)


@pytest.mark.parametrize("how", ["content", "mode", "replaced", "added", "removed", "moved"])
def test_whatever_was_done_to_a_copy_has_it_compared_again(copy: Path, how: str) -> None:
    """A change that leaves names, lengths and settable times alone too."""

    async def scenario() -> None:
        compared = Compared(settled_seconds=LONG_AGO)
        await files_of(compared, copy)
        _change(copy, how)
        with pytest.raises(SnapshotError) as refused:
            await files_of(compared, copy)
        missing = how == "moved"
        assert refused.value.code is (
            Reason.SNAPSHOT_MISSING if missing else Reason.SNAPSHOT_CHANGED
        )

    anyio.run(scenario)


def _change(copy: Path, how: str) -> None:
    main = copy / "lib/main.py"
    before = main.stat()
    match how:
        case "content":
            main.write_bytes(b"evil\n")
            os.utime(main, ns=(before.st_atime_ns, before.st_mtime_ns))
        case "mode":
            main.chmod(0o600)
        case "replaced":
            other = main.with_name("other")
            other.write_bytes(b"evil\n")
            other.chmod(before.st_mode)
            os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
            other.rename(main)
        case "added":
            (copy / "lib/json.py").write_bytes(b"evil\n")
        case "removed":
            main.unlink()
        case _:
            copy.rename(copy.with_name("elsewhere"))


def test_no_more_than_so_many_bytes_are_kept(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was used the longest ago makes room; what is too large for all of it is not kept."""

    async def scenario() -> None:
        compared = Compared(most_bytes=10, settled_seconds=LONG_AGO)
        await files_of(compared, copy)
        monkeypatch.setattr("daemon.tools.compared.check_copy", None)
        with pytest.raises(TypeError):
            await files_of(compared, copy)

    anyio.run(scenario)

"""Reading a tool's folder, from disk and from the wire."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.tools.errors import FolderError, ManifestError, Reason, ToolError
from daemon.tools.folder import UploadEntry, load_folder, parse_upload, read_files
from daemon.tools.tree import MAX_BYTES, MAX_FILES, FileEntry, tree_digest
from tests.daemon.tools.support import MINIMAL, write_tool

FROZEN = "70501c57f6ebf1466ea344badb465b30252223ac6f446cd2c525df67c717c01d"
FILES = {"bin/run": b"#!/bin/sh\n", "data.txt": b"x"}


@pytest.fixture
def probe(tmp_path: Path) -> Path:
    return write_tool(tmp_path, "probe", MINIMAL, FILES)


def refused(path: Path) -> FolderError:
    with pytest.raises(FolderError) as caught:
        load_folder(path)
    assert caught.value.fix
    return caught.value


def test_a_folder_is_read_whole(probe: Path) -> None:
    """Every file is taken with its bytes and its execute bit."""
    (probe / "bin/run").chmod(0o755)
    found = load_folder(probe)
    assert {p: (e.content, e.executable) for p, e in found.files.items()} == {
        "bin/run": (b"#!/bin/sh\n", True),
        "data.txt": (b"x", False),
        "manifest.toml": (MINIMAL.encode(), False),
    }
    with pytest.raises(TypeError):
        found.files["x"] = FileEntry(b"")  # type: ignore[index]


def test_the_name_of_the_folder_is_the_name_of_the_tool(probe: Path) -> None:
    """A manifest cannot take another name than its folder's."""
    other = probe.rename(probe.with_name("other"))
    with pytest.raises(ManifestError) as caught:
        load_folder(other)
    assert caught.value.key == "name"
    assert caught.value.file.endswith("/other/manifest.toml")


def test_any_change_changes_the_digest(probe: Path) -> None:
    """One byte, the execute bit, a rename, a new or empty file: each is another tool."""
    seen = {load_folder(probe).digest}

    def changed() -> bool:
        digest = load_folder(probe).digest
        new = digest not in seen
        seen.add(digest)
        return new

    (probe / "data.txt").write_bytes(b"y")
    assert changed()
    (probe / "data.txt").chmod(0o744)
    assert changed()
    (probe / "data.txt").rename(probe / "data2.txt")
    assert changed()
    (probe / "empty").touch()
    assert changed()
    (probe / "bin/run").rename(probe / "binrun")
    assert changed()
    (probe / "manifest.toml").write_text(MINIMAL + "# more\n")
    assert changed()


@given(st.dictionaries(st.text("ab/", max_size=4), st.binary(max_size=4), max_size=3), st.data())
def test_different_files_have_different_digests(files: dict[str, bytes], data: Any) -> None:
    """No path or content can be shifted into its neighbour: everything has a length."""
    other = data.draw(
        st.dictionaries(st.text("ab/", max_size=4), st.binary(max_size=4), max_size=3)
    )
    left, right = ({p: FileEntry(c) for p, c in f.items()} for f in (files, other))
    assert (tree_digest(left) == tree_digest(right)) == (files == other)


def test_the_digest_format_is_frozen() -> None:
    """The digest of known files does not change between versions."""
    files = {"a": FileEntry(b"1", executable=True), "b/c": FileEntry(b"")}
    assert tree_digest(files) == FROZEN


def _symlink(path: Path) -> None:
    path.symlink_to("/etc/passwd")


def _link_inside(path: Path) -> None:
    path.symlink_to("data.txt")


def _folder_link(path: Path) -> None:
    path.symlink_to("bin")


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


@pytest.mark.parametrize("plant", [_symlink, _link_inside, _folder_link, _fifo, _socket])
def test_what_is_no_regular_file_is_refused(probe: Path, plant: Any) -> None:
    """Links, fifos and sockets refuse the folder, and are not opened."""
    plant(probe / "planted")
    error = refused(probe)
    assert (error.code, error.entry) == (Reason.FOLDER_NOT_REGULAR, "planted")


def test_a_hard_link_is_refused(probe: Path) -> None:
    """A file with a second name can be changed from elsewhere, or belong to someone else."""
    os.link(probe / "data.txt", probe.parent / "elsewhere")
    assert refused(probe).code is Reason.FOLDER_HARD_LINK


def test_an_installer_may_link_what_this_package_brings(probe: Path) -> None:
    """As uv does, from its cache: the code, and so the tools beside it."""
    os.link(probe / "data.txt", probe.parent / "elsewhere")
    assert "data.txt" in read_files(probe, linked=True)


@pytest.mark.parametrize("entry", ["data.txt", "bin", "."])
def test_what_anyone_may_write_is_refused(probe: Path, entry: str) -> None:
    """A file or folder that every user of the host may write is not the operator's."""
    (probe / entry).chmod(0o777)
    error = refused(probe)
    assert (error.code, error.entry) == (Reason.FOLDER_WRITABLE, entry)


@pytest.mark.parametrize("name", [".git", ".hidden", "a b", "é", "a\n", "-rf", "~", "a\\b", "a:b"])
def test_a_file_name_outside_the_grammar_is_refused(probe: Path, name: str) -> None:
    """Hidden, non-ASCII and odd names are refused, so no two names can look alike."""
    (probe / name).touch()
    error = refused(probe)
    assert error.code is Reason.FOLDER_NAME
    assert error.entry.isprintable()


def test_names_that_differ_in_case_are_refused(probe: Path) -> None:
    """Two names that some file systems take for one are refused."""
    (probe / "DATA.txt").touch()
    assert refused(probe).code is Reason.FOLDER_COLLISION


def test_a_folder_beyond_the_caps_is_refused(probe: Path) -> None:
    """Number, size and depth of files are bounded while reading."""
    large = probe / "large"
    with large.open("wb") as stream:
        stream.truncate(MAX_BYTES + 1)
    assert refused(probe).code is Reason.FOLDER_TOO_LARGE
    large.unlink()
    (probe / "/".join("abcdefgh")).mkdir(parents=True)
    (probe / "/".join("abcdefgh") / "i").touch()
    assert refused(probe).code is Reason.FOLDER_TOO_LARGE
    (probe / "a").rename(probe.parent / "a")
    for i in range(MAX_FILES):
        (probe / f"f{i}").touch()
    assert refused(probe).code is Reason.FOLDER_TOO_LARGE


def test_a_link_in_place_of_the_folder_is_refused(probe: Path) -> None:
    """The folder of a tool is a folder, not a link to one."""
    link = probe.with_name("link")
    link.symlink_to(probe)
    assert refused(link).code is Reason.FOLDER_UNREADABLE
    assert refused(probe / "data.txt").code is Reason.FOLDER_UNREADABLE
    assert refused(probe / "gone").code is Reason.FOLDER_UNREADABLE


@pytest.mark.parametrize("swapped", ["data.txt", "bin"])
def test_a_link_swapped_in_while_reading_is_not_followed(
    probe: Path, monkeypatch: pytest.MonkeyPatch, swapped: str
) -> None:
    """A name that turns into a link between the look and the opening leads nowhere."""
    outside = probe.parent / "outside"
    outside.mkdir()
    (outside / "run").write_text("stolen")
    real_open = os.open

    def racing_open(path: Any, flags: int, *args: Any, **kwargs: Any) -> int:
        if path == swapped and not (probe / swapped).is_symlink():
            (probe / swapped).rename(probe.parent / "moved")
            (probe / swapped).symlink_to(outside if swapped == "bin" else outside / "run")
        return real_open(path, flags, *args, **kwargs)

    monkeypatch.setattr(os, "open", racing_open)
    assert refused(probe).code is Reason.FOLDER_UNREADABLE


@pytest.mark.parametrize("replacement", ["fifo", "hard link"])
def test_a_file_swapped_while_reading_is_looked_at_again(
    probe: Path, monkeypatch: pytest.MonkeyPatch, replacement: str
) -> None:
    """What counts is the opened file: a fifo or hard link put in between does not pass."""
    real_open = os.open
    (probe.parent / "other").write_text("other")

    def racing_open(path: Any, flags: int, *args: Any, **kwargs: Any) -> int:
        if path == "data.txt":
            (probe / path).unlink()
            if replacement == "fifo":
                os.mkfifo(probe / path)
            else:
                os.link(probe.parent / "other", probe / path)
        return real_open(path, flags, *args, **kwargs)

    monkeypatch.setattr(os, "open", racing_open)
    expected = {"fifo": Reason.FOLDER_NOT_REGULAR, "hard link": Reason.FOLDER_HARD_LINK}
    assert refused(probe).code is expected[replacement]


def test_a_folder_renamed_while_reading_is_still_the_one_opened(
    probe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A whole folder swapped in under the same name is not mixed with the one being read."""
    real_scandir = os.scandir

    def racing_scandir(path: Any) -> Any:
        if probe.exists() and not (probe.parent / "moved").exists():
            probe.rename(probe.parent / "moved")
            write_tool(probe.parent, "probe", MINIMAL, {"data.txt": b"evil", "bin/run": b"evil"})
        return real_scandir(path)

    monkeypatch.setattr(os, "scandir", racing_scandir)
    assert {e.content for e in read_files(probe).values()} == {MINIMAL.encode(), *FILES.values()}


def test_no_descriptor_is_left_open(probe: Path) -> None:
    """Reading, and refusing to read, closes everything it opened."""
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    load_folder(probe)
    _symlink(probe / "bin/planted")
    refused(probe)
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def upload(*paths: str) -> list[UploadEntry]:
    manifest = UploadEntry("manifest.toml", MINIMAL.encode())
    return [manifest, *(UploadEntry(path, b"") for path in paths)]


def test_an_upload_is_the_same_tool_as_its_folder(probe: Path) -> None:
    """The digest does not depend on the way the files came."""
    sent = [UploadEntry("manifest.toml", MINIMAL.encode())]
    sent += [UploadEntry(path, content) for path, content in FILES.items()]
    assert parse_upload(reversed(sent)).digest == load_folder(probe).digest


@pytest.mark.parametrize(
    ("paths", "code"),
    [
        (("../evil",), Reason.FOLDER_NAME),
        (("a/../../evil",), Reason.FOLDER_NAME),
        (("/etc/cron.d/evil",), Reason.FOLDER_NAME),
        (("a//b",), Reason.FOLDER_NAME),
        (("./a",), Reason.FOLDER_NAME),
        (("a/.",), Reason.FOLDER_NAME),
        (("a/",), Reason.FOLDER_NAME),
        (("",), Reason.FOLDER_NAME),
        (("a\\..\\b",), Reason.FOLDER_NAME),
        (("a\0b",), Reason.FOLDER_NAME),
        (("ａ",), Reason.FOLDER_NAME),  # noqa: RUF001
        (("a\n",), Reason.FOLDER_NAME),
        (("a", "a"), Reason.FOLDER_COLLISION),
        (("a", "A"), Reason.FOLDER_COLLISION),
        (("d/a", "D/b"), Reason.FOLDER_COLLISION),
        (("a", "a/b"), Reason.FOLDER_COLLISION),
        (("Manifest.toml",), Reason.FOLDER_COLLISION),
        (("/".join("abcdefghi"),), Reason.FOLDER_TOO_LARGE),
        (("a" * 241,), Reason.FOLDER_TOO_LARGE),
        (tuple(f"f{i}" for i in range(MAX_FILES)), Reason.FOLDER_TOO_LARGE),
    ],
    ids=lambda p: str(p)[:24],
)
def test_an_upload_that_is_no_plain_folder_is_refused(paths: tuple[str, ...], code: Reason) -> None:
    """Traversal, absolute, duplicate and colliding paths refuse the upload."""
    with pytest.raises(FolderError) as caught:
        parse_upload(upload(*paths))
    assert caught.value.code is code


@given(st.lists(st.tuples(st.text(max_size=8), st.binary(max_size=8)), max_size=4))
def test_no_other_exception_leaves_an_upload(entries: list[tuple[str, bytes]]) -> None:
    """Whatever is sent, it is a tool or a ToolError."""
    with pytest.raises(ToolError):
        parse_upload([UploadEntry(path, content) for path, content in entries])


def test_an_upload_cannot_claim_to_be_builtin() -> None:
    """Over the wire comes no builtin tool."""
    manifest = 'toolset = "builtin"\n' + MINIMAL
    with pytest.raises(ManifestError):
        parse_upload([UploadEntry("manifest.toml", manifest.encode())])

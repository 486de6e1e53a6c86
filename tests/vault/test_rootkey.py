"""Root keys and the file they may be kept in."""

import os
import re
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vault import privatefile
from vault.errors import Code, RootError
from vault.root import FileRoot, RootSource
from vault.rootkey import RootKey, generate_root, parse_root

ROOT = bytes(range(32))
STORED = generate_root(lambda size: bytes(range(size)))


def code_of(source: RootSource) -> Code:
    with pytest.raises(RootError) as refusal:
        source.load()
    assert refusal.value.fix
    return refusal.value.code


def test_the_stored_form_is_frozen() -> None:
    """A known root is stored as this text, for ever."""
    assert f"stockade-root-v1:{ROOT.hex()}:19a65144177c9ad4" == STORED
    assert parse_root(STORED.encode()).key_id == RootKey(ROOT).key_id


def test_a_root_does_not_show() -> None:
    """A root key shows its id, and keeps no attribute that holds the 32 bytes."""
    root = RootKey(ROOT)
    assert repr(root) == f"RootKey({root.key_id})"
    assert ROOT not in [getattr(root, name) for name in RootKey.__slots__]
    assert root.key_id not in ROOT.hex()


@given(st.integers(0, len(STORED) * 8 - 1))
def test_a_damaged_root_is_refused(bit: int) -> None:
    """Any flipped bit of the stored form is found by its checksum."""
    damaged = bytearray(STORED.encode())
    damaged[bit // 8] ^= 1 << (bit % 8)
    with pytest.raises(RootError) as refusal:
        parse_root(bytes(damaged))
    assert refusal.value.code is Code.ROOT_MALFORMED
    assert ROOT.hex() not in str(refusal.value)


@given(st.binary(max_size=120))
def test_no_bytes_break_the_parser(garbage: bytes) -> None:
    """Garbage raises the package's error only."""
    with pytest.raises(RootError):
        parse_root(garbage)


def test_a_root_of_another_length_is_refused() -> None:
    """A root key has 32 bytes."""
    for size in (0, 16, 31, 33):
        with pytest.raises(RootError):
            RootKey(bytes(size))


def test_the_expected_root_can_be_demanded() -> None:
    """A start with another root than the database was sealed under is refused."""
    root = RootKey(ROOT)
    root.require(root.key_id)
    with pytest.raises(RootError) as refusal:
        root.require(RootKey(bytes(32)).key_id)
    assert refusal.value.code is Code.ROOT_MISMATCH


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o777])
def test_a_root_file_is_made_private_and_read_back(tmp_path: Path, mask: int) -> None:
    """The file has mode 0600 under any umask, and holds the root that was returned."""
    source = FileRoot(tmp_path / "root")
    old = os.umask(mask)
    try:
        made = source.create()
    finally:
        os.umask(old)
    assert stat.S_IMODE(source.path.stat().st_mode) == 0o600
    assert source.load().key_id == made.key_id
    assert re.fullmatch(r"stockade-root-v1:[0-9a-f]{64}:[0-9a-f]{16}\n", source.path.read_text())


def test_loading_never_creates(tmp_path: Path) -> None:
    """An absent file is ROOT_ABSENT, and still absent afterwards."""
    assert code_of(FileRoot(tmp_path / "root")) is Code.ROOT_ABSENT
    assert list(tmp_path.iterdir()) == []


def test_an_existing_root_is_never_replaced(tmp_path: Path) -> None:
    """Creating again is refused: secrets may be sealed under what is there."""
    source = FileRoot(tmp_path / "root")
    first = source.create()
    with pytest.raises(RootError) as refusal:
        source.create()
    assert refusal.value.code is Code.ROOT_EXISTS
    assert source.load().key_id == first.key_id


def test_a_planted_symlink_is_refused(tmp_path: Path) -> None:
    """A symbolic link is neither read nor written through."""
    FileRoot(tmp_path / "real").create()
    (tmp_path / "root").symlink_to("real")
    assert code_of(FileRoot(tmp_path / "root")) is Code.ROOT_NOT_REGULAR
    (tmp_path / "dangling").symlink_to("nowhere")
    with pytest.raises(RootError):
        FileRoot(tmp_path / "dangling").create()
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610, 0o666])
def test_an_exposed_root_is_refused(tmp_path: Path, mode: int) -> None:
    """A root others could touch is refused, with the command that repairs it."""
    source = FileRoot(tmp_path / "my root")
    source.create()
    source.path.chmod(mode)
    with pytest.raises(RootError) as refusal:
        source.load()
    assert refusal.value.code is Code.ROOT_EXPOSED
    assert refusal.value.fix == f"chmod 600 -- '{source.path}'"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_root_of_another_user_is_refused(tmp_path: Path) -> None:
    """A root another user owns could be replaced by that user at any time."""
    source = FileRoot(tmp_path / "root")
    source.create()
    os.chown(source.path, 65534, -1)
    assert code_of(source) is Code.ROOT_WRONG_OWNER


def test_a_fifo_or_directory_is_refused_at_once(tmp_path: Path) -> None:
    """What is planted at the path neither hangs nor crashes the start."""
    os.mkfifo(tmp_path / "fifo", 0o600)
    (tmp_path / "folder").mkdir(mode=0o700)
    assert code_of(FileRoot(tmp_path / "fifo")) is Code.ROOT_NOT_REGULAR
    assert code_of(FileRoot(tmp_path / "folder")) is Code.ROOT_NOT_REGULAR


@pytest.mark.parametrize("name", ["a\x00b", "x" * 300])
def test_an_impossible_path_is_the_packages_error(tmp_path: Path, name: str) -> None:
    """A path the system refuses raises the package's error."""
    assert code_of(FileRoot(tmp_path / name)) is Code.ROOT_UNUSABLE
    with pytest.raises(RootError) as refusal:
        FileRoot(tmp_path / name).create()
    assert refusal.value.code is Code.ROOT_UNUSABLE


def test_a_damaged_or_overlong_file_is_refused(tmp_path: Path) -> None:
    """A file that is cut, empty or continued is ROOT_MALFORMED."""
    source = FileRoot(tmp_path / "root")
    source.create()
    good = source.path.read_bytes()
    for bad in (b"", good[:-2], good + good, good + b"\n"):
        source.path.write_bytes(bad)
        assert code_of(source) is Code.ROOT_MALFORMED


def test_a_failed_write_leaves_no_half_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the disk fails, no file stays that the next start would take for a root."""

    def broken(_: Path) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(privatefile, "_sync_directory", broken)
    with pytest.raises(RootError) as refusal:
        FileRoot(tmp_path / "root").create()
    assert refusal.value.code is Code.ROOT_UNUSABLE
    assert list(tmp_path.iterdir()) == []


def test_a_source_describes_itself_without_its_root(tmp_path: Path) -> None:
    """The description names the place and not the key."""
    source = FileRoot(tmp_path / "root")
    source.create()
    shown = source.describe() + repr(source)
    assert str(source.path) in shown
    assert source.path.read_text().split(":")[1] not in shown

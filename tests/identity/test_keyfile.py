"""Private files."""

import os
import stat
from pathlib import Path

import pytest

from identity import keyfile
from identity.errors import Code, KeyFileError
from identity.keyfile import load_private, write_private

OLD_UMASKS = [0o000, 0o022, 0o777]


def refused(path: Path) -> KeyFileError:
    with pytest.raises(KeyFileError) as refusal:
        load_private(path)
    return refusal.value


@pytest.mark.parametrize("mask", OLD_UMASKS)
def test_a_private_file_is_0600_under_any_umask(tmp_path: Path, mask: int) -> None:
    """The mode is 0600 whatever the umask, and the content is read back."""
    path = tmp_path / "key"
    old = os.umask(mask)
    try:
        write_private(path, b"secret")
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_private(path) == b"secret"


def test_an_existing_file_is_never_overwritten(tmp_path: Path) -> None:
    """Writing over a key is refused and leaves it as it was."""
    path = tmp_path / "key"
    write_private(path, b"first")
    with pytest.raises(KeyFileError) as refusal:
        write_private(path, b"second")
    assert refusal.value.code is Code.FILE_EXISTS
    assert path.read_bytes() == b"first"


def test_a_planted_symlink_is_not_written_through(tmp_path: Path) -> None:
    """A symbolic link waiting at the path, dangling or not, is refused."""
    (tmp_path / "key").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(KeyFileError) as refusal:
        write_private(tmp_path / "key", b"secret")
    assert refusal.value.code is Code.FILE_EXISTS
    assert not (tmp_path / "elsewhere").exists()


def test_a_symlink_is_not_read_through(tmp_path: Path) -> None:
    """A private file behind a symbolic link is refused."""
    write_private(tmp_path / "real", b"secret")
    (tmp_path / "key").symlink_to("real")
    assert refused(tmp_path / "key").code is Code.FILE_NOT_REGULAR


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610, 0o644, 0o666])
def test_a_file_others_could_touch_is_refused(tmp_path: Path, mode: int) -> None:
    """Any group or other permission is refused, and the fix is the command that repairs it."""
    path = tmp_path / "my key"
    write_private(path, b"secret")
    path.chmod(mode)
    error = refused(path)
    assert error.code is Code.FILE_EXPOSED
    assert error.fix == f"chmod 600 -- '{path}'"
    assert f"{mode:04o}" in error.message


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_another_user_is_refused(tmp_path: Path) -> None:
    """A key another user owns could be replaced by that user at any time."""
    path = tmp_path / "key"
    write_private(path, b"secret")
    os.chown(path, 65534, -1)
    error = refused(path)
    assert error.code is Code.FILE_WRONG_OWNER
    assert error.fix.endswith(f"chown {os.geteuid()} -- {path}")


def test_a_fifo_does_not_hang_the_start(tmp_path: Path) -> None:
    """A FIFO planted at the path is refused at once."""
    os.mkfifo(tmp_path / "key", 0o600)
    assert refused(tmp_path / "key").code is Code.FILE_NOT_REGULAR


def test_a_directory_is_no_key(tmp_path: Path) -> None:
    """A directory at the path is refused."""
    (tmp_path / "key").mkdir(mode=0o700)
    assert refused(tmp_path / "key").code is Code.FILE_NOT_REGULAR


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    """A missing file is its own refusal: the daemon must not take it for an empty key."""
    assert refused(tmp_path / "key").code is Code.FILE_ABSENT


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    """More bytes than a key can have are refused."""
    write_private(tmp_path / "key", b"x" * 11)
    assert load_private(tmp_path / "key", limit=11) == b"x" * 11
    with pytest.raises(KeyFileError) as refusal:
        load_private(tmp_path / "key", limit=10)
    assert refusal.value.code is Code.FILE_TOO_LARGE


@pytest.mark.parametrize("name", ["no/such/key", "a\x00b", "x" * 300])
def test_an_impossible_path_is_the_packages_error(tmp_path: Path, name: str) -> None:
    """A path the system refuses raises the package's error when written."""
    with pytest.raises(KeyFileError) as refusal:
        write_private(tmp_path / name, b"secret")
    assert refusal.value.code is Code.FILE_UNUSABLE


def test_a_failed_write_leaves_no_half_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the disk fails, nothing that looks like a key stays behind."""

    def broken(_: Path) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(keyfile, "_sync_directory", broken)
    with pytest.raises(KeyFileError) as refusal:
        write_private(tmp_path / "key", b"secret")
    assert refusal.value.code is Code.FILE_UNUSABLE
    assert not (tmp_path / "key").exists()

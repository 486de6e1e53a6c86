"""What is removed goes whole, whoever removes it, and nothing else goes with it."""

import subprocess
import sys
from pathlib import Path

import pytest

from stockade.trees import remove_tree
from tests.running import make_directory, remove_directory

# Root may do what others may not: it becomes one of them.
AS_ANOTHER = """
import os, sys
from pathlib import Path
from stockade.trees import remove_tree

if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
top = Path(sys.argv[1])
kept, gone = top / "kept", top / "gone"
(gone / "tools" / "a").mkdir(parents=True)
(gone / "tools" / "a" / "manifest.toml").touch(0o444)
kept.mkdir(0o555)
(gone / "link").symlink_to(kept)
for folder in (gone / "tools" / "a", gone / "tools", gone):
    folder.chmod(0o555)
remove_tree(gone)
print(gone.exists(), oct(kept.stat().st_mode & 0o777))
"""


def test_folders_that_nobody_may_write_to_are_removed() -> None:
    """By somebody who is not root; what a link leads to stays as it is."""
    folder = make_directory("stockade-trees-test-")
    folder.chmod(0o777)
    command = [sys.executable, "-c", AS_ANOTHER, str(folder)]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    remove_directory(folder)
    assert made.stdout.split() == ["False", "0o555"], made.stderr


@pytest.mark.parametrize("ignore_errors", [True, False])
def test_a_link_is_no_folder(tmp_path: Path, ignore_errors: bool) -> None:
    """What it leads to is neither removed nor changed."""
    (tmp_path / "there").mkdir(0o500)
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "there")
    if ignore_errors:
        remove_tree(link, ignore_errors=True)
    else:
        with pytest.raises(OSError, match="link"):  # Python 3.13 says only which
            remove_tree(link)
    assert link.is_symlink()
    assert (tmp_path / "there").stat().st_mode & 0o777 == 0o500

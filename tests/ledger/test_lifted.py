"""The folder can be lifted out: it stands on the standard library and four packages."""

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import ledger

FOLDER = Path(ledger.__file__).parent
FIXTURES = Path(__file__).parent / "fixtures"
ALLOWED = {"ledger", "nacl", "cryptography", "rfc8785", "orjson"}

PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
import ledger.checkpoint, ledger.export, ledger.keys, ledger.verify
folder = sys.argv[2]
keys = ledger.keys.parse_public(open(folder + "/ledger-v1.pub", "rb").read())
note = ledger.checkpoint.parse_checkpoint(open(folder + "/checkpoint-v1.note", "rb").read(), keys)
lines = ledger.export.read_lines(open(folder + "/ledger-v1.ndjson", "rb"))
assert ledger.__file__.startswith(sys.argv[1])
print(ledger.verify.verify(lines, keys, note).count)
"""


def test_imports_stay_within_what_may_be_lifted_out() -> None:
    """No module of the ledger imports anything of ours, or a package beyond the four."""
    for path in FOLDER.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0, path.name
                names = [node.module or ""]
            elif isinstance(node, ast.Import):
                names = [item.name for item in node.names]
            else:
                continue
            tops = {name.partition(".")[0] for name in names}
            assert tops <= ALLOWED | sys.stdlib_module_names, path.name


def test_the_copied_folder_verifies_a_ledger(tmp_path: Path) -> None:
    """A copy of the folder, far from the daemon, verifies the old ledger in isolated mode."""
    shutil.copytree(FOLDER, tmp_path / "ledger", ignore=shutil.ignore_patterns("__pycache__"))
    done = subprocess.run(
        [sys.executable, "-I", "-c", PROGRAM, str(tmp_path), str(FIXTURES)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "4\n", "")

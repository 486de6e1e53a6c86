"""Loading all tools, and the copies a run mounts."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from daemon.tools.errors import Reason, SnapshotError
from daemon.tools.folder import load_folder
from daemon.tools.manifest import Origin
from daemon.tools.registry import BUILTIN_TOOLS, Registry, host_has_program, load
from daemon.tools.snapshot import SnapshotStore
from daemon.tools.tree import ToolDigest
from tests.daemon.tools.support import MINIMAL, open_store, write_tool

BUILTINS = ["list_files", "read_file", "run_python", "run_shell", "write_file"]


def named(name: str) -> str:
    return MINIMAL.replace("probe", name)


@pytest.fixture
def operator(tmp_path: Path) -> Path:
    folder = tmp_path / "tools"
    folder.mkdir(mode=0o755)
    return folder


@pytest.fixture
def store(tmp_path: Path) -> SnapshotStore:
    return open_store(tmp_path)


def reasons(registry: Registry) -> dict[str, Reason]:
    return {refused.folder.name: refused.error.code for refused in registry.refused}


def names(registry: Registry) -> list[str]:
    return [tool.name for tool in registry.tools]


def test_a_broken_tool_takes_no_other_down(operator: Path, store: SnapshotStore) -> None:
    """Each entry of the folder is a tool or is refused with its reason; none is left out."""
    write_tool(operator, "alpha", named("alpha"))
    write_tool(operator, "omega", named("omega"))
    write_tool(operator, "broken", "name =")
    write_tool(operator, "other_name", named("alpha"))
    write_tool(operator, "Upper", named("Upper"))
    (operator / "empty").mkdir(mode=0o755)
    (operator / "README.md").touch()
    (operator / "linked").symlink_to(operator / "alpha")
    found = load(BUILTIN_TOOLS, operator, store)
    assert names(found) == ["alpha", *BUILTINS[:1], "omega", *BUILTINS[1:]]
    assert reasons(found) == {
        "broken": Reason.MANIFEST_MALFORMED,
        "other_name": Reason.MANIFEST_NAME,
        "Upper": Reason.MANIFEST_INVALID,
        "empty": Reason.MANIFEST_MISSING,
        "README.md": Reason.FOLDER_UNREADABLE,
        "linked": Reason.FOLDER_UNREADABLE,
    }


def test_a_tool_of_the_operator_cannot_shadow_a_builtin(
    operator: Path, store: SnapshotStore
) -> None:
    """A builtin's name stays the builtin's, whatever the folder holds."""
    write_tool(operator, "run_shell", named("run_shell"))
    found = load(BUILTIN_TOOLS, operator, store)
    assert reasons(found) == {"run_shell": Reason.TOOL_SHADOWS_BUILTIN}
    shell = found.get("run_shell")
    assert shell is not None
    assert shell.origin is Origin.BUILTIN


def test_the_name_of_a_broken_builtin_stays_taken(
    tmp_path: Path, operator: Path, store: SnapshotStore
) -> None:
    """A builtin that fails to load cannot be replaced by an operator's tool of its name."""
    write_tool(tmp_path / "builtin", "run_shell", "name =")
    write_tool(operator, "run_shell", named("run_shell"))
    found = load(tmp_path / "builtin", operator, store)
    assert names(found) == []
    assert {r.error.code for r in found.refused} == {
        Reason.MANIFEST_MALFORMED,
        Reason.TOOL_SHADOWS_BUILTIN,
    }


@pytest.mark.parametrize("name", ["Alpha", "alpha ", " alpha", "ALPHA", "аlpha", "alpha\0", ""])  # noqa: RUF001
def test_a_tool_is_found_by_its_exact_name(operator: Path, store: SnapshotStore, name: str) -> None:
    """A name that differs in case, space or script finds nothing."""
    write_tool(operator, "alpha", named("alpha"))
    found = load(BUILTIN_TOOLS, operator, store)
    assert found.get(name) is None
    assert found.get("alpha") is not None


def test_a_program_the_host_lacks_is_refused(operator: Path, store: SnapshotStore) -> None:
    """A tool whose program does not exist here is refused when it is loaded, by key."""
    write_tool(operator, "gone", named("gone").replace("/bin/echo", "/usr/bin/no-such-program"))
    write_tool(operator, "folder", named("folder").replace("/bin/echo", "/usr/bin"))
    found = load(BUILTIN_TOOLS, operator, store)
    assert reasons(found) == {
        "gone": Reason.MANIFEST_ARGV_FILE,
        "folder": Reason.MANIFEST_ARGV_FILE,
    }
    assert "tools/gone/manifest.toml: argv.0: " in str(found.refused[1].error)
    assert host_has_program("/bin/sh")


def test_a_missing_folder_of_the_operator_holds_no_tools(
    tmp_path: Path, store: SnapshotStore
) -> None:
    """No folder, no tools; a folder that cannot be listed is said to be so."""
    assert names(load(BUILTIN_TOOLS, tmp_path / "gone", store)) == BUILTINS
    (tmp_path / "file").touch()
    found = load(BUILTIN_TOOLS, tmp_path / "file", store)
    assert names(found) == BUILTINS
    assert reasons(found) == {"file": Reason.FOLDER_UNREADABLE}


def test_a_run_mounts_the_copy_not_the_folder(operator: Path, store: SnapshotStore) -> None:
    """What changes in the operator's folder after loading changes nothing of the tool."""
    folder = write_tool(operator, "alpha", named("alpha"), {"lib/data": b"old", "main": b"x"})
    (folder / "main").chmod(0o755)
    tool = load(BUILTIN_TOOLS, operator, store).get("alpha")
    assert tool is not None
    (folder / "lib/data").write_bytes(b"new")
    assert (tool.snapshot / "lib/data").read_bytes() == b"old"
    assert store.verify(tool.digest) == tool.snapshot
    again = load(BUILTIN_TOOLS, operator, store).get("alpha")
    assert again is not None
    assert again.digest != tool.digest
    assert again.snapshot != tool.snapshot


def test_a_copy_is_read_only(operator: Path, store: SnapshotStore) -> None:
    """Files of a copy are 0444 or 0555, folders 0555, and nothing half-written stays."""
    folder = write_tool(operator, "alpha", named("alpha"), {"lib/data": b"", "main": b"x"})
    (folder / "main").chmod(0o700)
    copy = store.keep(load_folder(folder))
    modes = {
        str(path.relative_to(copy)): stat.S_IMODE(path.stat().st_mode)
        for path in (copy, *copy.rglob("*"))
    }
    assert modes == {
        ".": 0o555,
        "lib": 0o555,
        "lib/data": 0o444,
        "main": 0o555,
        "manifest.toml": 0o444,
    }
    assert [path.name for path in copy.parent.iterdir()] == [copy.name]


@pytest.mark.parametrize("change", ["byte", "mode", "more", "less", "link", "hidden"])
def test_a_changed_copy_is_never_given_out(
    operator: Path, store: SnapshotStore, change: str
) -> None:
    """One byte, an execute bit, one file more or less: the copy is refused, and not repaired."""
    folder = load_folder(write_tool(operator, "alpha", named("alpha"), {"data": b"x"}))
    copy = store.keep(folder)
    copy.chmod(0o755)
    (copy / "data").chmod(0o644)
    match change:
        case "byte":
            (copy / "data").write_bytes(b"y")
        case "mode":
            (copy / "data").chmod(0o744)
        case "more":
            (copy / "planted").touch()
        case "less":
            (copy / "data").unlink()
        case "link":
            (copy / "data").unlink()
            (copy / "data").symlink_to("/etc/passwd")
        case _:
            (copy / ".planted").touch()
    with pytest.raises(SnapshotError) as verified:
        store.verify(folder.digest)
    with pytest.raises(SnapshotError) as kept:
        store.keep(folder)
    assert {verified.value.code, kept.value.code} == {Reason.SNAPSHOT_CHANGED}


@pytest.mark.parametrize("digest", ["", "..", "../../etc", "a" * 63, "A" * 64, "0" * 64])
def test_only_a_digest_names_a_copy(store: SnapshotStore, digest: str) -> None:
    """What is no digest, or no kept one, leads to no path."""
    with pytest.raises(SnapshotError) as caught:
        store.verify(ToolDigest(digest))
    assert caught.value.code is Reason.SNAPSHOT_MISSING


def test_a_crash_while_writing_leaves_nothing(
    tmp_path: Path, operator: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy is there whole or not at all; what a crash left is removed at the next start."""
    store = open_store(tmp_path)
    folder = load_folder(write_tool(operator, "alpha", named("alpha"), {"lib/data": b"x"}))

    class PowerCut(BaseException):
        pass

    def cut(_descriptor: int) -> None:
        raise PowerCut

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", cut)
        with pytest.raises(PowerCut):
            store.keep(folder)
    assert [p.name[:10] for p in (tmp_path / "store").iterdir()] == [".incoming-"]
    store = open_store(tmp_path)
    assert list((tmp_path / "store").iterdir()) == []
    assert store.keep(folder).is_dir()


def test_two_loads_at_once_keep_one_copy(tmp_path: Path, operator: Path) -> None:
    """Whoever is second finds the first one's copy, checks it and uses it."""
    folder = load_folder(write_tool(operator, "alpha", named("alpha")))
    inner = open_store(tmp_path)

    def name_while_another_loads() -> str:
        inner.keep(folder)
        return "late"

    outer = SnapshotStore(tmp_path / "store", name_while_another_loads)
    assert outer.keep(folder) == inner.verify(folder.digest)
    assert len(list((tmp_path / "store").iterdir())) == 1


def test_a_store_that_cannot_be_written_refuses(tmp_path: Path, operator: Path) -> None:
    """Where no copy can be made the tool is refused, not run from its folder."""
    (tmp_path / "file").touch()
    with pytest.raises(SnapshotError) as caught:
        open_store(tmp_path / "file")
    assert caught.value.code is Reason.SNAPSHOT_FAILED
    store = open_store(tmp_path)
    (tmp_path / "store").rmdir()
    write_tool(operator, "alpha", named("alpha"))
    found = load(BUILTIN_TOOLS, operator, store)
    assert names(found) == []
    assert set(reasons(found).values()) == {Reason.SNAPSHOT_FAILED}

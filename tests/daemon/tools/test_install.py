"""Adding and removing the operator's tools while the daemon runs."""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from daemon.tools.errors import InstallError, ManifestError, Reason, ShadowError, ToolError
from daemon.tools.folder import ToolFolder
from daemon.tools.install import install, recover, uninstall
from daemon.tools.registry import BUILTIN_TOOLS, load
from tests.daemon.tools.support import MINIMAL, open_store, uploaded, write_tool

_numbers = count()


def random_name() -> str:
    return f"{next(_numbers):032x}"


def version(number: int) -> ToolFolder:
    return uploaded(MINIMAL.replace("1.0.0", f"{number}.0.0"), {"lib/data": b"x" * number})


@pytest.fixture
def operator(tmp_path: Path) -> Path:
    return tmp_path / "tools"


def installed(tmp_path: Path, operator: Path) -> list[tuple[str, str]]:
    found = load(BUILTIN_TOOLS, operator, open_store(tmp_path))
    assert found.refused == ()
    return [(t.digest, t.manifest.version) for t in found.tools if t.manifest.toolset == "local"]


def test_what_is_installed_is_what_was_sent(tmp_path: Path, operator: Path) -> None:
    """A tool keeps its digest on the way to the operator's folder, whatever the umask."""
    old = os.umask(0)
    try:
        install(operator, version(1), random_name)
    finally:
        os.umask(old)
    assert installed(tmp_path, operator) == [(version(1).digest, "1.0.0")]
    install(operator, version(2), random_name)
    assert installed(tmp_path, operator) == [(version(2).digest, "2.0.0")]
    uninstall(operator, "probe", random_name)
    assert list(operator.iterdir()) == []


@pytest.mark.parametrize("step", range(8))
def test_a_crash_leaves_the_old_tool_or_the_new_one(
    tmp_path: Path, operator: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """Wherever replacing stops, after recovery exactly one whole version is there."""
    install(operator, version(1), random_name)
    steps = count()

    class PowerCut(BaseException):
        pass

    def cut_at(real: Callable[..., None]) -> Callable[..., None]:
        def maybe(*args: Any, **kwargs: Any) -> None:
            if next(steps) == step:
                raise PowerCut
            real(*args, **kwargs)

        return maybe

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", cut_at(os.fsync))
        patch.setattr(os, "rename", cut_at(os.rename))
        try:
            install(operator, version(2), random_name)
        except PowerCut:
            pass
        else:
            assert step == 7
    recover(operator)
    recover(operator)
    [found] = installed(tmp_path, operator)
    assert found in [(version(n).digest, f"{n}.0.0") for n in (1, 2)]


def test_a_folder_that_cannot_be_written_changes_nothing(tmp_path: Path) -> None:
    """A blocked folder of tools is an InstallError."""
    (tmp_path / "file").touch()
    with pytest.raises(InstallError) as caught:
        install(tmp_path / "file", version(1), random_name)
    assert caught.value.code is Reason.INSTALL_FAILED


@pytest.mark.parametrize("name", ["gone", "..", "a/b", "/etc", "", ".new-1"])
def test_only_a_tool_can_be_removed(tmp_path: Path, operator: Path, name: str) -> None:
    """A name that is no tool's folder removes nothing."""
    install(operator, version(1), random_name)
    with pytest.raises(ToolError):
        uninstall(operator, name, random_name)
    assert len(installed(tmp_path, operator)) == 1


def test_a_registry_with_a_tool_is_another_registry(tmp_path: Path) -> None:
    """Adding and removing give new registries; calls under way keep the one they have."""
    store = open_store(tmp_path)
    first = load(BUILTIN_TOOLS, None, store)
    second = first.with_tool(version(1), store)
    third = second.with_tool(version(2), store)
    tools = [registry.get("probe") for registry in (first, second, third)]
    assert [tool and tool.digest for tool in tools] == [None, version(1).digest, version(2).digest]
    assert third.without("probe").tools == first.tools
    assert second.get("probe") is tools[1]


def test_an_upload_passes_what_a_folder_passes(tmp_path: Path) -> None:
    """An uploaded tool can neither shadow a builtin nor name a program the host lacks."""
    store = open_store(tmp_path)
    registry = load(BUILTIN_TOOLS, None, store)
    with pytest.raises(ShadowError):
        registry.with_tool(uploaded(MINIMAL.replace("probe", "run_shell")), store)
    with pytest.raises(ShadowError):
        registry.without("run_shell")
    with pytest.raises(ManifestError) as caught:
        registry.with_tool(uploaded(MINIMAL.replace("/bin/echo", "/usr/bin/none-such")), store)
    assert caught.value.key == "argv.0"


def test_a_good_upload_replaces_the_refusal_of_its_folder(tmp_path: Path, operator: Path) -> None:
    """Once a broken tool is replaced, its refusal is gone from the list."""
    write_tool(operator, "probe", "name =")
    store = open_store(tmp_path)
    registry = load(BUILTIN_TOOLS, operator, store)
    assert len(registry.refused) == 1
    assert registry.with_tool(version(1), store).refused == ()

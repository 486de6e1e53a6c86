"""Being told of an approval: the person's own command, within bounds, harming nothing."""

import os
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from stockade.cli import notifying
from stockade.cli.notifying import Notifier, markup
from stockade.cli.terminal import UsageError
from stockade.cli.watch_settings import WatchSettings, load_settings
from tests.pane import Pane
from tests.stockade.conftest import Stockade
from tests.stockade.serving import Daemon, World, approval, statement

ROOT = Path(__file__).parents[2]
ID = statement(1).approval_id
WRITER = """#!/bin/sh
{ printf '%s|' "$#" "$STOCKADE_APPROVAL_ID" "$STOCKADE_SUMMARY"; cat; } >> "OUT"
"""


@pytest.fixture
def hook(tmp_path: Path) -> Callable[[str], Path]:
    """Makes a program of the person's own."""

    def make(text: str) -> Path:
        path = tmp_path / "asked"
        path.write_text(text.replace("OUT", str(tmp_path / "told")))
        path.chmod(0o700)
        return path

    return make


def _until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 90
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_the_command_is_told_in_one_safe_line(hook: Callable[[str], Path], tmp_path: Path) -> None:
    """Fixed argv; the id and one line by environment and input; nothing of the arguments in it."""
    from dataclasses import replace

    said = replace(statement(1, {"k": "v\n$(id)"}), requester_name="a\x1b[2Jb\n$(id)")
    notifier = Notifier(WatchSettings((str(hook(WRITER)), "x y")))
    notifier.tell(approval(said))
    notifier.tell(approval(said))
    told = tmp_path / "told"
    _until(lambda: told.exists() and told.read_text().endswith("\n"))
    time.sleep(0.3)
    line = "a␛[2Jb␊$(id) asks for files.write (risk 0.420, tier container)"
    assert told.read_text() == f"1|{ID}|{line}|{line}\n"
    assert notifier.failure() == ""


@pytest.mark.parametrize(
    ("text", "failure"),
    [("#!/bin/sh\nexit 3\n", "status 3"), ("no program at all", "Exec format error")],
)
def test_a_failure_is_said_and_harms_nothing(
    hook: Callable[[str], Path], text: str, failure: str
) -> None:
    """A command that fails, or cannot be started, is said once."""
    notifier = Notifier(WatchSettings((str(hook(text)),)))
    notifier.tell(approval(statement(1)))
    _until(lambda: notifier._working == 0)
    assert failure in notifier.failure()
    assert notifier.failure() == ""


def test_a_hook_is_bounded_in_time_and_number(
    hook: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that hangs is ended with what it started; what comes meanwhile is told together."""
    monkeypatch.setattr(notifying, "SECONDS", 10.0)
    script = (
        '#!/bin/sh\necho "$STOCKADE_SUMMARY" >> "OUT"\nsleep 3600 & echo $! >> "OUT.pids"\nwait\n'
    )
    notifier = Notifier(WatchSettings((str(hook(script)),)))
    for number in range(50):
        notifier.tell(approval(statement(number)))
    told, pids = tmp_path / "told", tmp_path / "told.pids"
    _until(lambda: told.exists() and " more" in told.read_text())
    _until(lambda: notifier._working == 0)
    lines = told.read_text().splitlines()
    assert len(lines) < 10
    assert any(line.endswith(" more") for line in lines)
    for pid in pids.read_text().split():
        _until(lambda pid=pid: not _lives(int(pid)))  # type: ignore[misc]


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1][0] not in "ZX"
    except FileNotFoundError:
        return False


def test_a_notification_has_no_markup() -> None:
    """A name that looks like markup is shown, not obeyed."""
    assert markup("<b>a&b") == "&lt;b&gt;a&amp;b"


def test_the_desktop_is_told(daemon: Daemon, world: World, tmp_path: Path) -> None:
    """A real notification over a session bus, by notify-send; nothing of the arguments in it."""
    world.add(statement(1))
    (daemon.home.client / "watch.toml").write_text("desktop = true\n")
    shown = tmp_path / "shown"
    watch = "from stockade.cli.main import main; main()"
    server = [sys.executable, "-m", "tests.stockade.notification_server", str(shown)]
    argv = ["dbus-run-session", "--", *server, sys.executable, "-c", watch, "approvals", "watch"]
    with Pane(argv, {"STOCKADE_HOME": str(daemon.home.config), "PYTHONPATH": str(ROOT)}) as pane:
        pane.expect("a yes, once")
        _until(shown.exists)
        pane.press("q")
        pane.ended()  # killed before its end, it would leave the bus behind
    text = "builder asks for files.write (risk 0.420, tier container)"
    assert shown.read_text() == f"Stockade|Stockade: approval|{text}\n"


@pytest.mark.parametrize(
    "text",
    [
        "comand = ['a']",
        "desktop = 1",
        "command = 'ls'",
        "command = [1]",
        "command = ['/no/such']",
        "[",
    ],
)
def test_settings_are_read_strictly(tmp_path: Path, text: str) -> None:
    """A typo in the file is said, and not taken for nothing."""
    (tmp_path / "watch.toml").write_text(text)
    with pytest.raises(UsageError):
        load_settings(tmp_path)


def test_settings_that_others_can_change_are_refused(tmp_path: Path) -> None:
    """The file names what is started: it is this user's alone to write."""
    path = tmp_path / "watch.toml"
    path.write_text(f"command = ['{sys.executable}', '-V']\nbell = true\n")
    assert load_settings(tmp_path) == WatchSettings((sys.executable, "-V"), bell=True)
    path.chmod(stat.S_IMODE(path.stat().st_mode) | 0o020)
    with pytest.raises(UsageError, match="others can change"):
        load_settings(tmp_path)


def test_the_watch_starts_the_hook(
    daemon: Daemon, world: World, hook: Callable[[str], Path], tmp_path: Path
) -> None:
    """`approvals watch --hook` tells of what waits and of what comes, at a terminal as without."""
    world.add(statement(1))
    argv = [sys.executable, "-c", "from stockade.cli.main import main; main()"]
    argv += ["approvals", "watch", "--hook", str(hook(WRITER))]
    told = tmp_path / "told"
    with Pane(argv, {"STOCKADE_HOME": str(daemon.home.config)}) as pane:
        pane.expect("a yes, once")
        _until(lambda: told.exists() and ID in told.read_text())
        world.changes.append(world.add(statement(2)))
        _until(lambda: statement(2).approval_id in told.read_text())
        assert world.requests == []


@pytest.mark.parametrize("options", [(), ("--json",)], ids=["lines", "json"])
def test_the_hook_without_a_terminal(
    daemon: Daemon,
    world: World,
    hook: Callable[[str], Path],
    tmp_path: Path,
    options: tuple[str, ...],
) -> None:
    """A watch that nobody sees tells, too: so it can be a service of the approver's own."""
    world.add(statement(1))
    argv = [sys.executable, "-c", "from stockade.cli.main import main; main()"]
    argv += ["approvals", "watch", "--hook", str(hook(WRITER)), *options]
    told = tmp_path / "told"
    with subprocess.Popen(
        argv,
        env={**os.environ, "STOCKADE_HOME": str(daemon.home.config)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    ) as watch:
        _until(lambda: told.exists() and ID in told.read_text())
        watch.terminate()
    assert world.requests == []


def test_a_hook_that_is_not_there(daemon: Daemon, stockade: Stockade) -> None:
    """A hook that cannot be started is a usage error, before anything is watched."""
    del daemon
    assert stockade("approvals", "watch", "--hook", "/no/such/program").status == 2

"""Starting where it should not: what is wrong, what to do, and no traceback."""

import signal
import socket
import subprocess
from pathlib import Path

import pytest

from tests.attacks.brief import until
from tests.attacks.starting import SECONDS, refused, serve
from tests.conftest import config_with
from tests.running import CONFIG, STOCKADED, RunningDaemon

CONFIGS = {
    "a typo in a key": ('[server]\nlissten = "127.0.0.1:0"\n', "server.lissten: unknown key"),
    "a typo in a section": ('[serwer]\nlisten = "127.0.0.1:0"\n', "serwer: unknown key"),
    "a key of a workspace": (
        '[workspaces.w]\npath = "/tmp"\nacces = "read"\n',
        "workspaces.w.acces: unknown key",
    ),
    "a text for a number": ('[server]\ndrain_seconds = "1"\n', "server.drain_seconds: "),
    "a number for a text": ("[server]\nlisten = 7607\n", "server.listen: "),
    "true for a number": ("[calls]\nmax_running = true\n", "calls.max_running: "),
    "out of range": ("[calls]\nmax_running = 0\n", "calls.max_running: "),
    "no such choice": ('[vault]\nroot = "plain"\n', "vault.root: "),
    "floors upside down": ("[risk]\ncontainer_floor = 0.9\n", "risk: "),
    "NaN": ("[risk]\ngvisor_floor = nan\n", "risk.gvisor_floor: "),
    "no port": ('[server]\nlisten = "127.0.0.1"\n', "server.listen: "),
    "not TOML": ("server = \n", "not TOML"),
    "a key twice": ('[server]\nlisten = "a:1"\nlisten = "b:2"\n', "not TOML"),
    "a relative workspace": ('[workspaces.w]\npath = "here"\n', "workspaces.w.path: "),
    "a workspace's bad name": ('[workspaces.W]\npath = "/tmp"\n', "workspaces.W"),
    "a missing workspace": (
        '[workspaces.w]\npath = "/nonexistent/anywhere"\n',
        "workspaces.w.path: ",
    ),
    "a workspace that is a file": ('[workspaces.w]\npath = "/etc/passwd"\n', "workspaces.w.path: "),
    "a workspace by a link": ('[workspaces.w]\npath = "/proc/self/cwd"\n', "workspaces.w.path: "),
}


@pytest.mark.parametrize("which", CONFIGS)
def test_a_mistake_in_the_configuration_stops_the_start(
    initialised: RunningDaemon, which: str
) -> None:
    """A mistake names its key and is never ignored: a typo must not remove a rule."""
    text, says = CONFIGS[which]
    initialised.home.config_file.write_text(text)
    assert says in refused(serve(initialised), "CONFIG_INVALID")
    assert not initialised.home.endpoint.exists()


def test_bytes_for_a_configuration(initialised: RunningDaemon) -> None:
    """A configuration that is not even text is refused like any other."""
    initialised.home.config_file.write_bytes(b"\xff\xfe\x00")
    refused(serve(initialised), "CONFIG_INVALID")
    initialised.home.config_file.unlink()
    refused(serve(initialised), "CONFIG_INVALID")
    initialised.home.config_file.mkdir()
    refused(serve(initialised), "CONFIG_INVALID")


def test_ctrl_c_while_it_starts(initialised: RunningDaemon) -> None:
    """A line, or an orderly end where it served already; no traceback."""
    process = subprocess.Popen(
        [STOCKADED, "serve"], env=initialised.environ(), stderr=subprocess.PIPE
    )
    assert process.stderr is not None
    said = process.stderr.readline()
    process.send_signal(signal.SIGINT)
    said += process.communicate(timeout=SECONDS)[1]
    assert process.returncode in (0, 130), said
    assert b"Traceback" not in said


def _held_back() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})


def test_ctrl_c_while_python_starts(initialised: RunningDaemon) -> None:
    """`stockade up` holds it back until it can be heard; then it ends the start, with a line."""
    process = subprocess.Popen(
        [STOCKADED, "serve"],
        env=initialised.environ(),
        stderr=subprocess.PIPE,
        preexec_fn=_held_back,
    )
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=SECONDS)[1]
    assert (process.returncode, said) == (130, b"stockaded: interrupted before it began\n")
    assert not initialised.home.endpoint.exists()


# What was raised inside one of these was once shown, and the daemon started all the same.
@pytest.mark.parametrize("library", ["pydantic_core", "cedarpy", "cygrpc"])
def test_ctrl_c_while_it_is_loaded(initialised: RunningDaemon, library: str) -> None:
    """It is never swallowed, and never a traceback, whatever library is being loaded."""
    process = subprocess.Popen(
        [STOCKADED, "serve"], env=initialised.environ(), stderr=subprocess.PIPE
    )
    maps = Path(f"/proc/{process.pid}/maps")
    until(lambda: process.poll() is not None or library in maps.read_text())
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=SECONDS)[1]
    assert process.returncode in (0, 130), said
    assert b"Traceback" not in said


def test_a_second_daemon_on_the_same_home(daemon: RunningDaemon) -> None:
    """One home, one daemon: the second refuses, and so does init; the first goes on."""
    assert "stockade down" in refused(serve(daemon), "HOME_IN_USE")
    daemon.initialised = False
    answer = daemon.init()
    assert answer.returncode == 2
    assert "HOME_IN_USE" in answer.stderr
    assert "fix: " in answer.stderr
    with daemon.client() as client:
        assert client.who_am_i().principal


def test_two_daemons_that_start_at_once(initialised: RunningDaemon) -> None:
    """Of many that start together on one home exactly one serves."""
    started = [
        subprocess.Popen(
            [STOCKADED, "serve"],
            env=initialised.environ(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        for _ in range(3)
    ]
    try:
        until(lambda: sum(process.poll() is not None for process in started) == 2)
        until(initialised.home.endpoint.exists)
        with initialised.client() as client:
            assert client.who_am_i().principal
        ended = [process for process in started if process.poll() is not None]
        assert [process.returncode for process in ended] == [2, 2]
        assert all(b"HOME_IN_USE" in process.communicate()[1] for process in ended)
    finally:
        for process in started:
            process.terminate()
            process.communicate(timeout=SECONDS)


def test_a_port_in_use(initialised: RunningDaemon) -> None:
    """A port that something else listens on is named, and never shared."""
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        address = f"127.0.0.1:{other.getsockname()[1]}"
        initialised.home.config_file.write_text(CONFIG.replace("127.0.0.1:0", address))
        said = refused(serve(initialised), "PORT_IN_USE")
        assert address in said
        assert "under [server]" in said
    assert not initialised.home.endpoint.exists()


def test_too_few_descriptors_are_named(initialised: RunningDaemon) -> None:
    """So few that runs would find none left: said at the start, and not in the middle of a call."""
    answer = serve(initialised, wrapper=("prlimit", "--nofile=200"))
    assert "256" in refused(answer, "TOO_FEW_DESCRIPTORS")


def test_an_address_that_is_not_here(initialised: RunningDaemon) -> None:
    """An address of no interface of this machine is a refusal too."""
    text = CONFIG.replace("127.0.0.1:0", "192.0.2.1:0")
    initialised.home.config_file.write_text(text)
    answer = serve(initialised)
    assert answer.returncode == 2
    assert "Traceback" not in answer.stderr
    assert "fix: " in answer.stderr


def test_a_home_that_is_not_initialised(tmp_path: Path) -> None:
    """Serving never makes a data directory: a mistyped path must not become one."""
    home = RunningDaemon(tmp_path / "nowhere")
    assert "stockade up" in refused(serve(home), "NOT_INITIALISED")
    assert not home.root.exists()
    home = RunningDaemon(tmp_path)
    home.home.data.mkdir()
    home.home.config_file.write_text(CONFIG)
    refused(serve(home), "NOT_INITIALISED")


def test_a_configuration_with_workspaces_starts(
    initialised: RunningDaemon, workspace: Path
) -> None:
    """The home that the mistakes above were made in does serve without them."""
    initialised.home.config_file.write_text(config_with(workspace))
    initialised.start()
    with initialised.client() as client:
        assert client.who_am_i().principal

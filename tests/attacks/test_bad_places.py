"""Places that are not as they should be: whose the home is, and a /tmp that is full."""

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.attacks.starting import refused, serve
from tests.promises.acting import ALONE, add_tool, apply, run
from tests.running import CONFIG, RunningDaemon, finished, output
from tests.structure.source import CHECKOUT

NOBODY = 65534
PLACES = ("data", "data/tools", "policies", "tools", "config.toml")
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away, or mount")


@as_root
@pytest.mark.parametrize("place", PLACES)
def test_a_home_of_another_user_is_not_served_from(initialised: RunningDaemon, place: str) -> None:
    """Whoever owns it can change it at will: it is named, with the command that mends it."""
    path = initialised.root / place
    os.chown(path, NOBODY, -1)
    said = refused(serve(initialised), "DIRECTORY_WRONG_OWNER")
    assert f"{path.resolve()} belongs to user id {NOBODY}" in said
    assert f"chown -R {os.geteuid()} -- {path.resolve()}" in said
    os.chown(path, os.geteuid(), -1)
    initialised.start()
    initialised.stop()


FULL = """\
#!/bin/sh
checkout=$1 held=$2
shift 2
mkdir -p "$held" && mount --bind "$checkout" "$held" || exit 68
mount -t tmpfs -o size=64k tmpfs /tmp || exit 70
# A checkout that lies in /tmp stays where it was.
[ -d "$checkout" ] || { mkdir -p "$checkout" && mount --bind "$held" "$checkout"; } || exit 69
head -c 1000000 /dev/zero > /tmp/fills 2>/dev/null
mkdir /tmp/no-room 2>/dev/null
echo x 2>/dev/null > /tmp/one-more && exit 71
exec "$@"
"""


@pytest.fixture
def without_tmp() -> Iterator[RunningDaemon]:
    """A daemon whose /tmp is full, in a mount namespace of its own; its home is elsewhere."""
    root = Path(tempfile.mkdtemp(prefix="stockade-test-", dir="/var/tmp"))
    root.chmod(0o711)
    wrapper = root / "full"
    wrapper.write_text(FULL)
    wrapper.chmod(wrapper.stat().st_mode | stat.S_IXUSR)
    held = (str(CHECKOUT), str(root / "held"))
    apart = ("unshare", "-m", "--propagation", "private", str(wrapper), *held)
    daemon = RunningDaemon(root / "home", CONFIG, wrapper=apart)
    try:
        yield daemon
    finally:
        daemon.stop()
        shutil.rmtree(root, ignore_errors=True)


@as_root
def test_a_full_tmp_of_the_machine_keeps_the_daemon_from_nothing(
    without_tmp: RunningDaemon,
) -> None:
    """It starts, runs calls (whose /tmp is their own), keeps secrets, checkpoints and exports."""
    daemon = without_tmp.start()
    with daemon.client() as client:
        apply(client, ALONE)
        events = run(client, "run_shell", command="echo here > /tmp/mine && cat /tmp/mine")
        assert finished(events).reason == "SUCCEEDED", finished(events)
        assert output(events) == b"here\n"
        client.put_secret("secret://global/kept", b"a-value-of-some-length")
        add_tool(client, "later", ["/bin/true"])
        assert finished(run(client, "later")).reason == "SUCCEEDED"
        client.checkpoint_ledger()
    file = str(daemon.root / "exported.jsonl")
    assert daemon.cli("ledger", "export", file).status == 0
    keys = str(daemon.home.ledger_keys)
    assert daemon.cli("ledger", "verify", file, "--key", keys).status == 0
    daemon.restart()
    with daemon.client() as client:
        assert finished(run(client, "later")).reason == "SUCCEEDED"

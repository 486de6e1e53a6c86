"""Alerts of the running daemon: signed, delivered in the end, and holding up nothing."""

import hashlib
import hmac
import json
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from stockade.client import Client
from tests.operating.posting import Posted, posted_to
from tests.promises.acting import ALONE, apply, run, until
from tests.running import CONFIG, RunningDaemon, finished, running

KEY = b"0123456789abcdef0123456789abcdef"
BURST = 5
HOOK = 'webhook = "http://127.0.0.1:1/"'


class Listener(Posted):
    """A webhook that keeps what it gets."""

    @property
    def alerts(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, body in self.got]


def listening(listener: Listener) -> AbstractContextManager[str]:
    return posted_to(listener, "/hook?token=hidden")


@contextmanager
def alerting(tmp_path: Path, url: str, *more: str) -> Iterator[RunningDaemon]:
    key = tmp_path / "key"
    key.write_bytes(KEY + b"\n")
    key.chmod(0o600)
    section = [
        *("[alerts]", f"denied_per_minute = {BURST}", f'webhook = "{url}"'),
        *(f'webhook_key_file = "{key}"', *more, ""),
    ]
    with running(CONFIG + "\n".join(section)) as daemon:
        yield daemon


def burst(client: Client) -> None:
    for _ in range(BURST):
        assert finished(run(client, "no_such_tool")).reason == "UNKNOWN_TOOL"


def test_a_burst_is_told_once_and_signed(tmp_path: Path) -> None:
    """Who knows the key can tell that it is ours, of when, and which receipt it is about."""
    with listening(listener := Listener()) as url, alerting(tmp_path, url) as daemon:
        with daemon.client() as client:
            burst(client)
            burst(client)
            device = client.credentials.device_id
            assert until(lambda: bool(listener.got))
            time.sleep(0.5)
            [(headers, body)] = listener.got
            alert = json.loads(body)
            stamp = headers["Stockade-Timestamp"]
            expected = hmac.new(KEY, stamp.encode() + b"." + body, hashlib.sha256).hexdigest()
            assert headers["Stockade-Signature"] == f"v1={expected}"
            assert abs(time.time() - int(stamp)) < 60
            assert (alert["rule"], alert["severity"]) == ("denied_burst", "warning")
            assert alert["subject"] == f"device/{device}"
            assert alert["chain"] == client.status().ledger_chain
            assert alert["receipt"] > 0
        logged = [json.loads(line) for line in daemon.log.splitlines() if '"alert"' in line]
        assert [one["rule"] for one in logged] == ["denied_burst"]
        assert "hidden" not in daemon.log


def test_a_hook_that_refuses_is_tried_again(tmp_path: Path) -> None:
    """Two refusals later it is taken, once, with a signature of its own time."""
    with listening(listener := Listener(refuse=2)) as url, alerting(tmp_path, url) as daemon:
        with daemon.client() as client:
            burst(client)
        assert until(lambda: bool(listener.got))
        assert (listener.tries, len(listener.got)) == (3, 1)
        assert '"alert.undelivered"' in daemon.log


def test_a_hook_that_hangs_holds_up_nothing(tmp_path: Path) -> None:
    """Calls go on, and the daemon ends in its time."""
    listener = Listener(hang=threading.Event())
    with listening(listener) as url, alerting(tmp_path, url) as daemon:
        with daemon.client() as client:
            apply(client, ALONE)
            burst(client)
            assert until(lambda: listener.tries > 0)
            assert finished(run(client, "run_shell", command="true")).reason == "SUCCEEDED"
        began = time.monotonic()
        assert daemon.stop() == 0
        assert time.monotonic() - began < 90  # and not as long as the other end hangs


def test_what_is_less_grave_is_told_if_it_is_wanted(tmp_path: Path) -> None:
    """A change of policy is information: told where the operator asks for so much."""
    with (
        listening(listener := Listener()) as url,
        alerting(tmp_path, url, 'least = "info"') as daemon,
        daemon.client() as client,
    ):
        apply(client, ALONE)
        assert until(lambda: "policy.applied" in [one["subject"] for one in listener.alerts])


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ('webhook = "http://127.0.0.1:1/"', "webhook_key_file"),
        ('webhook_key_file = "/tmp/x"', "webhook needs"),
        ('webhook = "ftp://x/"', r"alerts\.webhook"),
        ('webhook = "http://user:word@x/"', r"alerts\.webhook"),
        (f'{HOOK}\nwebhook_key_file = "/nonexistent"', "ALERT_KEY_UNUSABLE"),
        (f'{HOOK}\nwebhook_key_file = "/etc/passwd"', "ALERT_KEY_UNUSABLE"),
        ('least = "loud"', r"alerts\.least"),
    ],
)
def test_alerts_that_could_not_be_signed_keep_it_from_starting(section: str, said: str) -> None:
    """Rather than to run without what the operator relies on."""
    with pytest.raises(AssertionError, match=said), running(f"{CONFIG}[alerts]\n{section}\n"):
        pass

"""Renewal, as honest devices do it: nobody notices, however long a client or the daemon stays."""

import time
from pathlib import Path

import pytest

from stockade.client import Client, new_call_id
from stockade.credentials import load_credentials
from stockade.errors import CredentialsError, StockadeError
from stockade.home import Home
from stockade.v1 import policy_pb2
from tests.attacks import certificates
from tests.attacks.brief import brief, until
from tests.attacks.certificates import Presented
from tests.attacks.probing import ledger
from tests.attacks.test_devices import Listener
from tests.conftest import config_with
from tests.running import CONFIG, RunningDaemon, finished, local_device, output, running

LIFETIME = 20.0
BRIEF = 8.0
ANYTHING = """
@id("callers-unattended")
permit (principal in Group::"callers", action == Action::"call_unattended", resource);
"""


def end_of(home: Home) -> float:
    """When the certificate that is stored there ends."""
    return load_credentials(home.client).lifetime()[1].timestamp()


def test_a_client_that_stays_open_renews_and_loses_no_stream(workspace: Path) -> None:
    """Streams and a running call go on over two lifetimes; requests use the newest."""
    config = brief(device=LIFETIME) + config_with(workspace).removeprefix(CONFIG)
    with running(config) as daemon:
        home = daemon.pair_device("desk", "approvers", "auditors", "callers")
        with daemon.client() as owner, Client.open(home) as client:
            files = [*owner.get_policy().files, policy_pb2.PolicyFile(name="t", text=ANYTHING)]
            files[-1].name = "t.cedar"
            owner.apply_policy(files)
            approvals, receipts = client.watch_approvals(), client.follow_ledger(1)
            listeners = [Listener(approvals), Listener(receipts)]
            seconds = int(2 * LIFETIME)
            command = {"command": f"echo begun; sleep {seconds}; echo survived"}
            call = Listener(client.call("run_shell", command, call_id=new_call_id()))
            first = end_of(home)
            for _ in range(seconds):
                assert local_device(client).name == "desk"
                assert local_device(owner).name == "local"
                time.sleep(1)
            assert time.time() > first + LIFETIME
            assert end_of(home) > first + LIFETIME
            assert call.ended() is None
            assert output(call.events) == b"begun\nsurvived\n"
            assert finished(call.events).reason
            # What happens now still comes down the streams of then.
            waiting = Listener(
                owner.call("write_file", {"workspace": "work", "path": "x", "content": "x"})
            )
            assert listeners[0].first.wait(90)
            until(lambda: owner.list_approvals() != [])
            owner_sees = owner.status().ledger_sequence
            until(lambda: listeners[1].events[-1].sequence >= owner_sees)
            assert all(listener.thread.is_alive() for listener in listeners)
            kinds = [
                one["body"]["device"] for one in ledger(owner) if one["kind"].endswith("newed")
            ]
            mine = local_device(client).device_id
            assert 2 <= kinds.count(mine) <= 2 + (time.time() - first + LIFETIME) / (LIFETIME / 3)
            for stream in (approvals, receipts, waiting.stream):
                stream.cancel()


def test_the_old_certificate_stays_good_until_it_ends(shared_daemon: RunningDaemon) -> None:
    """A renewal takes nothing away from what was begun with the certificate before."""
    home = shared_daemon.pair_device("overlapping", "auditors")
    old = Presented.of(home)
    with certificates.client(shared_daemon, old) as before:
        stream = before.follow_ledger(1)
        listener = Listener(stream)
        assert listener.first.wait(90)
        with Client.open(home) as client:
            client.renew_certificate(home)
            assert Presented.of(home).certificate != old.certificate
            assert local_device(client) == local_device(before)
        assert listener.thread.is_alive()
        stream.cancel()


def test_another_process_of_the_device_may_renew(shared_daemon: RunningDaemon) -> None:
    """`devices renew` gives a new certificate, which is stored whole."""
    before = end_of(shared_daemon.home)
    time.sleep(1)
    answer = shared_daemon.cli("devices", "renew", "--json")
    assert answer.status == 0, answer.err
    assert end_of(shared_daemon.home) > before
    assert shared_daemon.cli("whoami").status == 0


def test_the_servers_certificate_is_renewed_while_it_serves() -> None:
    """New connections find a good one long after the first has ended; old connections go on."""
    with running(brief(server=LIFETIME)) as daemon, daemon.client() as client:
        stream = client.follow_ledger(1)
        listener = Listener(stream)
        seen: dict[int, float] = {}
        ends = time.time() + 2 * LIFETIME + 2
        while time.time() < ends:
            shown = certificates.shown_by(daemon)
            assert shown.not_valid_after_utc.timestamp() > time.time()
            seen[shown.serial_number] = shown.not_valid_after_utc.timestamp()
            with Client.open(daemon.home) as another:  # verifies it, chain and name
                assert local_device(another).name == "local"
            time.sleep(0.5)
        assert min(seen.values()) < time.time() - LIFETIME
        assert 3 <= len(seen) <= 8
        assert listener.thread.is_alive()
        assert local_device(client).name == "local"
        stream.cancel()


def test_an_idle_daemon_shows_a_good_certificate_to_the_first_who_comes() -> None:
    """Nobody connects while the certificate of the start ends; the first connection works."""
    with running(brief(server=9)) as daemon:
        time.sleep(12)
        with daemon.client() as client:
            assert local_device(client).name == "local"


def test_an_expired_local_device_heals_by_up() -> None:
    """Its user runs `stockade up`; while the daemon serves, it says to end it first."""
    with running(brief(local=BRIEF)) as daemon:
        home = daemon.home
        device = load_credentials(home.client).device_id
        until(lambda: time.time() > end_of(home) + 1)
        answer = daemon.cli("whoami")
        assert answer.status == 20
        assert "CERTIFICATE_EXPIRED" in answer.err
        assert "stockade up" in answer.err
        serving = daemon.cli("up", "--detach")
        assert serving.status == 20
        assert "stockade down" in serving.err
        assert daemon.cli("down").status == 0
        home.config_file.write_text(brief())  # so that the next lasts, however long a start takes
        assert daemon.cli("up", "--detach").status == 0
        try:
            assert daemon.cli("whoami").status == 0
            assert load_credentials(home.client).device_id == device
        finally:
            assert daemon.cli("down").status == 0


def test_an_expired_remote_device_pairs_again_as_another() -> None:
    """It is told to, keeps nothing of its old id, and the old one is the owner's to revoke."""
    with running(brief(device=LIFETIME)) as daemon, daemon.client() as owner:
        home = daemon.pair_device("away", "auditors")
        old = load_credentials(home.client)
        until(lambda: time.time() > end_of(home) + 1)
        with pytest.raises(CredentialsError) as caught:
            Client.open(home)
        assert caught.value.reason == "CERTIFICATE_EXPIRED"
        assert "stockade pair" in caught.value.fix
        # However hard it tries, the daemon does not renew what has ended.
        with certificates.client(daemon, Presented.of(home)) as late, pytest.raises(StockadeError):
            late.renew_certificate(home)
        assert daemon.pair_device("away", "auditors") == home
        new = load_credentials(home.client)
        assert new.device_id != old.device_id
        assert new.key_bytes != old.key_bytes
        owner.revoke_device(old.device_id)
        with Client.open(home) as client:
            assert local_device(client).device_id == new.device_id

"""Devices that were revoked, or that leave at a bad moment: the registry says what is true."""

import hashlib
import json
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest

from stockade.client import Client, new_call_id
from stockade.connection import Stream
from stockade.credentials import certificate_request, public_key_info
from stockade.errors import Conflict, NotAuthenticated, StockadeError
from stockade.home import Home
from stockade.v1 import device_pb2, device_pb2_grpc, policy_pb2
from tests.attacks import certificates
from tests.attacks.certificates import Presented
from tests.attacks.probing import ledger, newest, raw_error, receipts_of, send, sequence
from tests.attacks.test_pairing import ask, invited
from tests.running import STOCKADE, RunningDaemon, local_device

DEADLINE = 90
WHO_AM_I = "/stockade.v1.DeviceService/WhoAmI"
UNATTENDED = """
@id("callers-unattended")
permit (principal in Group::"callers", action == Action::"call_unattended", resource);
"""


def device_id(home: Home) -> str:
    """The id of the device whose credentials are there."""
    with Client.open(home) as client:
        return local_device(client).device_id


@dataclass
class Listener:
    """Reads a stream in a thread until it ends, and keeps how it ended."""

    stream: Stream[Any]
    events: list[Any] = field(default_factory=list)
    error: StockadeError | None = None
    first: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self) -> None:
        try:
            for event in self.stream:
                self.events.append(event)
                self.first.set()
        except StockadeError as error:
            self.error = error

    def ended(self) -> StockadeError | None:
        """How it ended, once it has."""
        self.thread.join(DEADLINE)
        assert not self.thread.is_alive()
        return self.error


def until(true: Callable[[], bool]) -> bool:
    """Whether it becomes true before the deadline."""
    for _ in range(DEADLINE * 20):
        if true():
            return True
        threading.Event().wait(0.05)
    return False


def processes_with(token: str) -> list[psutil.Process]:
    """The processes of this machine that have the token in their command line."""
    found = []
    for process in psutil.process_iter():
        try:
            if any(token in argument for argument in process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found


@pytest.fixture
def owner(daemon: RunningDaemon) -> Iterator[Client]:
    """The owner's client, with a policy that lets callers run anything unattended."""
    with daemon.client() as client:
        files = [*client.get_policy().files, policy_pb2.PolicyFile(name="t.cedar", text=UNATTENDED)]
        client.apply_policy(files)
        yield client


def test_a_device_that_hears_nothing_does_not_hold_up_its_revocation(
    daemon: RunningDaemon, owner: Client
) -> None:
    """Its program is stopped with a stream open, and cannot be told: it is out all the same."""
    home = daemon.pair_device("stopped", "auditors")
    command: list[str | Path] = [STOCKADE, "ledger", "tail", "-f", "--json"]
    environment = {**daemon.environ(), "STOCKADE_HOME": str(home.config)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as still:
        try:
            assert still.stdout is not None
            assert still.stdout.readline()
            still.send_signal(signal.SIGSTOP)
            owner.revoke_device(device_id(home))
            latest = owner.read_ledger(page_size=5).receipts
            assert "device.revoked" in [json.loads(one.canonical)["kind"] for one in latest]
            with pytest.raises(StockadeError) as caught, Client.open(home) as again:
                again.who_am_i()
            assert caught.value.reason == "DEVICE_REVOKED"
        finally:
            still.kill()


def test_revoking_cuts_everything_a_device_has(daemon: RunningDaemon, owner: Client) -> None:
    """Open streams end, the running tool dies, new RPCs are refused, also after a restart."""
    home = daemon.pair_device("lost", "callers", "auditors")
    lost, call_id, token = device_id(home), new_call_id(), f"7{new_call_id()[-8:]}"
    with Client.open(home) as client:
        approvals = Listener(client.watch_approvals())
        receipts = Listener(client.follow_ledger(1))
        command = f"echo started; sleep 600; echo {token}"
        call = Listener(client.call("run_shell", {"command": command}, call_id=call_id))
        assert receipts.first.wait(DEADLINE)
        assert until(lambda: any(event.HasField("output") for event in call.events)), call.events
        assert processes_with(token)

        owner.revoke_device(lost)

        for listener in (approvals, receipts, call):
            error = listener.ended()
            assert error is not None or listener is call  # which may hear of its own end first
            if error is not None:
                assert (error.reason, error.grpc_code) == ("DEVICE_REVOKED", "UNAUTHENTICATED")
                assert error.fix
        assert until(lambda: not processes_with(token))
        kinds = [receipt["kind"] for receipt in receipts_of(owner, call_id)]
        assert until(lambda: receipts_of(owner, call_id)[-1]["kind"] == "call.cancelled"), kinds
        assert receipts_of(owner, call_id)[-1]["body"]["reason"] == "DEVICE_REVOKED"
        refused_everywhere(daemon, client, home)

    revocations = [one for one in ledger(owner) if one["kind"] == "device.revoked"]
    assert [one["body"]["device"] for one in revocations] == [lost]
    daemon.restart()
    # Not by its own profile: that has the address of the daemon before.
    with certificates.client(daemon, Presented.of(home)) as client:
        refused_everywhere(daemon, client, home)


def test_a_revoked_device_neither_renews_nor_comes_back_as_itself(
    shared_daemon: RunningDaemon,
) -> None:
    """Its certificate renews nothing; its key, paired again by an owner, is another device."""
    home = shared_daemon.pair_device("gone", "callers")
    gone, request = device_id(home), certificate_request(certificates.key_of(home))
    with shared_daemon.client() as owner:
        owner.revoke_device(gone)
        with (
            certificates.channel(shared_daemon, Presented.of(home)) as channel,
            pytest.raises(grpc.RpcError) as refused,
        ):
            device_pb2_grpc.DeviceServiceStub(channel).RenewCertificate(
                device_pb2.RenewCertificateRequest(certificate_request=request), timeout=DEADLINE
            )
        assert raw_error(refused.value).reason == "DEVICE_REVOKED"
        key = hashlib.sha256(public_key_info(certificates.key_of(home))).digest()
        with invited(owner) as (code, _):
            stream = ask(code, request, code.proof(key))
            owner.confirm_pairing(code.invitation_id, next(stream).waiting.words, accept=True)
            (event,) = stream
        assert event.paired.device_id != gone
        with certificates.channel(shared_daemon, Presented.of(home)) as channel:
            with pytest.raises(grpc.RpcError) as refused:
                send(channel, WHO_AM_I)
            assert raw_error(refused.value).reason == "DEVICE_REVOKED"
        assert {one.device_id: one.status for one in owner.list_devices()}[gone] == "revoked"


def refused_everywhere(daemon: RunningDaemon, client: Client, home: Home) -> None:
    """On the old connection and on a new one; recorded as what it is."""
    with pytest.raises(NotAuthenticated) as caught:
        client.who_am_i()
    assert caught.value.reason == "DEVICE_REVOKED"
    with pytest.raises(NotAuthenticated):
        list(client.call("read_file", {"workspace": "work", "path": "hello.txt"}))
    with (
        certificates.channel(daemon, Presented.of(home)) as channel,
        pytest.raises(grpc.RpcError) as raw,
    ):
        send(channel, WHO_AM_I)
    error = raw_error(raw.value)
    assert (error.domain, error.reason) == ("stockade", "DEVICE_REVOKED")
    assert error.fix
    with daemon.client() as owner:
        assert newest(owner)["body"]["reason"] == "DEVICE_REVOKED"


def test_a_waiting_call_of_a_revoked_device_can_no_longer_be_approved(
    daemon: RunningDaemon,
) -> None:
    """A call that waits for a human, even a detached one, ends with its device."""
    home = daemon.pair_device("lost", "callers")
    call_id = new_call_id()
    with Client.open(home) as client, daemon.client() as owner:
        call = Listener(
            client.call(
                "write_file",
                {"workspace": "work", "path": "never.txt", "content": "x"},
                call_id=call_id,
                detach=True,
            )
        )
        assert until(lambda: bool(owner.list_approvals()))
        waiting = owner.list_approvals()[0]
        owner.revoke_device(device_id(home))
        call.ended()
        assert until(lambda: not owner.list_approvals())
        with pytest.raises(Conflict) as caught:
            owner.answer_approval(waiting, approve=True)
        assert caught.value.reason == "APPROVAL_NOT_PENDING"
        last = receipts_of(owner, call_id)[-1]
    assert (last["kind"], last["body"]["reason"]) == ("call.cancelled", "DEVICE_REVOKED")


def test_the_last_owner_stays(shared_daemon: RunningDaemon) -> None:
    """Nobody can leave the daemon without an owner: not by revoking, not by changing groups."""
    with shared_daemon.client() as owner:
        me, before = local_device(owner).device_id, sequence(owner)
        with pytest.raises(Conflict) as caught:
            owner.revoke_device(me)
        assert (caught.value.reason, caught.value.grpc_code) == (
            "LAST_OWNER",
            "FAILED_PRECONDITION",
        )
        assert caught.value.fix
        for groups in ([], ["operators"]):
            with pytest.raises(Conflict) as caught:
                owner.set_device_groups(me, groups)
            assert caught.value.reason == "LAST_OWNER"
            assert caught.value.fix
        assert sequence(owner) == before
        assert list(local_device(owner).groups) == ["owners"]


def test_a_revoked_owner_is_no_owner(shared_daemon: RunningDaemon) -> None:
    """A second owner that was revoked does not count: the first is the last again."""
    home = shared_daemon.pair_device("deputy", "owners")
    with shared_daemon.client() as owner:
        owner.revoke_device(device_id(home))
        with pytest.raises(Conflict) as caught:
            owner.revoke_device(local_device(owner).device_id)
    assert caught.value.reason == "LAST_OWNER"


def test_an_owner_without_a_good_certificate_is_no_owner(daemon: RunningDaemon) -> None:
    """Only an owner could pair it anew: the one that can connect stays, until there is another."""
    home = daemon.pair_device("deputy", "owners")
    with daemon.client() as owner:
        deputy = next(one for one in owner.list_devices() if one.name == "deputy")
        owner.revoke_certificate(deputy.certificates[0].serial)
        me = local_device(owner).device_id
        for attempt in (
            lambda: owner.revoke_device(me),
            lambda: owner.set_device_groups(me, ["operators"]),
            lambda: owner.revoke_certificate(local_device(owner).certificates[0].serial),
        ):
            with pytest.raises(Conflict) as caught:
                attempt()
            assert caught.value.reason == "LAST_OWNER"
        with Client.open(daemon.pair_device("heir", "owners")) as heir:
            heir.revoke_device(me)
            with pytest.raises(Conflict) as caught:
                heir.revoke_device(local_device(heir).device_id)
            assert caught.value.reason == "LAST_OWNER"
            heir.revoke_device(deputy.device_id)
    with certificates.client(daemon, Presented.of(home)) as gone, pytest.raises(NotAuthenticated):
        gone.who_am_i()


def test_a_device_that_goes_with_its_certificate_is_paired(shared_daemon: RunningDaemon) -> None:
    """A device hangs up once it has its certificate; its inviter still hears that it is in."""
    for number in range(15):
        # The harness asserts that the inviter was told PAIRED.
        home = shared_daemon.pair_device(f"hasty-{number}")
        assert device_id(home)


def test_an_owner_may_revoke_itself_when_another_stays(daemon: RunningDaemon) -> None:
    """A device that revokes itself is out, and that is recorded, though its own RPC is cut."""
    home = daemon.pair_device("deputy", "owners")
    deputy = device_id(home)
    with Client.open(home) as client:
        try:
            client.revoke_device(deputy)
        except NotAuthenticated as error:
            assert error.reason == "DEVICE_REVOKED"  # noqa: PT017 - either answer is right
        with pytest.raises(NotAuthenticated):
            client.who_am_i()
    with daemon.client() as owner:
        states = {device.device_id: device.status for device in owner.list_devices()}
        assert states[deputy] == "revoked"

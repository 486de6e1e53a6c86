"""Agents that renew, change, or end: which certificate is good, and what is cut at once."""

import threading
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from cryptography import x509

from identity.names import AgentName, DeviceId
from stockade.client import Client, new_call_id
from stockade.credentials import certificate_request, load_credentials, make_key
from stockade.errors import BadRequest, Conflict, NotAuthenticated
from stockade.v1 import call_pb2, device_pb2
from tests.attacks import certificates
from tests.attacks.certificates import Presented
from tests.attacks.enrolling import connect, enroll_agent, manifest_text, wait_for
from tests.attacks.probing import denied, ledger, newest, receipts_of
from tests.attacks.test_devices import Listener, device_id, processes_with, until
from tests.identity import making
from tests.promises.acting import policy
from tests.running import RunningDaemon, local_device

# What is "at once" on a machine that may be busy; without the cut, a call goes on for ten minutes.
DEADLINE = 60
READ = {"workspace": "work", "path": "hello.txt"}
UNATTENDED = 'permit (principal, action == Action::"call_unattended", resource);'


def test_an_agents_certificate_is_no_devices(shared_daemon: RunningDaemon, owner: Client) -> None:
    """Names that look like a device's id, or kinds that are swapped, name nobody."""
    authority = certificates.own_authority(shared_daemon)
    me = local_device(owner).device_id
    own = load_credentials(shared_daemon.home.client)
    now, hour = datetime.now(UTC), timedelta(hours=1)
    request = certificate_request(own.key)
    as_agent = authority.issue_agent(request, AgentName(me), now, hour)
    bot = enroll_agent(shared_daemon, me)
    assert bot.id != me
    bot_key = load_credentials(bot.home.client).key
    as_device = authority.issue_device(certificate_request(bot_key), DeviceId(me), now, hour)
    other = authority.issue_agent(certificate_request(bot_key), AgentName(bot.id), now, hour)
    for key, issued in ((own.key, as_agent), (bot_key, as_device), (bot_key, other)):
        shown = Presented(making.private_pem(key), issued.pem)
        with certificates.client(shared_daemon, shown) as client:
            with pytest.raises(NotAuthenticated) as caught:
                client.who_am_i()
            assert caught.value.reason == "CERT_UNKNOWN"


def test_an_agent_renews_for_its_own_key_alone(shared_daemon: RunningDaemon, owner: Client) -> None:
    """Renewal keeps the identity and is a receipt; another key is refused."""
    bot = enroll_agent(shared_daemon, "renewing")
    with bot.client() as client:
        before = load_credentials(bot.home.client).certificate
        client.renew_certificate(bot.home)
        assert load_credentials(bot.home.client).certificate != before
        renewed = newest(owner)
        assert (renewed["kind"], renewed["body"]["agent"]) == ("agent.renewed", bot.id)
        assert renewed["body"]["manifest_digest"] == bot.digest
    with bot.client() as client:
        assert client.who_am_i().agent.agent_id == bot.id
        other = device_pb2.RenewCertificateRequest(
            certificate_request=certificate_request(make_key())
        )
        with pytest.raises(BadRequest) as caught:
            client._connection.ask(client._devices.RenewCertificate, other)
        assert caught.value.reason == "AGENT_KEY_CHANGED"


def test_one_certificate_of_an_agent_can_be_revoked(
    shared_daemon: RunningDaemon, owner: Client
) -> None:
    """A certificate that was stolen is ended alone; the agent's next one is good."""
    bot = enroll_agent(shared_daemon, "robbed")
    stolen = Presented.of(bot.home)
    with bot.client() as client:
        client.renew_certificate(bot.home)
    serial = x509.load_pem_x509_certificate(stolen.certificate).serial_number
    owner.revoke_certificate(format(serial, "x"))
    with certificates.client(shared_daemon, stolen) as thief, pytest.raises(NotAuthenticated):
        thief.who_am_i()
    with bot.client() as client:
        assert client.who_am_i().agent.agent_id == bot.id


def running_call(client: Client, token: str, command: str = "") -> Listener:
    """A call that runs until it is ended."""
    script = command or f"echo started; sleep 600; echo {token}"
    call = Listener(client.call("run_shell", {"command": script}))
    assert until(lambda: any(event.HasField("output") for event in call.events)), call.events
    return call


def ended_for(owner: Client, call_id: str, reason: str) -> bool:
    """Whether the call was cancelled for that reason."""
    last = receipts_of(owner, call_id)[-1]
    return (last["kind"], last["body"]["reason"]) == ("call.cancelled", reason)


def test_a_changed_manifest_is_another_agent(daemon: RunningDaemon) -> None:
    """Enrolled with another manifest, the agent before is out at once: streams, calls, renewal."""
    first, token = enroll_agent(daemon, "build"), f"7{new_call_id()[-8:]}"
    with daemon.client() as owner, policy(owner, UNATTENDED), first.client() as old:
        call = running_call(old, token)
        second = enroll_agent(daemon, "build", version="2", folder="second")
        assert second.id != first.id
        assert second.enrolled.answer.replaces == first.id
        call.thread.join(DEADLINE)
        assert not call.thread.is_alive()
        assert until(lambda: not processes_with(token))
        for attempt in (old.who_am_i, lambda: old.renew_certificate(first.home)):
            with pytest.raises(NotAuthenticated) as caught:
                attempt()
            assert caught.value.reason == "AGENT_REVOKED"
        assert until(partial(ended_for, owner, call.events[0].call_id, "AGENT_REPLACED"))
        with second.client() as new:
            assert new.who_am_i().agent.manifest_digest == second.digest
        # The former manifest does not come back: an id is never given twice.
        with pytest.raises(Conflict) as conflict:
            enroll_agent(daemon, "build", version="1", folder="third")
        assert conflict.value.reason == "AGENT_REVOKED"
        # And the attempt to bring it back has ended nobody.
        with second.client() as new:
            assert new.who_am_i().agent.agent_id == second.id


def test_enrolled_again_only_the_newest_certificate_is_good(daemon: RunningDaemon) -> None:
    """The same manifest again is the same agent; whoever has its former key has nothing."""
    first = enroll_agent(daemon, "build")
    again = enroll_agent(daemon, "build", folder="again")
    assert again.id == first.id
    with first.client() as old, pytest.raises(NotAuthenticated):
        old.who_am_i()
    with again.client() as new:
        assert new.who_am_i().agent.agent_id == first.id


def test_a_revoked_agent_is_out_and_stays_out(daemon: RunningDaemon) -> None:
    """Its calls die, also the one that waits, its RPCs are refused, also after a restart."""
    bot, token = enroll_agent(daemon, "build"), f"7{new_call_id()[-8:]}"
    with daemon.client() as owner, bot.client() as client:
        waiting = wait_for(client, owner, "run_shell", command="id", detach=True)
        with policy(owner, UNATTENDED):
            call = running_call(client, token)
            owner.revoke_agent(bot.id)
        call.thread.join(DEADLINE)
        assert not call.thread.is_alive()
        assert until(lambda: not processes_with(token))
        for call_id in (call.events[0].call_id, waiting.call_id):
            assert until(partial(ended_for, owner, call_id, "AGENT_REVOKED"))
        with pytest.raises(Conflict):
            owner.answer_approval(waiting.approval, approve=True)
        revoked = [one["body"] for one in ledger(owner) if one["kind"] == "agent.revoked"]
        assert [(one["agent"], one["reason"]) for one in revoked] == [(bot.id, "AGENT_REVOKED")]
        assert local_device(owner).status == "active"
    daemon.restart()
    with bot.client() as client, pytest.raises(NotAuthenticated) as caught:
        client.who_am_i()
    assert caught.value.reason == "AGENT_REVOKED"
    with pytest.raises(Conflict):
        enroll_agent(daemon, "build")


def test_an_agent_ends_with_its_device(daemon: RunningDaemon) -> None:
    """Revoking the device cuts its agents' streams and calls at once, each with a receipt."""
    home = daemon.pair_device("lost", "callers")
    bot, token = enroll_agent(daemon, "bot", home), f"7{new_call_id()[-8:]}"
    with daemon.client() as owner, policy(owner, UNATTENDED), bot.client() as client:
        call = running_call(client, token)
        owner.revoke_device(device_id(home))
        call.thread.join(DEADLINE)
        assert not call.thread.is_alive()
        assert until(lambda: not processes_with(token))
        with pytest.raises(NotAuthenticated):
            client.who_am_i()
        ended = [one["body"] for one in ledger(owner) if one["kind"] == "agent.revoked"]
        assert [(one["agent"], one["reason"]) for one in ended] == [(bot.id, "DEVICE_REVOKED")]
        assert [one.status for one in owner.list_agents()] == ["revoked"]
    daemon.restart()
    # Not by its own profile: that has the address of the daemon before.
    with connect(daemon, bot.home) as client, pytest.raises(NotAuthenticated):
        client.who_am_i()


def test_agents_survive_a_restart(daemon: RunningDaemon) -> None:
    """An agent, and its detached call that waits, are as they were after the daemon was killed."""
    bot = enroll_agent(daemon, "build", capabilities='tools = ["run_shell"]')
    with daemon.client() as owner, bot.client() as client:
        waiting = wait_for(client, owner, "run_shell", command="true", detach=True)
    daemon.restart(9)
    with daemon.client() as owner, bot.client() as client:
        told = client.who_am_i().agent
        assert (told.agent_id, told.manifest_digest) == (bot.id, bot.digest)
        assert list(told.capabilities.tools) == ["run_shell"]
        denied(owner, list(client.call("read_file", READ)), "UNDECLARED_TOOL")
        call = Listener(client.watch_call(waiting.call_id))
        owner.answer_approval(owner.get_approval(waiting.approval.approval_id), approve=True)
        call.ended()
        assert call.events[-1].finished.state == call_pb2.CALL_STATE_SUCCEEDED
        assert call.events[0].received.principal == f"agent/{bot.id}"


def test_two_enrolments_at_once_leave_one_agent(daemon: RunningDaemon) -> None:
    """Different manifests under one name that race: exactly one is active when both are done."""
    with daemon.client() as owner:

        def attempt(number: int) -> None:
            text = manifest_text("build", version=str(number)).encode()
            owner.enroll_agent("build", text, certificate_request(make_key()))

        threads = [threading.Thread(target=attempt, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(DEADLINE)
        states = [one.status for one in owner.list_agents()]
    assert sorted(states) == ["active", *["revoked"] * 5]

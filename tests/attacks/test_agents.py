"""Agents: never more than their device, never more than they declared, never a person."""

from collections.abc import Iterator
from datetime import timedelta

import grpc
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from daemon.rpc.authorization import RULES
from stockade.approving import sign_answer
from stockade.client import Client, new_call_id
from stockade.credentials import certificate_request, load_credentials, make_key
from stockade.errors import BadRequest, NotFound, NotPermitted
from stockade.v1 import call_pb2
from tests.attacks import certificates
from tests.attacks.certificates import Presented
from tests.attacks.enrolling import EnrolledAgent, connect, enroll_agent, manifest_text, wait_for
from tests.attacks.probing import denied, ledger, raw_error, receipts_of, send
from tests.attacks.test_devices import device_id
from tests.identity import making
from tests.promises.acting import add_tool, answer_raw, apply, policy
from tests.running import RunningDaemon, finished, local_device, output

READ = {"workspace": "work", "path": "hello.txt"}
UNATTENDED = 'permit (principal, action == Action::"call_unattended", resource);'
OPEN = "permit (principal, action, resource);"
# What an agent may do at all, under the most open policy there is.
FOR_AGENTS = {
    *("GetStatus", "WhoAmI", "RenewCertificate", "ListTools", "GetTool", "Check", "List", "Watch"),
    *("ListCalls", "GetPolicy", "CheckPolicy", "ListPolicyVersions", "ListSecrets", "ListDevices"),
    *("ReadLedger", "FollowLedger", "ExportLedger", "GetLedgerKeys", "ServerReflectionInfo"),
    *("GetEntities", "TestPolicy", "DiffPolicy"),
    *("Call", "WatchCall", "CancelCall", "ListAgents", "AnswerApproval", "ListLeases"),
}

FOR_PERSONS = sorted(method for method in RULES if method.rpartition("/")[2] not in FOR_AGENTS)


@pytest.fixture(scope="module")
def build(shared_daemon: RunningDaemon) -> EnrolledAgent:
    """An agent of the local device, an owner's, that declared every tool."""
    return enroll_agent(shared_daemon, "build")


@pytest.fixture(scope="module")
def agent(build: EnrolledAgent) -> Iterator[Client]:
    """A client that acts as it."""
    with build.client() as client:
        yield client


# What it is


def test_an_agent_is_named_by_its_certificate(owner: Client, agent: Client) -> None:
    """The daemon names agent, device and manifest; the id carries name, digest and device."""
    told, me = agent.who_am_i(), local_device(owner)
    assert told.device.device_id == me.device_id
    assert told.principal == f"agent/{told.agent.agent_id}"
    assert told.agent.agent_id == f"build-{told.agent.manifest_digest[:12]}-{me.device_id[4:12]}"
    lifetime = agent.credentials.lifetime()
    assert lifetime[1] - lifetime[0] < timedelta(hours=9)


def test_its_receipts_name_it_and_its_manifest(
    owner: Client, agent: Client, build: EnrolledAgent
) -> None:
    """A call's receipts say which agent, by which manifest, of which device."""
    call_id = new_call_id()
    events = list(agent.call("read_file", READ, call_id=call_id))
    assert output(events) == b"hello\n"
    received = receipts_of(owner, call_id)[0]["body"]
    assert received["principal"] == f"agent/{build.id}"
    assert (received["agent"], received["manifest_digest"]) == (build.id, build.digest)
    assert received["device"] == local_device(owner).device_id
    enrolled = [one for one in ledger(owner) if one["kind"] == "agent.enrolled"]
    assert enrolled[0]["body"]["manifest_digest"] == build.digest


# Never more than its device


def test_an_agent_may_do_no_more_than_its_device(shared_daemon: RunningDaemon) -> None:
    """The agent of a device that may not call may not, though a policy names the agent."""
    home = shared_daemon.pair_device("idle", "auditors")
    with shared_daemon.client() as owner, policy(owner, ""):
        scope = f'principal == Device::"{device_id(home)}", action == Action::"enroll_agent"'
        allow = f"permit ({scope}, resource);"
        apply(owner, allow)
        bot = enroll_agent(shared_daemon, "idlebot", home)
        apply(owner, f'permit (principal == Agent::"{bot.id}", action, resource);')
        with bot.client() as client:
            end = denied(owner, list(client.call("read_file", READ)), "NOT_PERMITTED")
            assert "device" in end.message
        with connect(shared_daemon, home) as itself:
            denied(owner, list(itself.call("read_file", READ)), "NOT_PERMITTED")


def test_an_agent_reads_nothing_that_its_device_may_not(shared_daemon: RunningDaemon) -> None:
    """A permit to read everything, written for the agent alone, reads nothing."""
    home = shared_daemon.pair_device("narrow", "callers")
    bot = enroll_agent(shared_daemon, "narrowbot", home)
    with (
        shared_daemon.client() as owner,
        policy(owner, f'permit (principal == Agent::"{bot.id}", action, resource);'),
        bot.client() as client,
    ):
        for attempt in (client.get_policy, client.list_devices, client.list_secrets):
            with pytest.raises(NotPermitted):
                attempt()
        assert output(list(client.call("read_file", READ))) == b"hello\n"


def test_what_its_device_is_asked_about_the_agent_is_asked_about(
    owner: Client, agent: Client, build: EnrolledAgent
) -> None:
    """Unattended for the agent alone is not unattended."""
    alone = UNATTENDED.replace("principal,", f'principal == Agent::"{build.id}",', 1)
    with policy(owner, alone):
        waiting = wait_for(agent, owner, "run_shell", command="id")
        agent.cancel_call(waiting.call_id)
    with policy(owner, UNATTENDED):
        assert finished(list(agent.call("run_shell", {"command": "true"}))).exit_code == 0


@pytest.mark.parametrize("whom", ["agent", "device"])
def test_a_forbid_on_either_stops_the_agent(
    owner: Client, agent: Client, build: EnrolledAgent, whom: str
) -> None:
    """What is forbidden to its device is forbidden to it; and what is forbidden to it alone."""
    device = local_device(owner).device_id
    named = f'Agent::"{build.id}"' if whom == "agent" else f'Device::"{device}"'
    with policy(owner, f'forbid (principal == {named}, action == Action::"call", resource);'):
        denied(owner, list(agent.call("read_file", READ)), "FORBIDDEN")
        if whom == "agent":
            assert output(list(owner.call("read_file", READ))) == b"hello\n"


# Never more than it declared


def test_an_undeclared_tool_is_refused(shared_daemon: RunningDaemon, owner: Client) -> None:
    """A tool that the manifest does not name is denied under an open policy, and nothing runs."""
    bot = enroll_agent(shared_daemon, "reader", capabilities='tools = ["read_file"]')
    with policy(owner, OPEN), bot.client() as client:
        assert output(list(client.call("read_file", READ))) == b"hello\n"
        denied(owner, list(client.call("run_shell", {"command": "id"})), "UNDECLARED_TOOL")
    nothing = enroll_agent(shared_daemon, "nothing", capabilities="")
    with policy(owner, OPEN), nothing.client() as client:
        denied(owner, list(client.call("read_file", READ)), "UNDECLARED_TOOL")


def test_an_undeclared_secret_is_refused(shared_daemon: RunningDaemon, owner: Client) -> None:
    """A tool that gets a secret is denied to an agent that declared the tool alone."""
    secret = '[[secrets]]\nreference = "secret://global/agents_key"\nenv = "KEY"\n'
    add_tool(owner, "keyed_for_agents", ["/bin/true"], rest=secret)
    owner.put_secret("secret://global/agents_key", b"hunter2-hunter2")
    tools = 'tools = ["keyed_for_agents"]'
    without = enroll_agent(shared_daemon, "without", capabilities=tools)
    more = f'{tools}\nsecrets = ["secret://global/agents_key"]'
    with_it = enroll_agent(shared_daemon, "with_it", capabilities=more)
    with policy(owner, OPEN), without.client() as client, with_it.client() as other:
        denied(owner, list(client.call("keyed_for_agents", {})), "UNDECLARED_SECRET")
        assert finished(list(other.call("keyed_for_agents", {}))).exit_code == 0


@pytest.mark.parametrize(
    ("manifest", "name"),
    [
        (b"", "x"),
        (b"\xff", "x"),
        (manifest_text("x").encode() + b"admin = true\n", "x"),
        (manifest_text("x").encode(), "y"),
        (manifest_text("X").encode(), "X"),
        (manifest_text("x", 'tools = ["*"]').encode(), "x"),
    ],
)
def test_a_manifest_that_is_none_enrolls_nobody(owner: Client, manifest: bytes, name: str) -> None:
    """Unknown keys, wildcards, another name, other bytes: refused, with nothing stored."""
    before = [one.agent_id for one in owner.list_agents()]
    with pytest.raises(BadRequest) as caught:
        owner.enroll_agent(name, manifest, certificate_request(make_key()))
    assert caught.value.reason == "AGENT_MANIFEST_INVALID"
    assert [one.agent_id for one in owner.list_agents()] == before


def test_a_weak_key_enrolls_nobody(owner: Client) -> None:
    """A certificate request with RSA-1024 is refused, as a device's is."""
    key = rsa.generate_private_key(65537, 1024)  # noqa: S505 - it is to be refused
    with pytest.raises(BadRequest) as caught:
        owner.enroll_agent(
            "weak",
            manifest_text("weak").encode(),
            making.csr(key),
        )
    assert caught.value.reason == "WEAK_KEY"
    assert "weak" not in {one.name for one in owner.list_agents()}


# Never a person


@pytest.mark.parametrize("method", FOR_PERSONS)
def test_no_policy_lets_an_agent_do_what_is_a_persons(
    shared_daemon: RunningDaemon, owner: Client, build: EnrolledAgent, method: str
) -> None:
    """Every RPC that only a person may ask for is refused to an owner's agent by an open policy."""
    with (
        policy(owner, OPEN),
        certificates.channel(shared_daemon, Presented.of(build.home)) as channel,
        pytest.raises(grpc.RpcError) as caught,
    ):
        send(channel, method)
    assert raw_error(caught.value).code is grpc.StatusCode.PERMISSION_DENIED
    refused = [one for one in ledger(owner) if one["kind"] == "rpc.refused"][-1]["body"]
    assert (refused["principal"], refused["rpc"]) == (f"agent/{build.id}", method)


def test_an_agent_enrolls_and_revokes_nobody(owner: Client, agent: Client) -> None:
    """Neither another agent, nor itself, nor one that is not there."""
    with policy(owner, OPEN):
        with pytest.raises(NotPermitted):
            agent.enroll_agent("b", manifest_text("b").encode(), certificate_request(make_key()))
        for one in (agent.who_am_i().agent.agent_id, "none-0123456789ab-abcdefgh"):
            with pytest.raises(NotPermitted):
                agent.revoke_agent(one)


def test_an_agent_approves_nothing(
    shared_daemon: RunningDaemon, owner: Client, build: EnrolledAgent
) -> None:
    """Neither its own call, nor its device's, nor a stranger's, under the most open policy."""
    home = shared_daemon.pair_device("asker", "callers")
    with build.client() as agent, connect(shared_daemon, home) as asker:
        key = load_credentials(build.home.client).key
        for who in (agent, owner, asker):
            waiting = wait_for(who, owner, "run_shell", command="id")
            with policy(owner, 'permit (principal, action == Action::"approve", resource);'):
                for approval_id in (waiting.approval.approval_id, "none"):
                    signature = sign_answer(key, waiting.approval.statement, True, "")
                    with pytest.raises(NotPermitted) as caught:
                        answer_raw(agent, approval_id, signature)
                    assert caught.value.reason == "AGENT_CANNOT_APPROVE"
            assert waiting.approval.approval_id in {a.approval_id for a in owner.list_approvals()}
            owner.cancel_call(waiting.call_id)


def test_a_device_answers_for_its_agent_as_policy_says(owner: Client, agent: Client) -> None:
    """By default the person may approve what their agent asks; without `unless`, they may not."""
    strict = (
        'forbid (principal, action == Action::"approve", resource) '
        "when { context.requester.device == principal };"
    )
    waiting = wait_for(agent, owner, "run_shell", command="true")
    with policy(owner, strict), pytest.raises(NotPermitted) as caught:
        owner.answer_approval(waiting.approval, approve=True)
    assert caught.value.reason == "MAY_NOT_APPROVE"
    owner.cancel_call(waiting.call_id)
    waiting = wait_for(agent, owner, "run_shell", command="true")
    assert "agent of local" in waiting.approval.statement.decode()
    owner.answer_approval(waiting.approval, approve=True)
    assert waiting.end().state == call_pb2.CALL_STATE_SUCCEEDED


def test_a_device_still_cannot_approve_its_own_call(owner: Client) -> None:
    """That it may for its agents does not let it for itself, whatever policy says."""
    waiting = wait_for(owner, owner, "run_shell", command="id")
    with (
        policy(owner, 'permit (principal, action == Action::"approve", resource);'),
        pytest.raises(NotPermitted) as caught,
    ):
        owner.answer_approval(waiting.approval, approve=True)
    assert caught.value.reason == "SELF_APPROVAL"
    owner.cancel_call(waiting.call_id)


# Whose calls and agents are whose


def test_an_agent_sees_its_own_calls_and_its_device_sees_both(
    shared_daemon: RunningDaemon, owner: Client
) -> None:
    """An agent neither lists, watches nor cancels its device's calls; the device does its."""
    home = shared_daemon.pair_device("both", "callers")
    bot = enroll_agent(shared_daemon, "bothbot", home)
    with connect(shared_daemon, home) as device, bot.client() as client:
        theirs, its = (
            wait_for(device, owner, "run_shell", command="id"),
            wait_for(client, owner, "run_shell", command="id"),
        )
        assert [one.call_id for one in client.list_calls().calls] == [its.call_id]
        assert {one.call_id for one in device.list_calls().calls} == {its.call_id, theirs.call_id}
        with pytest.raises(NotFound):
            client.cancel_call(theirs.call_id)
        with pytest.raises(NotFound):
            next(iter(client.watch_call(theirs.call_id)))
        assert next(iter(device.watch_call(its.call_id))).HasField("received")
        device.cancel_call(its.call_id)
        device.cancel_call(theirs.call_id)
        assert [one.agent_id for one in client.list_agents()] == [bot.id]
        assert [one.agent_id for one in device.list_agents()] == [bot.id]
    assert bot.id in {one.agent_id for one in owner.list_agents()}


def test_a_device_revokes_no_other_devices_agent(
    shared_daemon: RunningDaemon, build: EnrolledAgent
) -> None:
    """A caller ends its own agents alone; and its manifest takes nobody else's name."""
    home = shared_daemon.pair_device("meddler", "callers")
    with connect(shared_daemon, home) as meddler:
        with pytest.raises(NotPermitted):
            meddler.revoke_agent(build.id)
        mine = enroll_agent(shared_daemon, "build", home, version="9", folder="meddlers")
        assert mine.enrolled.answer.replaces == ""
        with build.client() as agent:
            assert agent.who_am_i().agent.agent_id == build.id
        meddler.revoke_agent(mine.id)
        with pytest.raises(NotFound):
            meddler.revoke_agent(mine.id)


def test_a_device_in_no_group_enrolls_nobody(shared_daemon: RunningDaemon) -> None:
    """A device that may not call has nothing that an agent could do for it."""
    home = shared_daemon.pair_device("lonely")
    with pytest.raises(NotPermitted):
        enroll_agent(shared_daemon, "lonelybot", home)

"""Every RPC is listed, asks policy, and is refused to whom policy does not name."""

import json
import re
from pathlib import Path
from typing import Any, get_args

import grpc
import pytest
from google.protobuf import descriptor_pool
from grpc_reflection.v1alpha import reflection

import policy
from daemon.config.alerting import ReactionName
from daemon.rpc.authorization import EXAMINE, RULES, Asked
from daemon.server import SERVICES
from stockade.client import Client
from stockade.home import Home
from stockade.v1 import call_pb2
from tests.attacks import certificates
from tests.attacks.certificates import Presented
from tests.attacks.probing import converse, newest, raw_error, send, sequence
from tests.running import RunningDaemon

SCHEMA = (Path(policy.__file__).parent / "schema.cedarschema").read_text()
POOL = descriptor_pool.Default()

GREET = {"health", "get_status", "who_am_i", "renew_certificate", "list_tools", "get_tool"}
READ = {
    "list_calls", "get_policy", "list_policy_versions", "check_policy", "explain_policy",
    "list_secrets", "list_devices", "read_ledger", "follow_ledger", "export_ledger",
    "get_ledger_keys", "reflection", "get_entities", "test_policy", "replay_policy", "diff_policy",
    "suggest_policy", "export_evidence",
}  # fmt: skip
REVIEW = {"list_approvals", "get_approval", "watch_approvals"}
OPERATE = {
    *("add_tool", "remove_tool", "checkpoint_ledger", "countersign_checkpoint"),
    *("put_secret", "remove_secret", "revoke_secret", "revert_secret", "rotate_secrets"),
    *("unlock_vault", "get_vault_key", "reinstate_secret", "check_sources"),
}
OPERATE |= {"revoke_lease"}
# What the default policy lets a device of these groups do, of what the gate asks for.
MAY = {
    "": GREET,
    "callers": GREET | {"enroll_agent", "hand_lease"},
    "approvers": GREET | REVIEW | {"revoke_lease"},
    "auditors": GREET | REVIEW | READ,
    "operators": GREET | REVIEW | READ | OPERATE,
}


def methods(service: str) -> list[str]:
    """The methods of a service, by its descriptor."""
    described = POOL.FindServiceByName(service)
    return [f"/{service}/{method.name}" for method in described.methods]


def declared_actions() -> set[str]:
    """The actions that the Cedar schema declares."""
    text = re.sub(r"//[^\n]*", "", SCHEMA)
    found: set[str] = set()
    for names in re.findall(r"\baction\s+([a-z_,\s]+?)\s*(?:in\b|appliesTo\b|;)", text):
        found |= {name.strip() for name in names.split(",")}
    return found


def test_every_served_rpc_has_a_rule_and_no_rule_is_left_over() -> None:
    """The table and the services' descriptors name the same RPCs: a new one cannot be forgotten."""
    served = {m for service in (*SERVICES, reflection.SERVICE_NAME) for m in methods(service)}
    assert set(RULES) == served


def test_every_rule_asks_a_question_that_exists() -> None:
    """Each action is in the schema: a question policy has no word for would deny for ever."""
    assert {rule.action for rule in RULES.values()} <= declared_actions()


def test_every_administrative_action_guards_something_or_is_known_to_come() -> None:
    """An action of the schema that no RPC asks for would be a lock on no door."""
    calls = {"call", "call_unattended", "call_attended", "approve", "run_in_process"}
    calls |= {"run_in_container", "use_secret", "connect", "grant_lease"}
    groups = {"administer", "operate", "review", "read", "greet"}
    asked = {rule.action for rule in RULES.values()} | {EXAMINE, *get_args(ReactionName)}
    assert declared_actions() - asked - calls - groups == set()


@pytest.fixture(scope="module")
def homes(shared_daemon: RunningDaemon) -> dict[str, Home]:
    """A device of each group, and one of none."""
    return {
        group: shared_daemon.pair_device(f"of-{group or 'nobody'}", *([group] if group else []))
        for group in MAY
    }


def is_stream(method: str) -> bool:
    """Whether the client streams."""
    service, _, name = method[1:].rpartition("/")
    return bool(POOL.FindServiceByName(service).methods_by_name[name].client_streaming)


ADMINISTRATIVE = sorted(m for m, rule in RULES.items() if rule.asked is Asked.GATE)


@pytest.mark.parametrize("method", ADMINISTRATIVE)
def test_who_may_what(
    shared_daemon: RunningDaemon, owner: Client, homes: dict[str, Home], method: str
) -> None:
    """Each administrative RPC is refused to each group that policy does not name; and recorded."""
    action, digest = RULES[method].action, owner.status().policy_digest
    for group, may in MAY.items():
        if action in may:
            continue
        before = sequence(owner)
        with certificates.channel(shared_daemon, Presented.of(homes[group])) as channel:
            with pytest.raises(grpc.RpcError) as caught:
                attempt(channel, method)
            with Client.open(homes[group]) as client:
                principal = client.who_am_i().principal
        error = raw_error(caught.value)
        assert error.code is grpc.StatusCode.PERMISSION_DENIED, (group, method)
        assert (error.domain, error.reason) == ("stockade", "NOT_PERMITTED")
        assert action in error.message
        assert error.fix
        assert sequence(owner) == before + 1
        refusal = newest(owner)
        assert refusal["kind"] == "rpc.refused"
        assert refusal["body"]["principal"] == principal
        assert refusal["body"]["rpc"] == method
        assert refusal["body"]["reason"] == "NOT_PERMITTED"
        assert refusal["body"]["policy_digest"] == digest
        [question] = refusal["body"]["questions"]
        assert (question["action"], question["allowed"]) == (action, False)


def attempt(channel: Any, method: str) -> None:
    """An empty request."""
    if is_stream(method):
        converse(channel, method, b"")
    else:
        send(channel, method)


def test_who_is_permitted_gets_past_the_gate(
    shared_daemon: RunningDaemon, homes: dict[str, Home]
) -> None:
    """The table of this test is policy's: what it grants is granted, for what only reads."""
    for group, may in MAY.items():
        with Client.open(homes[group]) as client:
            assert client.status().version
            assert client.list_tools().tools
            if "list_approvals" in may:
                assert client.list_approvals() == []
            if "read_ledger" in may:
                assert client.read_ledger().receipts
                assert client.list_devices()
                assert client.list_policy_versions().versions
            if "checkpoint_ledger" in may:
                assert client.checkpoint_ledger()
        with certificates.channel(shared_daemon, Presented.of(homes[group])) as channel:
            assert send(channel, "/grpc.health.v1.Health/Check")


def test_a_call_is_denied_to_whom_policy_does_not_name(
    owner: Client, homes: dict[str, Home]
) -> None:
    """An auditor may see everything and run nothing; that too is a recorded denial."""
    for group in ("", "auditors", "approvers", "operators"):
        with Client.open(homes[group]) as client:
            events = list(client.call("read_file", {"workspace": "work", "path": "hello.txt"}))
        assert events[-1].finished.state == call_pb2.CALL_STATE_DENIED
        assert not any(event.HasField("started") for event in events)
        found = owner.read_ledger(call_id=events[0].call_id).receipts
        kinds = [json.loads(receipt.canonical)["kind"] for receipt in found]
        assert kinds == ["call.received", "call.denied"]


def test_those_who_may_not_see_all_see_their_own_calls(
    owner: Client, homes: dict[str, Home]
) -> None:
    """A caller's list holds its own calls and nobody else's."""
    list(owner.call("read_file", {"workspace": "work", "path": "hello.txt"}))
    with Client.open(homes["callers"]) as client:
        assert list(client.list_calls().calls) == []
        list(client.call("read_file", {"workspace": "work", "path": "hello.txt"}))
        me = client.who_am_i().principal
        assert {call.principal for call in client.list_calls(page_size=500).calls} == {me}
    assert len({call.principal for call in owner.list_calls(page_size=500).calls}) > 1

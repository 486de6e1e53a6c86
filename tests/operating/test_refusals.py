"""The receipt of what policy refused: by which question, which policies, and under which digest."""

from typing import Any

import pytest

from stockade.client import Client
from stockade.errors import NotFound, NotPermitted
from tests.operating.acting import last_receipt
from tests.promises.acting import ask, policy

NOBODY = '@id("nobody") forbid (principal, action == Action::"{}", resource);'


def refused(owner: Client) -> dict[str, Any]:
    """The newest refusal: one question, which was answered by what is in force."""
    body = last_receipt(owner, "rpc.refused")
    assert body["policy_digest"] == owner.status().policy_digest
    [question] = body["questions"]
    assert question["allowed"] is False
    return {"reason": body["reason"], **question}


def test_an_act_that_a_policy_forbids(owner: Client) -> None:
    """The forbid is named with its place, and the digest is that of the set it stood in."""
    before = owner.status().policy_digest
    with policy(owner, NOBODY.format("rotate_authority")) as digest:
        assert digest != before
        with pytest.raises(NotPermitted):
            owner.rotate_authority()
        found = refused(owner)
    assert found["policies"] == ["nobody (extra.cedar:1)"]
    assert (found["action"], found["code"]) == ("rotate_authority", "FORBIDDEN")


def test_an_act_that_nothing_permits(owner: Client, caller: Client) -> None:
    """No policy is named, because none said anything; who asked, and of what, is."""
    with pytest.raises(NotPermitted):
        caller.read_ledger()
    found = refused(owner)
    assert (found["code"], found["policies"]) == ("NOT_PERMITTED", [])
    assert found["principal"] == f'Device::"{caller.credentials.device_id}"'
    assert found["resource"] == 'Daemon::"stockade"'


def test_an_answer_that_policy_does_not_count(
    owner: Client, caller: Client, approver: Client
) -> None:
    """Of whoever may not approve, and of whoever may not even know of the approval."""
    waiting = ask(owner, "run_shell", command="true")
    with policy(owner, NOBODY.format("approve")):
        with pytest.raises(NotPermitted):
            approver.answer_approval(waiting.approval, approve=True)
        found = refused(owner)
        assert (found["reason"], found["action"]) == ("MAY_NOT_APPROVE", "approve")
        assert found["policies"] == ["nobody (extra.cedar:1)"]
    with pytest.raises(NotFound):
        caller.answer_approval(waiting.approval, approve=True)
    found = refused(owner)
    assert (found["reason"], found["action"]) == ("UNKNOWN_APPROVAL", "get_approval")
    waiting.events.cancel()

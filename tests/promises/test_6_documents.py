"""Promise 6, for what receipts name by digest: evidence has the text, and no other one."""

from typing import Any

import pytest

from ledger.account import account, as_html, as_text
from ledger.errors import LedgerError
from ledger.evidence import Evidence, verify_evidence
from ledger.lineage import Lineage, parse_lineage
from stockade.client import Client, new_call_id
from tests.attacks.enrolling import enroll_agent, manifest_text
from tests.promises.acting import ALONE, policy
from tests.running import RunningDaemon

SUMMARY = b"an agent of the tests"


@pytest.fixture(scope="module")
def keys(shared_daemon: RunningDaemon) -> Lineage:
    return parse_lineage(shared_daemon.home.ledger_keys.read_bytes())


@pytest.fixture(scope="module")
def lines(shared_daemon: RunningDaemon, owner: Client) -> list[bytes]:
    """Evidence of a call of an agent."""
    agent, call_id = enroll_agent(shared_daemon, "told_of"), new_call_id()
    with policy(owner, ALONE), agent.client() as client:
        list(client.call("run_shell", {"command": "true"}, call_id=call_id))
    pieces = b"".join(part.data for part in owner.export_evidence(call_id=call_id))
    return pieces.splitlines(keepends=True)


def document(found: Evidence, what: str) -> dict[str, Any]:
    (one,) = (dict(one) for one in found.documents.values() if one["what"] == what)
    return one


def test_what_a_call_was_judged_by_is_there(lines: list[bytes], keys: Lineage) -> None:
    """Arguments, policies, the manifests of tool and agent: each by the digest that names it."""
    found = verify_evidence(lines, keys)
    bodies = {receipt.kind: receipt.body for receipt in found.receipts}
    received, permitted = bodies["call.received"], bodies["call.permitted"]
    for digest, what in (
        (received["arguments_digest"], "arguments"),
        (received["tool_digest"], "tool"),
        (received["manifest_digest"], "agent-manifest"),
        (permitted["policy_digest"], "policy"),
    ):
        assert found.documents[str(digest)] == document(found, what)
    assert document(found, "agent-manifest")["text"] == manifest_text("told_of")
    assert document(found, "arguments")["text"] == '{"command":"true"}'
    assert ALONE in str(document(found, "policy"))
    for report in (as_text(account(found)), as_html(account(found))):
        assert SUMMARY.decode() in report


@pytest.mark.parametrize(
    ("text", "other"),
    [
        (SUMMARY, b"an agent of a thief"),
        (b"call_unattended", b"call_attendedun"),
        (b"/bin/sh", b"/bin/su"),
    ],
    ids=["agent", "policy", "tool"],
)
def test_another_text_is_refused(
    lines: list[bytes], keys: Lineage, text: bytes, other: bytes
) -> None:
    """The digest is in what was signed."""
    edited = [
        line.replace(text, other) if line.startswith(b'{"document"') else line for line in lines
    ]
    assert edited != lines
    with pytest.raises(LedgerError) as refused:
        verify_evidence(edited, keys)
    assert refused.value.code == "DOCUMENT"

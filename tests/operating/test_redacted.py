"""`contents = "redacted"`: no secret of a call is in anything that is kept; the rest is told."""

import base64
import hashlib
import hmac
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from ledger.account import account, as_html, as_text
from ledger.errors import EvidenceError
from ledger.evidence import Evidence, verify_evidence
from ledger.keys import parse_public
from stockade.client import Client, new_call_id
from stockade.credentials import load_credentials, save_credentials
from stockade.errors import StockadeError
from stockade.v1 import policy_pb2, tool_pb2
from tests.promises.acting import ALONE, apply, ask, export, policy_files, receipts, until
from tests.running import CONFIG, RunningDaemon, output, running

REDACTED = CONFIG + '[ledger]\ncontents = "redacted"\n'
SECRET = "Zq7'\"\\%very-secret-Xk29"
ASKED = """@id("asked")
forbid (principal, action == Action::"call_unattended", resource == Tool::"login");
"""
ROOT = "vault.root"
PIN = "pin-4711-x"
TOKEN = "ghp_" + "a1B2" * 9
TRUE = {"pin": PIN, "note": "for the door"}
MANIFEST = """\
name = "login"
version = "1"
summary = "Prints what it was given"
argv = ["/bin/echo", "{pin}", "{note}"]
[input]
type = "object"
required = ["pin", "note"]
properties.pin = { type = "string", writeOnly = true }
properties.note = { type = "string" }
[risk]
data_sensitivity = 0.1
"""
LOCKED = {"pin": "1", "note": "harmless"}
SPELT = {
    "plain": SECRET,
    "base64": base64.b64encode(SECRET.encode()).decode(),
    "shifted": base64.urlsafe_b64encode(b"x" + SECRET.encode()).decode(),
    "hex": SECRET.encode().hex(),
    "url": quote(SECRET, safe=""),
    "json": json.dumps(SECRET)[1:-1],
}
TRACES = [
    *(one.encode() for one in SPELT.values()),
    base64.b64encode(SECRET.encode())[:-4],
    json.dumps(json.dumps(SECRET)[1:-1])[1:-1].encode(),
    PIN.encode(),
    TOKEN.encode(),
]


@dataclass
class Kept:
    """A daemon after some calls, started anew so that all that goes has gone."""

    daemon: RunningDaemon
    calls: dict[str, str] = field(default_factory=dict)
    salt: bytes = b""

    def evidence(self, name: str, path: Path) -> list[bytes]:
        answer = self.daemon.cli("ledger", "evidence", str(path), "--call", self.calls[name])
        assert answer.status == 0, answer.err
        return path.read_bytes().splitlines(keepends=True)

    def verified(self, lines: list[bytes]) -> Evidence:
        return verify_evidence(lines, parse_public(self.daemon.home.ledger_keys.read_bytes()))

    def arrival(self, name: str) -> dict[str, Any]:
        with self.daemon.client() as client:
            body: dict[str, Any] = receipts(client, self.calls[name])[0]["body"]
            return body


def named(kept: Kept, name: str) -> str:
    kept.calls[name] = new_call_id()
    return kept.calls[name]


@pytest.fixture(scope="module")
def kept() -> Iterator[Kept]:
    with running(REDACTED) as daemon:
        kept = Kept(daemon)
        phone = daemon.pair_device("phone", "approvers")
        with daemon.client() as client, Client.open(phone) as approver:
            make_calls(kept, client, approver)
        daemon.restart()
        moved = replace(load_credentials(phone.client), address=daemon.address)
        save_credentials(phone.client, moved)
        with daemon.client() as client, Client.open(phone) as approver:
            approval = approver.list_approvals()[0]
            approver.answer_approval(approver.get_approval(approval.approval_id), approve=True)
            asked = client.watch_call(kept.calls["waited"])
            assert list(asked)[-1].finished.reason == "SUCCEEDED"
        assert until(lambda: not statements(daemon), seconds=90)
        yield kept


@pytest.fixture(scope="module")
def again(kept: Kept) -> Kept:
    """The same without its vault's root, and with a copy that was changed: the last to run."""
    kept.daemon.stop()
    (kept.daemon.home.data / ROOT).rename(kept.daemon.root / "away")
    change(kept.daemon.home.data / "stockade.db", kept.calls["asked hex"])
    kept.daemon.start()
    return kept


def change(path: Path, call_id: str) -> None:
    copy = b'{"command":"harmless"}'
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE calls SET redacted = ? WHERE call_id = ?", (copy, call_id))


def make_calls(kept: Kept, client: Client, approver: Client) -> None:
    client.put_secret("secret://global/door", SECRET.encode())
    client.add_tool([tool_pb2.AddToolRequest.File(path="manifest.toml", content=MANIFEST.encode())])
    apply(client, "")
    for name, text in SPELT.items():
        waiting = ask(client, "run_shell", command=f"true # {text} {TOKEN}")
        kept.calls[f"asked {name}"] = waiting.call_id
        approver.answer_approval(waiting.approval, approve=name != "url")
        waiting.end()
    apply(client, ALONE)
    list(client.call("run_shell", {"command": "echo hello"}, call_id=named(kept, "plain")))
    events = list(client.call("login", TRUE, call_id=named(kept, "marked")))
    assert output(events).decode() == f"{PIN} for the door\n"
    kept.salt = events[0].received.contents_salt
    list(client.call("login", {"pinn": PIN, "note": "x"}, call_id=named(kept, "unfit")))
    lost = {"workspace": SECRET, "path": "x"}
    list(client.call("read_file", lost, call_id=named(kept, "lost")))
    list(client.call("no_such", {"a": SECRET}, call_id=named(kept, "unknown")))
    apply(client, ASKED)
    waiting = ask(client, "login", detach=True, **TRUE)
    kept.calls["waited"] = waiting.call_id
    waiting.events.cancel()


def statements(daemon: RunningDaemon) -> int:
    path = f"file:{daemon.home.data}/stockade.db?mode=ro"
    with closing(sqlite3.connect(path, uri=True)) as database, database:
        return int(database.execute("SELECT count(*) FROM approvals").fetchone()[0])


def found_in(data: bytes) -> list[bytes]:
    return [one for one in TRACES if one in data]


def test_no_secret_is_in_the_database_or_its_log(kept: Kept) -> None:
    """Not of calls that ran at once, waited, were rejected, refused, or outlived a restart."""

    def found() -> list[bytes]:
        files = kept.daemon.home.data.glob("stockade.db*")
        return [one for path in files for one in found_in(path.read_bytes())]

    # What was erased leaves the log a moment after it has left the tables.
    assert until(lambda: not found()), found()


def test_no_secret_is_in_an_export_or_in_evidence(kept: Kept, tmp_path: Path) -> None:
    """In none of the three formats, in no pack of a call, nor of all of it, nor in its page."""
    for form in ("ndjson", "cef", "ocsf"):
        path = tmp_path / form
        assert kept.daemon.cli("ledger", "export", str(path), "--format", form).status == 0
        assert b"call.received" in path.read_bytes()
        assert not found_in(path.read_bytes())
    path = tmp_path / "all"
    assert kept.daemon.cli("ledger", "evidence", str(path), "--since", "1h").status == 0
    found = kept.verified(path.read_bytes().splitlines(keepends=True))
    chapters = account(found)
    told = (as_text(chapters) + as_html(chapters)).encode()
    assert b"redacted" in told
    assert not found_in(path.read_bytes() + told)


def test_the_receipt_has_both_digests_and_says_what_was_taken_out(kept: Kept) -> None:
    """Of the copy as it is; of the true arguments, keyed with the salt that the caller was told."""
    body = kept.arrival("marked")
    copy = b'{"note":"for the door","pin":"[redacted string: schema]"}'
    assert body["contents"] == "redacted"
    assert body["redacted_arguments_digest"] == hashlib.sha256(copy).hexdigest()
    true = json.dumps(TRUE, sort_keys=True, separators=(",", ":")).encode()
    expected = hmac.new(kept.salt, b"arguments\0" + true, "sha256").hexdigest()
    assert body["arguments_salted_digest"] == expected
    assert body["withheld"] == [{"at": "/pin", "why": "schema"}]
    assert body["withheld_count"] == 1
    assert "arguments_digest" not in body


def test_nothing_signed_lets_a_short_secret_be_found_by_trying(kept: Kept) -> None:
    """No receipt has a digest of what was taken out together with what is known."""
    with kept.daemon.client() as client:
        found = receipts(client, kept.calls["marked"]) + receipts(client, kept.calls["waited"])
        exported = export(client)
    assert all(not one["body"].get("call_digest") for one in found)
    ends = [one["body"] for one in found if one["kind"] == "call.succeeded"]
    assert len(ends) == 2
    assert all("digest" not in body["stdout"] for body in ends)
    printed = f"{PIN} for the door\n".encode()
    assert (
        ends[0]["stdout"]["salted_digest"]
        == hmac.new(kept.salt, b"stdout\0" + printed, "sha256").hexdigest()
    )
    true = json.dumps(TRUE, sort_keys=True, separators=(",", ":")).encode()
    for guessed in (true, printed, PIN.encode()):
        assert hashlib.sha256(guessed).hexdigest().encode() not in exported


def test_the_salt_is_for_the_caller_and_then_gone(kept: Kept) -> None:
    """It is in no file of the daemon's once the call is over."""
    assert len(kept.salt) == 32
    for path in kept.daemon.home.data.glob("stockade.db*"):
        assert kept.salt not in path.read_bytes()


def test_where_nothing_was_taken_out_all_is_kept(kept: Kept) -> None:
    """The arguments, their plain digest, the digest of the call; and it says what holds."""
    body = kept.arrival("plain")
    assert body["arguments_digest"] == hashlib.sha256(b'{"command":"echo hello"}').hexdigest()
    assert (body["contents"], "withheld" in body) == ("redacted", False)


def test_what_fits_no_schema_keeps_keys_and_types(kept: Kept, tmp_path: Path) -> None:
    """A misspelt argument, and a tool that nobody knows."""
    for name, copy in {
        "unfit": {"note": "[redacted string: unfit]", "pinn": "[redacted string: unfit]"},
        "unknown": {"a": "[redacted string: unfit]"},
    }.items():
        found = kept.verified(kept.evidence(name, tmp_path / name))
        texts = [one["text"] for one in found.documents.values() if "redacted" in one["what"]]
        assert list(map(json.loads, texts)) == [copy]


def test_evidence_says_plainly_that_it_is_a_copy(kept: Kept, tmp_path: Path) -> None:
    """With the digest of the true input, in text and in HTML; policies and tool as ever."""
    found = kept.verified(kept.evidence("marked", tmp_path / "pack"))
    assert {"redacted-arguments", "policy", "tool"} <= {o["what"] for o in found.documents.values()}
    digest = kept.arrival("marked")["arguments_salted_digest"]
    said = f"redacted copy; the true input has digest {digest} (salted)"
    chapters = account(found)
    assert said in as_text(chapters)
    assert said in as_html(chapters)


def test_a_copy_that_was_changed_is_named(kept: Kept, tmp_path: Path) -> None:
    """In the file, by the verifier; passed off as the true arguments, too."""
    lines = kept.evidence("marked", tmp_path / "pack")
    for before, after in (
        (b"for the door", b"for the gate"),
        (b'"redacted-arguments"', b'"arguments"'),
        (b"[redacted string: schema]", b"0000"),
    ):
        edited = [
            line.replace(before, after)
            if b"redacted-arg" in line and b'"document"' in line
            else line
            for line in lines
        ]
        assert edited != lines
        with pytest.raises(EvidenceError) as refused:
            kept.verified(edited)
        assert refused.value.code == "DOCUMENT"
        assert "arguments" in str(refused.value)


def explained(client: Client, call_id: str) -> policy_pb2.ExplainPolicyResponse:
    return client.explain_policy(policy_pb2.ExplainPolicyRequest(call_id=call_id))


def test_explain_shows_the_copy_and_judges_nothing_by_it(kept: Kept) -> None:
    """The recorded answers stand; what it would be today is not said."""
    with kept.daemon.client() as client:
        found = explained(client, kept.calls["marked"])
        assert found.arguments_redacted
        assert json.loads(found.arguments)["pin"] == "[redacted string: schema]"
        assert not found.HasField("today")
        assert "redacted copy" in found.today_unknown
        assert "redacted copy" in found.rulings[0].notes[0]
        plain = explained(client, kept.calls["plain"])
        assert plain.HasField("today")
        assert not plain.arguments_redacted
    told = kept.daemon.cli("policy", "explain", kept.calls["marked"])
    assert "a redacted copy: what policy was asked about is not kept" in told.out


def test_replay_passes_over_what_is_redacted(kept: Kept) -> None:
    """It says of how many calls it can say nothing, and why."""
    files = policy_pb2.PolicyFiles(files=policy_files(ALONE))
    request = policy_pb2.ReplayPolicyRequest(
        candidate=policy_pb2.PolicySource(files=files), recorded=True
    )
    with kept.daemon.client() as client:
        *_, last = client.replay_policy(request)
    passed = {one.reason: one.calls for one in last.summary.passed}
    assert passed["its arguments were redacted"] == len(SPELT) + 2
    assert last.summary.same == 1


def test_a_backup_has_the_copies_and_nothing_else(kept: Kept, tmp_path: Path) -> None:
    """Restored in another home, the copy is there and what was taken out is not."""
    file, root = tmp_path / "home.backup", tmp_path / "home"
    words = "correct horse battery staple"
    assert kept.daemon.cli("backup", str(file), stdin=words).status == 0
    restored = replace(kept.daemon, root=root, process=None)
    answer = restored.cli("restore", str(file), stdin=words)
    assert answer.status == 0, answer.err
    path = restored.home.data / "stockade.db"
    assert not found_in(path.read_bytes())
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database, database:
        wanted = "SELECT redacted FROM calls WHERE call_id = ?"
        copy = database.execute(wanted, (kept.calls["marked"],)).fetchone()[0]
    assert json.loads(copy)["pin"] == "[redacted string: schema]"


def test_its_id_stays_taken(kept: Kept) -> None:
    """Sent again after a restart, it is refused and does not run again."""
    with kept.daemon.client() as client, pytest.raises(StockadeError) as refused:
        list(client.call("login", TRUE, call_id=kept.calls["marked"]))
    assert refused.value.reason == "CALL_ID_REUSED"


def test_the_copy_in_the_database_is_held_against_its_receipt(again: Kept, tmp_path: Path) -> None:
    """Changed there, it is neither shown nor put into evidence, and that is said."""
    with again.daemon.client() as client:
        found = explained(client, again.calls["asked hex"])
    assert found.arguments == b""
    assert "somebody changed it" in found.today_unknown
    evidence = again.verified(again.evidence("asked hex", tmp_path / "pack"))
    assert "the copy is not in this evidence" in as_text(account(evidence))


def test_while_the_vault_is_locked_only_keys_and_types_are_kept(again: Kept) -> None:
    """What cannot be looked for is not kept; the call itself goes on."""
    with again.daemon.client() as client:
        apply(client, ALONE)
        list(client.call("login", LOCKED, call_id=named(again, "locked")))
        found = explained(client, again.calls["locked"])
    assert json.loads(found.arguments) == {
        "note": "[redacted string: locked]",
        "pin": "[redacted string: schema]",
    }

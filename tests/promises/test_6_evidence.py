"""Promise 6, of a part: what happened in one call, shown to somebody who trusts nobody here."""

import base64
import html
import json
import os
import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from ledger.account import Chapter, Fact, Step, account, as_html, as_text
from ledger.canonical import encode
from ledger.errors import LedgerError
from ledger.evidence import Evidence, verify_evidence
from ledger.keys import PublicKeys, parse_public
from stockade.errors import StockadeError
from tests.approvals.leasing import give
from tests.promises.acting import ALONE, apply, ask, run
from tests.running import STOCKADE, RunningDaemon, running

Lines = list[bytes]
MARKUP = "<script>alert(1)</script>"


@dataclass
class Auditor:
    """What was handed over; the daemon is gone."""

    folder: Path
    keys: PublicKeys
    call: str
    lease: str

    def lines(self, name: str) -> Lines:
        return (self.folder / name).read_bytes().splitlines(keepends=True)

    def verified(self, name: str) -> Evidence:
        return verify_evidence(self.lines(name), self.keys)

    def report(self, name: str, *extra: str) -> "subprocess.CompletedProcess[str]":
        """What the command says, on a machine where no daemon ever was."""
        file, key = str(self.folder / name), str(self.folder / "ledger.pub")
        return subprocess.run(
            [STOCKADE, "ledger", "report", file, "--key", key, *extra],
            env={"STOCKADE_HOME": str(self.folder / "none"), "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )


@pytest.fixture(scope="module")
def auditor(tmp_path_factory: pytest.TempPathFactory) -> Auditor:
    folder = tmp_path_factory.mktemp("auditor")
    with running() as daemon:
        approver_home = daemon.pair_device("phone", "approvers")
        with daemon.client() as caller, approver_of(approver_home) as approver:
            waiting = ask(caller, "run_shell", command=f"echo '{MARKUP}' \u202e")
            approver.answer_approval(waiting.approval, approve=True, reason="looks fine")
            waiting.end()
            lease = give(caller, approver, "run_shell", command="echo leased").lease_id
            run(caller, "run_shell", command="echo leased")
            apply(caller, ALONE)
            run(caller, "run_shell", command="exit 7")
        take(daemon, folder / "call", "--call", waiting.call_id)
        take(daemon, folder / "lease", "--lease", lease)
        take(daemon, folder / "period", "--since", "1h")
        (folder / "ledger.pub").write_bytes(daemon.home.ledger_keys.read_bytes())
    keys = parse_public((folder / "ledger.pub").read_bytes())
    return Auditor(folder, keys, waiting.call_id, lease)


def approver_of(home: Any) -> Any:
    from stockade.client import Client

    return Client.open(home)


def take(daemon: RunningDaemon, file: Path, *what: str) -> None:
    before = os.umask(0)
    try:
        answer = daemon.cli("ledger", "evidence", str(file), *what)
        assert answer.status == 0, answer.err
        refused = daemon.cli("ledger", "evidence", str(file) + ".none", "--call", "0" * 36)
        assert refused.status == 1
    finally:
        os.umask(before)


def kinds(found: Evidence) -> list[str]:
    return [receipt.kind for receipt in found.receipts]


def test_evidence_of_a_call_tells_all_of_it(auditor: Auditor) -> None:
    """Goal, decision, approval, action, outcome; with what each of them names by digest."""
    found = auditor.verified("call")
    assert kinds(found) == [
        *("call.received", "approval.asked", "call.pending_approval"),
        *("approval.shown", "approval.answered"),
        *("call.permitted", "call.running", "call.succeeded"),
    ]
    assert not found.complete
    sorts = [str(one["what"]) for one in found.documents.values()]
    assert {"arguments", "statement", "policy", "tool"} <= set(sorts)
    text = as_text(account(found))
    for word in ("GOAL", "DECISION", "APPROVAL", "ACTION", "OUTCOME", "looks fine"):
        assert word in text
    assert "signed: by the key of the certificate below" in text
    assert MARKUP in text


def test_evidence_of_a_lease_tells_who_gave_it_and_what_it_was_used_for(auditor: Auditor) -> None:
    """The call it was given with, its terms, and each call that used it."""
    found = auditor.verified("lease")
    assert kinds(found).count("lease.created") == 1
    assert kinds(found).count("lease.used") == 1
    assert kinds(found).count("call.succeeded") == 2
    assert "lease" in {one["what"] for one in found.documents.values()}
    assert as_text(account(found)).count("signed: by the key of the certificate below") == 2


def test_what_has_contents_is_for_its_owner_alone(auditor: Auditor) -> None:
    """Evidence and the page of it have arguments of calls: 0600 whatever the umask, nothing left
    of a failed try.
    """
    page = auditor.folder / "private.html"
    assert auditor.report("call", "--html", str(page)).returncode == 0
    for one in (auditor.folder / "call", auditor.folder / "period", page):
        assert one.stat().st_mode & 0o777 == 0o600, one
    assert not [one for one in auditor.folder.iterdir() if one.name.startswith(".")]


def test_evidence_of_a_period_is_complete(auditor: Auditor) -> None:
    """No gap, from before its beginning (or the first receipt) to the checkpoint's end."""
    found = auditor.verified("period")
    assert found.complete
    numbers = [receipt.sequence for receipt in found.receipts]
    assert numbers == list(range(1, found.checkpoint.size + 1))


@pytest.mark.parametrize("name", ["call", "lease", "period"])
def test_the_report_is_made_offline(auditor: Auditor, name: str) -> None:
    """Text, JSON, and a page that loads nothing."""
    done = auditor.report(name)
    assert (done.returncode, "OUTCOME" in done.stdout) == (0, True), done.stderr
    said = json.loads(auditor.report(name, "--json").stdout)
    assert said["ok"]
    assert said["complete"] is (name == "period")
    page = auditor.folder / f"{name}.html"
    assert auditor.report(name, "--html", str(page)).returncode == 0
    check_page(page.read_text(encoding="utf-8"))


class Page(HTMLParser):
    """Notes every tag and attribute."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[tuple[str, str | None]] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= set(attrs)


def check_page(text: str) -> None:
    page = Page()
    page.feed(text)
    frame = {"html", "head", "meta", "title", "style", "body"}
    assert page.tags <= frame | {"h1", "h2", "h3", "section", "dl", "dt", "dd"}
    assert not {name for name, _ in page.attributes} & {"src", "href", "style", "onload"}
    assert "default-src 'none'" in text
    assert not re.search(r"url\(|@import|https?://", text.partition("<body>")[0])


def test_what_a_receipt_says_does_not_act_on_the_reader(auditor: Auditor) -> None:
    """Markup is text, and a character that turns the line around is an escape."""
    chapters = account(auditor.verified("call"))
    assert "<script>" not in as_html(chapters)
    assert "&lt;script&gt;" in as_html(chapters)
    for shown in (as_html(chapters), as_text(chapters)):
        assert "\u202e" not in shown
        assert "\\u202e" in shown


@pytest.mark.parametrize("name", ["call", "lease", "period"])
def test_a_report_is_for_people_to_read(auditor: Auditor, name: str) -> None:
    """Questions and controls are lines of words, within 80 columns where words allow it."""
    chapters = account(auditor.verified(name))
    found = [
        fact
        for chapter in chapters
        for step in chapter.steps
        for fact in step.facts
        if fact.name in ("questions", "controls", "heard", "risk", "stdout", "stderr", "shown")
    ]
    assert {"questions", "controls"} <= {fact.name for fact in found}
    for fact in found:
        assert not re.search(r"[{}[\]]", fact.value)  # no JSON
        for line in as_text([Chapter("", (Step("", (fact,)),))]).splitlines():
            assert len(line) <= 80, line
        for line in fact.value.splitlines():
            assert html.escape(line) in as_html(chapters)


def json_edit(line: bytes, change: Callable[[dict[str, Any]], None]) -> bytes:
    fields = json.loads(line)
    change(fields)
    return encode(fields) + b"\n"


def _edit_body(fields: dict[str, Any]) -> None:
    fields["entry"]["receipt"]["body"]["tool"] = "read_file"


def _edit_proof(fields: dict[str, Any]) -> None:
    fields["proof"][0] = base64.b64encode(bytes(32)).decode()


def _edit_text(fields: dict[str, Any]) -> None:
    fields["document"]["text"] += " "


def first_document(lines: Lines) -> int:
    return next(at for at, line in enumerate(lines) if line.startswith(b'{"document":'))


def text_document(lines: Lines) -> int:
    return next(at for at, line in enumerate(lines) if b'"what":"arguments"' in line)


def put(lines: Lines, at: int, line: bytes) -> Lines:
    return [*lines[:at], line, *lines[at + 1 :]]


def recounted(lines: Lines) -> Lines:
    """With counts at the end that fit: by somebody who knows the format."""
    entries = sum(line.startswith(b'{"entry":') for line in lines)
    documents = sum(line.startswith(b'{"document":') for line in lines)
    end = encode({"end": {"documents": documents, "entries": entries}}) + b"\n"
    return [*lines[:-1], end]


ATTACKS: dict[str, Callable[[Lines], Lines]] = {
    "an entry edited": lambda lines: put(lines, 1, json_edit(lines[1], _edit_body)),
    "a proof edited": lambda lines: put(lines, 2, json_edit(lines[2], _edit_proof)),
    "a proof of another entry": lambda lines: put(
        lines,
        1,
        json_edit(lines[1], lambda f: f.update(proof=json.loads(lines[2])["proof"])),
    ),
    "a proof cut": lambda lines: put(
        lines, 1, json_edit(lines[1], lambda f: f.update(proof=f["proof"][:-1]))
    ),
    "a document edited": lambda lines: put(
        lines, text_document(lines), json_edit(lines[text_document(lines)], _edit_text)
    ),
    "a document nobody names": lambda lines: recounted(
        [
            *lines[:-1],
            encode({"document": {"what": "arguments", "text": "{}  "}}) + b"\n",
            lines[-1],
        ]
    ),
    "a document of no sort": lambda lines: recounted(
        [*lines[:-1], encode({"document": {"what": "virtue", "text": "x"}}) + b"\n", lines[-1]]
    ),
    "an entry dropped": lambda lines: lines[:1] + lines[2:],
    "a document dropped": lambda lines: put(lines, first_document(lines), b""),
    "entries swapped": lambda lines: [lines[0], lines[2], lines[1], *lines[3:]],
    "cut off": lambda lines: lines[:-1],
    "something after the end": lambda lines: [*lines, lines[-1]],
    "a duplicate key": lambda lines: put(
        lines, 1, lines[1].replace(b'"kind":', b'"kind":"call.failed","kind":', 1)
    ),
    "white space": lambda lines: put(lines, 1, lines[1].replace(b'"proof":', b'"proof": ')),
    "the checkpoint stripped to Ed25519": lambda lines: put(
        lines,
        0,
        json_edit(
            lines[0],
            lambda f: f.update(checkpoint="".join(f["checkpoint"].splitlines(keepends=True)[:-1])),
        ),
    ),
    "the size edited": lambda lines: put(
        lines,
        0,
        json_edit(
            lines[0],
            lambda f: f.update(
                checkpoint=re.sub(r"\n[0-9]+\n", "\n999\n", f["checkpoint"], count=1)
            ),
        ),
    ),
    "another version": lambda lines: put(
        lines, 0, lines[0].replace(b"evidence/v1", b"evidence/v2")
    ),
    "nothing": lambda _: [],
    "not JSON": lambda lines: [b"PK\x03\x04\n", *lines],
}


@pytest.mark.parametrize("how", ATTACKS)
@pytest.mark.parametrize("name", ["call", "period"])
def test_evidence_that_was_changed_shows_nothing(auditor: Auditor, name: str, how: str) -> None:
    """Whatever is edited, dropped, added or cut: refused, whoever made the digests anew."""
    changed = [line for line in ATTACKS[how](auditor.lines(name)) if line]
    assert changed != auditor.lines(name)
    with pytest.raises(LedgerError):
        verify_evidence(changed, auditor.keys)


@pytest.mark.parametrize("at", [1, 5, -1])
def test_a_period_without_one_entry_is_refused(auditor: Auditor, at: int) -> None:
    """At its beginning, in its middle, at its end: also where the counts were made to fit."""
    lines = auditor.lines("period")
    found = [number for number, line in enumerate(lines) if line.startswith(b'{"entry":')]
    place = found[at] if at > 0 else found[-1]
    with pytest.raises(LedgerError) as refused:
        verify_evidence(recounted(lines[:place] + lines[place + 1 :]), auditor.keys)
    assert refused.value.code == "PERIOD"


def _of(lines: Lines, **subject: str) -> Lines:
    """The same, said to be of something else: the first line is in no signature."""
    return [json_edit(lines[0], lambda f: f.update(subject=subject)), *lines[1:]]


def test_evidence_is_of_what_it_says_it_is(auditor: Auditor) -> None:
    """Another's receipts under this call's name, some beside its own, or none: nothing is shown."""
    call, period = auditor.lines("call"), auditor.lines("period")
    other = "01970000-0000-7000-8000-000000000000"
    none = recounted([call[0], call[-1]])
    attacks = [
        *(_of(call, call=other), _of(call, lease=other), _of(auditor.lines("lease"), lease=other)),
        *(_of(auditor.lines("lease"), call=auditor.call), _of(period, call=auditor.call)),
        *(_of(period, lease=auditor.lease), none, _of(none, lease=auditor.lease)),
    ]
    for changed in attacks:
        with pytest.raises(LedgerError) as refused:
            verify_evidence(changed, auditor.keys)
        assert refused.value.code == "SUBJECT"


def test_arguments_do_not_pass_for_what_somebody_signed(auditor: Auditor) -> None:
    """An agent chooses its arguments: called a statement, their digest is still theirs."""
    lines = auditor.lines("call")
    at = text_document(lines)
    posing = json_edit(lines[at], lambda f: f["document"].update(what="statement"))
    with pytest.raises(LedgerError) as refused:
        verify_evidence(put(lines, at, posing), auditor.keys)
    assert refused.value.code == "DOCUMENT"


def test_an_old_checkpoint_makes_no_period_complete(auditor: Auditor) -> None:
    """Where no later receipt closes the period, it is only told up to the checkpoint's end."""
    lines = auditor.lines("period")
    begin = json.loads(lines[0])["subject"]["from"]
    found = verify_evidence(
        _of(lines, **{"from": begin, "to": "2999-01-01T00:00:00.000Z"}), auditor.keys
    )
    assert not found.complete
    assert f"complete up to {found.receipts[-1].time}" in as_text(account(found))


def test_a_line_of_a_text_poses_as_no_fact() -> None:
    """What people and tools wrote stands behind a rule from its second line on."""
    posing = Step("x", (Fact("reason", "fine\n    signed: by the key of the certificate below"),))
    assert "\n      |     signed: by" in as_text([Chapter("y", (posing,))])


def test_other_keys_show_nothing(auditor: Auditor) -> None:
    """The keys in the file are not believed: those that were brought count."""
    from tests.ledger.specimen import PUBLIC

    with pytest.raises(LedgerError):
        verify_evidence(auditor.lines("call"), PUBLIC)
    done = auditor.report("call", "--key", str(auditor.folder / "call"))
    assert done.returncode != 0


def test_evidence_is_for_people_who_may_see_arguments(daemon: RunningDaemon) -> None:
    """A device that may not read the ledger is refused; nothing of nobody is no evidence."""
    caller = daemon.pair_device("caller", "callers")
    pack = daemon.root / "evidence"
    refused = daemon.cli("ledger", "evidence", str(pack), "--since", "1h", home=caller)
    assert (refused.status == 0, pack.exists()) == (False, False)
    assert "NOT_PERMITTED" in refused.err
    with daemon.client() as client, pytest.raises(StockadeError) as missing:
        list(client.export_evidence(call_id="01970000-0000-7000-8000-000000000000"))
    assert missing.value.reason == "NO_SUCH_RECEIPTS"
    with daemon.client() as client, pytest.raises(StockadeError) as nothing:
        list(client.export_evidence())
    assert nothing.value.reason == "NO_SUBJECT"

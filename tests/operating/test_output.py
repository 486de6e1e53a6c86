"""What a call wrote is kept as its arguments are: in evidence, bounded, and pruned with them."""

import base64
import hashlib
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ledger.account import account, as_html, as_text
from ledger.errors import EvidenceError
from ledger.evidence import Evidence, verify_evidence
from ledger.keys import parse_public
from stockade.client import Client
from tests.promises.acting import ALONE, add_tool, apply, entries, export, receipts, until
from tests.running import CONFIG, RunningDaemon, output, running

KEEPING = CONFIG + "[ledger]\noutput_kib = 1\n"
GRANT = 'permit (principal, action == Action::"use_secret", resource);'
SECRET = "correct-horse-7b1d"
SAYS = "printf 'one\\n\\033[2Jtwo\\n'; echo wrong >&2"
LONG = "printf begun; head -c 5000 /dev/zero | tr '\\0' x; printf ended"


def call(client: Client, command: str, tool: str = "run_shell") -> str:
    """Its id, once it is over."""
    arguments = {"command": command} if tool == "run_shell" else {}
    return list(client.call(tool, arguments))[-1].call_id


def end(client: Client, call_id: str) -> dict[str, Any]:
    """What the receipt of its end says."""
    body: dict[str, Any] = receipts(client, call_id)[-1]["body"]
    return body


def evidence(daemon: RunningDaemon, client: Client, call_id: str) -> tuple[list[bytes], Evidence]:
    pieces = b"".join(piece.data for piece in client.export_evidence(call_id=call_id))
    lines = pieces.splitlines(keepends=True)
    return lines, verify_evidence(lines, parse_public(daemon.home.ledger_keys.read_bytes()))


def outputs(found: Evidence) -> list[tuple[bytes, int, bytes]]:
    return [
        (base64.b64decode(one["start"]), one["left_out"], base64.b64decode(one["end"]))
        for one in found.documents.values()
        if one["what"] == "output"
    ]


def stored(daemon: RunningDaemon, call_id: str) -> bytes | None:
    path = f"file:{daemon.home.data}/stockade.db?mode=ro"
    with closing(sqlite3.connect(path, uri=True)) as database, database:
        wanted = "SELECT output FROM calls WHERE call_id = ?"
        found: bytes | None = database.execute(wanted, (call_id,)).fetchone()[0]
    return found


def put(daemon: RunningDaemon, call_id: str, found: bytes | str) -> None:
    with (
        closing(sqlite3.connect(daemon.home.data / "stockade.db", timeout=60)) as database,
        database,
    ):
        database.execute("UPDATE calls SET output = ? WHERE call_id = ?", (found, call_id))


@pytest.fixture(scope="module")
def daemon() -> Iterator[RunningDaemon]:
    with running(KEEPING) as daemon:
        with daemon.client() as client:
            apply(client, ALONE + GRANT)
        yield daemon


@pytest.fixture
def client(daemon: RunningDaemon) -> Iterator[Client]:
    with daemon.client() as client:
        yield client


def test_what_a_call_wrote_is_in_its_evidence(daemon: RunningDaemon, client: Client) -> None:
    """Both streams, by the digests that the signed receipt of its end names."""
    call_id = call(client, SAYS)
    _, found = evidence(daemon, client, call_id)
    assert outputs(found) == [(b"one\n\x1b[2Jtwo\n", 0, b""), (b"wrong\n", 0, b"")]
    body = end(client, call_id)
    assert body["stdout"]["kept_digest"] in found.documents
    whole = hashlib.sha256(b"one\n\x1b[2Jtwo\n").hexdigest()
    assert body["stdout"]["digest"] == f"sha256:{whole}"


def test_the_report_shows_it_and_obeys_nothing_in_it(daemon: RunningDaemon, client: Client) -> None:
    """In text and HTML, with what a terminal would act on made visible."""
    _, found = evidence(daemon, client, call(client, SAYS + "; echo '<script>'"))
    chapters = account(found)
    for told in (as_text(chapters), as_html(chapters)):
        assert "\x1b" not in told
        assert "\\x1b[2Jtwo" in told
        assert "wrote to stderr" in told
    assert "      | one\n" in as_text(chapters)
    assert "<script>" not in as_html(chapters)


def test_of_much_the_start_and_the_end_are_kept(daemon: RunningDaemon, client: Client) -> None:
    """With how much was between; the digest of the whole stays that of the whole."""
    call_id = call(client, LONG)
    _, found = evidence(daemon, client, call_id)
    [(start, left_out, last)] = outputs(found)
    assert (start, last) == (b"begun" + b"x" * 507, b"x" * 507 + b"ended")
    assert left_out == 5010 - 1024
    body = end(client, call_id)["stdout"]
    whole = hashlib.sha256(b"begun" + b"x" * 5000 + b"ended").hexdigest()
    assert (body["bytes"], body["left_out"]) == (5010, left_out)
    assert body["digest"] == f"sha256:{whole}"
    assert "first 512 and last 512 bytes; 3986 between are not kept" in as_text(account(found))


def test_output_that_was_changed_is_no_evidence(daemon: RunningDaemon, client: Client) -> None:
    """In the file it is refused; in the database it is left out, and the report says so."""
    call_id = call(client, "echo paid 10")
    lines, _ = evidence(daemon, client, call_id)
    true, false = (base64.b64encode(text) for text in (b"paid 10\n", b"paid 99\n"))
    assert any(true in line for line in lines)
    with pytest.raises(EvidenceError) as refused:
        verify_evidence(
            [line.replace(true, false) for line in lines],
            parse_public(daemon.home.ledger_keys.read_bytes()),
        )
    assert refused.value.code == "DOCUMENT"
    was = stored(daemon, call_id) or b""
    for edited in (was.replace(b"10", b"99"), was[:-1], b"x", "text"):
        put(daemon, call_id, edited)
        _, found = evidence(daemon, client, call_id)
        assert outputs(found) == []
        assert "what was kept of it is not in this evidence" in as_text(account(found))


def test_a_secret_of_the_tool_is_not_kept(daemon: RunningDaemon, client: Client) -> None:
    """What is kept is what the caller got: after the redaction."""
    client.put_secret("secret://global/token", SECRET.encode())
    add_tool(
        client,
        "tells",
        ["/bin/sh", "-c", "echo $TOKEN"],
        rest='[[secrets]]\nreference = "secret://global/token"\nenv = "TOKEN"\n',
    )
    events = list(client.call("tells", {}))
    assert b"[redacted:token]" in output(events)
    _, found = evidence(daemon, client, events[0].call_id)
    assert outputs(found) == [(output(events), 0, b"")]
    assert SECRET.encode() not in (stored(daemon, events[0].call_id) or b"")


def test_the_cli_shows_it(daemon: RunningDaemon, client: Client) -> None:
    """`ledger show --output`: with control characters visible for people, base64 for programs."""
    call_id = call(client, SAYS)
    told = daemon.cli("ledger", "show", call_id, "--output")
    assert told.status == 0, told.err
    assert "wrote to stdout: 12 bytes, all of it" in told.out
    assert "| ␛[2Jtwo" in told.out
    assert "\x1b" not in told.out
    told = daemon.cli("ledger", "show", call_id, "--output", "--json")
    *_, first, second = map(json.loads, told.out.splitlines())
    assert base64.b64decode(first["start"]) == b"one\n\x1b[2Jtwo\n"
    assert (second["stream"], base64.b64decode(second["start"])) == ("stderr", b"wrong\n")


def test_an_export_for_a_siem_has_none_of_it(daemon: RunningDaemon, tmp_path: Path) -> None:
    """Digests alone, in each format."""
    with daemon.client() as client:
        call(client, "echo said-aloud | tr a-z A-Z")
    for form in ("ndjson", "cef", "ocsf"):
        path = tmp_path / form
        assert daemon.cli("ledger", "export", str(path), "--format", form).status == 0
        assert b"call.succeeded" in path.read_bytes()
        assert b"SAID-ALOUD" not in path.read_bytes()


def test_a_backup_has_it(daemon: RunningDaemon, client: Client, tmp_path: Path) -> None:
    """Restored in another home, it is what it was."""
    call_id = call(client, "echo kept")
    file, root = tmp_path / "home.backup", tmp_path / "home"
    words = "correct horse battery staple"
    assert daemon.cli("backup", str(file), stdin=words).status == 0
    restored = replace(daemon, root=root, process=None)
    answer = restored.cli("restore", str(file), stdin=words)
    assert answer.status == 0, answer.err
    assert stored(restored, call_id) == stored(daemon, call_id) is not None


def test_it_goes_with_the_other_contents(daemon: RunningDaemon) -> None:
    """With `none` what there was is pruned, which is a receipt; of what comes nothing is kept."""
    with daemon.client() as client:
        before = call(client, "echo before")
        lines, _ = evidence(daemon, client, before)
    daemon.stop()
    daemon.home.config_file.write_text(KEEPING + 'contents = "none"\n')
    daemon.start()
    with daemon.client() as client:
        assert until(lambda: stored(daemon, before) is None, seconds=90)
        assert "kept_digest" in end(client, before)["stdout"]
        after = call(client, "echo after")
        assert stored(daemon, after) is None
        assert end(client, after)["stdout"].keys() == {"bytes", "digest"}
        _, found = evidence(daemon, client, before)
        assert outputs(found) == []
        assert "what was kept of it is not in this evidence" in as_text(account(found))
        pruned = [o["body"] for o in entries(export(client)) if o["kind"] == "ledger.pruned"]
    assert sum(body["bytes"] for body in pruned) > 0
    # What was taken before shows it still.
    keys = parse_public(daemon.home.ledger_keys.read_bytes())
    assert outputs(verify_evidence(lines, keys)) == [(b"before\n", 0, b"")]


@pytest.fixture(scope="module")
def redacting() -> Iterator[RunningDaemon]:
    with running(KEEPING + 'contents = "redacted"\n') as daemon:
        with daemon.client() as client:
            apply(client, ALONE)
            client.put_secret("secret://global/door", SECRET.encode())
        yield daemon


def printed_otherwise(text: str) -> str:
    """A command that prints it, and whose own text has it in no form that is looked for."""
    return f"echo before; echo '{text[::-1]}' | rev"


@pytest.mark.parametrize(
    ("command", "why"),
    [
        (printed_otherwise(SECRET), "vault"),
        (printed_otherwise("ghp_" + "a1B2" * 9), "shape"),
        (printed_otherwise('{"password": "a b"}').replace("echo before; ", ""), "name"),
        ("echo ghp_" + "a1B2" * 9, "arguments"),
        # With the digest of the whole, and all but its end, the end could be found by trying.
        ("head -c 1024 /dev/zero | tr '\\0' x; echo 4711", "long"),
    ],
)
def test_redacted_contents_have_no_output_with_something_to_take_out(
    redacting: RunningDaemon, command: str, why: str
) -> None:
    """The receipt says why nothing is kept; nothing is, beside the digest of the whole."""
    with redacting.client() as client:
        call_id = call(client, command)
        body = end(client, call_id)["stdout"]
        assert (body["withheld"], "kept_digest" in body) == (why, False)
        assert ("salted_digest" in body) == (why == "arguments")
        _, found = evidence(redacting, client, call_id)
    assert stored(redacting, call_id) is None
    assert outputs(found) == []
    assert f"not kept ({why})" in as_text(account(found))


def test_redacted_contents_have_output_with_nothing_to_take_out(redacting: RunningDaemon) -> None:
    """The stream beside one with a secret, too."""
    with redacting.client() as client:
        call_id = call(client, printed_otherwise(SECRET) + " >&2; echo fine")
        assert outputs(evidence(redacting, client, call_id)[1]) == [(b"before\nfine\n", 0, b"")]
        assert end(client, call_id)["stderr"]["withheld"] == "vault"


def test_a_locked_vault_keeps_no_output(redacting: RunningDaemon) -> None:
    """What cannot be looked for is not kept; the call goes on. The last: the root is gone."""
    redacting.stop()
    (redacting.home.data / "vault.root").rename(redacting.root / "away")
    redacting.start()
    with redacting.client() as client:
        call_id = call(client, "echo harmless")
        assert end(client, call_id)["reason"] == "SUCCEEDED"
        assert end(client, call_id)["stdout"]["withheld"] in ("arguments", "locked")
    assert stored(redacting, call_id) is None

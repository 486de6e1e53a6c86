"""`ledger tail` with its filters, and `ledger export` in parts and in other forms."""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stockade.errors import StockadeError
from stockade.v1 import ledger_pb2
from tests.promises.acting import ALONE, apply, run
from tests.running import STOCKADE, RunningDaemon, running


@pytest.fixture(scope="module")
def reading() -> Iterator[RunningDaemon]:
    with running() as daemon:
        with daemon.client() as client:
            apply(client, ALONE)
            for number in range(6):
                run(client, "run_shell", command=f"echo {number}")
            run(client, "no_such_tool")
            run(client, "list_files", workspace="none")
        yield daemon


def tail(daemon: RunningDaemon, *options: str) -> list[dict[str, Any]]:
    answer = daemon.cli("ledger", "tail", "--json", *options)
    assert answer.status == 0, answer.err
    return answer.lines()


def test_filters_leave_only_what_fits(reading: RunningDaemon) -> None:
    """By kind, decision, tool, principal and time; each, and together."""
    denied = tail(reading, "--decision", "denied")
    assert {one["kind"] for one in denied} == {"call.denied"}
    assert len(denied) == 2
    shell = tail(reading, "--tool", "run_shell", "-n", "500")
    assert len(shell) == 6 * 4
    assert len(tail(reading, "--tool", "run_shell", "--kind", "call.succeeded")) == 6
    who = reading.cli("whoami").out.partition("(")[2].partition(")")[0]
    assert len(tail(reading, "--principal", who, "--decision", "permitted")) == 6
    assert tail(reading, "--principal", "device/none") == []
    assert tail(reading, "--until", "2020-01-01") == []
    assert len(tail(reading, "--since", "1h", "--kind", "call.", "-n", "3")) == 3


def test_a_call_is_shown_from_its_arrival_to_its_end(reading: RunningDaemon) -> None:
    """When it arrived, and how long after that was what; with all that each receipt says."""
    (last,) = tail(reading, "--tool", "run_shell", "--kind", "call.succeeded", "-n", "1")
    shown = reading.cli("ledger", "show", last["canonical"]["body"]["call"])
    assert shown.status == 0
    lines = [line for line in shown.out.splitlines() if not line.startswith("           ")]
    assert [re.sub(r"\s+", " ", line.strip()).split(" ")[-2] for line in lines] == [
        *("call.received", "call.permitted", "call.running", "call.succeeded")
    ]
    after = [re.search(r"  \+(\d+\.\d{3}) s  ", line) for line in lines]
    assert after[0] is None
    passed = [float(found[1]) for found in after[1:] if found]
    assert len(passed) == 3
    assert passed == sorted(passed)
    assert "exit_code: 0" in shown.out
    assert max(map(len, shown.out.splitlines())) <= 80
    assert reading.cli("calls", "show", last["canonical"]["body"]["call"]).out == shown.out


def test_pages_go_back_by_the_entry(reading: RunningDaemon) -> None:
    """--before takes the number of the oldest that was shown."""
    newest = tail(reading, "-n", "5", "--kind", "call.")
    older = tail(reading, "-n", "5", "--kind", "call.", "--before", str(newest[0]["sequence"]))
    whole = tail(reading, "-n", "10", "--kind", "call.")
    assert [one["sequence"] for one in (*older, *newest)] == [one["sequence"] for one in whole]


def test_what_is_followed_is_filtered_too(reading: RunningDaemon) -> None:
    """New receipts that fit, and no others."""
    only = ledger_pb2.ReceiptFilter(kinds=["call.succeeded"])
    newest = tail(reading, "-n", "1")[-1]["sequence"]
    with reading.client() as follower, reading.client() as caller:
        # Not from now on: the daemon may come to the stream after the calls.
        stream = follower.follow_ledger(newest, only)
        run(caller, "run_shell", command="true")
        run(caller, "run_shell", command="true")
        kinds = [next(stream).kind, next(stream).kind]
        stream.cancel()
    assert kinds == ["call.succeeded"] * 2


@pytest.mark.parametrize(
    "only",
    [
        ledger_pb2.ReceiptFilter(since="yesterday"),
        ledger_pb2.ReceiptFilter(until="2026-01-01T00:00:00Z"),
        ledger_pb2.ReceiptFilter(kinds=["x"] * 33),
    ],
)
def test_a_filter_out_of_form_is_refused(
    reading: RunningDaemon, only: ledger_pb2.ReceiptFilter
) -> None:
    """It is not ignored: more would be shown than was asked for."""
    with reading.client() as client, pytest.raises(StockadeError) as refused:
        client.read_ledger(only=only)
    assert refused.value.reason == "BAD_FILTER"


def export(daemon: RunningDaemon, file: Path, *options: str) -> list[str]:
    answer = daemon.cli("ledger", "export", str(file), *options)
    assert answer.status == 0, answer.err
    return file.read_text().splitlines()


def test_other_forms_have_a_line_for_each(reading: RunningDaemon, tmp_path: Path) -> None:
    """The same receipts in each form; JSON is JSON, CEF begins as CEF."""
    options = ("--decision", "denied")
    plain = [json.loads(one)["receipt"] for one in export(reading, tmp_path / "a", *options)]
    cef = export(reading, tmp_path / "b", "--format", "cef", *options)
    ocsf = [
        json.loads(one) for one in export(reading, tmp_path / "c", "--format", "ocsf", *options)
    ]
    assert [one["kind"] for one in plain] == ["call.denied"] * 2
    assert all(f"externalId={one['id']}" in line for one, line in zip(plain, cef, strict=True))
    assert all(line.startswith("CEF:0|Stockade|") for line in cef)
    assert [one["metadata"]["uid"] for one in ocsf] == [one["id"] for one in plain]
    assert reading.cli("ledger", "export", str(tmp_path / "d"), "--format", "xml").status == 2


def test_an_export_for_a_pipe(reading: RunningDaemon, tmp_path: Path) -> None:
    """With - the lines go to standard output and nothing else does, and no file is made."""
    answer = reading.cli("ledger", "export", "-", "--json")
    assert answer.status == 0, answer.err
    file = tmp_path / "piped"
    file.write_text(answer.out)
    keys = str(reading.home.data / "ledger.pub")
    assert reading.cli("ledger", "verify", str(file), "--key", keys).status == 0
    cursor = ("--cursor", str(tmp_path / "cursor"))
    assert "a cursor says" in reading.cli("ledger", "export", "-", *cursor).err


def test_only_a_file_is_replaced(reading: RunningDaemon, tmp_path: Path) -> None:
    """What is written whole is renamed into its place, never over a device or a pipe."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    call = reading.cli("calls", "list", "--json").lines()[0]["call_id"]
    for command in (("export", str(pipe)), ("evidence", str(pipe), "--call", call)):
        answer = reading.cli("ledger", *command)
        assert (answer.status, answer.err.split(": ")[1]) == (1, "FILE_ERROR"), answer.err
        assert pipe.is_fifo()
    assert [one.name for one in tmp_path.iterdir()] == ["pipe"]


def test_a_file_of_another_kind_is_no_tampered_one(reading: RunningDaemon, tmp_path: Path) -> None:
    """Each of what the ledger gives out, where another is wanted: what it is, and what reads it."""
    export, evidence, page = (tmp_path / name for name in ("export", "evidence", "page.html"))
    call = str(reading.cli("calls", "list", "--json").lines()[0]["call_id"])
    key = ("--key", str(reading.home.ledger_keys))
    assert reading.cli("ledger", "export", str(export)).status == 0
    assert reading.cli("ledger", "evidence", str(evidence), "--call", call).status == 0
    assert reading.cli("ledger", "report", str(evidence), *key, "--html", str(page)).status == 0
    for command, file, said in (
        ("verify", evidence, "is evidence"),
        ("verify", page, "is a page to be read"),
        ("report", export, "is an export"),
        ("report", page, "is a page to be read"),
    ):
        answer = reading.cli("ledger", command, str(file), *key)
        assert (answer.status, said in answer.err) == (2, True), answer.err
    export.write_bytes(b"x" + export.read_bytes())
    assert "MALFORMED" in reading.cli("ledger", "verify", str(export), *key).err


def test_a_number_for_a_call(reading: RunningDaemon) -> None:
    """Who gives `show` a receipt's number is told how to see that; and it is as told."""
    answer = reading.cli("ledger", "show", "3")
    assert answer.status == 1
    told = re.search(r"`stockade (ledger tail .*?)`", answer.err)
    assert told is not None
    assert [one["sequence"] for one in reading.cli(*told[1].split()).lines()] == [3]


def test_keys_that_are_none(reading: RunningDaemon, tmp_path: Path) -> None:
    """The wrong file after --key is named, with the command that prints the right one."""
    (tmp_path / "wrong").write_text("x")
    answer = reading.cli(
        "ledger", "verify", str(tmp_path / "wrong"), "--key", str(tmp_path / "wrong")
    )
    assert (answer.status, answer.err.split(": ")[1]) == (1, "MALFORMED")
    assert str(tmp_path / "wrong") in answer.err
    assert "`stockade ledger keys`" in answer.err


def test_an_export_is_of_a_period(reading: RunningDaemon, tmp_path: Path) -> None:
    """From one receipt's time to another's, both in it, and nothing before or after."""
    whole = export(reading, tmp_path / "whole", "--kind", "call.")
    times = [json.loads(line)["receipt"]["time"] for line in whole]
    start, end = times[len(times) // 4], times[len(times) // 2]
    assert times[0] < start < end < times[-1]
    expected = [line for line, time in zip(whole, times, strict=True) if start <= time <= end]
    period = ("--kind", "call.", "--since", start, "--until", end)
    assert export(reading, tmp_path / "part", *period) == expected
    assert export(reading, tmp_path / "none", "--until", "2020-01-01") == []


@pytest.mark.parametrize("form", ["ndjson", "ocsf"])
def test_an_export_goes_on_where_it_ended(
    reading: RunningDaemon, tmp_path: Path, form: str
) -> None:
    """Each receipt once: also after a run that was killed between the file and its cursor."""
    file, cursor = tmp_path / "file", tmp_path / "cursor"
    options = ("--format", form, "--cursor", str(cursor), "--kind", "call.")
    first = export(reading, file, *options)
    assert export(reading, file, *options) == first
    with file.open("a") as half:
        half.write('{"half of what a killed run wrote' + "x" * 100_000)
    with reading.client() as client:
        run(client, "run_shell", command="true")
    second = export(reading, file, *options)
    assert second[: len(first)] == first
    assert len(second) == len(first) + 4
    assert second == export(reading, tmp_path / "whole", *options[:2], *options[4:])


def test_a_cursor_of_another_export_is_refused(reading: RunningDaemon, tmp_path: Path) -> None:
    """Other filters, another file, no file: nothing is mixed or skipped in silence."""
    file, cursor = tmp_path / "file", tmp_path / "cursor"
    export(reading, file, "--cursor", str(cursor))
    command = ("ledger", "export", str(file), "--cursor")
    assert reading.cli(*command, str(cursor), "--tool", "x").status == 2
    assert reading.cli(*command, str(tmp_path / "none")).status == 2
    file.write_bytes(file.read_bytes()[:-100])
    assert reading.cli(*command, str(cursor)).status == 2
    for text in ("{}", "[" * 100_000, *map(_cursor, ("1e400", "-5", "9" * 30))):
        cursor.write_text(text)
        answer = reading.cli(*command, str(cursor))
        assert (answer.status, "is no cursor" in answer.err) == (2, True), answer.err


def _cursor(through: str) -> str:
    return '{"through": %s, "bytes": 0, "asked": []}' % through  # noqa: UP031 - braces


def test_a_first_export_that_found_no_daemon_is_gone_on_with(
    reading: RunningDaemon, tmp_path: Path
) -> None:
    """Or was killed: its cursor is there before the file is, and says that nothing is in it."""
    file, cursor = tmp_path / "file", tmp_path / "cursor"
    options = ("ledger", "export", str(file), "--cursor", str(cursor))
    nobody = {**reading.environ(), "STOCKADE_HOME": str(tmp_path / "nobody")}
    command = [str(STOCKADE), *options]
    assert subprocess.run(command, env=nobody, capture_output=True).returncode != 0
    file.write_text("what a killed run wrote")
    assert cursor.exists()
    first = export(reading, file, *options[3:])
    assert export(reading, tmp_path / "whole")[: len(first)] == first


def test_a_whole_export_by_cursor_still_verifies(reading: RunningDaemon, tmp_path: Path) -> None:
    """Appended run after run, it is the ledger."""
    file, cursor = tmp_path / "file", tmp_path / "cursor"
    for _ in range(3):
        export(reading, file, "--cursor", str(cursor))
    key = str(reading.home.ledger_keys)
    answer = reading.cli("ledger", "verify", str(file), "--key", key, "--json")
    assert answer.lines()[0]["ok"]

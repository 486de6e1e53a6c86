"""`stockade call`: exit statuses, streams, arguments."""

# ruff: noqa: ARG001 - asking for the fixture `daemon` serves the home

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from stockade.v1 import call_pb2, tool_pb2
from tests.stockade.conftest import Stockade
from tests.stockade.serving import STDERR, Daemon, World, finished, output

C = call_pb2


@pytest.mark.parametrize(
    ("state", "status"),
    [
        (C.CALL_STATE_SUCCEEDED, 0),
        (C.CALL_STATE_FAILED, 1),
        (C.CALL_STATE_DENIED, 10),
        (C.CALL_STATE_REJECTED, 11),
        (C.CALL_STATE_EXPIRED, 12),
        (C.CALL_STATE_TIMED_OUT, 13),
        (C.CALL_STATE_KILLED, 14),
        (C.CALL_STATE_CANCELLED, 15),
        (C.CALL_STATE_INTERRUPTED, 16),
    ],
)
def test_exit_status(
    daemon: Daemon,
    world: World,
    stockade: Stockade,
    state: "C.CallState.ValueType",
    status: int,
) -> None:
    """Each end has its own exit status, and every bad end says why on standard error."""
    world.scripts["t"] = lambda _: [finished(state, "WHY", "do this")]
    result = stockade("call", "t")
    assert result.status == status
    assert result.out == ""
    assert ("WHY: do this" in result.err) == (status != 0)


def test_tier_unavailable(daemon: Daemon, world: World, stockade: Stockade) -> None:
    """A tier that does not work here is told apart from a denial."""
    world.scripts["t"] = lambda _: [finished(C.CALL_STATE_DENIED, "TIER_UNAVAILABLE", "no runsc")]
    assert stockade("call", "t").status == 20


def test_unreachable(daemon: Daemon, stockade: Stockade) -> None:
    """No daemon there: status 20 and what to do."""
    daemon.home.endpoint.write_text('{"pid": 99, "address": "127.0.0.1:1"}')
    result = stockade("call", "t")
    assert result.status == 20
    assert "fix: start it with `stockade up" in result.err


def test_not_paired(stockade: Stockade) -> None:
    """A home that nobody set up is no reachable daemon either."""
    assert stockade("call", "t").status == 20


def test_output_is_bytes(daemon: Daemon, world: World, stockade: Stockade) -> None:
    """The tool's two streams go to ours, and nothing else is on standard output."""
    world.scripts["t"] = lambda _: [
        output(b"out\n"),
        output(b"err\n", stream=STDERR),
        finished(C.CALL_STATE_SUCCEEDED),
    ]
    result = stockade("call", "t")
    assert (result.out, result.err) == ("out\n", "err\n")


def test_gap_is_said(daemon: Daemon, world: World, stockade: Stockade) -> None:
    """Output that is no longer kept is not passed over in silence."""
    world.scripts["t"] = lambda _: [output(b"x", offset=5), finished(C.CALL_STATE_SUCCEEDED)]
    assert "5 bytes" in stockade("call", "t").err


def test_json_events(daemon: Daemon, world: World, stockade: Stockade) -> None:
    """--json: one object per event, names instead of numbers, exact bytes."""
    world.scripts["t"] = lambda _: [
        C.CallEvent(received=C.CallEvent.Received(tool="t")),
        output(b"\xff\x1b"),
        finished(C.CALL_STATE_TIMED_OUT, limit="wall"),
    ]
    result = stockade("call", "t", "--json")
    events = [json.loads(line) for line in result.out.splitlines()]
    assert [event["event"] for event in events] == ["received", "output", "finished"]
    assert events[1]["data"] == "/xs="
    assert events[2]["state"] == "timed_out"
    assert result.out.isascii()
    assert "\x1b" not in result.out
    assert result.status == 13


def test_denial_names_policy(daemon: Daemon, world: World, stockade: Stockade) -> None:
    """A denial says which line of which file."""
    decision = C.CallEvent.Decision(
        verdict=C.CallEvent.Decision.VERDICT_DENIED,
        policies=[C.PolicyReference(id="no-rm", file="owners.cedar", line=7)],
    )
    world.scripts["t"] = lambda _: [
        C.CallEvent(decision=decision),
        finished(C.CALL_STATE_DENIED, "POLICY_FORBIDS", "policy says no"),
    ]
    told = stockade("call", "t", "--verbose").err
    assert "· denied by no-rm (owners.cedar:7)\n" in told
    assert "  by policy no-rm (owners.cedar:7)\n" in told
    world.scripts["t"] = lambda _: [
        C.CallEvent(decision=decision),
        finished(C.CALL_STATE_DENIED, "FORBIDDEN", "by no-rm (owners.cedar:7)"),
    ]
    assert "  by policy" not in stockade("call", "t", "--verbose").err


def test_no_risk_is_shown_of_what_was_not_judged(
    daemon: Daemon, world: World, stockade: Stockade
) -> None:
    """A call that is refused before policy is asked has no score; others have one, of 0 too."""

    def told(decision: "C.CallEvent.Decision") -> list[str]:
        world.scripts["t"] = lambda _: [
            C.CallEvent(decision=decision),
            finished(C.CALL_STATE_SUCCEEDED),
        ]
        return stockade("call", "t", "--verbose").err.splitlines()

    denied, permitted = (
        C.CallEvent.Decision.VERDICT_DENIED,
        C.CallEvent.Decision.VERDICT_PERMITTED,
    )
    unknown = told(C.CallEvent.Decision(verdict=denied, reason="UNKNOWN_TOOL"))
    assert not any("denied" in line or "risk" in line for line in unknown)
    judged = C.CallEvent.Decision(verdict=denied, reason="NO_POLICY", call_digest="ab")
    assert "· denied, risk 0.000" in told(judged)
    at_once = C.CallEvent.Decision(
        verdict=permitted, reason="PERMITTED", risk_milli=120, tier="process"
    )
    assert "· permitted, risk 0.120, tier process" in told(at_once)


def test_hostile_message(daemon: Daemon, world: World, stockade: Stockade) -> None:
    """Text from the daemon cannot drive the terminal."""
    world.scripts["t"] = lambda _: [finished(C.CALL_STATE_DENIED, "WHY", "\x1b[2Jgone\u202e")]
    result = stockade("call", "t")
    assert "\x1b" not in result.err
    assert "␛[2Jgone\\u{202e}" in result.err


@pytest.mark.parametrize("how", [("--arg",), (), ("--detach",)])
def test_typed_arguments(
    daemon: Daemon, world: World, stockade: Stockade, how: tuple[str, ...]
) -> None:
    """`k=v` takes its type from the tool's schema, behind `--arg` or by itself."""
    world.scripts["t"] = lambda _: [finished(C.CALL_STATE_SUCCEEDED)]
    pairs = ("text=7", "count=7", "loud=true", 'tags=["a"]', "mode=2")
    options = [word for pair in pairs for word in (*how, pair)]
    assert stockade("call", "t", *options).status == 0
    sent = world.requests[-1]
    assert isinstance(sent, tool_pb2.CallRequest)
    assert json.loads(sent.arguments) == {
        "text": "7",
        "count": 7,
        "loud": True,
        "tags": ["a"],
        "mode": 2,
    }


@pytest.mark.parametrize(
    "pair", ["count=x", "count=true", "count=1.5", "loud=1", "tags=a", "nope=1", "novalue", "=x"]
)
def test_misfit_is_usage(daemon: Daemon, world: World, stockade: Stockade, pair: str) -> None:
    """A value that does not fit its type is a usage error and is not sent."""
    world.scripts["t"] = lambda _: [finished(C.CALL_STATE_SUCCEEDED)]
    assert stockade("call", "t", "--arg", pair).status == 2
    assert stockade("call", "t", pair).status == 2
    assert stockade("call", "t", "text=once", "-a", "text=twice").status == 2
    assert stockade("call", "t", "text=once", "--args-json", "{}").status == 2
    assert world.requests == []


def test_unknown_tool_is_still_asked(daemon: Daemon, world: World, stockade: Stockade) -> None:
    """A call of an unknown tool reaches the daemon, so that its refusal is recorded."""
    assert stockade("call", "ghost", "--arg", "a=b").status == 10
    assert world.requests[-1].tool == "ghost"


def test_raw_json_is_sent_as_is(daemon: Daemon, world: World, stockade: Stockade) -> None:
    """Duplicate keys are not tidied away before the daemon sees them."""
    world.scripts["t"] = lambda _: [finished(C.CALL_STATE_SUCCEEDED)]
    raw = b'{"a": 1, "a": 2}'
    assert stockade("call", "t", "--args-json", "-", stdin=raw).status == 0
    assert world.requests[-1].arguments == raw


@pytest.mark.parametrize("raw", ["[1]", "{", "null", "[" * 100_000])
def test_args_json_must_be_object(stockade: Stockade, raw: str) -> None:
    """Whatever is no JSON object is a usage error, before anyone is dialled."""
    assert stockade("call", "t", "--args-json", raw).status == 2


def test_detach_prints_id(daemon: Daemon, world: World, stockade: Stockade) -> None:
    """--detach gives the id on standard output as soon as the tool runs."""
    ends, ended = threading.Event(), threading.Event()

    def script(_: tool_pb2.CallRequest) -> Iterator[C.CallEvent]:
        yield C.CallEvent(started=C.CallEvent.Started(tier="process"))
        ends.wait(60)
        ended.set()

    world.scripts["t"] = script
    result = stockade("call", "t", "--detach")
    assert not ended.is_set()
    ends.set()
    assert result.status == 0
    assert result.out.strip() == world.requests[-1].call_id
    assert world.requests[-1].detach


def test_stream_cut(daemon: Daemon, world: World, stockade: Stockade) -> None:
    """A stream without an end is not taken for success."""
    world.scripts["t"] = lambda _: [output(b"half")]
    result = stockade("call", "t")
    assert result.status == 1
    assert "STREAM_CUT" in result.err


def _program(*arguments: str, home: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-c", "from stockade.cli.main import main; main()", *arguments],
        env={**os.environ, "STOCKADE_HOME": home},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


@pytest.mark.parametrize("as_json", [False, True])
def test_ctrl_c_cancels(daemon: Daemon, world: World, as_json: bool) -> None:
    """Ctrl-C cancels the call by name, shows its end and exits with 15."""

    def script(_: tool_pb2.CallRequest) -> Iterator[C.CallEvent]:
        yield output(b"begun\n")
        world.cancelled.wait(90)

    world.scripts["t"] = script
    options = ["--json"] if as_json else []
    with _program("call", "t", *options, home=str(daemon.home.config)) as process:
        assert process.stdout is not None
        assert b"begun" in process.stdout.readline() or as_json
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=90)
    assert process.returncode == 15, err
    assert world.cancelled.is_set()
    assert isinstance(world.requests[-1], tool_pb2.CancelCallRequest)
    assert (json.loads(out)["state"] == "cancelled") if as_json else b"cancelled" in err


def test_closed_pipe(daemon: Daemon, world: World) -> None:
    """A reader that goes away ends the call without a traceback."""

    def script(_: tool_pb2.CallRequest) -> Iterator[C.CallEvent]:
        for number in range(2000):
            yield output(b"x" * 4096, offset=number * 4096)
        yield finished(C.CALL_STATE_SUCCEEDED)

    world.scripts["t"] = script
    with _program("call", "t", home=str(daemon.home.config)) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(10)
        process.stdout.close()
        assert b"Traceback" not in process.stderr.read()
        process.wait(90)
    assert process.returncode == 1

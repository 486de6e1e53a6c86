"""Traces are bounded, whatever becomes of the collector and of calls."""

import json

from uuid_utils.compat import uuid7

from daemon.traces import MOST_CALLS, MOST_SPANS, Traces
from ledger.chain import Entry
from ledger.receipt import format_time


def receipt(kind: str, **body: str) -> Entry:
    canonical = json.dumps({"body": body}).encode()
    return Entry(1, "id", kind, format_time(1_800_000_000_000), canonical, bytes(32), bytes(64))


def test_calls_that_never_end_are_let_go_of() -> None:
    """The oldest first; one that was let go of and ends is a trace from then on, and no fault."""
    traces = Traces("http://127.0.0.1:1/", "chain")
    ids = [str(uuid7()) for _ in range(MOST_CALLS + 10)]
    for one in ids:
        traces.decided(one, 0.001)
    assert len(traces._calls) == MOST_CALLS
    traces.recorded([receipt("call.denied", call=ids[0], reason="FORBIDDEN")])
    assert len(traces._calls) == MOST_CALLS


def test_what_nobody_takes_does_not_grow() -> None:
    """Beyond so many spans the newest are dropped, and counted."""
    traces = Traces("http://127.0.0.1:1/", "chain")
    for _ in range(MOST_SPANS):
        call = str(uuid7())
        traces.decided(call, 0.001)
        traces.recorded([receipt("call.received", call=call, tool="t")])
        traces.recorded([receipt("call.denied", call=call, reason="FORBIDDEN")])
        traces.admitted(call, 0.002)
    assert len(traces._spans) == MOST_SPANS
    assert traces._dropped == 2 * MOST_SPANS
    assert len(traces._calls) == 0


def test_a_call_of_another_life_is_a_trace_too() -> None:
    """It waited for a person when the daemon ended: nobody says how long deciding took."""
    traces, call = Traces("http://127.0.0.1:1/", "chain"), str(uuid7())
    traces.recorded([receipt("call.rejected", call=call, reason="REJECTED")])
    assert list(traces._calls) == [call]
    traces._calls[call].ended -= 3_000_000_000
    traces._emit_ended(call, traces._calls[call])
    assert [span.name for span in traces._spans] == ["call"]

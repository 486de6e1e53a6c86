"""The life of a call on a terminal or in a pipe, and the exit status its end means.

The tool's standard output goes to ours, its standard error to ours (`stockade.cli.tool_output`);
everything else that is said goes to standard error. How a call ended is always said unless it
succeeded; the steps before only on a terminal or when asked for.
"""

import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from stockade.cli import machine
from stockade.cli.ids import SHORTEST
from stockade.cli.terminal import local_time, many, note, time_left
from stockade.cli.tool_output import ToolOutput
from stockade.errors import DaemonFault

if TYPE_CHECKING:
    from stockade.v1 import call_pb2

CANCELLED = 15
UNREACHABLE = 20
TIER_UNAVAILABLE = "TIER_UNAVAILABLE"

# The contract of the design, by the names machine.plain gives the states.
EXIT_STATUS: Mapping[str, int] = {
    "succeeded": 0,
    "failed": 1,
    "denied": 10,
    "rejected": 11,
    "expired": 12,
    "timed_out": 13,
    "killed": 14,
    "cancelled": CANCELLED,
    "interrupted": 16,
}

_WORDS: Mapping[str, str] = {
    "denied": "denied",
    "rejected": "rejected",
    "expired": "expired",
    "timed_out": "timed out",
    "killed": "killed by a limit",
    "cancelled": "cancelled",
    "interrupted": "interrupted",
    "failed": "failed",
    "succeeded": "succeeded",
}

# Reasons that say no more than the verdict does.
_PLAIN = ("PERMITTED", "APPROVAL_REQUIRED")


def exit_status(finished: "call_pb2.CallEvent.Finished") -> int:
    """What `stockade call` exits with for this end."""
    if finished.reason == TIER_UNAVAILABLE:
        return UNREACHABLE
    return EXIT_STATUS.get(machine.plain(finished)["state"], 1)


def follow(
    events: "Iterable[call_pb2.CallEvent]", *, as_json: bool, verbose: bool, until_under_way: bool
) -> int | None:
    """Shows a call until its end and gives the exit status.

    With `until_under_way` it returns None as soon as the call runs or waits for a person.
    """
    show = _Json() if as_json else _Plain(verbose=verbose or sys.stderr.isatty())
    for event in events:
        show.event(event, quiet_output=until_under_way)
        if event.HasField("finished"):
            return exit_status(event.finished)
        if until_under_way and (event.HasField("awaiting_approval") or event.HasField("started")):
            return None
    raise DaemonFault(
        "the daemon ended the call's stream before the call's end",
        reason="STREAM_CUT",
        fix="`stockade calls watch ID` tells how the call ended",
    )


class _Json:
    """One object per event and line."""

    def event(self, event: "call_pb2.CallEvent", *, quiet_output: bool) -> None:
        if quiet_output and event.HasField("output"):
            return
        fields = machine.plain(event)
        if event.HasField("output"):
            # For reading; `data` has the exact bytes.
            fields["text"] = event.output.data.decode(errors="replace")
        machine.emit(fields)


class _Plain:
    """For people, and for pipes that want the tool's output."""

    def __init__(self, *, verbose: bool) -> None:
        self._verbose = verbose
        self._decision: call_pb2.CallEvent.Decision | None = None
        self._seen: dict[int, int] = {}  # bytes shown of each stream
        self._streams = {"stdout": ToolOutput(sys.stdout), "stderr": ToolOutput(sys.stderr)}

    def event(self, event: "call_pb2.CallEvent", *, quiet_output: bool) -> None:
        kind = event.WhichOneof("event")
        if kind == "received":
            self._step(f"call {event.call_id}: {event.received.tool}")
        elif kind == "decision":
            self._decision = event.decision
            if told := _decision(event.decision):
                self._step(told)
        elif kind == "awaiting_approval":
            _say_who(event.awaiting_approval)
        elif kind == "started":
            self._step(f"started in tier {event.started.tier}")
        elif kind == "output" and not quiet_output:
            self._output(event.output)
        elif kind == "finished":
            self._finished(event.call_id, event.finished)

    def _step(self, text: str) -> None:
        if self._verbose:
            note(f"· {text}")

    def _output(self, chunk: "call_pb2.CallEvent.OutputChunk") -> None:
        gap = chunk.offset - self._seen.get(chunk.stream, 0)
        if gap > 0:
            note(f"· {gap} bytes of output before this are no longer kept")
        self._seen[chunk.stream] = chunk.offset + len(chunk.data)
        kind = "stderr" if machine.plain(chunk)["stream"] == "stderr" else "stdout"
        self._streams[kind].write(chunk.data)

    def _finished(self, call_id: str, end: "call_pb2.CallEvent.Finished") -> None:
        state = machine.plain(end)["state"]
        for stream in self._streams.values():
            stream.end()
        if end.redactions:
            note(f"· {many(end.redactions, 'secret value')} taken out of the output")
        for path in end.put_aside:
            note(f"· put aside, as it would act later: {path}")
        if state == "succeeded":
            self._step(f"succeeded in {end.usage.wall_ms} ms")
            return
        note(_headline(state, end))
        if end.fix:
            note(f"  fix: {end.fix}")
        if state == "denied" and self._decision is not None:
            for policy in self._decision.policies:
                where = f"{policy.id} ({policy.file}:{policy.line})"
                if where not in end.message:
                    note(f"  by policy {where}")
        note(f"  receipts: stockade ledger show {call_id}")


def _decision(decision: "call_pb2.CallEvent.Decision") -> str:
    """What policy said; nothing where it was not asked, as then the call's end says it all."""
    verdict = machine.plain(decision)["verdict"].replace("_", " ")
    by = ", ".join(f"{p.id} ({p.file}:{p.line})" for p in decision.policies)
    judged = bool(decision.risk_milli or decision.tier or decision.call_digest)
    if verdict == "denied" and not (by or judged):
        return ""
    said = [f"{verdict} by {by}" if by else verdict]
    if judged:
        said.append(f"risk {decision.risk_milli / 1000:.3f}")
    if decision.tier:
        said.append(f"tier {decision.tier}")
    if verdict != "denied" and decision.reason not in _PLAIN:
        said.append(decision.reason)
    return ", ".join(filter(None, said))


def _say_who(waiting: "call_pb2.CallEvent.AwaitingApproval") -> None:
    until = waiting.expires.ToMilliseconds()
    note(
        f"waiting for approval {waiting.approval_id[:SHORTEST]}"
        f" until {local_time(until)} ({time_left(until)})"
    )
    if waiting.approvers:
        note(f"  who can give it: {', '.join(waiting.approvers)}")
    else:
        note("  nobody who was paired when it was asked can give it")
        note("  fix: stockade devices invite --name NAME --group approvers")
    note(f"  there: stockade approvals show {waiting.approval_id}")


def _headline(state: str, end: "call_pb2.CallEvent.Finished") -> str:
    words = _WORDS.get(state, state)
    if end.limit:
        words += f" ({end.limit})"
    told = [part for part in (end.reason, end.message) if part]
    if not told and end.HasField("exit_code"):
        told = [f"the tool exited with status {end.exit_code}"]
    if not told and end.HasField("signal"):
        told = [f"the tool was ended by signal {end.signal}"]
    return ": ".join((words, *told))

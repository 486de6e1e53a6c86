"""What clients were told before a crash, to be held against the ledger after it.

Threads write here; every entry is something that the daemon acknowledged.
"""

import threading
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from stockade.v1 import call_pb2

Receipts = dict[int, tuple[str, dict[str, Any]]]  # by number: digest, what it says

ENDS = (
    *("call.denied", "call.rejected", "call.expired", "call.cancelled", "call.failed"),
    *("call.succeeded", "call.timed_out", "call.killed", "call.interrupted"),
)
# What an event of a stream says is in the ledger.
RECORDED = {
    "received": ("call.received",),
    "decision": ("call.permitted", "call.pending_approval", "call.denied"),
    "awaiting_approval": ("approval.asked",),
    "started": ("call.running",),
    "output": ("call.running",),
    "finished": ENDS,
}


@dataclass
class Told:
    """All that was acknowledged."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    begun: dict[str, tuple[str, dict[str, Any]]] = field(default_factory=dict)
    events: dict[str, set[str]] = field(default_factory=dict)
    ends: dict[str, tuple[int, str, str]] = field(default_factory=dict)
    answered: dict[str, bool] = field(default_factory=dict)

    def begin(self, call_id: str, tool: str, arguments: dict[str, Any]) -> None:
        """A call is about to be asked for."""
        with self.lock:
            self.begun[call_id] = (tool, arguments)

    def event(self, event: call_pb2.CallEvent) -> None:
        """An event came."""
        kind = event.WhichOneof("event") or ""
        with self.lock:
            self.events.setdefault(event.call_id, set()).add(kind)
            if kind == "finished":
                receipt = event.finished.receipt
                state = call_pb2.CallState.Name(event.finished.state)
                end = (receipt.sequence, receipt.digest.hex(), state.removeprefix("CALL_STATE_"))
                known = self.ends.setdefault(event.call_id, end)
                assert known == end, f"{event.call_id} ended twice: {known}, {end}"

    def answer(self, approval_id: str, yes: bool) -> None:
        """An answer to an approval was taken."""
        with self.lock:
            assert approval_id not in self.answered, f"{approval_id} was answered twice"
            self.answered[approval_id] = yes


def lost(told: Told, receipts: Receipts) -> list[str]:
    """What was told and is not in the ledger."""
    found = []
    kinds = kinds_by_call(receipts)
    for call_id, events in told.events.items():
        there = kinds.get(call_id, Counter())
        found += [
            f"{call_id}: {event} was told, but there is {there}"
            for event in events
            if not set(RECORDED[event]) & set(there)
        ]
    for call_id, (number, digest, state) in told.ends.items():
        recorded = receipts.get(number)
        if recorded is None or recorded[0] != digest:
            found.append(f"{call_id}: receipt {number} of its end is gone")
        elif recorded[1]["kind"] != f"call.{state.lower()}":
            found.append(f"{call_id}: told {state}, recorded {recorded[1]['kind']}")
    taken = {
        str(one["body"]["approval"]) for _, one in receipts.values() if "answer" in one["kind"]
    }
    found += [f"answer to {one} is gone" for one in told.answered if one not in taken]
    return found


def kinds_by_call(receipts: Receipts) -> dict[str, Counter[str]]:
    """How many receipts of each kind a call has."""
    found: dict[str, Counter[str]] = {}
    for _, one in receipts.values():
        if call_id := one["body"].get("call"):
            found.setdefault(str(call_id), Counter())[str(one["kind"])] += 1
    return found


def ended(kinds: Counter[str]) -> int:
    """How many ends a call has by its receipts."""
    return sum(kinds[kind] for kind in ENDS)


def doubled(kinds: dict[str, Counter[str]], among: Iterable[str]) -> list[str]:
    """Calls with two ends, two starts or two permits; and those without an end."""
    found = []
    for call_id in among:
        of = kinds.get(call_id, Counter())
        ends = ended(of)
        once = all(of[kind] <= 1 for kind in ("call.received", "call.permitted", "call.running"))
        waiting = of["call.pending_approval"] == 1 and not of["call.permitted"]
        if of and (not once or ends > 1 or (ends == 0 and not waiting)):
            found.append(f"{call_id}: {dict(of)}")
    return found

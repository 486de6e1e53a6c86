"""Traces of calls for an OpenTelemetry collector: off unless `[traces]` names an endpoint.

A call is one trace, whose id is the call's: the call itself, and beneath it deciding, recording,
waiting for people, running. Made of receipts that are durable and of how long deciding took, so
there is nothing in it that the ledger has not: no argument, output or secret, and nobody's name.
Trusted to hold up no call: what is collected is bounded and posted beside calls, by a thread that
nobody waits for; what the collector does not take in time is dropped, and that is logged. Raises
nothing. Loaded only where it is wanted: it needs the extra `otel`.
"""

import secrets
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import UUID

import anyio
import anyio.to_thread
import orjson
import structlog
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

from daemon.lifecycle import ENDS
from daemon.webhook import post
from ledger.chain import Entry

_log = structlog.get_logger("stockade.traces")

# Of calls that have not ended; those that began first are let go of.
MOST_CALLS: Final = 8192
MOST_SPANS: Final = 4096
MOST_IN_A_POST: Final = 512
EVERY_SECONDS: Final = 1.0
LONGEST_REST_SECONDS: Final = 60.0
# A call whose caller went away while it was admitted: nobody says any more how long that took.
PATIENCE_NS: Final = 2_000_000_000

_ENDS: Final = frozenset(f"call.{state}" for state in ENDS)
_WANTED: Final = (
    _ENDS | {"call.received", "call.pending_approval", "call.permitted"} | {"call.running"}
)
# Ends that are nobody's fault are no errors.
_FINE: Final = frozenset({"call.succeeded", "call.denied", "call.rejected", "call.cancelled"})
_HEADERS: Final = {"Content-Type": "application/x-protobuf"}


@dataclass(slots=True)
class _Call:
    """What is known of a call so far: stages as (name, begin, end), in nanoseconds."""

    began: int
    stages: list[tuple[str, int, int]] = field(default_factory=list)
    open: tuple[str, int] | None = None
    attributes: dict[str, str] = field(default_factory=dict)
    timed: bool = False
    ended: int = 0
    fine: bool = True

    def close(self, now: int) -> None:
        """The stage that is under way ends."""
        if self.open is not None:
            name, began = self.open
            self.stages.append((name, began, now))
            self.open = None


class Traces:
    """See the module. Belongs to the event loop."""

    def __init__(self, endpoint: str, chain: str) -> None:
        self._endpoint = endpoint
        self._resource = Resource(
            attributes=_attributes(
                {
                    "service.name": "stockaded",
                    "service.version": metadata.version("stockade"),
                    "service.instance.id": chain,
                }
            )
        )
        self._calls: OrderedDict[str, _Call] = OrderedDict()
        self._spans: list[Span] = []
        self._dropped = 0

    def decided(self, call_id: str, seconds: float) -> None:
        """Policy ruled on a call that arrived so long ago."""
        now = time.time_ns()
        began = now - int(seconds * 1e9)
        self._call(call_id, began).stages.append(("decide", began, now))

    def admitted(self, call_id: str, seconds: float) -> None:
        """Its ruling is durable."""
        del seconds
        call = self._calls.get(call_id)
        if call is not None and call.stages:
            call.stages.append(("record", call.stages[0][2], time.time_ns()))
            call.timed = True
            self._emit_ended(call_id, call)

    def recorded(self, entries: Sequence[Entry]) -> None:
        """Receipts became durable."""
        for entry in entries:
            if entry.kind in _WANTED:
                self._see(entry.kind, orjson.loads(entry.canonical)["body"])

    def _see(self, kind: str, body: dict[str, Any]) -> None:
        now, call_id = time.time_ns(), str(body.get("call", ""))
        call = self._call(call_id, now)
        if kind == "call.received":
            call.attributes["stockade.tool"] = str(body.get("tool", ""))
            return
        call.close(now)
        if kind == "call.pending_approval":
            call.open = ("approval", now)
        elif kind == "call.running":
            call.open = ("run", now)
            call.attributes["stockade.tier"] = str(body.get("tier", ""))
        elif kind in _ENDS:
            call.ended, call.fine = now, kind in _FINE
            call.attributes["stockade.end"] = kind.removeprefix("call.")
            call.attributes["stockade.reason"] = str(body.get("reason", ""))
            self._emit_ended(call_id, call)

    def _call(self, call_id: str, began: int) -> _Call:
        call = self._calls.get(call_id)
        if call is None:
            call = self._calls[call_id] = _Call(began)
            if len(self._calls) > MOST_CALLS:
                self._calls.popitem(last=False)
        return call

    def _emit_ended(self, call_id: str, call: _Call) -> None:
        if call.ended and (call.timed or time.time_ns() - call.ended > PATIENCE_NS):
            self._calls.pop(call_id, None)
            room = MOST_SPANS - len(self._spans)
            made = _spans(call_id, call)
            self._dropped += max(len(made) - room, 0)
            self._spans += made[:room]

    async def keep(self) -> None:
        """Posts what was collected, until cancelled."""
        rest = EVERY_SECONDS
        while True:
            await anyio.sleep(rest)
            for call_id, call in list(self._calls.items()):
                self._emit_ended(call_id, call)
            while self._spans:
                some = self._spans[:MOST_IN_A_POST]
                if not await self._posted(some):
                    rest = min(2 * rest, LONGEST_REST_SECONDS)
                    break
                del self._spans[: len(some)]
                rest = EVERY_SECONDS

    async def _posted(self, spans: list[Span]) -> bool:
        scope = ScopeSpans(scope=InstrumentationScope(name="stockade"), spans=spans)
        request = ExportTraceServiceRequest(
            resource_spans=[ResourceSpans(resource=self._resource, scope_spans=[scope])]
        )
        try:
            status = await anyio.to_thread.run_sync(
                post, self._endpoint, request.SerializeToString(), _HEADERS, abandon_on_cancel=True
            )
            if not 200 <= status < 300:
                raise OSError(0, f"it answered {status}")
        except OSError as error:
            place = urlsplit(self._endpoint).netloc
            _log.warning(
                "traces.undelivered", place=place, reason=error.strerror, dropped=self._dropped
            )
            return False
        return True


def _spans(call_id: str, call: _Call) -> list[Span]:
    trace, root = UUID(call_id).bytes, secrets.token_bytes(8)
    status = Status(code=Status.STATUS_CODE_UNSET if call.fine else Status.STATUS_CODE_ERROR)
    whole = Span(
        trace_id=trace,
        span_id=root,
        name="call",
        kind=Span.SPAN_KIND_SERVER,
        start_time_unix_nano=call.began,
        end_time_unix_nano=max(call.ended, *(end for _, _, end in call.stages), call.began),
        attributes=_attributes({"stockade.call": call_id, **call.attributes}),
        status=status,
    )
    stages = [
        Span(
            trace_id=trace,
            span_id=secrets.token_bytes(8),
            parent_span_id=root,
            name=name,
            kind=Span.SPAN_KIND_INTERNAL,
            start_time_unix_nano=began,
            end_time_unix_nano=ended,
        )
        for name, began, ended in sorted(call.stages, key=lambda stage: stage[1:])
    ]
    return [whole, *stages]


def _attributes(values: dict[str, str]) -> list[KeyValue]:
    return [KeyValue(key=key, value=AnyValue(string_value=value)) for key, value in values.items()]

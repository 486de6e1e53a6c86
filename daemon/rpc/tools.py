"""ToolService: tools, and the calls of them."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager

from daemon.calls.engine import Calls
from daemon.calls.feed import LetGo
from daemon.calls.live import LiveCall, Request, timestamp
from daemon.calls.tell import STATES, receipt
from daemon.calls.watching import watch
from daemon.errors import NotFound, Refused
from daemon.identity.devices import Devices, device_entity
from daemon.permission import Permission
from daemon.principal import Principal, current_principal
from daemon.rpc.convert import (
    call_to_summary,
    page_size,
    parse_call_id,
    parse_cursor,
    refused_to_proto,
    tool_to_proto,
)
from daemon.rpc.faults import Context
from daemon.rpc.live_rpcs import current_rpc
from daemon.store import calls as stored_calls
from daemon.store import receipts
from daemon.store.calls import CallRow
from daemon.store.reader import Reader
from daemon.toolbox import Toolbox
from daemon.tools.folder import UploadEntry
from daemon.world import tool_entity
from daemon.worlds import Worlds
from policy.entities import CallEntity
from stockade.v1 import call_pb2, tool_pb2, tool_pb2_grpc

DEFAULT_PAGE = 50


class ToolService(tool_pb2_grpc.ToolServiceServicer):
    """See proto/stockade/v1/tool.proto."""

    def __init__(
        self,
        *,
        calls: Calls,
        toolbox: Toolbox,
        worlds: Worlds,
        reader: Reader,
        permission: Permission,
        devices: Devices,
        chain_id: str,
    ) -> None:
        self._calls = calls
        self._toolbox = toolbox
        self._worlds = worlds
        self._reader = reader
        self._permission = permission
        self._devices = devices
        self._chain_id = chain_id

    async def ListTools(
        self, request: tool_pb2.ListToolsRequest, context: Context
    ) -> tool_pb2.ListToolsResponse:
        registry = self._worlds.current.registry
        # Who could mend it is told where it is and what is wrong with it; others, that it is so.
        mends = self._permission.ask(current_principal(), "add_tool").allowed
        return tool_pb2.ListToolsResponse(
            tools=[tool_to_proto(tool) for tool in registry.tools],
            refused=[refused_to_proto(one, whole=mends) for one in registry.refused],
        )

    async def GetTool(
        self, request: tool_pb2.GetToolRequest, context: Context
    ) -> tool_pb2.GetToolResponse:
        tool = self._worlds.current.registry.get(request.name)
        if tool is None:
            raise NotFound(
                f"there is no tool {request.name!r:.80}",
                code="UNKNOWN_TOOL",
                fix="`stockade tools list` shows what there is",
            )
        return tool_pb2.GetToolResponse(tool=tool_to_proto(tool))

    async def AddTool(
        self, request: tool_pb2.AddToolRequest, context: Context
    ) -> tool_pb2.AddToolResponse:
        entries = [UploadEntry(f.path, f.content, f.executable) for f in request.files]
        tool, entry = await self._toolbox.add(entries, str(current_principal()))
        return tool_pb2.AddToolResponse(tool=tool_to_proto(tool), receipt=receipt(entry))

    async def RemoveTool(
        self, request: tool_pb2.RemoveToolRequest, context: Context
    ) -> tool_pb2.RemoveToolResponse:
        entry = await self._toolbox.remove(request.name, str(current_principal()))
        return tool_pb2.RemoveToolResponse(receipt=receipt(entry))

    async def Call(
        self, request: tool_pb2.CallRequest, context: Context
    ) -> AsyncIterator[call_pb2.CallEvent]:
        wanted = Request(
            call_id=parse_call_id(request.call_id),
            tool=request.tool,
            arguments=request.arguments,
            detach=request.detach,
            principal=current_principal(),
        )
        found, new = await self._calls.submit(wanted)
        if isinstance(found, CallRow):
            async with aclosing(self._past(found)) as events:
                async for event in events:
                    yield event
            return
        try:
            events = watch(found, together=request.together)  # the tool waits for who called it
            async with aclosing(events):
                async for event in events:
                    yield _with_salt(event, found)
        finally:
            # The stream that began the call is its caller; others only watch.
            if new and not found.detach and not found.ended:
                found.cancel("CALLER_GONE")
            found.release()

    async def WatchCall(
        self, request: tool_pb2.WatchCallRequest, context: Context
    ) -> AsyncIterator[call_pb2.CallEvent]:
        async with self._found(request.call_id, "watch_call") as found:
            if isinstance(found, LiveCall):
                events = watch(found, together=request.together, let_go=_let_go(found))
            else:
                events = self._past(found)
            async with aclosing(events):
                async for event in events:
                    # Groups and policies change meanwhile: who may no longer, hears no more.
                    self._require_watching(found)
                    yield event

    async def CancelCall(
        self, request: tool_pb2.CancelCallRequest, context: Context
    ) -> tool_pb2.CancelCallResponse:
        async with self._found(request.call_id, "cancel_call") as found:
            if isinstance(found, LiveCall) and not found.ended:
                state = await self._calls.cancel(found, "CANCELLED_BY_REQUEST")
            else:
                state = found.state
        return tool_pb2.CancelCallResponse(state=STATES[state])

    async def ListCalls(
        self, request: tool_pb2.ListCallsRequest, context: Context
    ) -> tool_pb2.ListCallsResponse:
        principal = current_principal()
        own = not self._permission.ask(principal, "list_calls").allowed
        wanted = set(request.states)
        states = [state for state, number in STATES.items() if number in wanted]
        limit = page_size(request.page_size, DEFAULT_PAGE)
        before = parse_cursor(request.page_token)
        rows = await self._reader.read(
            lambda connection: stored_calls.page(
                connection,
                # A device sees the calls of its agents among its own.
                principal=str(principal) if own and principal.agent else None,
                device=principal.device_id if own and not principal.agent else None,
                states=states if wanted else None,
                before=before,
                limit=limit,
            )
        )
        token = f"{rows[-1].created_ms}/{rows[-1].call_id}" if len(rows) == limit else ""
        return tool_pb2.ListCallsResponse(
            calls=[
                call_to_summary(row, self._devices.shown(row.principal, str(row.device_id)))
                for row in rows
            ],
            next_page_token=token,
        )

    @asynccontextmanager
    async def _found(self, text: str, action: str) -> AsyncIterator[LiveCall | CallRow]:
        """A call that the asker may see: an id that is not theirs is like one that is not there."""
        call_id = parse_call_id(text)
        live = await self._calls.attach(call_id)
        try:
            stored = await self._reader.read(lambda c: stored_calls.get(c, call_id))
            found = live or stored
            if found is None or not self._may(current_principal(), action, found):
                raise NotFound(
                    "there is no such call",
                    code="UNKNOWN_CALL",
                    fix="`stockade calls list` shows the calls you may see",
                )
            yield found
        finally:
            if live is not None:
                live.release()

    def _require_watching(self, found: LiveCall | CallRow) -> None:
        principal = current_principal()
        if not self._may(principal, "watch_call", found):
            raise Refused(
                f"policy does not let {principal.shown} watch this call any more",
                code="NOT_PERMITTED",
                fix="an owner can change the device's groups or the policy",
            )

    def _may(self, principal: Principal, action: str, found: LiveCall | CallRow) -> bool:
        device = found.principal.device_id if isinstance(found, LiveCall) else str(found.device_id)
        kind, _, name = str(found.principal).partition("/")
        agent = name if kind == "agent" else None
        call = CallEntity(str(found.call_id), device, found.tool, agent)
        known = self._devices.get(device)
        if isinstance(found, LiveCall) and found.candidate is not None and known is not None:
            # Whatever becomes of its tool and device: it is the call it was when it was judged.
            gone = (tool_entity(found.candidate.tool), device_entity(known))
            return self._permission.may_with_call(principal, action, call, gone)
        if self._worlds.current.registry.get(found.tool) is None or not (known and known.active):
            # Policy cannot be asked about what is not known any more; there is nothing of it left
            # but what those who may read the ledger could read there.
            return self._permission.ask(principal, "read_ledger").allowed
        return self._permission.may_with_call(principal, action, call)

    async def _past(self, row: CallRow) -> AsyncGenerator[call_pb2.CallEvent, None]:
        """What is known of a call whose events are no longer kept: that it came, and its end."""
        rows = await self._reader.read(
            lambda connection: receipts.by_call(connection, self._chain_id, row.call_id)
        )
        event = call_pb2.CallEvent(call_id=row.call_id, time=timestamp(row.created_ms))
        event.received.tool, event.received.principal = row.tool, row.principal
        yield event
        event = call_pb2.CallEvent(call_id=row.call_id, time=timestamp(row.updated_ms))
        event.finished.state, event.finished.reason = STATES[row.state], row.reason
        event.finished.message = "its output is no longer kept"
        if rows:
            event.finished.receipt.CopyFrom(receipt(rows[-1].entry))
        yield event


def _let_go(live: LiveCall) -> LetGo | None:
    """How who watches a call is told that its tool waits no longer; who called it may hold it."""
    return None if str(current_principal()) == str(live.principal) else current_rpc().cut


def _with_salt(event: call_pb2.CallEvent, live: LiveCall) -> call_pb2.CallEvent:
    """For the caller: what the digests of its contents in the ledger are salted with."""
    if live.kept is None or not live.kept.redacted:
        return event
    told = call_pb2.CallEvent()
    told.CopyFrom(event)  # others may be watching the same event
    for one in (told, *told.earlier):
        if one.HasField("received"):
            one.received.contents_salt = live.kept.salt
    return told

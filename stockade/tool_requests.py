"""The part of the client that concerns tools and calls: one method per RPC of ToolService.

Raises `StockadeError` and nothing else.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import uuid_utils.compat

from stockade.call_events import CallEvents
from stockade.connection import Connection, Stream
from stockade.errors import BadRequest
from stockade.v1 import call_pb2, tool_pb2, tool_pb2_grpc

CANCEL_SECONDS = 60.0


def new_call_id() -> str:
    """A UUIDv7: sending a call again under the same id never runs the tool twice."""
    return str(uuid_utils.compat.uuid7())


class ToolRequests:
    """Requests about tools and calls over a connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._tools = tool_pb2_grpc.ToolServiceStub(connection.channel)

    def list_tools(self) -> tool_pb2.ListToolsResponse:
        """The tools, and the tool folders that were refused."""
        return self._connection.ask(self._tools.ListTools, tool_pb2.ListToolsRequest())

    def get_tool(self, name: str) -> tool_pb2.Tool:
        """One tool with its whole contract."""
        return self._connection.ask(self._tools.GetTool, tool_pb2.GetToolRequest(name=name)).tool

    def add_tool(self, files: Sequence[tool_pb2.AddToolRequest.File]) -> tool_pb2.AddToolResponse:
        """Adds or replaces a tool of the operator's own."""
        return self._connection.ask(self._tools.AddTool, tool_pb2.AddToolRequest(files=files))

    def remove_tool(self, name: str) -> tool_pb2.RemoveToolResponse:
        """Takes a tool of the operator's own away."""
        return self._connection.ask(self._tools.RemoveTool, tool_pb2.RemoveToolRequest(name=name))

    def call(
        self,
        tool: str,
        arguments: Mapping[str, Any] | bytes,
        *,
        call_id: str | None = None,
        detach: bool = False,
    ) -> Stream[call_pb2.CallEvent]:
        """Calls a tool and gives the call's life as it happens; bytes are sent as they are."""
        request = tool_pb2.CallRequest(
            call_id=call_id or new_call_id(),
            tool=tool,
            arguments=arguments if isinstance(arguments, bytes) else _encode(arguments),
            detach=detach,
            together=True,
        )
        return self._connection.follow(self._tools.Call, request, CallEvents)

    def watch_call(self, call_id: str) -> Stream[call_pb2.CallEvent]:
        """Joins a call by id. Leaving the watch cancels nothing."""
        request = tool_pb2.WatchCallRequest(call_id=call_id, together=True)
        return self._connection.follow(self._tools.WatchCall, request, CallEvents)

    def cancel_call(
        self, call_id: str, *, seconds: float = CANCEL_SECONDS
    ) -> tool_pb2.CancelCallResponse:
        """Ends a call; returns once it has ended."""
        request = tool_pb2.CancelCallRequest(call_id=call_id)
        return self._connection.ask(self._tools.CancelCall, request, seconds=seconds)

    def list_calls(
        self,
        *,
        page_size: int = 0,
        page_token: str = "",
        states: Sequence[call_pb2.CallState.ValueType] = (),
    ) -> tool_pb2.ListCallsResponse:
        """Calls, newest first."""
        request = tool_pb2.ListCallsRequest(
            page_size=page_size, page_token=page_token, states=states
        )
        return self._connection.ask(self._tools.ListCalls, request)


def _encode(arguments: Mapping[str, Any]) -> bytes:
    try:
        return json.dumps(arguments, allow_nan=False, ensure_ascii=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise BadRequest(
            f"the arguments are not JSON: {error}",
            reason="ARGUMENTS_INVALID",
            fix="pass a mapping of strings, numbers, booleans, None, lists and mappings",
        ) from None

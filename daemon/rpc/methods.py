"""How services are added to the server: looked up by name, not registered one by one.

gRPC's asyncio server keeps a pending request for every registered method and, for every RPC that
comes in, waits on all of them anew: with forty methods that is a tenth of a millisecond of each
call, and it grows with every method added. Unregistered methods share one pending request.
"""

from collections.abc import Sequence
from typing import cast

import grpc


class _ByName:
    """What the generated `add_..._to_server` functions ask of a server."""

    def __init__(self, server: grpc.aio.Server) -> None:
        self._server = server

    def add_generic_rpc_handlers(self, handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        """These find a handler by the name of the method."""
        self._server.add_generic_rpc_handlers(tuple(handlers))

    def add_registered_method_handlers(self, service: str, handlers: object) -> None:
        """Nothing: see the module."""


def by_name(server: grpc.aio.Server) -> grpc.aio.Server:
    """The server, to give to generated functions before it starts, and for nothing else."""
    return cast("grpc.aio.Server", _ByName(server))

"""The client library of Stockade: connect to a daemon, call tools, answer approvals, pair devices.

    from stockade import Client

    with Client.open() as client:
        for event in client.call("http.get", {"url": "https://example.org"}):
            ...

Everything that leaves this package as an error is a `StockadeError`. Importing it is cheap and
brings in no gRPC: the names below are loaded when they are first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stockade.client import Client, new_call_id
    from stockade.errors import DaemonUnreachable, StockadeError

__all__ = ["Client", "DaemonUnreachable", "StockadeError", "new_call_id"]

_WHERE = {
    "Client": "stockade.client",
    "DaemonUnreachable": "stockade.errors",
    "StockadeError": "stockade.errors",
    "new_call_id": "stockade.client",
}


def __getattr__(name: str) -> object:
    """PEP 562: the public names, on demand."""
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_WHERE[name]), name)

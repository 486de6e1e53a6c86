"""Faults to google.rpc.Status, so that no client ever parses prose.

Each status carries one google.rpc.ErrorInfo: `reason` is the fault's code, `domain` is "stockade",
metadata "fix" says what to do. What is not a `Fault` is a defect of ours: it is logged in full and
leaves as INTERNAL with nothing of its text, which might hold a secret.
"""

import math
from typing import Any, Never

import grpc
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2

from daemon import errors

DOMAIN = "stockade"
DETAILS_KEY = "grpc-status-details-bin"

_CODES: tuple[tuple[type[errors.Fault], grpc.StatusCode], ...] = (
    (errors.BadRequest, grpc.StatusCode.INVALID_ARGUMENT),
    (errors.NotFound, grpc.StatusCode.NOT_FOUND),
    (errors.NotServed, grpc.StatusCode.UNIMPLEMENTED),
    (errors.Refused, grpc.StatusCode.PERMISSION_DENIED),
    (errors.Unauthenticated, grpc.StatusCode.UNAUTHENTICATED),
    (errors.AlreadyExists, grpc.StatusCode.ALREADY_EXISTS),
    (errors.Conflict, grpc.StatusCode.FAILED_PRECONDITION),
    (errors.Exhausted, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (errors.Unavailable, grpc.StatusCode.UNAVAILABLE),
)

# A client takes 8 KiB of trailers: this much twice over, percent- and base64-encoded, still fits.
MAX_MESSAGE_BYTES = 1200

Context = grpc.aio.ServicerContext[Any, Any]


def status_code(fault: errors.Fault) -> grpc.StatusCode:
    """The gRPC code of a fault's class."""
    for kind, code in _CODES:
        if isinstance(fault, kind):
            return code
    return grpc.StatusCode.INTERNAL


def shown(message: str) -> str:
    """A message of bounded length: one too long would be dropped with its reason code."""
    encoded = message.encode("utf-8", "backslashreplace")
    if len(encoded) <= MAX_MESSAGE_BYTES:
        return encoded.decode()
    return encoded[:MAX_MESSAGE_BYTES].decode("utf-8", "ignore") + "..."


def status_of(fault: errors.Fault) -> status_pb2.Status:
    """The whole status message of a fault."""
    info = error_details_pb2.ErrorInfo(reason=fault.code, domain=DOMAIN)
    if fault.fix:
        info.metadata["fix"] = shown(fault.fix)
    detail = any_pb2.Any()
    detail.Pack(info)
    details = [detail]
    if isinstance(fault, errors.Exhausted) and fault.retry_seconds:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromMilliseconds(math.ceil(fault.retry_seconds * 1000))
        details.append(any_pb2.Any())
        details[-1].Pack(retry)
    number: int = status_code(fault).value[0]
    return status_pb2.Status(code=number, message=shown(fault.message), details=details)


async def abort(context: "Context", fault: errors.Fault) -> Never:
    """Ends the RPC with the fault."""
    details = status_of(fault).SerializeToString()
    await context.abort(status_code(fault), shown(fault.message), ((DETAILS_KEY, details),))
    raise AssertionError("abort returned")

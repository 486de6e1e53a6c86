"""A failed RPC to this package's error: google.rpc.Status and its ErrorInfo, never prose.

The daemon's answer is authenticated but still parsed with care: whatever is in the trailers, a
`StockadeError` comes out. Without an ErrorInfo of domain "stockade" the gRPC code alone decides.
"""

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from stockade import errors

DOMAIN = "stockade"
DETAILS_KEY = "grpc-status-details-bin"

_BY_CODE: dict[grpc.StatusCode, type[errors.StockadeError]] = {
    grpc.StatusCode.UNAVAILABLE: errors.Unavailable,
    grpc.StatusCode.PERMISSION_DENIED: errors.NotPermitted,
    grpc.StatusCode.UNAUTHENTICATED: errors.NotAuthenticated,
    grpc.StatusCode.NOT_FOUND: errors.NotFound,
    grpc.StatusCode.ALREADY_EXISTS: errors.Conflict,
    grpc.StatusCode.FAILED_PRECONDITION: errors.Conflict,
    grpc.StatusCode.ABORTED: errors.Conflict,
    grpc.StatusCode.INVALID_ARGUMENT: errors.BadRequest,
    grpc.StatusCode.OUT_OF_RANGE: errors.BadRequest,
    grpc.StatusCode.RESOURCE_EXHAUSTED: errors.Exhausted,
}

# Without the daemon's own word these say that it was not reached, or not in time.
_UNREACHED = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
_REFUSED_HANDSHAKE = ("SSL", "Ssl", "handshake", "CERTIFICATE")
# In TLS 1.3 a client is done before the daemon has judged its certificate: it sees no alert, only a
# connection that ends before its first answer.
_CUT_SHORT = ("Socket closed", "Connection reset", "Broken pipe")


def from_rpc_error(error: grpc.RpcError, target: str) -> errors.StockadeError:
    """The error that `error`, from the daemon at `target`, means."""
    code = error.code()
    info = _error_info(error)
    if info is None:
        return _without_info(code, error.details() or "", target)
    kind = _BY_CODE.get(code, errors.DaemonFault)
    message = _status(error).message or error.details() or info.reason
    return kind(message, reason=info.reason, fix=info.metadata.get("fix", ""), grpc_code=code.name)


def _without_info(code: grpc.StatusCode, details: str, target: str) -> errors.StockadeError:
    if code in _UNREACHED:
        if _refused_handshake(details):
            return errors.DaemonUnreachable(
                f"{target} and this device did not accept each other's certificates",
                reason="HANDSHAKE_FAILED",
                fix="check with the daemon's owner that this device is still paired, or pair again;"
                " if it is, the daemon's port may be full",
                grpc_code=code.name,
            )
        return errors.DaemonUnreachable(
            f"no daemon answers at {target}", fix=_reach(target), grpc_code=code.name
        )
    if code is grpc.StatusCode.CANCELLED:
        # Not by this side. gRPC sheds requests that the daemon has not come to, whoever's they are.
        return errors.Unavailable(
            "the daemon ended the request without an answer: it has too much to do, or stops",
            reason="NOT_ANSWERED",
            fix="see whether it was done, then ask again",
            grpc_code=code.name,
        )
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return errors.DaemonFault(
            "the daemon does not serve this request",
            reason="UNIMPLEMENTED",
            fix="bring client and daemon to the same version",
            grpc_code=code.name,
        )
    kind = _BY_CODE.get(code, errors.DaemonFault)
    # A message above the limit never reaches the daemon's own code, or does not leave this end.
    fix = "send, or ask for, less at once" if kind is errors.Exhausted else ""
    return kind(details or f"the daemon answered {code.name}", fix=fix, grpc_code=code.name)


def _refused_handshake(details: str) -> bool:
    # Not an answer that broke off in the middle.
    early = _CUT_SHORT if "failed to connect" in details else ()
    return any(sign in details for sign in (*_REFUSED_HANDSHAKE, *early))


def _reach(target: str) -> str:
    return f"start it with `stockade up --detach`, or check the way to {target}"


def _status(error: grpc.RpcError) -> status_pb2.Status:
    for entry in error.trailing_metadata() or ():
        if entry.key == DETAILS_KEY and isinstance(entry.value, bytes):
            try:
                return status_pb2.Status.FromString(entry.value)
            except DecodeError:
                break
    return status_pb2.Status()


def _error_info(error: grpc.RpcError) -> error_details_pb2.ErrorInfo | None:
    for detail in _status(error).details:
        info = error_details_pb2.ErrorInfo()
        try:
            if detail.Unpack(info) and info.domain == DOMAIN and info.reason:
                return info
        except DecodeError:
            continue
    return None

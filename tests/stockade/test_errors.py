"""A failed RPC becomes an error by its ErrorInfo, never by its prose."""

from typing import Any

import grpc
import pytest
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2
from hypothesis import given
from hypothesis import strategies as st

from stockade import errors
from stockade.status import from_rpc_error


class _Entry:
    def __init__(self, key: str, value: bytes) -> None:
        self.key = key
        self.value = value


class _Failure(grpc.RpcError):
    def __init__(self, code: grpc.StatusCode, details: str, trailers: Any = ()) -> None:
        self._code, self._details, self._trailers = code, details, trailers

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str:
        return self._details

    def trailing_metadata(self) -> Any:
        return self._trailers


def _with_info(code: grpc.StatusCode, reason: str, domain: str = "stockade") -> _Failure:
    detail = any_pb2.Any()
    detail.Pack(
        error_details_pb2.ErrorInfo(reason=reason, domain=domain, metadata={"fix": "do this"})
    )
    status = status_pb2.Status(code=code.value[0], message="said", details=[detail])
    return _Failure(code, "prose", [_Entry("grpc-status-details-bin", status.SerializeToString())])


def test_error_info() -> None:
    """Reason, message and fix are those of the status detail."""
    error = from_rpc_error(_with_info(grpc.StatusCode.NOT_FOUND, "UNKNOWN_TOOL"), "here")
    assert isinstance(error, errors.NotFound)
    assert (error.reason, error.message, error.fix, error.grpc_code) == (
        "UNKNOWN_TOOL",
        "said",
        "do this",
        "NOT_FOUND",
    )


def test_unavailable_with_reason_is_an_answer() -> None:
    """The daemon's own "unavailable" is not taken for an unreachable daemon."""
    error = from_rpc_error(_with_info(grpc.StatusCode.UNAVAILABLE, "VAULT_UNAVAILABLE"), "here")
    assert isinstance(error, errors.Unavailable)
    assert not isinstance(error, errors.DaemonUnreachable)


def test_foreign_domain() -> None:
    """A reason of somebody else's domain is not ours."""
    failure = _with_info(grpc.StatusCode.NOT_FOUND, "UNKNOWN_TOOL", "elsewhere")
    assert from_rpc_error(failure, "here").reason == "NOT_FOUND"


@pytest.mark.parametrize("code", list(grpc.StatusCode))
def test_every_code(code: grpc.StatusCode) -> None:
    """Every gRPC code becomes an error of the tree with a reason."""
    error = from_rpc_error(_Failure(code, ""), "here")
    assert isinstance(error, errors.StockadeError)
    assert error.reason.replace("_", "").isupper()
    assert error.message


@given(st.binary(), st.sampled_from(list(grpc.StatusCode)))
def test_hostile_trailers(data: bytes, code: grpc.StatusCode) -> None:
    """No bytes in the details make another exception leave."""
    failure = _Failure(code, "x", [_Entry("grpc-status-details-bin", data)])
    assert isinstance(from_rpc_error(failure, "here"), errors.StockadeError)


def test_handshake_is_told_apart() -> None:
    """A refused certificate is not reported as a daemon that is down."""
    failure = _Failure(grpc.StatusCode.UNAVAILABLE, "Ssl handshake failed: CERTIFICATE_REVOKED")
    assert from_rpc_error(failure, "here").reason == "HANDSHAKE_FAILED"


def test_a_request_that_the_daemon_sheds_is_to_be_asked_again() -> None:
    """CANCELLED by the other side is no defect: it has too much to do, or stops."""
    error = from_rpc_error(_Failure(grpc.StatusCode.CANCELLED, "CANCELLED"), "here")
    assert isinstance(error, errors.Unavailable)
    assert (error.reason, error.grpc_code) == ("NOT_ANSWERED", "CANCELLED")
    assert error.fix

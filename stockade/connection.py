"""One mutually authenticated channel to a daemon, and its answers as values or `StockadeError`.

The daemon is whoever holds a certificate of the stored authority under the one name of daemons, at
whatever address. No proxy is asked, no other authority is trusted, nothing is sent in the clear.
"""

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Generic, Protocol, Self, TypeVar, cast
from urllib.parse import quote

import grpc
from grpc.experimental import ChannelOptions

from stockade.credentials import Credentials
from stockade.status import from_rpc_error
from stockade.switch import Switch

SERVER_NAME = "daemon.stockade"
UNARY_SECONDS = 30.0

_MAX_MESSAGE = 16 * 1024 * 1024  # an added tool is 8 MiB at most, and an export's chunk far less

Request = TypeVar("Request")
Response = TypeVar("Response")
_Answer = TypeVar("_Answer", covariant=True)


class _Answers(Protocol[_Answer]):
    """The part of a gRPC call object that a stream needs."""

    def __next__(self) -> _Answer: ...
    def cancel(self) -> bool: ...


class Stream(Generic[Response]):
    """A stream of answers. Leaving it early, or `cancel`, tells the daemon that nobody listens."""

    def __init__(self, call: _Answers[Response], target: str) -> None:
        self._call = call
        self._target = target
        self._cancelled = False

    def __iter__(self) -> Iterator[Response]:
        return self

    def __next__(self) -> Response:
        try:
            return next(self._call)
        except grpc.RpcError as error:
            if self._cancelled:
                raise StopIteration from None
            raise from_rpc_error(error, self._target) from None

    def cancel(self) -> None:
        """Ends the stream from this side; the iteration then ends without an error."""
        self._cancelled = True
        self._call.cancel()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.cancel()


class Connection:
    """The way to a daemon. Opening it dials nobody yet; the first request does.

    By its `socket`, if one is named, instead of its address.
    """

    def __init__(self, address: str, credentials: Credentials, socket: Path | None = None) -> None:
        self.target = address
        self._dialled = address if socket is None else f"unix:{quote(str(socket))}"
        self._switch = Switch(_device_channel(self._dialled, credentials))

    @property
    def channel(self) -> grpc.Channel:
        """What stubs are made of; it starts every RPC with the newest credentials."""
        return cast("grpc.Channel", self._switch)

    def use(self, credentials: Credentials) -> None:
        """New requests go out with these; those under way are not touched."""
        self._switch.use(_device_channel(self._dialled, credentials))

    def tidy(self) -> None:
        """Closes what credentials of before left open, and nobody uses any more."""
        self._switch.close_idle()

    def ask(
        self,
        method: "grpc.UnaryUnaryMultiCallable[Request, Response]",
        request: Request,
        *,
        seconds: float = UNARY_SECONDS,
    ) -> Response:
        """One request, one answer."""
        try:
            return method(request, timeout=seconds)
        except grpc.RpcError as error:
            raise from_rpc_error(error, self.target) from None

    def follow(
        self,
        method: "grpc.UnaryStreamMultiCallable[Request, Response]",
        request: Request,
        kind: type[Stream[Response]] = Stream,
    ) -> Stream[Response]:
        """One request, answers until the daemon ends them."""
        return kind(method(request), self.target)

    def close(self) -> None:
        """Ends every stream and lets go of the daemon."""
        self._switch.close()


def _device_channel(address: str, credentials: Credentials) -> grpc.Channel:
    return secure_channel(
        address,
        grpc.ssl_channel_credentials(
            root_certificates=credentials.authority,
            private_key=credentials.key_bytes,
            certificate_chain=credentials.certificate,
        ),
        SERVER_NAME,
    )


def secure_channel(
    address: str, credentials: grpc.ChannelCredentials, server_name: str
) -> grpc.Channel:
    """A channel to `address` that accepts only a certificate for `server_name`."""
    return grpc.secure_channel(
        address,
        credentials,
        options=[
            ("grpc.ssl_target_name_override", server_name),
            # A proxy from the environment would be told where the daemon is.
            ("grpc.enable_http_proxy", 0),
            # Streams are read by the thread that asks, without one of gRPC's own in between.
            (ChannelOptions.SingleThreadedUnaryStream, 1),
            ("grpc.max_receive_message_length", _MAX_MESSAGE),
            ("grpc.max_send_message_length", _MAX_MESSAGE),
        ],
    )

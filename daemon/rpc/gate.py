"""The one way into every RPC: authenticate, ask policy, hold the line while it is served.

Outermost of all, so that refusals are recorded too. Trusted to let nothing reach a service without
a principal from the connection's certificate and, unless the service asks for itself, without
policy's yes to the RPC's action. What is let in can be cut later: `daemon.rpc.live_rpcs`. Only gRPC
statuses leave.
"""

from __future__ import annotations  # grpc's generic types exist for the checker only

from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, Protocol, cast

import grpc
import structlog
from google.protobuf.message import DecodeError

from daemon.errands import Errands
from daemon.errors import (
    BadRequest,
    Exhausted,
    Fault,
    Hidden,
    NotServed,
    Refused,
    Unauthenticated,
    Unavailable,
)
from daemon.principal import Principal, current_principal, set_current_principal
from daemon.rates import Kind, Rates
from daemon.rpc.arriving import Arriving
from daemon.rpc.authorization import RULES, Asked, Rule
from daemon.rpc.faults import Context, abort
from daemon.rpc.live_rpcs import LiveRpc, LiveRpcs, set_current_rpc
from daemon.rpc.port import Port
from daemon.source import LEFT, source_of_peer

_log = structlog.get_logger("stockade.rpc")

TLS_VERSION = b"TLSv1.3"
CALL = "/stockade.v1.ToolService/Call"
# Streams of `CallEvent`, of which one that is `finished` is the last.
OF_A_CALL = frozenset({CALL, "/stockade.v1.ToolService/WatchCall"})


class Doorkeeper(Protocol):
    """What the gate needs of the rest of the daemon."""

    def principal(self, certificate: bytes, origin: str) -> Principal:
        """The principal of a verified certificate; raises `Unauthenticated`."""

    def require(self, principal: Principal, action: str) -> None:
        """Policy's yes to an administrative action; raises `Refused`."""

    async def record_refusal(self, subject: str, origin: str, rpc: str, fault: Fault) -> None:
        """Makes the receipt of an RPC that was refused."""


Inner = Callable[[Any, Context], Any]
Take = Callable[[Context, LiveRpc], Awaitable[Any]]


class Gate(grpc.aio.ServerInterceptor):
    """See the module."""

    def __init__(
        self,
        doorkeeper: Doorkeeper,
        live: LiveRpcs,
        errands: Errands,
        rates: Rates,
        port: Port,
        origin_of: Callable[[str], str] = str,
    ) -> None:
        """`origin_of` gives the address of a peer, who may have come by a door."""
        self._doorkeeper = doorkeeper
        self._origin_of = origin_of
        self._rates = rates
        self._port = port
        self._errands = errands
        self._live = live
        self._arriving = Arriving()
        # Requests that a bound put off, by reason.
        self.put_off: Counter[str] = Counter()
        self._wrapped: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}

    async def intercept_service(
        self,
        continuation: Callable[
            [grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]
        ],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Wraps each method's handler once."""
        method = handler_call_details.method
        if method not in self._wrapped:
            handler = await continuation(handler_call_details)
            if handler is None:
                return self._unserved(method)
            self._wrapped[method] = self._wrap(method, handler)
        return self._wrapped[method]

    def _unserved(self, method: str) -> grpc.RpcMethodHandler[Any, Any]:
        """Strangers learn nothing from it either. Not kept: there is no end of such names."""

        async def refuse(_request: Any, _context: Context) -> None:
            raise NotServed(
                f"this daemon does not serve {method!r:.200}",
                fix="bring client and daemon to the same version",
            )

        guarded = self._guard(method, Rule("", Asked.SERVICE), refuse, self._none)
        return grpc.stream_stream_rpc_method_handler(guarded)

    def _wrap(
        self, method: str, handler: grpc.RpcMethodHandler[Any, Any]
    ) -> grpc.RpcMethodHandler[Any, Any]:
        rule = RULES.get(method)
        codec = {
            "request_deserializer": handler.request_deserializer,
            "response_serializer": handler.response_serializer,
        }
        # How many messages either way has is not on the wire. To our gRPC the requests are streams:
        # so that it is known whose they are before they are whole (`daemon.rpc.arriving`).
        if handler.request_streaming and handler.response_streaming:
            streaming = self._streaming(method, rule, handler.stream_stream)
            inner = self._guard(method, rule, streaming, self._many)
            return grpc.stream_stream_rpc_method_handler(inner, **codec)
        if method in OF_A_CALL:
            # And the answer is one, the last: so that it and the end of the stream are one write,
            # and wake the client once.
            encode = handler.response_serializer
            drive = self._streaming(method, rule, handler.unary_stream, encode)
            return grpc.stream_unary_rpc_method_handler(self._guard(method, rule, drive), **codec)
        if handler.response_streaming:
            inner = self._guard(method, rule, self._streaming(method, rule, handler.unary_stream))
            return grpc.stream_stream_rpc_method_handler(inner, **codec)
        inner = self._guard(method, rule, self._whole(cast("Inner", handler.unary_unary)))
        return grpc.stream_unary_rpc_method_handler(inner, **codec)

    def _whole(self, inner: Inner) -> Inner:
        """A unary method as an errand: begun is done, whatever becomes of the client."""

        async def drive(request: Any, context: Context) -> Any:
            return await self._errands.run(lambda: inner(request, context))

        return drive

    def _streaming(
        self,
        method: str,
        rule: Rule | None,
        handler: object,
        encode: Callable[[Any], bytes] | None = None,
    ) -> Inner:
        """A streaming method as a coroutine: one task owns it from first to last message.

        With `encode` the last message, which says that it is finished, is left for gRPC to send.
        """
        inner = cast("Inner", handler)

        async def drive(request: Any, context: Context) -> Any:
            principal = current_principal()
            with self._live.stream(principal):
                messages = cast("AsyncGenerator[Any, None]", inner(request, context))
                async with aclosing(messages) as stream:
                    async for message in stream:
                        # Groups and policies change meanwhile: who may no longer, hears no more.
                        self._authorize(principal, method, rule)
                        if encode and message.HasField("finished"):
                            return message
                        await context.write(encode(message) if encode else message)
            if encode:
                raise RuntimeError(f"{method} ended without a last message")
            return None

        return drive

    async def _one(self, context: Context, held: LiveRpc) -> Any:
        """The one message of a request."""
        message = await self._next(context, held)
        if message is grpc.aio.EOF:
            raise _no_message()
        return message

    async def _many(self, context: Context, held: LiveRpc) -> AsyncGenerator[Any, None]:
        """The messages of a request that is a stream, as they come."""

        async def messages() -> AsyncGenerator[Any, None]:
            asked = False
            while True:
                message = await self._next(context, held, more=asked)
                if message is grpc.aio.EOF:
                    return
                asked = True
                yield message

        return messages()

    async def _next(self, context: Context, held: LiveRpc, *, more: bool = False) -> Any:
        """The next message of a request, or its end; raises `BadRequest` for one that is none."""
        with self._arriving.awaited(held, more=more):
            try:
                return await context.read()
            except DecodeError:
                raise _no_message() from None

    async def _none(self, _context: Context, _held: LiveRpc) -> None:
        """What is refused unread."""

    def _guard(
        self, method: str, rule: Rule | None, inner: Inner, take: Take | None = None
    ) -> Inner:
        take = take or self._one

        async def serve(_requests: Any, context: Context) -> Any:
            subject, origin = "unknown", self._origin_of(context.peer())
            held: LiveRpc | None = None
            try:
                principal = self._authenticate(context, origin)
                subject = str(principal)
                held = self._live.hold(principal)  # from here on whoever revokes it finds this
                set_current_principal(principal)
                set_current_rpc(held)
                with held.scope:
                    if not self._port.knows(origin, principal):
                        await self._port.let_in(origin, principal)
                    if held.fault is None:  # else it was cut while the port was looked at
                        request = await take(context, held)
                        self._count(principal, method, request)
                        self._authorize(principal, method, rule)
                        return await inner(request, context)
                # Only `cut` cancels this scope: a client that goes cancels the task itself.
                raise held.fault or Unauthenticated("this RPC was cut", fix="ask again")
            except Fault as fault:
                await self._refused(subject, origin, method, fault)
                await abort(context, fault)
            except Exception as error:  # whatever it is, only a status leaves
                if isinstance(error, grpc.aio.AbortError):
                    raise
                _log.exception("rpc.defect", rpc=method, principal=subject)
                await abort(context, Fault("a defect in the daemon; its log has the details"))
            finally:
                if held is not None:
                    self._live.release(held)

        return serve

    def _authenticate(self, context: Context, origin: str) -> Principal:
        try:
            return authenticate(context, origin, self._doorkeeper.principal)
        except Unauthenticated:
            self._port.unknown(origin)
            # Each refusal is a receipt: nobody without a name fills the ledger faster than others.
            self._rates.take(f"unknown/{source_of_peer(origin)}", Kind.ADMINISTRATION)
            raise

    def _count(self, principal: Principal, method: str, request: Any) -> None:
        if method != CALL:
            self._rates.take(principal.counted_as, Kind.ADMINISTRATION)
            return
        self._rates.take(principal.counted_as, Kind.CALL)
        self._rates.take(principal.counted_as, Kind.ARGUMENTS, len(request.arguments) / 1024)

    def _authorize(self, principal: Principal, method: str, rule: Rule | None) -> None:
        if rule is None:
            raise Refused(
                f"{method} has no rule", code="RPC_NOT_LISTED", fix="report this as a defect"
            )
        if principal.origin == LEFT:  # which policy may ask about
            raise Refused(
                "this request's connection ended before the request was read",
                code="CONNECTION_LEFT",
                fix="stay connected until it is answered",
            )
        if rule.asked is Asked.GATE:
            self._doorkeeper.require(principal, rule.action)

    async def _refused(self, subject: str, origin: str, method: str, fault: Fault) -> None:
        _log.info("rpc.refused", rpc=method, principal=subject, origin=origin, reason=fault.code)
        if isinstance(fault, Exhausted):
            self.put_off[fault.code] += 1
        if isinstance(fault, Refused | Unauthenticated | Hidden):
            try:
                await self._doorkeeper.record_refusal(subject, origin, method, fault)
            except Unavailable as failure:
                _log.error("rpc.refusal_not_recorded", rpc=method, reason=failure.code)


def _no_message() -> BadRequest:
    return BadRequest(
        "there is no message in this request, or not one of this RPC",
        code="REQUEST_MISSING",
        fix="bring client and daemon to the same version",
    )


def authenticate(
    context: Context, origin: str, find: Callable[[bytes, str], Principal]
) -> Principal:
    """The principal of the connection that an RPC came by, by its certificate and nothing else."""
    facts = context.auth_context()
    certificates = facts.get("x509_pem_cert")
    if not certificates:
        raise Unauthenticated("no client certificate", fix="pair this device: `stockade pair`")
    if list(facts.get("ssl_tls_version", ())) != [TLS_VERSION]:
        raise Unauthenticated(
            "this connection is not TLS 1.3",
            code="TLS_TOO_OLD",
            fix="use a client that speaks TLS 1.3",
        )
    return find(bytes(next(iter(certificates))), origin)

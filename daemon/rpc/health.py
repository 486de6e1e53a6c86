"""Health checks, as gRPC has them: of the daemon, and of each service by its name.

Told by `daemon.health` what the state is, and says that and nothing else. The library's own service
would answer watchers past the gate, which asks before each message whether they still may know;
here each answer goes through it. What is not served is NOT_FOUND to Check, and SERVICE_UNKNOWN to
Watch, as gRPC's health protocol wants it.
"""

from collections.abc import AsyncIterator, Iterable
from typing import Any

import anyio
import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from daemon.errors import NotFound

Context = grpc.aio.ServicerContext[Any, Any]
Status = health_pb2.HealthCheckResponse


class HealthService(health_pb2_grpc.HealthServicer):
    """See the module. Everything serves until something else is said."""

    def __init__(self, services: Iterable[str]) -> None:
        self._services = frozenset(services)
        self._serves = True
        self._ended = False
        self._changed = anyio.Event()

    def tell(self, *, serves: bool) -> None:
        """Says whether the daemon serves, to everybody who watches."""
        self._serves = serves
        self._changed.set()
        self._changed = anyio.Event()

    def end(self) -> None:
        """It serves no more, whatever is told from now on."""
        self._ended = True
        self.tell(serves=False)

    async def Check(
        self, request: health_pb2.HealthCheckRequest, context: Context
    ) -> health_pb2.HealthCheckResponse:
        if request.service not in self._services:
            raise NotFound(
                f"this daemon has no service {request.service!r:.80}",
                fix="ask for all of them, with no name",
            )
        return self._now(request.service)

    async def List(self, request: object, context: Context) -> Any:
        statuses = {name: self._now(name) for name in sorted(self._services)}
        # Newer than what types-grpcio-health-checking has, which is of 1.0.
        return health_pb2.HealthListResponse(statuses=statuses)  # type: ignore[attr-defined]

    async def Watch(
        self, request: health_pb2.HealthCheckRequest, context: Context
    ) -> AsyncIterator[health_pb2.HealthCheckResponse]:
        last: Status | None = None
        while True:
            changed, now = self._changed, self._now(request.service)
            if now != last:
                last = now
                yield now
            else:
                await changed.wait()

    def _now(self, service: str) -> health_pb2.HealthCheckResponse:
        if service not in self._services:
            return Status(status=Status.SERVICE_UNKNOWN)
        serves = self._serves and not self._ended
        return Status(status=Status.SERVING if serves else Status.NOT_SERVING)

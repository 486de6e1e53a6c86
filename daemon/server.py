"""The served daemon: calls, services and the gate, listening.

One gRPC server with one interceptor. What the last run left is found and recorded before the first
RPC. Raises what `daemon.rpc.listening` does when it cannot listen.
"""

import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import anyio
import grpc
import structlog
from grpc_health.v1 import health as grpc_health
from grpc_health.v1 import health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc

from daemon.asking import Asking, asking
from daemon.battery import Battery
from daemon.calls.engine import Calls
from daemon.config.serving import Server
from daemon.doorway import Doorway
from daemon.errands import Errands
from daemon.gauges import gauges
from daemon.health import Health
from daemon.identity import membership
from daemon.identity.enrolment import Enrolment
from daemon.identity.pairing import Pairing
from daemon.identity.registrar import Registrar
from daemon.identity.rotation import Rotation
from daemon.identity.suspending import Suspending
from daemon.leases.handing import Handing
from daemon.ledger.book import Book
from daemon.ledger.evidence_pack import EvidencePacks
from daemon.ledger.retention import Retention
from daemon.ledger.scrutiny import Scrutiny
from daemon.memory import give_back
from daemon.metrics_page import metrics_page
from daemon.parts import Parts
from daemon.permission import Permission
from daemon.rpc.agents import AgentService
from daemon.rpc.approvals import ApprovalService
from daemon.rpc.devices import DeviceService
from daemon.rpc.gate import Gate
from daemon.rpc.health import HealthService
from daemon.rpc.leases import LeaseService
from daemon.rpc.ledger import LedgerService
from daemon.rpc.listening import listening, most_connections
from daemon.rpc.live_rpcs import SWEEP_SECONDS, LiveRpcs
from daemon.rpc.methods import by_name
from daemon.rpc.policies import PolicyService
from daemon.rpc.port import Port
from daemon.rpc.secrets import SecretService
from daemon.rpc.status import DaemonService, Facts
from daemon.rpc.tools import ToolService
from daemon.ticks import tick
from policy.risk import Tier
from stockade.v1 import (
    agent_pb2,
    agent_pb2_grpc,
    approval_pb2,
    approval_pb2_grpc,
    daemon_pb2,
    daemon_pb2_grpc,
    device_pb2,
    device_pb2_grpc,
    lease_pb2,
    lease_pb2_grpc,
    ledger_pb2,
    ledger_pb2_grpc,
    policy_pb2,
    policy_pb2_grpc,
    secret_pb2,
    secret_pb2_grpc,
    tool_pb2,
    tool_pb2_grpc,
)

_log = structlog.get_logger("stockade")

# Above every request that is refused with a reason of ours: 10 MiB of arguments still get one.
MAX_MESSAGE = 16 * 1024 * 1024
HANDSHAKE_MILLISECONDS = 10_000
# On one connection. A stream costs up to 15 kB before its request is there to be counted as a call.
MAX_STREAMS = 2048
# So many devices are asked about when a caller is told who may approve; policy decides in the end.
MAX_APPROVERS_TOLD = 32

SERVICES = (
    tool_pb2.DESCRIPTOR.services_by_name["ToolService"].full_name,
    agent_pb2.DESCRIPTOR.services_by_name["AgentService"].full_name,
    approval_pb2.DESCRIPTOR.services_by_name["ApprovalService"].full_name,
    lease_pb2.DESCRIPTOR.services_by_name["LeaseService"].full_name,
    policy_pb2.DESCRIPTOR.services_by_name["PolicyService"].full_name,
    secret_pb2.DESCRIPTOR.services_by_name["SecretService"].full_name,
    device_pb2.DESCRIPTOR.services_by_name["DeviceService"].full_name,
    ledger_pb2.DESCRIPTOR.services_by_name["LedgerService"].full_name,
    daemon_pb2.DESCRIPTOR.services_by_name["DaemonService"].full_name,
    grpc_health.SERVICE_NAME,
)


@dataclass(frozen=True, slots=True)
class Served:
    """A daemon that serves."""

    address: str
    _server: grpc.aio.Server
    _calls: Calls
    _health: HealthService

    async def stop(self, patience: anyio.CancelScope) -> None:
        """Takes no more calls, ends those under way in bounded time, then closes the port."""
        self._health.end()
        await self._calls.stop(patience)
        await self._server.stop(grace=1)


@asynccontextmanager
async def serving(parts: Parts, handed: Sequence[socket.socket]) -> AsyncIterator[Served]:
    """Serves for as long as the context lasts, at the sockets that were handed over, if any."""
    base, config = parts.base, parts.base.config
    live_rpcs = LiveRpcs(config.rates.open_streams)
    rates = membership.rates(config.rates)
    permission = Permission(parts.devices, parts.worlds, base.writer, base.clock)
    async with anyio.create_task_group() as group, AsyncExitStack() as ways_in:
        errands = Errands(group)
        asked = asking(parts, permission, group)
        calls = asked.calls
        most = most_connections(doors=bool(handed))
        doorway = Doorway(group, None, of_a_source=most, at_once=most)
        port = Port(
            most,
            config.rates.open_connections,
            parts.local_device,
            parts.alerts.held,
            lambda: live_rpcs.origins,
        )
        gate = Gate(permission, live_rpcs, errands, rates, port, doorway.origin_of)
        server = grpc.aio.server(interceptors=[gate], options=_options(config.server, most))
        rotation = Rotation(base, lambda: _sweep(live_rpcs, parts, every=True))
        await rotation.retire_if_due()
        ways = await ways_in.enter_async_context(listening(server, base, handed, doorway))
        address = ways.address
        port.listens(ways.ports)
        registrar = membership.registrar(parts, calls, live_rpcs, asked.leases)
        enrolment = membership.enrolment(parts, calls, live_rpcs, asked.leases)
        suspending = membership.suspending(parts, calls, live_rpcs, asked.leases)
        reactions = membership.reactions(parts, suspending, asked.leases)
        pairing = membership.pairing(parts, registrar, errands, rates, group, address)
        book = Book(base.ledger_keys, base.reader, base.writer, base.checkpoints)
        scrutiny = Scrutiny(
            base.reader, base.ledger_keys, lambda: book.sequence, parts.alerts.damaged
        )
        _add_services(
            by_name(server),
            parts,
            asked,
            registrar,
            pairing,
            book,
            permission,
            rotation,
            enrolment,
            suspending,
        )
        facts = Facts(base.clock.now_ms(), address, base.estate.home.data, parts.tiers)
        daemon_pb2_grpc.add_DaemonServiceServicer_to_server(
            DaemonService(
                facts,
                parts,
                calls,
                book,
                _battery(parts),
                lambda: health.state,
                lambda: scrutiny.damage,
                permission,
                port,
            ),
            by_name(server),
        )
        servicer = HealthService(("", *SERVICES))
        health_pb2_grpc.add_HealthServicer_to_server(servicer, by_name(server))
        health = _health(parts, servicer)
        # `enable_server_reflection` would take what `by_name` gives for a server of threads. The
        # function that its stubs give no types is generated.
        reflection_pb2_grpc.add_ServerReflectionServicer_to_server(  # type: ignore[no-untyped-call]
            reflection.aio.ReflectionServicer((*SERVICES, reflection.SERVICE_NAME)),
            by_name(server),
        )
        await asked.recovery.run()
        await server.start()
        group.start_soon(_watch, live_rpcs, parts)
        group.start_soon(port.keep)
        group.start_soon(asked.aside.keep)
        group.start_soon(asked.leases.keep)
        group.start_soon(asked.escalation.keep)
        group.start_soon(rotation.watch)
        group.start_soon(parts.vault.changes.keep)
        group.start_soon(base.checkpoints.keep)
        group.start_soon(scrutiny.keep)
        group.start_soon(Retention(config.ledger, base.reader, base.writer, base.clock).keep)
        group.start_soon(give_back)
        if parts.watched is not None:
            group.start_soon(parts.watched.run)
        group.start_soon(parts.tiers.attend, parts.worlds.set_unavailable)
        await health.begin()
        group.start_soon(health.keep)
        parts.alerts.react(reactions.hear)
        group.start_soon(reactions.keep)
        group.start_soon(parts.alerts.keep)
        if parts.traces is not None:
            group.start_soon(parts.traces.keep)
        if parts.metrics is not None:
            parts.metrics.show(gauges(parts, calls, book, health, port, gate.put_off))
            page = metrics_page(config.metrics.listen, parts.metrics.page)
            _log.info("metrics.ready", address=await ways_in.enter_async_context(page))
        try:
            yield Served(address, server, calls, servicer)
        finally:
            with anyio.CancelScope(shield=True):
                await calls.stop(anyio.move_on_after(0))
                await server.stop(grace=0)
            group.cancel_scope.cancel()


def _options(server: Server, most: int) -> list[tuple[str, int]]:
    """What gRPC bounds by itself."""
    answer_ms = server.keepalive_seconds * 1000 // 3
    return [
        # With it, a second daemon would silently share the port.
        ("grpc.so_reuseport", 0),
        ("grpc.max_receive_message_length", MAX_MESSAGE),
        ("grpc.max_metadata_size", 16 * 1024),
        ("grpc.max_concurrent_streams", MAX_STREAMS),
        # Connections that never finish their handshake do not stay.
        ("grpc.server_handshake_timeout_ms", HANDSHAKE_MILLISECONDS),
        # Who vanished without a word holds no stream and no call for ever.
        ("grpc.keepalive_time_ms", server.keepalive_seconds * 1000),
        ("grpc.keepalive_timeout_ms", answer_ms),
        # Without it, a minute is waited, whatever the line before says (grpcio 1.85).
        ("grpc.http2.ping_timeout_ms", answer_ms),
        # After it a connection takes no new request. There is no grace period: gRPC waits
        # for those under way without end, so that no stream is cut by its age.
        ("grpc.max_connection_age_ms", server.connection_seconds * 1000),
        # Nor do they take the descriptors that runs, the database and files need.
        ("grpc.max_allowed_incoming_connections", most),
    ]


def _health(parts: Parts, servicer: HealthService) -> Health:
    base, before = parts.base, list[str]()

    async def tell(serves: bool, state: str) -> None:
        if before:  # at the start some tiers are only not known yet
            parts.alerts.health(state, serves=serves)
        before[:] = [state]
        servicer.tell(serves=serves)

    required = [tier for tier in Tier if tier.label in base.config.sandbox.required_tiers]
    return Health(base.writer, base.reader, parts.tiers.reports, required, tell)


def _battery(parts: Parts) -> Battery:
    estate = parts.base.estate
    return Battery(estate.chain_id, parts.tiers, estate.home.data / "attacks", parts.base.writer)


def _add_services(
    server: grpc.aio.Server,
    parts: Parts,
    asked: Asking,
    registrar: Registrar,
    pairing: Pairing,
    book: Book,
    permission: Permission,
    rotation: Rotation,
    enrolment: Enrolment,
    suspending: Suspending,
) -> None:
    base = parts.base
    tools = ToolService(
        calls=asked.calls,
        toolbox=parts.toolbox,
        worlds=parts.worlds,
        reader=base.reader,
        permission=permission,
        devices=parts.devices,
        chain_id=book.chain,
    )
    tool_pb2_grpc.add_ToolServiceServicer_to_server(tools, server)
    approval_pb2_grpc.add_ApprovalServiceServicer_to_server(
        ApprovalService(asked.answers, asked.board, parts.devices, base), server
    )
    lease_pb2_grpc.add_LeaseServiceServicer_to_server(
        LeaseService(
            asked.leases,
            Handing(asked.leases.book, parts.worlds, parts.devices, base.writer, base.clock),
            permission,
            parts.devices,
            parts.worlds,
            base.reader,
        ),
        server,
    )
    policy_pb2_grpc.add_PolicyServiceServicer_to_server(
        PolicyService(parts, asked.leases.book), server
    )
    secret_pb2_grpc.add_SecretServiceServicer_to_server(
        SecretService(parts.vault, asked.calls, base.clock), server
    )
    device_pb2_grpc.add_DeviceServiceServicer_to_server(
        DeviceService(
            parts.devices,
            registrar,
            pairing,
            base.authorities,
            rotation,
            enrolment,
            suspending,
            permission,
        ),
        server,
    )
    agent_pb2_grpc.add_AgentServiceServicer_to_server(
        AgentService(parts.devices, enrolment, permission, base.authorities), server
    )
    packs = EvidencePacks(book, base.reader, base.estate.home.data / "tools")
    ledger_pb2_grpc.add_LedgerServiceServicer_to_server(
        LedgerService(book, base.writer, packs, base.witness, base.ledger_rotation), server
    )


def _sweep(live_rpcs: LiveRpcs, parts: Parts, *, every: bool = False) -> None:
    """Cuts what outlives its certificate."""
    live_rpcs.sweep(parts.base.clock.now_ms(), parts.devices.good_until_ms, every=every)


async def _watch(live_rpcs: LiveRpcs, parts: Parts) -> None:
    while True:
        await tick(SWEEP_SECONDS)
        _sweep(live_rpcs, parts)

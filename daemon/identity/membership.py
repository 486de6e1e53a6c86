"""How devices and agents come in and are shown out, put together from its parts.

Trusted to tie the registry to what is under way: whoever is revoked loses RPCs and calls with it.
"""

import time
from datetime import timedelta

from anyio.abc import TaskGroup

from daemon.alerts.reacting import Reactions
from daemon.calls.engine import Calls
from daemon.config import Rates as RateLimits
from daemon.doorway import Doorway
from daemon.errands import Errands
from daemon.errors import Unauthenticated
from daemon.identity.agents import read_agents
from daemon.identity.devices import certificate_revoked, device_revoked
from daemon.identity.enrolment import Enrolment
from daemon.identity.pairing import Pairing
from daemon.identity.registrar import Registrar
from daemon.identity.suspending import Suspending
from daemon.leases.keeping import LeaseKeeper
from daemon.leases.signers import signed_by
from daemon.parts import Parts
from daemon.principal import Principal
from daemon.rates import Kind, Rate, Rates
from daemon.rpc.live_rpcs import LiveRpcs

# To see the certificate, and to pair; and once more of both.
CONNECTIONS_OF_AN_ATTEMPT = 4


def rates(limits: RateLimits) -> Rates:
    """How often principals may ask, and strangers try to pair."""
    return Rates(
        {
            Kind.CALL: Rate(limits.calls_per_second, limits.calls_burst),
            Kind.ADMINISTRATION: Rate(
                limits.administration_per_second, limits.administration_burst
            ),
            Kind.ARGUMENTS: Rate(limits.arguments_kib_per_second, limits.arguments_kib_burst),
            Kind.PAIRING: Rate(limits.pairing_per_minute / 60, limits.pairing_burst),
        },
        time.monotonic,
    )


def _door_rates(limits: RateLimits) -> Rates:
    """Of connections to pairing listeners: room for what an attempt takes, twice over."""
    each = CONNECTIONS_OF_AN_ATTEMPT
    rate = Rate(each * limits.pairing_per_minute / 60, each * limits.pairing_burst)
    return Rates({Kind.PAIRING: rate}, time.monotonic)


def registrar(parts: Parts, calls: Calls, live_rpcs: LiveRpcs, leases: LeaseKeeper) -> Registrar:
    """Who ends a device ends its RPCs and calls."""

    async def cut(device_id: str) -> None:
        def its(principal: Principal) -> bool:
            return principal.device_id == device_id

        leases.void(lambda row: device_id == str(row.device_id) or signed_by(row, device_id))
        calls.cancel_all(lambda caller: caller.device_id == device_id, "DEVICE_REVOKED")
        live_rpcs.cut(its, device_revoked())
        await live_rpcs.left(its)

    def cut_certificate(serial: str) -> None:
        calls.cancel_all(lambda caller: caller.serial == serial, "CERT_REVOKED")
        live_rpcs.cut(lambda principal: principal.serial == serial, certificate_revoked())

    return Registrar(
        authorities=parts.base.authorities,
        devices=parts.devices,
        worlds=parts.worlds,
        reader=parts.base.reader,
        writer=parts.base.writer,
        clock=parts.base.clock,
        config=parts.base.config,
        local_device=parts.local_device,
        cut=cut,
        cut_certificate=cut_certificate,
    )


def suspending(parts: Parts, calls: Calls, live_rpcs: LiveRpcs, leases: LeaseKeeper) -> Suspending:
    """Likewise for who is suspended; a device's agents are with it."""

    def cut(name: str, fault: Unauthenticated) -> None:
        def its(principal: Principal) -> bool:
            return name in (str(principal), f"device/{principal.device_id}")

        leases.void(
            lambda row: name in (row.principal, f"device/{row.device_id}", f"device/{row.signer}")
        )
        calls.cancel_all(
            lambda caller: name in (f"agent/{caller.agent_id}", f"device/{caller.device_id}"),
            "PRINCIPAL_SUSPENDED",
        )
        live_rpcs.cut(its, fault)

    base = parts.base
    return Suspending(parts.devices, parts.worlds, base.writer, base.clock, parts.local_device, cut)


def reactions(parts: Parts, suspending: Suspending, leases: LeaseKeeper) -> Reactions:
    """What alerts bring about."""
    base = parts.base
    wanted = tuple(dict.fromkeys(base.config.alerts.reactions))
    return Reactions(
        wanted, parts.worlds, suspending, leases, parts.entities, base.writer, base.clock
    )


def enrolment(parts: Parts, calls: Calls, live_rpcs: LiveRpcs, leases: LeaseKeeper) -> Enrolment:
    """Likewise for an agent."""
    base, agents = parts.base, parts.devices.agents

    async def reload() -> None:
        now = base.clock.now_ms()
        agents.replace(await base.reader.read(lambda connection: read_agents(connection, now)))

    def cut(agent_id: str, reason: str) -> None:
        def its(principal: Principal) -> bool:
            return principal.agent is not None and principal.agent.agent_id == agent_id

        leases.void(lambda row: row.principal == f"agent/{agent_id}")
        calls.cancel_all(lambda caller: caller.agent_id == agent_id, reason)
        live_rpcs.cut(its, agents.unknown(agent_id))

    return Enrolment(
        issue=base.authorities.issue_agent,
        agents=agents,
        worlds=parts.worlds,
        writer=base.writer,
        reload=reload,
        now=base.clock.now,
        lifetime=timedelta(hours=base.config.identity.agent_certificate_hours),
        cut=cut,
    )


def pairing(
    parts: Parts,
    registrar: Registrar,
    errands: Errands,
    rates: Rates,
    group: TaskGroup,
    address: str,
) -> Pairing:
    """Invitations, behind a door of their own; paired devices connect to `address`."""
    config = parts.base.config.server
    host = address.rpartition(":")[0]
    public = config.pairing_host or host
    return Pairing(
        registrar=registrar,
        errands=errands,
        authorities=parts.base.authorities,
        clock=parts.base.clock,
        rates=rates,
        group=group,
        doorway=Doorway(group, _door_rates(parts.base.config.rates)),
        data=parts.base.estate.home.data,
        host=host,
        public_host=public,
        address=f"{public}:{address.rpartition(':')[2]}",
    )

"""The composition root: everything the daemon is made of, put together once, taken apart in order.

The order is the point. Nothing is served before what the last run left has been found and recorded;
nothing is torn down before every call has ended and its end is durable. What keeps the daemon from
starting leaves as a `Fault` (or a leaf's error) that says what to do.
"""

import gc
import os
import resource
import socket
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
import structlog
from uuid_utils.compat import uuid7

from daemon.alerts.configured import configured as configured_alerts
from daemon.config import load_config
from daemon.egress import egress
from daemon.endpoint import announced
from daemon.errors import StartError
from daemon.estate import Estate, check_home
from daemon.foundation import Foundation, foundation
from daemon.handed import handed_sockets
from daemon.hardening import keep_memory_private
from daemon.identity.devices import LOCAL_DEVICE, Devices
from daemon.identity.registrar import load_registry
from daemon.lock import data_directory_lock
from daemon.log import configure_log
from daemon.notify import ServiceManager
from daemon.parts import Parts
from daemon.policy import states as policy_states
from daemon.policy.entities import Entities
from daemon.policy.policies import Policies
from daemon.policy.watched import Watched
from daemon.server import Served, serving
from daemon.signals import until_told_to_stop
from daemon.store import meta
from daemon.tiers import Tiers
from daemon.toolbox import Toolbox
from daemon.tools.snapshot import SnapshotStore
from daemon.vault.composition import Vault
from daemon.working_folder import BACKUP, RESTORE, remove_left
from daemon.workspaces import Workspaces, check_workspaces
from daemon.world import PolicyFault
from daemon.worlds import Worlds
from policy.bundle import load_directory
from policy.entity_data import EntityData
from policy.errors import BundleError
from stockade.home import Home

if TYPE_CHECKING:
    from daemon.metrics import Metrics
    from daemon.traces import Traces

_log = structlog.get_logger("stockade")

MAX_DESCRIPTORS = 65_536
# With fewer, the runs of one busy device already find none left.
LEAST_DESCRIPTORS = 256


async def serve(home: Home, ready_fd: int | None) -> None:
    """Runs the daemon until SIGTERM or SIGINT."""
    os.umask(0o077)
    keep_memory_private()
    _raise_descriptor_limit()
    manager, handed = ServiceManager.from_environment(), handed_sockets()
    if not home.data.is_dir():
        raise StartError(
            f"{home.data} has not been initialised",
            code="NOT_INITIALISED",
            fix="run `stockade up`, which initialises it",
        )
    with data_directory_lock(home.lock):
        check_home(home)
        config = load_config(home.config_file)
        configure_log(config.log)
        check_workspaces(config.workspaces, home)
        _remove_left(home)
        async with foundation(Estate.open(home), config) as base, _daemon(base, handed) as served:
            await _record(base, "daemon.started", {"address": served.address})
            # Modules, policies, tools: some 100,000 objects that stay. Looked through at every full
            # collection, they would hold up whatever call is under way for 50 ms.
            gc.freeze()
            found = _found(home.endpoint, served.address, base.clock.now_ms(), ready_fd)
            patience = await until_told_to_stop(manager, home.config_file, config, found)
            waits = round(patience.deadline - anyio.current_time())
            _log.info("daemon.stopping", drain_seconds=waits)
            await served.stop(patience)
            await _record(base, "daemon.stopped", {})
            await base.checkpoints.end()
    _log.info("daemon.stopped")


def _remove_left(home: Home) -> None:
    """What a backup or a restore left that was killed; the disk may be full of it."""
    data = home.data.resolve()
    for folder in (*remove_left(BACKUP, data), *remove_left(RESTORE, data.parent)):
        _log.warning("home.left_removed", folder=str(folder))


@contextmanager
def _found(endpoint: Path, address: str, now_ms: int, ready_fd: int | None) -> Iterator[None]:
    """While others can find it, and those who wait for that have been told."""
    with announced(endpoint, address, now_ms):
        _log.info("daemon.ready", address=address, pid=os.getpid())
        if ready_fd is not None:
            with os.fdopen(ready_fd, "wb") as ready:
                ready.write(b"ready\n")
        yield


def _raise_descriptor_limit() -> None:
    """As many descriptors as we may have: each connection and each run takes some.

    A run's own limit is set apart; what the daemon has is not what a tool gets.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < LEAST_DESCRIPTORS:
        raise StartError(
            f"this process may have {hard} descriptors, and needs {LEAST_DESCRIPTORS} at least",
            code="TOO_FEW_DESCRIPTORS",
            fix="raise `ulimit -Hn`, or LimitNOFILE= of the service",
        )
    wanted = MAX_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MAX_DESCRIPTORS)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


@asynccontextmanager
async def _daemon(base: Foundation, handed: Sequence[socket.socket]) -> AsyncIterator[Served]:
    estate, config = base.estate, base.config
    alerts = configured_alerts(base)
    base.writer.watch(alerts.recorded)
    devices = Devices(estate.trust_domain, base.clock, base.authorities.accepts)
    await load_registry(devices, base.reader, base.clock)
    local = await base.reader.read(lambda connection: meta.get(connection, LOCAL_DEVICE)) or ""
    worlds = Worlds(config, devices, local)
    vault = Vault.over(base)
    snapshots = SnapshotStore(estate.home.data / "tools", lambda: uuid7().hex)
    toolbox = Toolbox(estate.home.tools, snapshots, worlds, base.writer, base.clock)
    policies = Policies(worlds, base.reader, base.writer, base.clock)
    entities = Entities(worlds, base.writer, base.clock)
    tiers = Tiers(estate.chain_id, config)
    workspaces = Workspaces(config.workspaces)
    async with anyio.create_task_group() as group:
        group.start_soon(vault.unlock)
        group.start_soon(tiers.examine_first)
        group.start_soon(workspaces.clean)
    state = vault.keeper.state
    if not state.available:
        _log.warning("vault.unavailable", reason=state.reason, fix=state.fix)
    await _first_world(base, worlds, toolbox, policies, tiers)
    async with egress(estate.home.data / "egress") as door:
        parts = Parts(
            base,
            devices,
            worlds,
            vault,
            toolbox,
            policies,
            entities,
            tiers,
            workspaces,
            door.path.resolve(),
            local,
            _watched(base, worlds, policies),
            alerts,
            _metrics(base),
            _traces(base),
        )
        async with serving(parts, handed) as served:
            yield served


def _metrics(base: Foundation) -> "Metrics | None":
    if not base.config.metrics.listen:
        return None
    from daemon.metrics import Metrics

    metrics = Metrics()
    base.writer.watch(metrics.recorded)
    return metrics


def _traces(base: Foundation) -> "Traces | None":
    endpoint = base.config.traces.endpoint
    if not endpoint:
        return None
    try:
        from daemon.traces import Traces
    except ImportError:
        raise StartError(
            "traces.endpoint is set, but what writes traces is not installed",
            code="TRACES_NOT_INSTALLED",
            fix="install `stockade[otel]`, or take the endpoint out of config.toml",
        ) from None
    traces = Traces(endpoint, base.estate.chain_id)
    base.writer.watch(traces.recorded)
    return traces


def _watched(base: Foundation, worlds: Worlds, policies: Policies) -> Watched | None:
    config = base.config.policy
    if not config.watch:
        return None
    return Watched(
        folder=base.estate.home.policies,
        quiet_seconds=config.watch_quiet_seconds,
        policies=policies,
        worlds=worlds,
        reader=base.reader,
        writer=base.writer,
    )


async def _first_world(
    base: Foundation, worlds: Worlds, toolbox: Toolbox, policies: Policies, tiers: Tiers
) -> None:
    registry = await toolbox.load()
    for refused in registry.refused:
        _log.warning("tool.refused", folder=str(refused.folder), reason=refused.error.message)
    stored = await policies.stored()
    data = (stored and stored.data) or EntityData()
    try:
        files = stored.files if stored else load_directory(base.estate.home.policies)
    except BundleError as error:
        fault = PolicyFault.of(error, None)
        world = await worlds.build_without(fault, registry, tiers.unavailable, data)
    else:
        world = await worlds.build_anyhow(files, registry, tiers.unavailable, data)
    if world.fault is not None:
        # It starts all the same: somebody has to be able to mend it, and calls to be told why not.
        _log.error("policy.invalid", reason=world.fault.message, fix=world.fault.fix)
    worlds.replace(world)
    await policies.record(world, policy_states.START if stored else policy_states.INITIALISED)


async def _record(base: Foundation, kind: str, body: dict[str, object]) -> None:
    await base.writer.write(lambda tx: tx.receipt(kind, body))

"""Whether the sources beside the vault would give what the configuration names, asked beforehand.

Each secret is fetched as a run would fetch it, and overwritten at once: what is answered is whether
it is there, and its version. Trusted to say nothing else of a value. A source that does not answer
is asked once, not once for each name. Raises `NotFound` (UNKNOWN_SECRET, UNKNOWN_SOURCE).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import anyio

from daemon.elsewhere.sources import Source, Sources
from daemon.errors import Fault, Unavailable
from vault.reference import SecretReference

# At once, of one source.
ABREAST = 8


@dataclass(frozen=True, slots=True)
class Held:
    """One secret that the configuration names: its version, or why it cannot be had."""

    reference: str
    version: int | None = None
    fault: Fault | None = None
    revoked: bool = False


@dataclass(slots=True)
class Checked:
    """One source: whether it answers and takes the daemon for who it is, and its secrets."""

    name: str
    kind: str
    place: str
    reachable: bool = False
    authenticated: bool = False
    fault: Fault | None = None
    secrets: list[Held] = field(default_factory=list)


async def check(sources: Sources, only: SecretReference | None, source: str) -> list[Checked]:
    """All of them, one source, or one secret of it."""
    wanted = sources.chosen(only.scope.source or "" if only else source)
    if only is not None:
        sources.check(only)
    checked: list[Checked] = []
    async with anyio.create_task_group() as group:
        for name, one in wanted.items():
            report = Checked(name, one.kind, one.place)
            checked.append(report)
            names = sorted(one.names()) if only is None else [str(only.name)]
            group.start_soon(_look, sources, one, report, names)
    return checked


async def _look(sources: Sources, one: Source, report: Checked, names: list[str]) -> None:
    try:
        await one.reach()
        report.reachable = True
        report.authenticated = await one.admits()
    except Unavailable as fault:
        report.fault = fault
        report.secrets = [
            Held(str(sources.reference(report.name, name)), fault=fault) for name in names
        ]
        return
    found: Mapping[str, Held] = await _each(sources, report, names)
    report.secrets = [found[name] for name in names]
    if any(held.version is not None for held in report.secrets):
        # It was let in, whatever it may not be told about itself.
        report.authenticated = True


async def _each(sources: Sources, report: Checked, names: list[str]) -> Mapping[str, Held]:
    found: dict[str, Held] = {}
    limiter = anyio.CapacityLimiter(ABREAST)

    async def fetch(name: str) -> None:
        reference = sources.reference(report.name, name)
        async with limiter:
            try:
                version, value = await sources.fetch(reference)
            except Fault as fault:
                found[name] = Held(str(reference), fault=fault)
            else:
                value.wipe()
                found[name] = Held(str(reference), version)

    async with anyio.create_task_group() as group:
        for name in names:
            group.start_soon(fetch, name)
    return found

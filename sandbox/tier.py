"""The seam every tier stands behind: run a spec, probe the host, remove leftovers.

Interfaces and their values only; no tier is imported here.
"""

from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from sandbox.outcome import Control, Outcome
from sandbox.spec import RunSpec

Stream = Literal["stdout", "stderr"]


class OutputSink(Protocol):
    """Takes the output of a run, chunk by chunk.

    Awaiting it is the back-pressure: nothing more is read from that stream until it returns. An
    exception it raises ends the run and leaves `run` as it is.
    """

    def __call__(self, stream: Stream, data: bytes, /) -> Awaitable[None]:
        """Take one chunk; return when the next may be read."""
        ...


@dataclass(frozen=True, slots=True)
class Missing:
    """A primitive this host does not give, why we think so, and what to do about it."""

    primitive: str
    reason: str
    fix: str


@dataclass(frozen=True, slots=True)
class ProbeReport:
    """What a sandbox that was really run was seen to refuse.

    `works` is false if any mandatory control was not observed; `missing` then says which.
    """

    works: bool
    missing: tuple[Missing, ...]
    controls: Mapping[str, Control]


class Sandbox(Protocol):
    """One tier."""

    @property
    def name(self) -> str:
        """The name of the tier: process, container or gvisor."""
        ...

    def set_aside(self, spec: RunSpec) -> None:
        """Look whether `spec` can run and hold a sandbox for it, if one waits, until it is run.

        For what has to be recorded before it may begin: `run` of this very spec then has less to
        do; of another with its id it is refused. What is not run after all is `let_go`. Raises as
        `run` does.
        """
        ...

    async def let_go(self, run_id: str) -> None:
        """End what was set aside for this run, if that was not run."""
        ...

    async def run(self, spec: RunSpec, output: OutputSink) -> Outcome:
        """Run `spec` to its end; raises what `sandbox.errors` has only before any start."""
        ...

    async def probe(self) -> ProbeReport:
        """Run something and observe the denials."""
        ...

    async def warm(self, spec: RunSpec) -> bool:
        """While kept: wait until one is started ahead for runs like `spec`; false if none will."""
        ...

    async def keep(self) -> None:
        """Keep sandboxes started ahead until cancelled; ends at once where there is nothing to."""
        ...

    @property
    def ready(self) -> int:
        """How many were started ahead and wait."""
        ...

    async def altered(self) -> None:
        """Wait until the host has changed in a way that makes another probe worth while."""
        ...

    async def reap(self) -> int:
        """Remove what a crashed earlier daemon left; how many runs were removed."""
        ...

    async def close(self) -> None:
        """Remove what could not be removed before; nothing runs or is kept any more."""
        ...

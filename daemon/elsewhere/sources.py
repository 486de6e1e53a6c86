"""The sources of secrets beside the vault, by the names that the configuration gives them.

Trusted to fetch what the configuration names and nothing else: a reference that is not in its
`names` does not exist, whatever the source holds. Nothing is kept between two fetches: what was
changed or taken away there is so for the next run. Leaves `NotFound` (UNKNOWN_SECRET,
UNKNOWN_SOURCE) and `Unavailable` (SOURCE_UNUSABLE, SOURCE_UNREACHABLE, SOURCE_REFUSED,
SOURCE_MALFORMED).
"""

from collections.abc import Mapping
from typing import Protocol, Self

from daemon.config import Config
from daemon.elsewhere.files import EnvironmentFile
from daemon.elsewhere.openbao import OpenBaoServer
from daemon.errors import NotFound, Unavailable
from vault.envelope import MAX_VALUE
from vault.reference import Scope, SecretName, SecretReference
from vault.secret import Secret


class Source(Protocol):
    """Where others keep secrets. Raises faults, and never says what it read."""

    @property
    def kind(self) -> str:
        """The section of the configuration that it has, as people call it."""

    @property
    def place(self) -> str:
        """Where it is: a path or an address."""

    def names(self) -> frozenset[str]:
        """The names of the secrets that may be had of it."""

    async def reach(self) -> None:
        """Raises why it does not answer, if it does not."""

    async def admits(self) -> bool:
        """Whether it takes the daemon for who it is; raises why it cannot be asked that."""

    async def fetch(self, name: str) -> tuple[int, Secret] | None:
        """The version and the value of one of these; None where it is not there."""


class Sources:
    """See the module."""

    def __init__(self, sources: Mapping[str, Source]) -> None:
        self._sources = sources

    @classmethod
    def configured(cls, config: Config) -> Self:
        """Those of a configuration. Nothing is looked at before it is needed."""
        files = {name: EnvironmentFile(one) for name, one in config.env_files.items()}
        servers = {name: OpenBaoServer(one) for name, one in config.openbao.items()}
        return cls({**files, **servers})

    def names(self) -> list[str]:
        """The references of everything that may be had, in order."""
        return sorted(
            f"secret://source/{source}/{name}"
            for source, one in self._sources.items()
            for name in one.names()
        )

    def at_hand(self) -> list[str]:
        """The references of what is read from a file here, in order."""
        return sorted(
            f"secret://source/{source}/{name}"
            for source, one in self._sources.items()
            if isinstance(one, EnvironmentFile)
            for name in one.names()
        )

    def chosen(self, source: str) -> Mapping[str, Source]:
        """The source of that name; all, in order, if none is named."""
        if not source:
            return dict(sorted(self._sources.items()))
        if source not in self._sources:
            raise NotFound(
                f"the configuration names no source {source!r:.70}",
                code="UNKNOWN_SOURCE",
                fix="`stockade secrets sources` shows those that it names",
            )
        return {source: self._sources[source]}

    @staticmethod
    def reference(source: str, name: str) -> SecretReference:
        """The reference of a secret that the configuration names."""
        return SecretReference(Scope(f"source/{source}"), SecretName(name))

    def check(self, reference: SecretReference) -> None:
        """Raises what can be said without asking anybody."""
        self._of(reference)

    async def fetch(self, reference: SecretReference) -> tuple[int, Secret]:
        """The version and the value; the version is the source's own."""
        found = await self._of(reference).fetch(reference.name)
        if found is None:
            raise NotFound(
                f"{reference} is not where the configuration says",
                code="UNKNOWN_SECRET",
                fix="put it there, or correct `names` in config.toml",
            )
        version, value = found
        if not 0 < len(value.view()) <= MAX_VALUE:
            value.wipe()
            raise Unavailable(
                f"{reference} does not have 1 to {MAX_VALUE} bytes there",
                code="SOURCE_MALFORMED",
                fix="change it there",
            )
        return version, value

    def _of(self, reference: SecretReference) -> Source:
        source = self._sources.get(reference.scope.source or "")
        if source is None or reference.name not in source.names():
            raise NotFound(
                f"the configuration names no {reference}",
                code="UNKNOWN_SECRET",
                fix="name it in config.toml, in [env_files.NAME] or [openbao.NAME], and restart",
            )
        return source

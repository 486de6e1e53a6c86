"""The directories that the operator named for tools: how each is mounted, and kept as it is.

Trusted to mount a workspace writable only where tool and operator both say so, and then only
together with what protects its paths (`sandbox.protected`). What a run left there that would act
later is put aside; that is told and recorded, and is no failure of the call. Raises
`sandbox.errors.SandboxError` where the paths cannot be protected: then nothing runs.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import anyio
import anyio.to_thread
import structlog

from daemon.config import Workspace
from daemon.errors import ConfigError
from daemon.names import as_text
from daemon.tools.manifest import Manifest
from sandbox.protected import Keeper
from sandbox.spec import Mount, RunSpec
from stockade.home import Home

_log = structlog.get_logger("stockade.workspaces")

TARGET = "/workspace"
# The host's own: what it runs, how it is set up, and the sockets through which it is commanded.
_SYSTEM = (
    *("/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/proc", "/run", "/sbin"),
    *("/sys", "/usr", "/var/lib/containerd", "/var/lib/docker", "/var/run"),
)
# Of what was put aside: the tool chose the names.
_MAX_TOLD = 32
_LONGEST_TOLD = 256


@dataclass(slots=True)
class Guarded:
    """A run's spec with its workspace protected; `put_aside` is known when the run is over."""

    spec: RunSpec
    put_aside: list[str] = field(default_factory=list)


class Workspaces:
    """Of one daemon."""

    def __init__(self, named: Mapping[str, Workspace]) -> None:
        self._named = named
        self._keeper = Keeper()

    def mount(self, name: str, manifest: Manifest) -> Mount:
        """The workspace of that name as this tool gets it."""
        workspace, asked = self._named[name], manifest.workspace
        writable = asked is not None and asked.access == "write" and workspace.access == "write"
        return Mount(workspace.path, TARGET, writable)

    @asynccontextmanager
    async def guarded(
        self, spec: RunSpec, name: str, *, folders: bool = False
    ) -> AsyncIterator[Guarded]:
        """`spec`, its workspace's protected paths held for as long as the context lasts."""
        guarded = Guarded(spec)
        if not any(mount.target == TARGET and mount.writable for mount in spec.mounts):
            yield guarded
            return
        workspace = self._named[name]
        held = await anyio.to_thread.run_sync(
            lambda: self._keeper.hold(workspace.path, TARGET, workspace.protected, folders=folders)
        )
        try:
            guarded.spec = replace(spec, mounts=(*spec.mounts, *held.mounts))
            yield guarded
        finally:
            with anyio.CancelScope(shield=True):
                aside = await anyio.to_thread.run_sync(self._keeper.release, held)
            guarded.put_aside = told(aside)
            if aside:
                paths = guarded.put_aside
                _log.warning("workspace.put_aside", workspace=name, run=spec.run_id, paths=paths)

    async def clean(self) -> None:
        """Removes what stood in for protected paths when an earlier daemon was killed."""
        for name, workspace in self._named.items():
            if workspace.access != "write":
                continue
            try:
                left = await anyio.to_thread.run_sync(
                    self._keeper.clean, workspace.path, workspace.protected
                )
            except OSError as error:
                _log.warning("workspace.unreadable", workspace=name, reason=error.strerror)
                continue
            if left:
                # A run was under way there, and what it did further down was not compared.
                _log.warning("workspace.cleaned", workspace=name, stand_ins=left)


def told(paths: Sequence[str]) -> list[str]:
    """What is said of these paths: whatever their names are, as text, each in part, and not all."""
    shown = [as_text(path) for path in paths[:_MAX_TOLD]]
    cut = [one if len(one) <= _LONGEST_TOLD else f"{one[:_LONGEST_TOLD]}..." for one in shown]
    more = len(paths) - len(cut)
    return [*cut, f"... and {more} more"] if more else cut


def check_workspaces(named: Mapping[str, Workspace], home: Home) -> None:
    """A workspace that cannot be one is a mistake to hear of now; raises `ConfigError`."""
    for name, workspace in named.items():
        path = Path(workspace.path)
        # Compared as text too: `//` and `/./` are other spellings of what is judged below.
        if str(path) != workspace.path or path.anchor != "/":
            raise _not_one(
                name, f"{workspace.path} is not normalised", "leave out //, /./ and /../"
            )
        if not path.is_dir() or path.resolve() != path:
            raise _not_one(
                name,
                f"{path} is not a directory by its real path",
                "make the directory, and give its path without links",
            )
        for own in _own_places(home):
            if _overlap(path, own):
                # A tool there could read the keys, or leave policies and tools for the next start.
                raise _not_one(
                    name,
                    f"{path} is, holds or lies in {own}, which is Stockade's own",
                    "name a directory apart from Stockade's, or move those by STOCKADE_HOME",
                )
        for hosts in map(Path, _SYSTEM):
            if _overlap(path, hosts):
                raise _not_one(
                    name,
                    f"{path} is, holds or lies in {hosts}, which is the host's own",
                    "name a directory that holds nothing but what tools may have",
                )


def _not_one(name: str, why: str, fix: str) -> ConfigError:
    return ConfigError(f"workspaces.{name}.path: {why}", fix=fix)


def _overlap(path: Path, own: Path) -> bool:
    return own.is_relative_to(path) or (path.is_relative_to(own) and own.is_dir())


def _own_places(home: Home) -> list[Path]:
    """Where Stockade keeps what no tool may touch, by their real paths."""
    places = (home.config_file, home.policies, home.tools, home.client, home.data)
    return [place.resolve() for place in places]

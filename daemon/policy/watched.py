"""The folder of policies, applied when it changes. Off unless config.toml turns it on.

Trusted to put in force only whole sets that are valid, each once, and to leave the one in force
where it is for everything else; what was refused is in the log and in the status until it is
mended. A set is applied when the folder differs from what was last applied from it, not from what
is in force: a rollback is not undone by the next look. Raises nothing; ends when it is cancelled.
"""

import time
from dataclasses import dataclass
from pathlib import Path

import anyio
import anyio.to_thread
import structlog

from daemon.errors import Fault, Unavailable
from daemon.policy import folder as policy_folder
from daemon.policy.folder import Folder
from daemon.policy.policies import Policies, PolicyInvalid
from daemon.policy.states import WATCHED
from daemon.store import meta
from daemon.store.commit import Tx
from daemon.store.reader import Reader
from daemon.store.writer import Writer
from daemon.ticks import tick
from daemon.worlds import Worlds
from policy.errors import BundleError

_log = structlog.get_logger("stockade.policies")

POLL_SECONDS = 0.5
# Where the store's `meta` has the digest of the folder that was last taken over.
META_KEY = "policy.folder"
BY = "stockaded"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why the folder as it is was not applied."""

    code: str
    message: str
    fix: str


class Watched:
    """See the module."""

    def __init__(
        self,
        *,
        folder: Path,
        quiet_seconds: float,
        policies: Policies,
        worlds: Worlds,
        reader: Reader,
        writer: Writer,
    ) -> None:
        self._folder = folder
        self._quiet_seconds = quiet_seconds
        self._policies = policies
        self._worlds = worlds
        self._reader = reader
        self._writer = writer
        self._seen = ""
        self._seen_at = 0.0
        self._settled = ""
        self._taken: str | None = None
        self.refusal: Refusal | None = None

    async def run(self) -> None:
        """Looks, for as long as the daemon runs."""
        self._taken = await self._reader.read(lambda connection: meta.get(connection, META_KEY))
        while True:
            await self.look()
            await tick(POLL_SECONDS)

    async def look(self) -> None:
        """One look at the folder; applies it if it has changed and been quiet since."""
        seen = await anyio.to_thread.run_sync(policy_folder.signature, self._folder)
        if seen != self._seen:
            self._seen, self._seen_at = seen, time.monotonic()
        if (
            self._place(seen) == self._settled
            or time.monotonic() - self._seen_at < self._quiet_seconds
        ):
            return
        try:
            found = await anyio.to_thread.run_sync(policy_folder.read, self._folder)
        except BundleError as error:
            self._refuse(PolicyInvalid(error))
            self._settled = self._place(seen)
            return
        # None: somebody writes; the next look sees whether it is over.
        if found is not None and await self._take(found):
            self._settled = self._place(seen)

    def _place(self, seen: str) -> str:
        """What is dealt with when it is: what was refused may fit once tools or entities change."""
        return f"{seen} {self._worlds.current.digest if self.refusal else ''}"

    async def _take(self, found: Folder) -> bool:
        """Whether the folder is dealt with, in force or refused."""
        if found.digest != self._taken and found.files != self._worlds.current.bundle.files:
            try:
                applied = await self._policies.apply(found.files, BY, WATCHED)
            except Unavailable as fault:
                self._refuse(fault)
                return False  # it could not be recorded: another look will try again
            except Fault as fault:
                self._refuse(fault)
                return True
            _log.info("policy.applied", version=applied.number, digest=applied.digest)
        self.refusal = None
        if found.digest != self._taken:
            await self._remember(found.digest)
        return True

    async def _remember(self, digest: str) -> None:
        def operation(tx: Tx) -> None:
            meta.swap(tx.connection, META_KEY, meta.get(tx.connection, META_KEY), digest)

        try:
            await self._writer.write(operation)
        except Unavailable as fault:
            _log.warning("policy.folder_not_remembered", reason=fault.code)
        self._taken = digest

    def _refuse(self, fault: Fault) -> None:
        refusal = Refusal(fault.code, fault.message, fault.fix)
        if refusal != self.refusal:
            _log.warning("policy.refused", reason=fault.code, message=fault.message, fix=fault.fix)
        self.refusal = refusal

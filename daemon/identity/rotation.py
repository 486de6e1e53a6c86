"""Replacing the authority: a successor beside the current one for a while, then in its place.

Each step is one transaction of the database, together with its receipt; the files are written
before it (a successor nobody knows yet) or after it (`Files.open` finishes them at the next start),
so that a daemon killed anywhere is in one of the two states. Raises `Conflict` and `Unavailable`.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import anyio
import anyio.to_thread
import structlog

from daemon.errors import Conflict, Fault, Unavailable
from daemon.foundation import Foundation
from daemon.identity.authorities import InForce
from daemon.identity.authority_files import META_KEY, Standing
from daemon.store import meta
from daemon.store.commit import Tx
from daemon.ticks import tick
from identity.authority import Authority
from identity.errors import IdentityError
from identity.names import TrustDomain
from ledger.chain import Entry

_log = structlog.get_logger("stockade.identity")

CHECK_SECONDS = 1.0
RETIRED_BY = "stockaded"


class Rotation:
    """See the module."""

    def __init__(self, base: Foundation, changed: Callable[[], None]) -> None:
        self._base = base
        self._authorities = base.authorities
        self._files = base.authority_files
        self._overlap = timedelta(hours=base.config.identity.authority_overlap_hours)
        self._changed = changed
        self._lock = anyio.Lock()

    async def rotate(self, principal: str) -> tuple[InForce, Entry]:
        """Makes a successor, which issues from now on; both are good until the period is over."""
        async with self._lock:
            stored = await self._stored()
            if stored is not None and stored.successor is not None:
                # Stored, though its write was reported to have failed: then it is taken up here.
                if self._authorities.state.successor is None:
                    state = await anyio.to_thread.run_sync(self._files.open, stored)
                    self._authorities.replace(state)
                raise _rotating(stored.until_ms)
            now, current = self._base.clock.now(), self._authorities.state.current
            successor = await self._make_successor(current.trust_domain, now)
            until_ms = self._base.clock.now_ms() + int(self._overlap.total_seconds() * 1000)
            new = Standing(str(current.spki_sha256), str(successor.spki_sha256), until_ms)

            def operation(tx: Tx) -> Entry:
                _swap(tx, stored, new)
                body = {
                    "principal": principal,
                    "from": new.current,
                    "to": new.successor,
                    "until": datetime.fromtimestamp(until_ms / 1000, UTC).isoformat(),
                }
                return tx.receipt("authority.rotated", body, principal=principal)

            entry = await self._base.writer.write(operation)
            state = InForce(current, successor, until_ms)
            self._authorities.replace(state)
            return state, entry

    async def retire_if_due(self) -> None:
        """Ends the old authority when the period is over; does nothing before."""
        async with self._lock:
            state = self._authorities.state
            if state.successor is None or self._base.clock.now_ms() < state.until_ms:
                return
            old, new = str(state.current.spki_sha256), str(state.successor.spki_sha256)

            def operation(tx: Tx) -> None:
                _swap(tx, Standing(old, new, state.until_ms), Standing(new))
                tx.receipt("authority.retired", {"authority": old, "to": new}, principal=RETIRED_BY)

            await self._base.writer.write(operation)
            self._authorities.replace(InForce(state.successor))
            self._changed()
            _log.info("authority.retired", authority=old, to=new)
            try:
                await anyio.to_thread.run_sync(self._files.promote)
            except OSError as error:
                # The database has it; the next start tries again.
                _log.error("authority.files_not_moved", reason=error.strerror)

    async def watch(self) -> None:
        """Retires in time, for as long as the daemon serves."""
        while True:
            await tick(CHECK_SECONDS)
            try:
                await self.retire_if_due()
            except Fault as fault:
                # Not recorded, yet over: what it issued is refused all the same.
                _log.error("authority.not_retired", reason=fault.code)

    async def _make_successor(self, trust_domain: TrustDomain, now: datetime) -> Authority:
        try:
            return await anyio.to_thread.run_sync(self._files.add_successor, trust_domain, now)
        except IdentityError as error:
            raise Unavailable(error.message, code=str(error.code), fix=error.fix) from None

    async def _stored(self) -> Standing | None:
        return Standing.decode(await self._base.reader.read(lambda c: meta.get(c, META_KEY)))


def _swap(tx: Tx, old: Standing | None, new: Standing) -> None:
    text = None if old is None else old.encode()
    if not meta.swap(tx.connection, META_KEY, text, new.encode()):
        raise Conflict(
            "the authority was changed meanwhile",
            code="AUTHORITY_CHANGED",
            fix="see `stockade ledger tail`, and try again",
        )


def _rotating(until_ms: int) -> Conflict:
    until = datetime.fromtimestamp(until_ms / 1000, UTC).isoformat(timespec="seconds")
    return Conflict(
        f"the authority was rotated, and the one before is still accepted until {until}",
        code="AUTHORITY_ROTATING",
        fix="wait until then: devices that know only the first of three would be lost",
    )

"""The vault as the daemon uses it: root keys held, values opened for a run, and who holds them.

Trusted with the root keys in memory. A root that cannot be had leaves the vault unavailable, with
the reason and the command that mends it; it never becomes another root. Values leave only through
`open`, for the references a permitted call was granted, and it is known which calls have them.
Raises `Unavailable` (VAULT_UNAVAILABLE), `NotFound`, `Refused` and `BadRequest`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from daemon.clock import Clock
from daemon.elsewhere.barred import Barred
from daemon.elsewhere.checking import Checked, check
from daemon.elsewhere.sources import Sources
from daemon.errors import BadRequest, Conflict, NotFound, Unavailable
from daemon.store.reader import Reader
from daemon.store.secrets import SecretRow, SecretState
from daemon.vault.rows import Found, VaultRows
from vault.envelope import SecretVersion, open_sealed, parse_sealed
from vault.errors import VaultError
from vault.reference import SCHEME, SecretReference, parse_reference
from vault.root import RootKey
from vault.secret import Secret

UNLOCK = "`stockade secrets unlock`"
ROLLED_BACK = "VAULT_ROLLED_BACK"
LIST = "`stockade secrets list` shows what there is"


@dataclass(frozen=True, slots=True)
class VaultState:
    """Whether secrets can be used, and if not, why and what to do."""

    root: str
    available: bool
    code: str = ""
    reason: str = ""
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Keys:
    """The root keys in hand: the one that new values are sealed under, and all that open."""

    sealing: RootKey
    opening: Mapping[str, RootKey]

    def of(self, root_key_id: str) -> RootKey:
        """The key that something is sealed under; if it is not here, the refusal is the key's."""
        return self.opening.get(root_key_id, self.sealing)


class VaultKeeper:
    """See the module."""

    def __init__(
        self, reader: Reader, clock: Clock, sources: Sources, barred: Barred | None = None
    ) -> None:
        self.rows = VaultRows(reader)
        self._clock = clock
        self.sources = sources
        # What the ledger says of secrets that others keep; None where there are none.
        self.barred = barred
        self._keys: Keys | None = None
        self._holders: dict[str, set[str]] = {}
        self.state = VaultState("", False, reason="the root key has not been read yet")

    @property
    def keys(self) -> Keys:
        """The root keys; raises `Unavailable` while there are none."""
        if self._keys is None:
            raise Unavailable(
                f"secrets are unavailable: {self.state.reason}",
                code="VAULT_UNAVAILABLE",
                fix=self.state.fix,
            )
        return self._keys

    def hold(self, keys: Keys | None, state: VaultState) -> None:
        """Puts root keys in force, or takes them out of it."""
        self._keys, self.state = keys, state

    async def check(self, references: Sequence[str]) -> None:
        """Raises what would keep these from being opened, before anybody is asked to approve."""
        parsed = [parsed_reference(reference) for reference in references]
        for one in parsed:
            if one.scope.source is None:
                _ = self.keys
            else:
                self.sources.check(one)
        await self._rows(parsed)

    async def look(self, name: str) -> list[Checked]:
        """Whether other sources would give what is named: all, one source, or one secret."""
        only = parsed_reference(name) if name.startswith(SCHEME) else None
        report = await check(self.sources, only, "" if only else name)
        for one in report:
            references = [parsed_reference(held.reference) for held in one.secrets]
            revoked = await self._revoked(references, await self.rows.current(references))
            one.secrets = [
                replace(held, revoked=reference in revoked)
                for held, reference in zip(one.secrets, references, strict=True)
            ]
        return report

    async def revoked_elsewhere(self) -> list[str]:
        """Of what other sources keep, the references that were revoked here, in order."""
        references = [parsed_reference(one) for one in self.sources.names()]
        revoked = await self._revoked(references, await self.rows.current(references))
        return [str(one) for one in references if one in revoked]

    async def _require_not_revoked(
        self, references: Sequence[SecretReference], found: Mapping[SecretReference, Found]
    ) -> None:
        """Of what others keep: not here, and not in a state before it was revoked."""
        if self.state.code == ROLLED_BACK:
            _ = self.keys  # raises: what was revoked since may be missing
        revoked = await self._revoked(references, found)
        for reference in references:
            if reference in revoked:
                raise absent(reference, SecretState.REVOKED)

    async def _revoked(
        self, references: Sequence[SecretReference], found: Mapping[SecretReference, Found]
    ) -> frozenset[SecretReference]:
        """Those that a row or the ledger says are revoked."""
        rows = ((one, found.get(one)) for one in references)
        stored = frozenset(
            one for one, row in rows if row is not None and row.state is SecretState.REVOKED
        )
        return stored | (await self.barred.of(references) if self.barred else frozenset())

    async def open(self, references: Sequence[str], call_id: str) -> dict[str, tuple[int, Secret]]:
        """The values, with their versions, for one run; it holds them until `release`."""
        if not references:
            return {}
        opened: dict[str, tuple[int, Secret]] = {}
        for reference in references:
            # Before they are looked up: whoever revokes one meanwhile finds this call.
            self._holders.setdefault(reference, set()).add(call_id)
        try:
            parsed = [parsed_reference(reference) for reference in references]
            rows = await self._rows(parsed)
            for reference, one in zip(references, parsed, strict=True):
                if one.scope.source is None:
                    opened[reference] = (rows[one].version, self.value(one, rows[one]))
                else:
                    opened[reference] = await self.sources.fetch(one)
        except BaseException:
            for _, value in opened.values():
                value.wipe()
            self.release(references, call_id)
            raise
        return opened

    def release(self, references: Sequence[str], call_id: str) -> None:
        """The run is over; it holds them no more."""
        for reference in references:
            holders = self._holders.get(reference, set())
            holders.discard(call_id)
            if not holders:
                self._holders.pop(reference, None)

    def holders(self, reference: str) -> frozenset[str]:
        """The calls that have this secret, or are about to."""
        return frozenset(self._holders.get(reference, ()))

    def value(self, reference: SecretReference, row: SecretRow) -> Secret:
        """What is sealed in a row."""
        try:
            sealed = parse_sealed(row.sealed)
            root = self.keys.of(row.root_key_id)
            version = SecretVersion(row.version)
            return open_sealed(root, reference.scope, reference.name, version, sealed)
        except VaultError as error:
            raise Unavailable(
                f"{reference} cannot be opened: {error.message}",
                code=str(error.code),
                fix=error.fix,
            ) from None

    async def _rows(
        self, references: Sequence[SecretReference]
    ) -> Mapping[SecretReference, SecretRow]:
        """The versions in use of those that are kept here, as of one moment; none is revoked."""
        if not references:
            return {}
        found = await self.rows.current(references)
        if elsewhere := [one for one in references if one.scope.source is not None]:
            await self._require_not_revoked(elsewhere, found)
        now = self._clock.now_ms()
        rows: dict[SecretReference, SecretRow] = {}
        for reference, row in found.items():
            if reference.scope.source is not None:
                continue
            if not isinstance(row, SecretRow):
                raise absent(reference, row.state if row else None)
            if row.expires_ms is not None and row.expires_ms <= now:
                raise Conflict(
                    f"{reference} has expired",
                    code="SECRET_EXPIRED",
                    fix=f"`stockade secrets put {reference}` with a new value",
                )
            rows[reference] = row
        return rows


def absent(reference: SecretReference, state: SecretState | None, fix: str = "") -> NotFound:
    """The fault of a reference that names no value; unless told otherwise, one is to be put."""
    if reference.scope.source is not None and state is SecretState.REVOKED:
        return NotFound(
            f"{reference} was revoked",
            code="SECRET_REVOKED",
            fix=f"change it where it is kept, then `stockade secrets reinstate {reference}`",
        )
    fix = fix or f"`stockade secrets put {reference}`"
    if state is SecretState.REVOKED:
        return NotFound(f"{reference} was revoked", code="SECRET_REVOKED", fix=fix)
    return NotFound(f"there is no {reference} in the vault", code="UNKNOWN_SECRET", fix=fix)


def parsed_reference(text: str) -> SecretReference:
    """A reference of anybody's."""
    try:
        return parse_reference(text)
    except VaultError as error:
        raise BadRequest(error.message, code=str(error.code), fix=error.fix) from None

"""Invitations: how a device that has no certificate gets its first.

The listener exists only while an invitation is open, and serves one RPC. Trusted so that only who
knows the code gets as far as a person's question, and only that person's yes makes a device of
exactly the key whose words were compared, while its inviter may still invite. One wrong proof ends
the invitation. The code is in no log and no receipt. Protocol and threats: docs/pairing.md.
"""

import hmac
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import anyio
import grpc
import structlog
from anyio.abc import TaskGroup

from daemon.clock import Clock
from daemon.doorway import Doorway, inner_place
from daemon.errands import Errands
from daemon.errors import BadRequest, Fault, NotFound, Refused
from daemon.identity.authorities import Authorities
from daemon.identity.devices import Known
from daemon.identity.registrar import Registrar
from daemon.rates import Kind, Rates
from daemon.rpc.faults import Context, abort
from identity.authority import IssuedCertificate
from identity.errors import IdentityError
from identity.fingerprint import Fingerprint, spki_fingerprint
from identity.listener import ListenerCertificate, make_listener
from identity.publickey import parse_request, spki_der
from ledger.chain import Entry
from stockade.pairing_code import SECRET_BYTES, SERVER_NAME, PairingCode
from stockade.v1 import device_pb2, device_pb2_grpc
from stockade.words import words

_log = structlog.get_logger("stockade.pairing")

MAX_MESSAGE = 64 * 1024
_OPTIONS = [
    ("grpc.max_receive_message_length", MAX_MESSAGE),
    ("grpc.max_metadata_size", 4 * 1024),
    ("grpc.max_concurrent_streams", 2),
    # Who comes and says nothing does not keep a place.
    ("grpc.server_handshake_timeout_ms", 10_000),
    ("grpc.max_connection_idle_ms", 20_000),
]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A device that proved the code and waits for a person."""

    csr_pem: bytes = field(repr=False)
    fingerprint: Fingerprint
    source: str

    @property
    def words(self) -> str:
        """What both ends show."""
        return words(self.fingerprint)


@dataclass(slots=True)
class Invitation:
    """One open invitation."""

    code: PairingCode = field(repr=False)
    name: str
    groups: Sequence[str]
    invited_by: str
    # Raises `Refused` once the inviter may invite no more.
    may_invite: Callable[[], None] = field(repr=False)
    expires_ms: int
    candidate: Candidate | None = None
    accepted: bool = False
    # Set once: the reason it is over.
    over: str = ""
    device: Known | None = None
    entry: Entry | None = None
    waiting: anyio.Event = field(default_factory=anyio.Event, repr=False)
    decided: anyio.Event = field(default_factory=anyio.Event, repr=False)
    closed: anyio.Event = field(default_factory=anyio.Event, repr=False)

    def close(self, reason: str) -> None:
        """Ends it; the first reason stays."""
        if not self.over:
            self.over = reason
            self.waiting.set()
            self.decided.set()
            self.closed.set()


class Pairing(device_pb2_grpc.PairingServiceServicer):
    """All open invitations of this daemon."""

    def __init__(
        self,
        *,
        registrar: Registrar,
        errands: Errands,
        authorities: Authorities,
        clock: Clock,
        rates: Rates,
        group: TaskGroup,
        doorway: Doorway,
        data: Path,
        host: str,
        public_host: str,
        address: str,
    ) -> None:
        self._registrar = registrar
        self._errands = errands
        self._authorities = authorities
        self._clock = clock
        self._rates = rates
        self._group = group
        self._doorway = doorway
        self._data = data
        self._host = host
        self._public_host = public_host
        # Where paired devices connect.
        self._address = address
        self._open: dict[str, Invitation] = {}

    @asynccontextmanager
    async def invite(
        self,
        name: str,
        groups: Sequence[str],
        lifetime: timedelta,
        invited_by: str,
        may_invite: Callable[[], None],
    ) -> AsyncIterator[Invitation]:
        """Opens an invitation and its listener for as long as the context lasts."""
        certificate = make_listener(SERVER_NAME, self._clock.now(), lifetime + timedelta(hours=1))
        expires = self._clock.now_ms() + int(lifetime.total_seconds() * 1000)
        async with self._listening(certificate) as port:
            code = PairingCode(
                f"{self._public_host}:{port}",
                certificate.fingerprint,
                secrets.token_bytes(SECRET_BYTES),
            )
            invitation = Invitation(code, name, groups, invited_by, may_invite, expires)
            self._open[code.invitation_id] = invitation
            # In the daemon's group: one of this context would make of a refused inviter's end an
            # error of its own, which no client is told.
            lasts = anyio.CancelScope()
            self._group.start_soon(self._expire, invitation, lasts)
            try:
                yield invitation
            finally:
                lasts.cancel()
                invitation.close("REFUSED")
                del self._open[code.invitation_id]

    def decide(self, invitation_id: str, accept: bool, said: str) -> None:
        """A person's word on the device that waits."""
        invitation = self._open.get(invitation_id)
        # Somebody's word is final: a yes that comes after a no lets nobody in.
        if (
            invitation is None
            or invitation.candidate is None
            or invitation.over
            or invitation.decided.is_set()
        ):
            raise NotFound(
                "no device waits for this",
                code="UNKNOWN_INVITATION",
                fix="invite the device again: `stockade devices invite`",
            )
        if accept and not hmac.compare_digest(said.encode(), invitation.candidate.words.encode()):
            raise BadRequest(
                "these are not the words of the device that waits",
                code="WORDS_DIFFER",
                fix="compare with the device's own screen; if they differ, refuse",
            )
        invitation.accepted = accept
        invitation.decided.set()

    async def Pair(
        self, request: device_pb2.PairRequest, context: Context
    ) -> AsyncIterator[device_pb2.PairEvent]:
        """The device's RPC; see proto/stockade/v1/device.proto."""
        try:
            visitor = self._doorway.visitor(context.peer())
            if visitor is None:  # none of ours: the door knows who comes by it
                raise _refused()
            self._rates.take(visitor.source, Kind.PAIRING)
            async for event in self._pair(request, visitor.address):
                yield event
        except Fault as fault:
            await abort(context, fault)

    async def _pair(
        self, request: device_pb2.PairRequest, source: str
    ) -> AsyncIterator[device_pb2.PairEvent]:
        invitation, candidate = self._prove(request, source)
        admitting = False
        try:
            yield device_pb2.PairEvent(waiting=device_pb2.PairEvent.Waiting(words=candidate.words))
            await invitation.decided.wait()
            if invitation.over or not invitation.accepted:
                invitation.close("REFUSED")
                raise _refused()
            admitting = True
            known, issued = await self._errands.run(lambda: self._admit(invitation, candidate))
            yield device_pb2.PairEvent(
                paired=device_pb2.PairEvent.Paired(
                    device_id=known.row.device_id,
                    name=known.row.name,
                    certificate=issued.pem,
                    authority=self._authorities.bundle,
                    address=self._address,
                )
            )
        finally:
            # A device that goes away while it waits is not waited for; one that is being admitted,
            # or has got its certificate and gone, is paired all the same.
            if not admitting:
                invitation.close("REFUSED")

    async def _admit(
        self, invitation: Invitation, candidate: Candidate
    ) -> tuple[Known, IssuedCertificate]:
        """Makes the device, and tells its inviter."""
        try:
            known, issued, entry = await self._registrar.pair(
                candidate.csr_pem,
                invitation.name,
                invitation.groups,
                invitation.invited_by,
                invitation.may_invite,
            )
            invitation.device, invitation.entry = known, entry
            invitation.close("PAIRED")
        except Refused:
            raise _refused() from None  # why is not for who is not paired
        finally:
            invitation.close("REFUSED")
        return known, issued

    def _prove(self, request: device_pb2.PairRequest, source: str) -> tuple[Invitation, Candidate]:
        invitation = self._open.get(request.invitation_id)
        if invitation is None or invitation.over or invitation.candidate is not None:
            raise _refused()
        try:
            fingerprint = spki_fingerprint(spki_der(parse_request(request.certificate_request)))
        except IdentityError as error:
            invitation.close("BAD_PROOF")
            raise BadRequest(error.message, code=str(error.code), fix=error.fix) from None
        expected = invitation.code.proof(bytes.fromhex(fingerprint))
        if not hmac.compare_digest(expected, request.proof):
            invitation.close("BAD_PROOF")
            _log.warning("pairing.bad_proof", source=source)
            raise _refused()
        candidate = Candidate(request.certificate_request, fingerprint, source)
        invitation.candidate = candidate
        invitation.waiting.set()
        return invitation, candidate

    async def _expire(self, invitation: Invitation, lasts: anyio.CancelScope) -> None:
        with lasts:
            # In steps, because the clock may be set forward meanwhile.
            while (left := invitation.expires_ms - self._clock.now_ms()) > 0:  # noqa: ASYNC110
                await anyio.sleep(min(left / 1000, 1))
            invitation.close("EXPIRED")

    @asynccontextmanager
    async def _listening(self, certificate: ListenerCertificate) -> AsyncIterator[int]:
        """GRPC behind its door; gives the door's port."""
        server = grpc.aio.server(options=_OPTIONS)
        device_pb2_grpc.add_PairingServiceServicer_to_server(self, server)
        credentials = grpc.ssl_server_credentials([(certificate.key_pem, certificate.pem)])
        with inner_place(self._data, "pairing") as inner:
            async with self._doorway.open(self._host, inner) as port:
                server.add_secure_port(f"unix:{inner}", credentials)
                await server.start()
                try:
                    yield port
                finally:
                    with anyio.CancelScope(shield=True):
                        await server.stop(grace=1)


def _refused() -> Refused:
    return Refused(
        "pairing was refused",
        code="PAIRING_REFUSED",
        fix="ask for a new invitation: `stockade devices invite`",
    )

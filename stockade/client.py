"""The client: one method per RPC, the daemon's own messages as answers.

Who is asking is the certificate of this device and nothing that is sent. A call that policy denies,
a human rejects or a limit ends is no error: its stream ends with a `finished` event that says so.
Raises `StockadeError` and nothing else. Thread-safe, as gRPC channels are.
"""

import logging
import threading
from collections.abc import Sequence
from datetime import datetime
from types import TracebackType
from typing import Self

from stockade.approval_requests import ApprovalRequests
from stockade.connection import Connection, Stream
from stockade.credentials import (
    Credentials,
    certificate_request,
    load_credentials,
    now,
    save_certificate,
)
from stockade.device_requests import DeviceRequests
from stockade.endpoint import load_endpoint, own_socket, read_endpoint
from stockade.errors import CredentialsError, DaemonUnreachable, StockadeError
from stockade.home import Home
from stockade.ledger_requests import LedgerRequests
from stockade.policy_requests import PolicyRequests
from stockade.renewal import keep_renewed
from stockade.secret_requests import SecretRequests
from stockade.tool_requests import ToolRequests, new_call_id
from stockade.v1 import daemon_pb2, daemon_pb2_grpc, device_pb2

__all__ = ["Client", "new_call_id"]

RENEW_SECONDS = 10.0

_log = logging.getLogger("stockade")


class Client(
    ToolRequests,
    ApprovalRequests,
    PolicyRequests,
    SecretRequests,
    DeviceRequests,
    LedgerRequests,
):
    """A connection to one daemon as this device: what may be asked of it is in the bases."""

    def __init__(self, connection: Connection, credentials: Credentials) -> None:
        for part in (ToolRequests, PolicyRequests, SecretRequests, DeviceRequests, LedgerRequests):
            part.__init__(self, connection)
        ApprovalRequests.__init__(self, connection, credentials)
        self._closed = threading.Event()
        self._daemon = daemon_pb2_grpc.DaemonServiceStub(connection.channel)

    @classmethod
    def open(cls, home: Home | None = None, *, by_socket: bool = True) -> Self:
        """Connects as the device of `home`.

        The device of the daemon's machine does so by the daemon's own socket, which no other
        client can keep busy; without `by_socket` it comes by the port as others do. The certificate
        is renewed when half its life is over: now, or while the client is open.
        """
        home = home or Home.locate()
        credentials = load_credentials(home.client)
        moment = now()
        if credentials.expired(moment):
            raise _expired(credentials)
        address = _address(home, credentials)
        socket = own_socket(home, credentials) if by_socket else None
        client = cls(Connection(address, credentials, socket), credentials)
        if credentials.renewal_due(moment):
            client._renew_quietly(home, moment)
        keep_renewed(client, home, client._closed)
        return client

    @property
    def address(self) -> str:
        """Where the daemon listens, "host:port"."""
        return self._connection.target

    def close(self) -> None:
        """Ends the connection; a call under way that is not detached is cancelled."""
        self._closed.set()
        self._connection.close()

    def use(self, credentials: Credentials) -> None:
        """Other credentials of this device, for requests from now on. Streams go on."""
        self._connection.use(credentials)
        self.credentials = credentials

    def tidy(self) -> None:
        """Closes connections that were left behind by renewals and have no more streams."""
        self._connection.tidy()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def renew_certificate(self, home: Home) -> Credentials:
        """A new certificate for this device's key, stored in `home` and used from now on."""
        request = device_pb2.RenewCertificateRequest(
            certificate_request=certificate_request(self.credentials.key)
        )
        answer = self._connection.ask(
            self._devices.RenewCertificate, request, seconds=RENEW_SECONDS
        )
        renewed = self.credentials.renewed(answer.certificate, answer.authority)
        save_certificate(home.client, renewed)
        self.use(renewed)
        return renewed

    def status(self) -> daemon_pb2.GetStatusResponse:
        """What runs, what works, what does not and how to mend it."""
        return self._connection.ask(self._daemon.GetStatus, daemon_pb2.GetStatusRequest())

    def run_attacks(
        self, tiers: Sequence[str] = (), names: Sequence[str] = ()
    ) -> Stream[daemon_pb2.RunAttacksResponse]:
        """Attacks the daemon's sandboxes; each row says what one attack came to in one tier."""
        request = daemon_pb2.RunAttacksRequest(tiers=tiers, names=names)
        return self._connection.follow(self._daemon.RunAttacks, request)

    def _renew_quietly(self, home: Home, moment: datetime) -> None:
        """The old certificate is still good: that renewing failed must not stop what was asked."""
        try:
            self.renew_certificate(home)
        except StockadeError as error:
            end = self.credentials.lifetime()[1]
            days = (end - moment).days
            _log.warning("the certificate was not renewed (%s); %d days left", error.reason, days)


def _address(home: Home, credentials: Credentials) -> str:
    if credentials.endpoint is not None:
        # A daemon of this machine may listen elsewhere since; what it wrote down is newer.
        found = read_endpoint(credentials.endpoint)
        if found is not None:
            return found.address
    if credentials.address is not None:
        return credentials.address
    endpoint = load_endpoint(home)
    if endpoint is None:
        raise DaemonUnreachable(
            f"no daemon serves {home.data}", fix="start it with `stockade up --detach`"
        )
    return endpoint.address


def _expired(credentials: Credentials) -> CredentialsError:
    if credentials.agent_id is not None:
        return CredentialsError(
            "this agent's certificate has run out",
            reason="CERTIFICATE_EXPIRED",
            fix="enroll it again from its device: `stockade agents enroll`",
        )
    here = credentials.address is None
    return CredentialsError(
        "this device's certificate has run out",
        reason="CERTIFICATE_EXPIRED",
        fix="`stockade up` issues it again; if the daemon runs, `stockade down` first"
        if here
        else "ask for a new invitation and run `stockade pair CODE`",
    )

"""The daemon's own certificate, renewed while it serves.

gRPC asks for it before every handshake, from threads of its own, and keeps what it has if the
answer is None or an exception (seen with grpcio 1.85). The key is made for this certificate and
lives in memory: there is no server key to steal from disk. Connections that exist are not touched.
"""

import threading
from datetime import datetime, timedelta
from typing import Final

import grpc
import structlog

from daemon.clock import Clock
from daemon.identity.authorities import Authorities, InForce
from identity.errors import IdentityError
from identity.listener import new_server_key

_log = structlog.get_logger("stockade.identity")

SERVER_NAME: Final = "daemon.stockade"
RETRY: Final = timedelta(seconds=10)


class ServerCertificate:
    """See the module."""

    def __init__(self, authorities: Authorities, clock: Clock, lifetime: timedelta) -> None:
        self._authorities = authorities
        self._clock = clock
        self._lifetime = lifetime
        self._lock = threading.Lock()
        self._made_for: InForce | None = None
        self._renew_at: datetime | None = None
        self._try_at: datetime | None = None

    def credentials(self) -> grpc.ServerCredentials:
        """For the port; raises `IdentityError` when no certificate can be made at all."""
        return grpc.dynamic_ssl_server_credentials(
            self._make(self._authorities.state),
            self._fetch,  # type: ignore[arg-type]  # None is "no change", by its documentation
            require_client_authentication=True,
        )

    def _fetch(self) -> grpc.ServerCertificateConfiguration | None:
        """Another certificate, if this one is past its half or the authorities have changed."""
        with self._lock:
            state = self._authorities.state
            if state is self._made_for and not self._due():
                return None
            if self._try_at is not None and self._clock.now() < self._try_at:
                return None
            try:
                return self._make(state)
            except IdentityError as error:
                # Not at every handshake: a token that is out of reach may take long to say so.
                self._try_at = self._clock.now() + RETRY
                _log.error("server_certificate.not_renewed", reason=error.code, fix=error.fix)
                return None

    def _due(self) -> bool:
        return self._renew_at is None or self._clock.now() >= self._renew_at

    def _make(self, state: InForce) -> grpc.ServerCertificateConfiguration:
        private, public = new_server_key()
        now = self._clock.now()
        # By the authority that every device knows: its successor is news to those not yet renewed.
        issued = state.current.issue_server(
            public, [SERVER_NAME, "localhost"], ["127.0.0.1", "::1"], now, self._lifetime
        )
        self._made_for, self._renew_at = state, now + (issued.not_after - now) / 2
        _log.info("server_certificate.made", serial=issued.serial, until=str(issued.not_after))
        return grpc.ssl_server_certificate_configuration(
            [(private, issued.pem)], root_certificates=state.bundle
        )

"""Who is calling: the handshake, and the step from a certificate to a principal."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from bench.plan import Bench, Measure
from bench.result import Result, timing
from bench.sampling import sample
from identity.authority import Authority
from identity.names import DeviceId, TrustDomain
from identity.peer import parse_peer
from stockade.credentials import certificate_request, make_key


def handshake(bench: Bench) -> Iterator[Result]:
    """A new connection, mutual TLS 1.3, and its first answer; from stored credentials on."""
    daemon = bench.daemon

    def connect() -> None:
        with daemon.client() as client:
            client.who_am_i()

    yield timing("identity.handshake", "ms", sample(bench.times(300), 5, connect))


def principal(bench: Bench) -> Iterator[Result]:
    """What the first RPC of a certificate costs; later ones find it by its bytes."""
    domain, now = TrustDomain("bench.stockade"), datetime.now(UTC)
    authority = Authority.create(domain, now)
    request = certificate_request(make_key())
    issued = authority.issue_device(request, DeviceId.generate(), now, timedelta(hours=1))
    samples = sample(bench.times(3000), 20, lambda: parse_peer(issued.pem, domain, now))
    yield timing("identity.principal", "us", samples)


MEASURES = (
    Measure(("identity.handshake",), handshake),
    Measure(("identity.principal",), principal),
)

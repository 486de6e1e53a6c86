"""Who is calling: the handshake, and the step from a certificate to a principal."""

import time
from collections.abc import Callable, Iterator

import anyio

from bench.connection import inside
from bench.plan import Bench, Measure
from bench.result import Result, timing
from bench.sampling import Samples, sample
from daemon.identity.devices import Devices
from daemon.rpc.faults import Context
from daemon.rpc.gate import authenticate


def handshake(bench: Bench) -> Iterator[Result]:
    """A new connection, mutual TLS 1.3, and its first answer; from stored credentials on."""
    daemon = bench.daemon

    def connect() -> None:
        with daemon.client() as client:
            client.who_am_i()

    yield timing("identity.handshake", "ms", sample(bench.times(300), 5, connect))


def principal(bench: Bench) -> Iterator[Result]:
    """What every RPC pays to know its principal: as the gate does it, on a real connection.

    An RPC finds its connection remembered; the first one of a connection parses the certificate.
    """
    times = bench.times(3000)
    remembered, first = Samples(), Samples()

    def measure(fresh: Callable[[], Devices], context: Context) -> None:
        asked, origin = fresh(), context.peer()
        authenticate(context, origin, asked.principal)
        for _ in range(times):
            for known, samples in ((asked, remembered), (fresh(), first)):
                began = time.perf_counter()
                authenticate(context, origin, known.principal)
                samples.seconds.append(time.perf_counter() - began)

    anyio.run(inside, measure)
    yield timing("identity.principal", "us", remembered, beside="identity.principal.first")
    yield timing("identity.principal.first", "us", first, beside="identity.principal")


MEASURES = (
    Measure(("identity.handshake",), handshake),
    Measure(("identity.principal", "identity.principal.first"), principal),
)

"""The gate, where what happens at the very moment of an RPC's being let in decides."""

from types import SimpleNamespace
from typing import Any

import anyio
import grpc
import pytest

from daemon.errands import Errands
from daemon.errors import Fault, Unauthenticated
from daemon.identity.devices import device_revoked
from daemon.principal import Principal
from daemon.rates import Kind, Rate, Rates
from daemon.rpc.gate import Gate, authenticate
from daemon.rpc.live_rpcs import LiveRpcs
from daemon.rpc.port import Port
from tests.daemon.judging import device

WHO_AM_I = "/stockade.v1.DeviceService/WhoAmI"


class Doorkeeper:
    """Knows one device, which may all; notes what was refused."""

    def __init__(self) -> None:
        self.refused: list[str] = []

    def principal(self, _certificate: bytes, _origin: str) -> Principal:
        return device("a")

    def require(self, _principal: Principal, _action: str) -> None:
        pass

    async def record_refusal(self, _subject: str, _origin: str, _rpc: str, fault: Fault) -> None:
        self.refused.append(fault.code)


class SlowPort(Port):
    """One whose look at the kernel takes as long as the test wants."""

    def __init__(self) -> None:
        super().__init__(64, 1, "dev-local", lambda *_: None, frozenset)
        self.looks, self.goes_on = anyio.Event(), anyio.Event()

    async def _look(self) -> None:
        self.looks.set()
        await self.goes_on.wait()
        self._held.found({}, 1e9, 1e9)  # the connection that was in the way has gone


class Context:
    """Of a connection of the device's."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def read(self) -> int:
        return self._port

    def peer(self) -> str:
        return f"ipv4:192.0.2.1:{self._port}"

    def auth_context(self) -> dict[str, list[bytes]]:
        return {"x509_pem_cert": [b"certificate"], "ssl_tls_version": [b"TLSv1.3"]}

    async def abort(self, code: grpc.StatusCode, details: str, _metadata: object) -> None:
        raise grpc.aio.AbortError(code, details)


@pytest.mark.parametrize(
    ("facts", "code"),
    [
        ({"ssl_tls_version": [b"TLSv1.3"]}, "UNAUTHENTICATED"),
        ({"x509_pem_cert": [], "ssl_tls_version": [b"TLSv1.3"]}, "UNAUTHENTICATED"),
        ({"x509_pem_cert": [b"certificate"], "ssl_tls_version": [b"TLSv1.2"]}, "TLS_TOO_OLD"),
        ({"x509_pem_cert": [b"certificate"], "ssl_tls_version": []}, "TLS_TOO_OLD"),
        ({"x509_pem_cert": [b"certificate"]}, "TLS_TOO_OLD"),
    ],
)
def test_what_a_connection_says_of_itself_is_looked_at_again(
    facts: dict[str, list[bytes]], code: str
) -> None:
    """The handshake lets in TLS 1.3 with a certificate; were it to let in more, this would not."""
    context: Any = SimpleNamespace(auth_context=lambda: facts)
    with pytest.raises(Unauthenticated) as caught:
        authenticate(context, "ipv4:192.0.2.1:1", lambda *_: device("a"))
    assert caught.value.code == code
    assert caught.value.fix


@pytest.mark.parametrize("revoked", [True, False])
def test_a_certificate_revoked_while_its_connection_is_let_in_does_nothing(revoked: bool) -> None:
    """Its first request waits for a look at the port: nobody has heard of it, and it is cut."""

    async def main() -> None:
        keeper, live, port = Doorkeeper(), LiveRpcs(8), SlowPort()
        served: list[int] = []

        async def serve(request: int, _context: Any) -> None:
            served.append(request)

        async def handler(_details: object) -> Any:
            return grpc.unary_unary_rpc_method_handler(serve)

        async with anyio.create_task_group() as group:
            rates = Rates(dict.fromkeys(Kind, Rate(100, 100)), anyio.current_time)
            gate = Gate(keeper, live, Errands(group), rates, port)
            details: Any = SimpleNamespace(method=WHO_AM_I)
            found: Any = await gate.intercept_service(handler, details)

            async def ask(number: int) -> None:
                try:
                    await found.stream_unary(None, Context(number))
                except grpc.aio.AbortError:
                    refused.append(number)

            refused: list[int] = []
            await ask(1)  # the only connection that it may have
            group.start_soon(ask, 2)
            await port.looks.wait()
            if revoked:
                assert live.cut(lambda _: True, device_revoked()) == 1
            port.goes_on.set()
            await anyio.wait_all_tasks_blocked()
        assert (served, refused) == (([1], [2]) if revoked else ([1, 2], []))
        assert keeper.refused == (["DEVICE_REVOKED"] if revoked else [])

    anyio.run(main)

"""A gRPC server in this process, and one RPC on a real mTLS connection to look at from inside.

For what is too short to be seen from a client: a step of the gate, on the context that gRPC gives.
The registry knows one device, the caller.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import grpc
from cryptography.hazmat.primitives import serialization

from daemon.clock import Clock
from daemon.identity.devices import Devices, Known, certificate_row
from daemon.rpc.faults import Context
from daemon.store.devices import DeviceRow, DeviceStatus
from daemon.store.ids import DeviceId
from identity.authority import Authority
from identity.listener import new_server_key
from identity.names import DeviceId as NewDeviceId
from identity.names import TrustDomain
from stockade.connection import SERVER_NAME
from stockade.credentials import certificate_request, make_key

METHOD = "/bench/Inside"
DAY = timedelta(days=1)

Work = Callable[[Callable[[], Devices], Context], None]


async def inside(work: Work) -> None:
    """Runs `work` within one RPC; it gets a maker of registries that remember nothing yet."""
    now, own = datetime.now(UTC), NewDeviceId.generate()
    authority, key = Authority.create(TrustDomain("bench.stockade"), now), make_key()
    issued = authority.issue_device(certificate_request(key), own, now, DAY)
    device_id = DeviceId(str(own))
    row = DeviceRow(device_id, "bench", "device", DeviceStatus.ACTIVE, 0)
    known = Known(row, ("owners",), (certificate_row(device_id, issued),))

    def registry() -> Devices:
        devices = Devices(authority.trust_domain, Clock(), lambda issuer: issuer == authority.name)
        devices.replace((known,))
        return devices

    async def serve(_request: bytes, context: Context) -> bytes:
        work(registry, context)
        return b""

    private, public = new_server_key()
    certificate = authority.issue_server(public, [SERVER_NAME], [], now, DAY).pem
    server = grpc.aio.server()
    handlers: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {}
    handlers[METHOD.rpartition("/")[2]] = grpc.unary_unary_rpc_method_handler(serve)
    service = METHOD.split("/")[1]
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
    port = server.add_secure_port(
        "127.0.0.1:0",
        grpc.ssl_server_credentials(
            [(private, certificate)], authority.cert_pem, require_client_auth=True
        ),
    )
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    credentials = grpc.ssl_channel_credentials(authority.cert_pem, pem, issued.pem)
    options = [("grpc.ssl_target_name_override", SERVER_NAME)]
    await server.start()
    try:
        async with grpc.aio.secure_channel(f"127.0.0.1:{port}", credentials, options) as channel:
            await channel.unary_unary(METHOD, bytes, bytes)(b"")
    finally:
        await server.stop(grace=None)

"""Attacks below the RPCs: old TLS, garbage, methods and messages that do not exist."""

import os
import shutil
import socket
import ssl
import subprocess
from pathlib import Path

import grpc
import pytest

from stockade.client import Client
from stockade.connection import SERVER_NAME
from tests.attacks import certificates
from tests.attacks.certificates import Presented
from tests.attacks.probing import raw_error, send, sequence
from tests.running import RunningDaemon

SECONDS = 120


def dial(daemon: RunningDaemon, folder: Path, context: ssl.SSLContext) -> str | None:
    """A handshake as the owner's device; the version it came to."""
    shown = Presented.of(daemon.home)
    bundle = folder / "device.pem"
    bundle.write_bytes(shown.key + shown.certificate)
    context.load_verify_locations(daemon.home.data / "authority.pem")
    context.load_cert_chain(bundle)
    host, _, port = daemon.address.rpartition(":")
    # Wrapped before it is connected: `ssl` does not close what is reset in between.
    with context.wrap_socket(socket.socket(), server_hostname=SERVER_NAME) as tls:
        tls.settimeout(SECONDS)
        tls.connect((host, int(port)))
        return tls.version()


def test_tls_1_3_is_what_is_spoken(shared_daemon: RunningDaemon, tmp_path: Path) -> None:
    """The right certificate with TLS 1.3 gets through: the refusals below mean something."""
    assert dial(shared_daemon, tmp_path, ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)) == "TLSv1.3"


def test_tls_1_2_is_refused(shared_daemon: RunningDaemon, tmp_path: Path) -> None:
    """The right certificate does not help a client that will not speak TLS 1.3."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises((ssl.SSLError, ConnectionError)):
        dial(shared_daemon, tmp_path, context)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl(1) is not installed")
@pytest.mark.parametrize("version", ["tls1", "tls1_1", "tls1_2", "tls1_3"])
def test_openssl_agrees(shared_daemon: RunningDaemon, tmp_path: Path, version: str) -> None:
    """`openssl s_client`, with every cipher it has, comes through with TLS 1.3 alone."""
    shown = Presented.of(shared_daemon.home)
    (tmp_path / "key.pem").write_bytes(shown.key)
    (tmp_path / "certificate.pem").write_bytes(shown.certificate)
    authority = shared_daemon.home.data / "authority.pem"
    command = ["openssl", "s_client", "-connect", shared_daemon.address, f"-{version}"]
    command += ["-cert", str(tmp_path / "certificate.pem"), "-key", str(tmp_path / "key.pem")]
    command += ["-CAfile", str(authority), "-verify_return_error", "-alpn", "h2"]
    if version != "tls1_3":
        command += ["-cipher", "ALL:@SECLEVEL=0"]
    done = subprocess.run(command, input=b"", capture_output=True, timeout=SECONDS, check=False)
    if version == "tls1_3":
        assert done.returncode == 0, done.stderr
        assert b"New, TLSv1.3" in done.stdout
    else:
        assert done.returncode != 0
        assert b"Cipher is (NONE)" in done.stdout


GARBAGE = {
    "nothing": b"",
    "noise": os.urandom(65536),
    "HTTP/1.1": b"GET / HTTP/1.1\r\nHost: daemon.stockade\r\n\r\n",
    "HTTP/2 in the clear": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(64),
    "half a ClientHello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(40),
    "a record of the largest size": b"\x16\x03\x03\xff\xff" + bytes(65535),
}


@pytest.mark.parametrize("which", GARBAGE)
def test_garbage_on_the_port_disturbs_nobody(
    shared_daemon: RunningDaemon, owner: Client, which: str
) -> None:
    """Connections that send garbage, or hang half-way, leave everyone else served."""
    before, (host, _, port) = sequence(owner), shared_daemon.address.rpartition(":")
    sockets = [socket.create_connection((host, int(port)), SECONDS) for _ in range(20)]
    try:
        for one in sockets:
            one.sendall(GARBAGE[which])
        with shared_daemon.client() as newcomer:  # while they are all still open
            assert newcomer.who_am_i().principal == owner.who_am_i().principal
    finally:
        for one in sockets:
            one.close()
    assert sequence(owner) == before
    assert shared_daemon.process is not None
    assert shared_daemon.process.poll() is None


def test_an_rpc_that_nobody_listed_is_refused(shared_daemon: RunningDaemon) -> None:
    """A method that this daemon does not serve is an error with a reason, also for the owner."""
    with certificates.channel(shared_daemon, Presented.of(shared_daemon.home)) as channel:
        for method in ("/stockade.v1.ToolService/Backdoor", "/Nothing/Here", "/"):
            with pytest.raises(grpc.RpcError) as caught:
                send(channel, method)
            error = raw_error(caught.value)
            assert error.code is grpc.StatusCode.UNIMPLEMENTED
            assert (error.domain, error.reason) == ("stockade", "UNIMPLEMENTED")
            assert error.fix


@pytest.mark.parametrize(
    "method",
    [
        "/stockade.v1.ToolService/Call",
        "/stockade.v1.DeviceService/WhoAmI",
        "/stockade.v1.LedgerService/FollowLedger",
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    ],
)
def test_bytes_that_are_no_request_are_refused(shared_daemon: RunningDaemon, method: str) -> None:
    """A message that is not the RPC's own reaches no service, and the connection lives on."""
    log = len(shared_daemon.log)
    with certificates.channel(shared_daemon, Presented.of(shared_daemon.home)) as channel:
        with pytest.raises(grpc.RpcError) as caught:
            send(channel, method, b"\xff\xff\xff\xff")
        error = raw_error(caught.value)
        assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "REQUEST_MISSING")
        assert send(channel, "/stockade.v1.DeviceService/WhoAmI")
    assert "rpc.defect" not in shared_daemon.log[log:]

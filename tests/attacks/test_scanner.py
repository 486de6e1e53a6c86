"""What scanners say of the port: testssl.sh (Debian's), openssl(1), and ClientHellos made by hand.

sslyze is not used: its newest release (6.3) needs cryptography < 47, and ML-DSA-65 needs 50.
"""

import json
import re
import shutil
import socket
import struct
import subprocess
from pathlib import Path

import pytest

from stockade.connection import SERVER_NAME
from tests.attacks.certificates import Presented
from tests.running import RunningDaemon

SECONDS = 120

# Finding by finding, what testssl.sh has to say, in its own words.
FINDINGS = {
    "SSLv2": "not offered",
    "SSLv3": "not offered",
    "TLS1": "not offered",
    "TLS1_1": "not offered",
    "TLS1_2": "not offered",
    "TLS1_3": "offered with final",
    "ALPN_HTTP2": "h2",
    "cipherlist_NULL": "not offered",
    "cipherlist_aNULL": "not offered",
    "cipherlist_EXPORT": "not offered",
    "cipherlist_LOW": "not offered",
    "cipherlist_3DES_IDEA": "not offered",
    "sessionresumption_ticket": "not supported",
    "sessionresumption_ID": "No Session ID, no resumption",
    "TLS_timestamp": "random",
    "cert_numbers": "1",
    "cert_signatureAlgorithm": "ECDSA with SHA256",
    "cert_keyUsage": "Digital Signature",
    "cert_extKeyUsage": "TLS Web Server Authentication",
    "secure_renego": "TLS 1.3 only server",
    "secure_client_renego": "not vulnerable, TLS 1.3 only",
    "CRIME_TLS": "TLS 1.3 only server",
}
# Those of Debian 12 and of Debian 13, and what each calls the ciphers with forward secrecy.
BY_VERSION = {
    "PFS_ciphers": {
        "cipherlist_AVERAGE": "not offered",
        "cipherlist_STRONG": "offered",
        "cert_keySize": "EC 256 bits",
    },
    "FS_ciphers": {
        "cipherlist_OBSOLETED": "not offered",
        "cipherlist_STRONG_NOFS": "not offered",
        "cipherlist_STRONG_FS": "offered",
        "cert_keySize": "EC 256 bits (curve P-256)",
    },
}
CIPHERS = {"TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_128_GCM_SHA256"}


@pytest.mark.skipif(shutil.which("testssl") is None, reason="testssl.sh is not installed")
def test_testssl_finds_nothing(shared_daemon: RunningDaemon, tmp_path: Path) -> None:
    """TLS 1.3 alone: no older version, weak cipher, renegotiation, compression.

    It has no client certificate, so a session to resume is one thing it does not get.
    """
    report = tmp_path / "report.json"
    command = ["testssl", "--quiet", "--color", "0", "--warnings", "off", "--nodns", "none"]
    command += ["--protocols", "--std", "--server-defaults", "-f", "--renegotiation", "--crime"]
    command += ["--jsonfile", str(report), shared_daemon.address]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS, check=False
    )
    assert report.exists(), done.stdout
    found = {entry["id"]: entry["finding"] for entry in json.loads(report.read_text())}
    (ciphers,) = found.keys() & BY_VERSION.keys()
    wanted = FINDINGS | BY_VERSION[ciphers]
    assert {name: found.get(name) for name in wanted} == wanted
    assert set(found[ciphers].split()) <= CIPHERS
    names = found["cert_subjectAltName"].split()
    assert SERVER_NAME in names
    assert [name for name in names if name.startswith("spiffe://")] == [
        name for name in names if name.endswith(".stockade/daemon")
    ]


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl(1) is not installed")
def test_openssl_is_offered_no_early_data(shared_daemon: RunningDaemon, tmp_path: Path) -> None:
    """The tickets a paired client gets allow no early data, so nothing of it can be replayed."""
    shown = Presented.of(shared_daemon.home)
    (tmp_path / "device.pem").write_bytes(shown.key + shown.certificate)
    command = ["openssl", "s_client", "-connect", shared_daemon.address, "-tls1_3", "-alpn", "h2"]
    command += ["-cert", str(tmp_path / "device.pem"), "-key", str(tmp_path / "device.pem")]
    command += ["-CAfile", str(shared_daemon.home.data / "authority.pem"), "-verify_return_error"]
    command += ["-ign_eof"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as scanner:
        assert scanner.stdin is not None
        assert scanner.stdout is not None
        scanner.stdin.write(PREFACE)
        scanner.stdin.flush()
        said = b""
        for line in scanner.stdout:  # the daemon holds the line
            said += line
            if b"Max Early Data" in line:
                break
        scanner.terminate()
        said += scanner.communicate(timeout=SECONDS)[0]
    assert b"Verify return code: 0 (ok)" in said
    assert b"ALPN protocol: h2" in said
    assert b"Compression: NONE" in said
    assert set(re.findall(rb"Max Early Data: (\d+)", said)) == {b"0"}


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes.fromhex("000000040000000000")


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl(1) is not installed")
def test_renegotiation_ends_the_connection(shared_daemon: RunningDaemon, tmp_path: Path) -> None:
    """A client that asks to renegotiate (as every TLS before 1.3 could) gets nowhere."""
    shown = Presented.of(shared_daemon.home)
    (tmp_path / "device.pem").write_bytes(shown.key + shown.certificate)
    command = ["openssl", "s_client", "-connect", shared_daemon.address, "-alpn", "h2"]
    command += ["-cert", str(tmp_path / "device.pem"), "-key", str(tmp_path / "device.pem")]
    command += ["-CAfile", str(shared_daemon.home.data / "authority.pem"), "-verify_return_error"]
    done = subprocess.run(command, input=b"R\n", capture_output=True, timeout=SECONDS, check=False)
    assert b"New, TLSv1.3" in done.stdout
    assert b"RENEGOTIATING" in done.stderr
    assert b"wrong ssl version" in done.stderr
    with shared_daemon.client() as other:
        assert other.who_am_i().principal


GROUPS = {
    "X25519MLKEM768": (0x11EC, True),
    "X25519": (0x001D, True),
    "P-256": (0x0017, True),
    "P-224": (0x0015, False),
    "secp256k1": (0x0016, False),
    "P-192": (0x0013, False),
    "ffdhe2048": (0x0100, False),
}
# RFC 8446 4.1.3: the server's random that makes a ServerHello a HelloRetryRequest.
RETRY = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")


def extension(kind: int, body: bytes) -> bytes:
    return struct.pack(">HH", kind, len(body)) + body


def client_hello(group: int) -> bytes:
    """A TLS 1.3 ClientHello that can only do that key exchange, and brings no share for it."""
    extensions = (
        extension(43, b"\x02\x03\x04")  # supported_versions: 1.3
        + extension(10, struct.pack(">HH", 2, group))  # supported_groups
        + extension(13, struct.pack(">HH", 2, 0x0403))  # signature_algorithms: ECDSA P-256
        + extension(16, b"\x00\x03\x02h2")  # ALPN
        + extension(51, b"\x00\x00")  # key_share: none
    )
    body = b"\x03\x03" + bytes(range(32)) + b"\x00" + b"\x00\x02\x13\x01" + b"\x01\x00"
    body += struct.pack(">H", len(extensions)) + extensions
    message = b"\x01" + struct.pack(">I", len(body))[1:] + body
    return b"\x16\x03\x01" + struct.pack(">H", len(message)) + message


@pytest.mark.parametrize("name", GROUPS)
def test_key_exchange_is_by_these_groups_alone(shared_daemon: RunningDaemon, name: str) -> None:
    """Hybrid ML-KEM and the usual curves are taken; small curves and finite fields are not."""
    group, taken = GROUPS[name]
    host, _, port = shared_daemon.address.rpartition(":")
    with socket.create_connection((host, int(port)), 30) as plain:
        plain.sendall(client_hello(group))
        answer = b""
        while len(answer) < 5 or len(answer) < 5 + struct.unpack(">H", answer[3:5])[0]:
            more = plain.recv(4096)
            if not more:
                break
            answer += more
    if taken:
        assert answer[:1] == b"\x16"
        assert answer[11:43] == RETRY
        assert extension(51, struct.pack(">H", group)) in answer
    else:
        assert answer[:1] in (b"", b"\x15")  # hung up on, or an alert

"""The device's half of pairing, from a code to stored credentials. Protocol: docs/pairing.md.

Trusted to speak only to the listener whose certificate the code names, to make the key here and
never send it, and to store nothing unless the certificate that comes back is for that key. Raises
`PairingFailed`, and `DaemonUnreachable` while there is nobody to talk to.
"""

import hashlib
import socket
import ssl
from collections.abc import Callable
from pathlib import Path

import grpc
from cryptography.hazmat.primitives.asymmetric import ec

from stockade.connection import Stream, secure_channel
from stockade.credentials import (
    PROFILE,
    Credentials,
    certificate_request,
    checked,
    load_credentials,
    make_key,
    now,
    public_key_info,
    save_credentials,
)
from stockade.errors import CredentialsError, DaemonUnreachable, PairingFailed
from stockade.pairing_code import SERVER_NAME, PairingCode, PairingCodeError, parse_pairing_code
from stockade.v1 import device_pb2, device_pb2_grpc
from stockade.words import words

CONNECT_SECONDS = 10.0

_ASK_AGAIN = "ask for a new invitation (`stockade devices invite`) and use its code"


def pair(
    code_text: str, folder: Path, *, name: str = "", waiting: Callable[[str], None]
) -> Credentials:
    """Pairs this device and stores its credentials in `folder`.

    `waiting` is called with the words to compare, once the daemon waits for a person's yes; the
    call returns when that came. `name` is how this device calls itself, if not as it was invited.
    """
    if _occupied(folder):
        raise PairingFailed(
            f"{folder} already holds a paired device",
            reason="ALREADY_PAIRED",
            fix="set STOCKADE_HOME to another directory, or move this folder away",
        )
    try:
        code = parse_pairing_code(code_text)
    except PairingCodeError as error:
        raise PairingFailed(
            str(error), reason="PAIRING_CODE_INVALID", fix="copy the whole code, in one piece"
        ) from None
    key = make_key()
    paired = _ask(code, key, waiting)
    credentials = _accept(paired, key, name)
    save_credentials(folder, credentials)
    return credentials


def _occupied(folder: Path) -> bool:
    """A device is paired here. One whose certificate has ended can only pair again."""
    if not (folder / PROFILE).exists():
        return False
    try:
        found = load_credentials(folder)
    except CredentialsError:
        return True  # whatever it is, a person has to look at it
    return found.address is None or not found.expired(now())


def listener_certificate(code: PairingCode) -> bytes:
    """The one certificate to accept, in PEM; fetched from the listener, judged by the code."""
    host, _, port = code.address.rpartition(":")
    try:
        der = _shown(host.strip("[]"), int(port))
    except (OSError, ValueError, OverflowError):
        raise DaemonUnreachable(
            f"nobody waits for this device at {code.address}",
            reason="PAIRING_UNREACHABLE",
            fix=f"check the way to {code.address}; if the code is old, {_ASK_AGAIN}",
        ) from None
    # Fetched unverified: the fingerprint in the code, carried by a person, is the verification.
    if hashlib.sha256(der).digest() != code.certificate_fingerprint:
        raise PairingFailed(
            f"{code.address} is not the daemon this code was made by",
            reason="WRONG_LISTENER",
            fix=f"somebody may stand in between; {_ASK_AGAIN}",
        )
    return ssl.DER_cert_to_PEM_cert(der).encode()


def _shown(host: str, port: int) -> bytes:
    """The certificate that whoever listens there shows, in DER. Nothing of it is verified."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    fault: OSError = ConnectionError("the name has no address")
    for family, kind, protocol, _, address in socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM
    ):
        # Wrapped before it is connected: of one that is reset in between, `ssl` would leave the
        # descriptor to the garbage collector.
        with context.wrap_socket(socket.socket(family, kind, protocol)) as tls:
            tls.settimeout(CONNECT_SECONDS)
            try:
                tls.connect(address)
            except OSError as error:
                fault = error
            else:
                return tls.getpeercert(binary_form=True) or b""
    raise fault


def _ask(
    code: PairingCode, key: ec.EllipticCurvePrivateKey, waiting: Callable[[str], None]
) -> device_pb2.PairEvent.Paired:
    fingerprint = hashlib.sha256(public_key_info(key)).digest()
    request = device_pb2.PairRequest(
        invitation_id=code.invitation_id,
        certificate_request=certificate_request(key),
        proof=code.proof(fingerprint),
    )
    trusted = grpc.ssl_channel_credentials(root_certificates=listener_certificate(code))
    with secure_channel(code.address, trusted, SERVER_NAME) as channel:
        stub = device_pb2_grpc.PairingServiceStub(channel)
        for event in Stream(stub.Pair(request), code.address):
            if event.HasField("paired"):
                return event.paired
            if event.HasField("waiting"):
                waiting(_words(fingerprint, event.waiting.words))
    raise PairingFailed(
        "the invitation ended without a yes", reason="PAIRING_REFUSED", fix=_ASK_AGAIN
    )


def _words(fingerprint: bytes, said: str) -> str:
    """The words of our own key. What the daemon says they are is only compared."""
    own = words(fingerprint.hex())
    if said and said != own:
        raise PairingFailed(
            "the daemon shows the words of another key than this device's",
            reason="WORDS_DIFFER",
            fix=f"somebody may stand in between; {_ASK_AGAIN}",
        )
    return own


def _accept(
    paired: device_pb2.PairEvent.Paired, key: ec.EllipticCurvePrivateKey, name: str
) -> Credentials:
    try:
        return checked(
            Credentials(
                device_id=paired.device_id,
                name=name or paired.name,
                address=paired.address,
                key=key,
                certificate=paired.certificate,
                authority=paired.authority,
            )
        )
    except CredentialsError as error:
        raise PairingFailed(error.message, reason=error.reason, fix=_ASK_AGAIN) from None

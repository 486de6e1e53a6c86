"""Resumed TLS sessions: they prove no possession of the key anew, so they must carry no right."""

import ssl
from pathlib import Path

from stockade.credentials import load_credentials
from tests.attacks.certificates import Presented
from tests.attacks.probing import newest, sequence
from tests.attacks.test_http2 import EMPTY, OPENED, OPENING, dialled, push
from tests.running import RunningDaemon

ASKED = OPENING + OPENED + EMPTY


def test_a_resumed_session_of_a_revoked_device_is_refused(
    shared_daemon: RunningDaemon, tmp_path: Path
) -> None:
    """A session ticket from before the revocation opens no RPC after it."""
    home = shared_daemon.pair_device("resuming", "callers")
    shown, bundle = Presented.of(home), tmp_path / "device.pem"
    bundle.write_bytes(shown.key + shown.certificate)
    context = ssl.create_default_context(cafile=str(shared_daemon.home.data / "authority.pem"))
    context.load_cert_chain(bundle)
    context.set_alpn_protocols(["h2"])
    with dialled(shared_daemon, context) as tls:
        assert b"resuming" in push(tls, ASKED)
        session = tls.session
    with dialled(shared_daemon, context, session) as tls:
        assert tls.session_reused
        assert b"resuming" in push(tls, ASKED)
    with shared_daemon.client() as owner:
        owner.revoke_device(load_credentials(home.client).device_id)
        before = sequence(owner)
        with dialled(shared_daemon, context, session) as tls:
            assert tls.session_reused
            assert b"resuming" not in push(tls, ASKED)
        assert sequence(owner) == before + 1
        refusal = newest(owner)
    assert refusal["kind"] == "rpc.refused"
    assert refusal["body"]["reason"] == "DEVICE_REVOKED"

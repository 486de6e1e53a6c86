"""A `stockaded` for tests of `up` and `down`: its command line and files, little behind them."""

# ruff: noqa: T201 - a program prints

import json
import os
import signal
import sys
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import load_pem_x509_certificate

from stockade.home import Home
from tests.stockade.authority import Authority, pem_key
from tests.stockade.serving import Daemon, World


def main() -> None:
    home = Home.locate()
    mode = os.environ.get("STAND_IN", "")
    if sys.argv[1] == "init":
        initialise(home, dict(zip(sys.argv[2::2], sys.argv[3::2], strict=True)), mode)
    else:
        serve(home, mode)


def initialise(home: Home, options: dict[str, str], mode: str) -> None:
    if mode == "no-keychain" and "--vault-root" not in options:
        print("stockaded: VAULT_ROOT_UNCHOSEN: no keychain here\nfix: choose", file=sys.stderr)
        raise SystemExit(2)
    home.data.mkdir(parents=True)
    home.config_file.write_text("x")
    authority = Authority()
    (home.data / "authority.key").write_bytes(pem_key(authority.key))
    (home.data / "authority.pem").write_bytes(authority.pem)
    request = Path(options["--certificate-request"]).read_bytes()
    Path(options["--certificate-out"]).write_bytes(authority.sign_request(request))
    Path(options["--authority-out"]).write_bytes(authority.pem)
    print(json.dumps({"device_id": "dev-aaaaaaaaaaaaaaaa", "created": True, "vault_root": "file"}))


def serve(home: Home, mode: str) -> None:
    if mode == "will-not-serve":
        print("stockaded: PORT_TAKEN: 7607 is taken\nfix: choose another", file=sys.stderr)
        raise SystemExit(2)
    world = World()
    key = serialization.load_pem_private_key((home.data / "authority.key").read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    world.authority.key = key
    certificate = (home.data / "authority.pem").read_bytes()
    world.authority.certificate = load_pem_x509_certificate(certificate)
    daemon = Daemon(world, home)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    daemon.start()
    if "--ready-fd" in sys.argv:
        os.write(int(sys.argv[-1]), b"ready\n")
    signal.sigwait({signal.SIGTERM})
    home.endpoint.unlink()
    daemon.stop()


if __name__ == "__main__":
    main()

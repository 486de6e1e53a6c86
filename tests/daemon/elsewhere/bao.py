"""A real OpenBao server for tests: in memory, with TLS, on a free port of the loopback."""

import json
import os
import shutil
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.running import free_port, make_directory

BAO = Path(sys.executable).parent / "bao"
ROOT_TOKEN = "root-token-of-this-test"  # of a server that lives as long as the test
READY_SECONDS = 180


@dataclass
class Bao:
    """A server, and its owner's way to it."""

    folder: Path
    address: str
    process: "subprocess.Popen[bytes]"

    @property
    def authority(self) -> Path:
        """The certificate of who signed the server's own."""
        return self.folder / "vault-ca.pem"

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """A request of the owner's."""
        request = urllib.request.Request(  # noqa: S310 - https, see the address
            f"{self.address}/v1/{path}",
            data=None if body is None else json.dumps(body).encode(),
            method=method,
            headers={"X-Vault-Token": ROOT_TOKEN},
        )
        context = ssl.create_default_context(cafile=self.authority)
        with urllib.request.urlopen(request, context=context, timeout=10) as answer:  # noqa: S310
            text = answer.read()
        return json.loads(text) if text else None

    def put(self, path: str, **fields: object) -> int:
        """Writes a secret; its version."""
        answer = self.ask("POST", f"secret/data/{path}", {"data": fields})
        return int(answer["data"]["version"])

    def token_for(self, path: str) -> str:
        """A token that may read that path and nothing else."""
        rule = f'path "secret/data/{path}" {{ capabilities = ["read"] }}'
        name = path.replace("/", "-")
        self.ask("PUT", f"sys/policies/acl/{name}", {"policy": rule})
        made = self.ask("POST", "auth/token/create", {"policies": [name], "ttl": "1h"})
        return str(made["auth"]["client_token"])


@contextmanager
def openbao() -> Iterator[Bao]:
    """A server for as long as the block lasts."""
    folder = make_directory("stockade-bao-")
    port = free_port()
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [BAO, "server", "-dev-tls", f"-dev-tls-cert-dir={folder}", "-dev-no-store-token",
             f"-dev-root-token-id={ROOT_TOKEN}", f"-dev-listen-address=127.0.0.1:{port}"],
            env={"HOME": str(folder), "PATH": os.defpath}, cwd=folder,
            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
    bao = Bao(folder, f"https://127.0.0.1:{port}", process)
    try:
        _wait(bao)
        yield bao
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder)


def _wait(bao: Bao) -> None:
    for _ in range(READY_SECONDS * 10):
        assert bao.process.poll() is None, (bao.folder / "log").read_text()
        try:
            bao.ask("GET", "secret/config")
        except (OSError, urllib.error.URLError):
            time.sleep(0.1)
        else:
            return
    raise AssertionError((bao.folder / "log").read_text())

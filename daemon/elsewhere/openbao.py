"""OpenBao or HashiCorp Vault as a source of secrets: its KV engine, version 2.

One GET for each run that needs a value, over a connection of its own: TLS with a verified
certificate (plain HTTP on the loopback alone), bounded in time and size. The token is read at each
use, so that whoever renews it need not tell the daemon. Neither token nor answer is ever in an
error. Leaves `Unavailable`
(SOURCE_UNREACHABLE, SOURCE_REFUSED, SOURCE_MALFORMED, SOURCE_UNUSABLE).
"""

import http.client
import ssl
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import quote

import anyio
import anyio.to_thread

from daemon.config.elsewhere import OpenBao
from daemon.elsewhere.exchange import get, trusting
from daemon.errors import Unavailable
from identity.credential import load_credential
from identity.errors import IdentityError
from vault.burn import burn
from vault.errors import RootError, SourceError
from vault.keyvalue import parse_answer
from vault.privatefile import read_private
from vault.secret import Secret

T = TypeVar("T")

MAX_ANSWER: Final = 1024 * 1024
MAX_TOKEN: Final = 4096
# At once, of one server: one that hangs takes no more threads than these.
CONNECTIONS: Final = 8


class OpenBaoServer:
    """See the module."""

    def __init__(self, section: OpenBao) -> None:
        self._section = section
        self._limiter: anyio.CapacityLimiter | None = None

    kind = "OpenBao or HashiCorp Vault"

    @property
    def place(self) -> str:
        """Its address."""
        return self._section.address

    def names(self) -> frozenset[str]:
        """The names in the configuration."""
        return frozenset(self._section.names)

    async def reach(self) -> None:
        """Asks for the server's health, without the token."""
        await self._in_time(self._health)

    async def admits(self) -> bool:
        """Whether the server knows the token, as far as the token may ask about itself."""
        return await self._in_time(self._known)

    async def fetch(self, name: str) -> tuple[int, Secret] | None:
        """The field of that name, as the server has it now."""
        path, _, field = self._section.names[name].partition("#")
        return await self._in_time(partial(self._fetch, path, field))

    async def _in_time(self, ask: Callable[[], T]) -> T:
        if self._limiter is None:
            self._limiter = anyio.CapacityLimiter(CONNECTIONS)
        seconds = self._section.timeout_seconds
        try:
            with anyio.fail_after(seconds):
                return await anyio.to_thread.run_sync(
                    ask, limiter=self._limiter, abandon_on_cancel=True
                )
        except TimeoutError:
            raise self._unreachable(f"did not answer in {seconds:g} s") from None

    def _health(self) -> None:
        try:
            burn(self._ask("/v1/sys/health", {}) or b"")
        except Unavailable as fault:
            # A standby says so with a number of its own; it answers all the same.
            if fault.code != "SOURCE_REFUSED":
                raise

    def _known(self) -> bool:
        try:
            body = self._get("/v1/auth/token/lookup-self")
        except Unavailable as fault:
            if fault.code == "SOURCE_REFUSED":
                return False
            raise
        burn(body or b"")
        return body is not None

    def _fetch(self, path: str, field: str) -> tuple[int, Secret] | None:
        body = self._get(f"/v1/{quote(self._section.mount)}/data/{quote(path)}")
        if body is None:
            return None
        try:
            return parse_answer(body, field)
        except SourceError as error:
            message = f"{self._section.address}, {path}: {error.message}"
            raise Unavailable(message, code=str(error.code), fix=error.fix) from None
        finally:
            burn(body)

    def _get(self, target: str) -> bytes | None:
        """The body of the answer; None where there is nothing."""
        token = self._token()
        headers = {"X-Vault-Token": token, "X-Vault-Request": "true"}
        if self._section.namespace:
            headers["X-Vault-Namespace"] = self._section.namespace
        try:
            return self._ask(target, headers)
        finally:
            burn(token)

    def _ask(self, target: str, headers: Mapping[str, str]) -> bytes | None:
        section = self._section
        try:
            answer = get(
                section.address,
                target,
                headers,
                seconds=section.timeout_seconds,
                most=MAX_ANSWER,
                context=self._context(),
            )
        except ssl.SSLCertVerificationError as error:
            raise self._unreachable(
                f"has a certificate that is not good: {error.verify_message}"
            ) from None
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(f"cannot be reached ({type(error).__name__})") from None
        if answer.status == http.client.OK and len(answer.body) <= MAX_ANSWER:
            return answer.body
        burn(answer.body)
        if answer.status == http.client.NOT_FOUND:
            return None
        raise self._refused(answer.status)

    def _context(self) -> ssl.SSLContext | None:
        if self._section.address.startswith("http://"):
            return None
        try:
            return trusting(self._section.authority_file)
        except OSError:
            raise Unavailable(
                f"{self._section.authority_file} holds no certificate that can be read",
                code="SOURCE_UNUSABLE",
                fix="correct `authority_file` in config.toml",
            ) from None

    def _token(self) -> str:
        section = self._section
        try:
            if section.token_credential:
                kept = load_credential(section.token_credential)
            else:
                kept = read_private(Path(section.token_file), MAX_TOKEN)
        except (RootError, IdentityError) as error:
            raise self._without_token(error.message) from None
        bare = kept.strip()
        text = bare.decode("ascii", "replace")
        burn(kept, bare)
        if not text.isprintable() or not text.isascii() or not text:
            raise self._without_token("what is kept as the token is none")
        return text

    def _without_token(self, message: str) -> Unavailable:
        return Unavailable(
            message,
            code="SOURCE_UNUSABLE",
            fix="a file of the daemon's own user, with mode 0600, that holds the token alone",
        )

    def _unreachable(self, what: str) -> Unavailable:
        return Unavailable(
            f"{self._section.address} {what}",
            code="SOURCE_UNREACHABLE",
            fix="start or unseal it; or correct `address` and `authority_file` in config.toml",
        )

    def _refused(self, status: int) -> Unavailable:
        if status >= http.client.INTERNAL_SERVER_ERROR:
            return self._unreachable(f"answered with {status}: sealed, or in trouble")
        return Unavailable(
            f"{self._section.address} answered with {status}",
            code="SOURCE_REFUSED",
            fix="let the token read that path (capability `read` on MOUNT/data/PATH)",
        )

"""Where the authorities' private keys are: in files, or in a PKCS #11 token.

The key file of an authority holds the key, or the URI of the key in the token. The configuration
says where the *next* key is made: what exists stays where it is until the authority is rotated.
Trusted to write a URI before the key it names is made, so that no key can be forgotten in a token,
and to keep no PIN. Raises `TokenError`, `KeyFileError` and `AuthorityError`.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric import ec

from daemon.config import Authority as Settings
from identity.authoritycert import new_authority_key, parse_authority_key
from identity.credential import load_credential
from identity.errors import Code, TokenError
from identity.keyfile import load_private
from identity.keyuri import SCHEME, KeyUri

if TYPE_CHECKING:
    from identity.token import Token

Key = ec.EllipticCurvePrivateKey

MAX_PIN_BYTES = 256
ID_BYTES = 8


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key to be: what its file is to hold, and then the key."""

    stored: bytes = field(repr=False)
    make: Callable[[], Key] = field(repr=False)


class AuthorityKeys:
    """See the module."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._token: Token | None = None

    def prepare(self) -> NewKey:
        """A new key where the configuration wants it."""
        if self._settings.key == "file":
            key, pem = new_authority_key()
            return NewKey(pem, lambda: key)
        uri = KeyUri(self._settings.token, self._settings.key_label, os.urandom(ID_BYTES))
        return NewKey(uri.encode(), lambda: self.open_token(uri).make(uri))

    @staticmethod
    def in_token(stored: bytes) -> bool:
        """Whether a key file names a key in a token."""
        return stored.startswith(SCHEME)

    def take_up(self, stored: bytes) -> Key:
        """The key of a key file."""
        if not self.in_token(stored):
            return parse_authority_key(stored)
        uri = KeyUri.parse(stored)
        return self.open_token(uri).key(uri)

    def destroy(self, stored: bytes) -> None:
        """Destroys the key in the token that a key file names; does nothing for a key in a file."""
        if not self.in_token(stored):
            return
        try:
            uri = KeyUri.parse(stored)
        except TokenError:
            return  # written half: then no key was made for it
        self.open_token(uri).destroy(uri)

    @property
    def token(self) -> str:
        """The label of the token that is configured."""
        return self._settings.token

    def open_token(self, uri: KeyUri) -> "Token":
        """The token that a key is in: one object for all its keys, as one thread may be in it."""
        if not self._settings.token_named or self._settings.token != uri.token:
            raise TokenError(
                Code.TOKEN_NOT_CONFIGURED,
                f"the key is in the token {uri.token!r}, which is not the one"
                " that config.toml names",
                "set module, token and the PIN's file under [authority] in config.toml",
            )
        if self._token is None:
            self._token = _token(Path(self._settings.module), uri.token, self._pin)
        return self._token

    def _pin(self) -> str:
        settings = self._settings
        if settings.pin_credential:
            data = load_credential(settings.pin_credential)
        else:
            data = load_private(Path(settings.pin_file), MAX_PIN_BYTES)
        try:
            return data.decode().removesuffix("\n")
        except UnicodeDecodeError:
            raise TokenError(
                Code.TOKEN_PIN_REFUSED, "the PIN's file does not hold text", "write the PIN into it"
            ) from None


def _token(module: Path, label: str, pin: Callable[[], str]) -> "Token":
    try:
        from identity.token import Token
    except ImportError as error:
        raise TokenError(
            Code.TOKEN_SUPPORT_MISSING,
            f"this installation cannot speak to PKCS #11 tokens ({error.name} is missing)",
            "pip install 'stockade[pkcs11]'",
        ) from None
    return Token(module, label, pin)

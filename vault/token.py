"""A key in a PKCS #11 token that seals and opens, and never leaves it.

Trusted to use only a key that the token itself calls sensitive and not extractable. The token is
left alone between uses, so that it may be unplugged. Another part of this process may use the same
module: nothing of it is kept open here, and it is begun anew only where it does not answer. The
module is code that runs in this process: one that others could have written is not loaded. Raises
`RootError`, whatever the module does.

`pkcs11` is an optional dependency: whoever imports this module has to expect an ImportError.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, final

import pkcs11
from pkcs11 import Attribute, GCMParams, KeyType, Mechanism, MechanismFlag, ObjectClass
from pkcs11.exceptions import PKCS11Error, UserAlreadyLoggedIn
from pkcs11.types import Session

from vault.errors import Code, RootError

_BOUND_TO: Final = b"stockade vault root in a token v1"
_TAG_BITS: Final = 128


@final
@dataclass(frozen=True, slots=True)
class SealingToken:
    """One token of a module, by its label."""

    module: Path
    label: str
    pin: Callable[[], str] = field(repr=False)

    def make(self, key: str) -> None:
        """Make a key; there must be none of that label."""
        with self._session() as session:
            if _all(session, key):
                raise self._refusal(Code.ROOT_EXISTS, f"it has a key {key!r} already")
            session.generate_key(
                KeyType.AES,
                256,
                label=key,
                id=key.encode(),
                store=True,
                capabilities=MechanismFlag.ENCRYPT | MechanismFlag.DECRYPT,
                template={
                    Attribute.PRIVATE: True,
                    Attribute.SENSITIVE: True,
                    Attribute.EXTRACTABLE: False,
                },
            )

    def seal(self, key: str, nonce: bytes, content: bytes) -> bytes:
        """Encrypt and authenticate with the key (AES-256-GCM)."""
        with self._session() as session:
            return bytes(self._fit(session, key).encrypt(content, **_gcm(nonce)))

    def open(self, key: str, nonce: bytes, sealed: bytes) -> bytes:
        """Decrypt what was sealed."""
        with self._session() as session:
            return bytes(self._fit(session, key).decrypt(sealed, **_gcm(nonce)))

    def destroy(self, key: str) -> None:
        """Destroy the key; nothing happens if it is not there."""
        with self._session() as session:
            for found in _all(session, key):
                found.destroy()

    def _fit(self, session: Session, label: str) -> Any:
        keys = _all(session, label)
        if len(keys) != 1:
            raise self._refusal(Code.ROOT_ABSENT, f"it has {len(keys) or 'no'} keys {label!r}")
        key = keys[0]
        if not key[Attribute.SENSITIVE] or key[Attribute.EXTRACTABLE]:
            raise self._refusal(Code.TOKEN_UNUSABLE, "its key can be read out of it")
        return key

    @contextmanager
    def _session(self) -> Iterator[Session]:
        _check_module(self.module)
        try:
            session = self._opened()
            try:
                yield session
            finally:
                with suppress(PKCS11Error):
                    session.close()
        except PKCS11Error as error:
            said = f"{type(error).__name__} {str(error)[:200]}".strip()
            raise self._refusal(Code.TOKEN_FAILED, said) from None

    def _opened(self) -> Session:
        module = pkcs11.lib(str(self.module))
        for again in (False, True):
            try:
                if again:
                    module.reinitialize()  # a token that was plugged in again is seen only then
                found = list(module.get_tokens(token_label=self.label))
                if len(found) == 1:
                    return self._logged_in(found[0])
            except PKCS11Error:
                if again:
                    raise
        raise self._refusal(Code.TOKEN_UNUSABLE, "there is not exactly one token of that label")

    def _logged_in(self, token: pkcs11.Token) -> Session:
        try:
            return token.open(rw=True, user_pin=self.pin())
        except UserAlreadyLoggedIn:
            return token.open(rw=True)  # this process is, and sessions share that

    def _refusal(self, code: Code, why: str) -> RootError:
        return RootError(
            code,
            f"the token {self.label!r} does not give the root key: {why}",
            "see that the token is there, and that [vault] names its module and PIN, then"
            " `stockade secrets unlock`",
        )


def _gcm(nonce: bytes) -> dict[str, Any]:
    return {
        "mechanism": Mechanism.AES_GCM,
        "mechanism_param": GCMParams(nonce, _BOUND_TO, _TAG_BITS),
    }


def _all(session: Session, label: str) -> list[Any]:
    wanted = {Attribute.CLASS: ObjectClass.SECRET_KEY, Attribute.LABEL: label}
    # Whole before anything is done with one: a search is an operation of the session.
    return list(session.get_objects(wanted))


def _check_module(module: Path) -> None:
    """Who can write the module, or put another in its place, is this daemon."""
    real = module.resolve()
    why = _why_not(real) or _why_not(real.parent)
    if not why and not real.is_file():
        why = "it is not a file"
    if why:
        raise RootError(
            Code.TOKEN_UNUSABLE,
            f"the PKCS #11 module {module} cannot be used: {why}",
            "install the token's module, and name its path as `module` under [vault]",
        )


def _why_not(path: Path) -> str:
    try:
        status = path.stat()
    except OSError as error:
        return error.strerror or "it cannot be looked at"
    if status.st_uid not in (0, os.geteuid()) or status.st_mode & 0o022:
        return f"others could have written {path}"
    return ""

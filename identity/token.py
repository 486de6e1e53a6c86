"""A PKCS #11 token: the authority's keys are made there, used there, and never seen here.

Trusted to have proved, before a key is used, that it is fit and that it is the private key of the
public key beside it. The PIN is asked for when the token is opened, and not kept. A token that went
away is opened anew, once, before a signature fails. The module is code that runs in this process:
one that others could have written is not loaded. One thread at a time is in it (PKCS #11 2.40
section 2.5 asks for no more). Leaves `TokenError`, whatever the module does.

`pkcs11` is an optional dependency: whoever imports this module has to expect an ImportError.
"""

import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, final

import pkcs11
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from pkcs11 import exceptions as faults
from pkcs11.exceptions import PKCS11Error
from pkcs11.types import Session

from identity import tokened25519, tokenobjects
from identity.errors import Code, TokenError, shown
from identity.keyuri import KeyUri
from identity.tokenkey import TokenEd25519, TokenKey

if TYPE_CHECKING:
    from pkcs11._pkcs11 import lib as Library  # noqa: N812 - a class, whatever it is called

_T = TypeVar("_T")
_PIN_FAULTS = (
    faults.PinExpired,
    faults.PinIncorrect,
    faults.PinInvalid,
    faults.PinLenRange,
    faults.PinLocked,
    faults.PinTooWeak,
    faults.UserPinNotInitialized,
)


@final
class Token:
    """One token of a module, opened when it is first needed and kept open."""

    def __init__(self, module: Path, label: str, pin: Callable[[], str]) -> None:
        self._module = module
        self._label = label
        self._pin = pin
        self._lock = threading.Lock()
        self._session: Session | None = None

    def make(self, uri: KeyUri) -> TokenKey:
        """Make a new key in the token."""
        with self._lock:
            # In a session known to be good: what failed half-way is not tried again.
            self._forget()
            self._in_session(lambda session: tokenobjects.generate(session, uri))
        return self.key(uri)

    def key(self, uri: KeyUri) -> TokenKey:
        """Take up a key that is there."""
        with self._lock:
            public = self._in_session(lambda session: tokenobjects.fit_public_key(session, uri))
        key = TokenKey(public, lambda digest: self._sign(uri, digest))
        challenge, algorithm = os.urandom(32), ec.ECDSA(hashes.SHA256())
        try:
            public.verify(key.sign(challenge, algorithm), challenge, algorithm)
        except InvalidSignature:
            raise tokenobjects.unfit("the public key beside it is another's") from None
        return key

    def make_ed25519(self, uri: KeyUri) -> TokenEd25519:
        """Make a new Ed25519 key in the token."""
        with self._lock:
            self._forget()
            self._in_session(lambda session: tokened25519.generate(session, uri))
        return self.ed25519(uri)

    def ed25519(self, uri: KeyUri) -> TokenEd25519:
        """Take up an Ed25519 key that is there."""
        with self._lock:
            public = self._in_session(lambda session: tokened25519.fit_public_key(session, uri))
        key = TokenEd25519(public, lambda message: self._sign_ed25519(uri, message))
        challenge = os.urandom(32)
        try:
            ed25519.Ed25519PublicKey.from_public_bytes(public).verify(
                key.sign(challenge), challenge
            )
        except InvalidSignature:
            raise tokenobjects.unfit("the public key beside it is another's") from None
        return key

    def _sign_ed25519(self, uri: KeyUri, message: bytes) -> bytes:
        with self._lock:
            return self._in_session(lambda session: tokened25519.sign(session, uri, message))

    def destroy(self, uri: KeyUri) -> None:
        """Destroy a key; nothing happens if it is not there."""
        with self._lock:
            self._in_session(lambda session: tokenobjects.destroy(session, uri))

    def _sign(self, uri: KeyUri, digest: bytes) -> bytes:
        with self._lock:
            return self._in_session(lambda session: tokenobjects.sign(session, uri, digest))

    def _in_session(self, work: Callable[[Session], _T]) -> _T:
        """Do it in the open session, or in a new one if there is none or it is dead."""
        if self._session is not None:
            try:
                return work(self._session)
            except PKCS11Error:
                self._forget()
        self._session = self._open()
        try:
            return work(self._session)
        except faults.NoSuchKey:
            raise TokenError(
                Code.TOKEN_KEY_ABSENT,
                f"the token {shown(self._label)} has not the key that the key file names",
                "use the token that the key was made in; a key that is lost cannot be made again",
            ) from None
        except PKCS11Error as error:
            self._forget()
            raise self._failed(error) from None

    def _forget(self) -> None:
        self._session = None

    def _open(self) -> Session:
        library = self._load()
        try:
            # Anew each time: a token that is plugged in again is seen only then.
            library.reinitialize()
            tokens = [found for slot in library.get_slots(True) if (found := _token(slot))]
        except PKCS11Error as error:
            raise self._failed(error) from None
        ours = [token for token in tokens if token.label == self._label]
        if len(ours) != 1:
            raise TokenError(
                Code.TOKEN_ABSENT,
                f"{self._module} has {len(ours) or 'no'} tokens labelled {shown(self._label)}",
                "see to it that there is exactly one, or mend `token` under [authority]",
            )
        try:
            return ours[0].open(rw=True, user_pin=self._pin())
        except _PIN_FAULTS as error:
            raise TokenError(
                Code.TOKEN_PIN_REFUSED,
                f"the token {shown(self._label)} refuses the PIN ({type(error).__name__})",
                "mend the file that holds it; too many wrong ones lock a token",
            ) from None
        except PKCS11Error as error:
            raise self._failed(error) from None

    def _load(self) -> "Library":
        _check_module(self._module)
        try:
            return pkcs11.lib(str(self._module))
        except PKCS11Error as error:
            if type(error) is not PKCS11Error:  # an answer of the module, which is one then
                raise self._failed(error) from None
            raise _unusable(self._module, _said(error)) from None

    def _failed(self, error: PKCS11Error) -> TokenError:
        return TokenError(
            Code.TOKEN_FAILED,
            f"the token {shown(self._label)} failed ({_said(error)})",
            "see whether it is connected and its module works: pkcs11-tool --list-token-slots",
        )


def _said(error: PKCS11Error) -> str:
    text = str(error).removeprefix("OS exception while ")
    return f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__


def _token(slot: "pkcs11.Slot") -> "pkcs11.Token | None":
    try:
        return slot.get_token()
    except PKCS11Error:
        return None  # some other slot's trouble, or else the label is not found


def _check_module(module: Path) -> None:
    """Who can write the module, or put another in its place, is this daemon."""
    for path in (module.resolve(), module.resolve().parent):
        try:
            status = path.stat()
        except OSError as error:
            raise _unusable(module, error.strerror or "it cannot be looked at") from None
        if status.st_uid not in (0, os.geteuid()) or status.st_mode & 0o022:
            raise _unusable(module, f"others could have written {path}")
        if path.name == module.name and not stat.S_ISREG(status.st_mode):
            raise _unusable(module, "it is not a file")


def _unusable(module: Path, why: str) -> TokenError:
    return TokenError(
        Code.TOKEN_MODULE_UNUSABLE,
        f"the PKCS #11 module {module} cannot be used: {why}",
        "install the token's module, and name its path as `module` under [authority]",
    )

"""The root key in the operating system's keychain, through `keyring`.

Trusted to store the root in a real keychain or not at all. Only backends named in `ACCEPTED` count:
keyring also offers ones that fail, forget, or write plain text, and a list of the bad ones would
miss the next. That a keychain works is shown by writing, reading back and deleting an item, never
by finding a program.

Time. A locked keychain may put a prompt on somebody's screen and D-Bus then waits for ever, so
every method runs in a daemon thread and gives up after `deadline` seconds (KEYCHAIN_SILENT). The
method itself blocks that long: call it with `anyio.to_thread.run_sync`, not in the event loop. The
abandoned thread stays until the prompt is answered and does not keep the process from ending; a
root that a late answer still stores is found by the next `load`, and nothing was sealed under it.

Two daemons creating the same item at once are kept apart by the data directory's lock, not here:
keychains have no "create only if absent". Raises `RootError`; a backend's own errors are named by
their type only, since their text may repeat what was passed.
"""

import contextlib
import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Final, TypeVar, final

from vault.errors import Code, RootError
from vault.rootkey import RootKey, generate_root, malformed, parse_root

if TYPE_CHECKING:
    from keyring.backend import KeyringBackend

# All encrypt with a key of the login session. What wraps several of them is looked into. Those of
# macOS and Windows have never been used for real: the daemon itself runs on Linux.
ACCEPTED: Final = frozenset(
    {
        "keyring.backends.macOS.Keyring",
        "keyring.backends.Windows.WinVaultKeyring",
        "keyring.backends.SecretService.Keyring",
        "keyring.backends.libsecret.Keyring",
        "keyring.backends.kwallet.DBusKeyring",
        "keyring.backends.kwallet.DBusKeyringKWallet4",
    }
)
# What keyring names where it found none, and a chain without a link.
_NONE: Final = ("keyring.backends.fail.Keyring", "keyring.backends.chainer.ChainerBackend")
_START: Final = (
    "start and unlock a keychain (gnome-keyring or KWallet) in this login session; a new home can "
    "have its root key in a 0600 file instead: `stockade up --vault-root file`"
)
_T = TypeVar("_T")


@final
@dataclass(frozen=True, slots=True)
class KeychainReport:
    """Whether there is a keychain that really keeps things."""

    works: bool
    backend: str
    reason: str
    fix: str


@final
@dataclass(frozen=True, slots=True)
class KeychainRoot:
    """A root key as one item of the keychain."""

    service: str
    account: str
    deadline: float = 30.0
    random: Callable[[int], bytes] = field(default=os.urandom, repr=False)

    def describe(self) -> str:
        """Name the item."""
        return f"keychain item {self.service!r} of {self.account!r}"

    def load(self) -> RootKey:
        """Fetch the root key."""
        stored = _bounded(self.deadline, lambda: self._read(_backend()))
        if stored is None:
            raise RootError(
                Code.ROOT_ABSENT,
                f"there is no {self.describe()}",
                "log in to the session it was made in, or restore the item; a new root key "
                "cannot open what an old one sealed",
            )
        return _parse(stored)

    def create(self) -> RootKey:
        """Store a new root key and read it back."""
        made = generate_root(self.random)
        stored = _bounded(self.deadline, lambda: self._store(_backend(), made))
        if stored != made:
            raise RootError(
                Code.KEYCHAIN_REFUSED, "the keychain did not give back what it was given", _START
            )
        return _parse(stored)

    def remove(self) -> None:
        """Delete the item, and see that it is gone."""
        if _bounded(self.deadline, lambda: self._deleted(_backend())) is not None:
            raise RootError(
                Code.KEYCHAIN_REFUSED, f"the keychain does not delete {self.describe()}", _START
            )

    def _deleted(self, backend: "KeyringBackend") -> str | None:
        if self._read(backend) is not None:
            backend.delete_password(self.service, self.account)
        return self._read(backend)

    def _read(self, backend: "KeyringBackend") -> str | None:
        return backend.get_password(self.service, self.account)

    def _store(self, backend: "KeyringBackend", made: str) -> str | None:
        if self._read(backend) is not None:
            raise RootError(
                Code.ROOT_EXISTS,
                f"{self.describe()} exists already and is not overwritten",
                "keep it: secrets may be sealed under it",
            )
        backend.set_password(self.service, self.account, made)
        return self._read(backend)


@final
@dataclass(frozen=True, slots=True)
class KeychainNote:
    """A short text that is no secret, in the keychain: where a restored disk does not reach."""

    service: str
    account: str
    deadline: float = 30.0

    def read(self) -> str | None:
        """The text; None if there is none."""
        return _bounded(self.deadline, lambda: _backend().get_password(self.service, self.account))

    def store(self, text: str) -> None:
        """Put it in the place of the one before."""
        _bounded(self.deadline, lambda: _backend().set_password(self.service, self.account, text))


def probe_keychain(deadline: float = 10.0) -> KeychainReport:
    """Find out whether there is a working keychain; raises nothing."""
    try:
        backend = _bounded(deadline, _round_trip)
    except RootError as error:
        return KeychainReport(False, "none", error.message, error.fix)
    return KeychainReport(True, backend, "an item was written, read back and deleted", "")


def _round_trip() -> str:
    backend = _backend()
    service, account, value = "stockade-probe", secrets.token_hex(8), secrets.token_hex(16)
    try:
        backend.set_password(service, account, value)
        kept = backend.get_password(service, account) == value
    finally:
        with contextlib.suppress(Exception):  # whatever went wrong before is what is reported
            backend.delete_password(service, account)
    if not kept or backend.get_password(service, account) is not None:
        raise RootError(
            Code.KEYCHAIN_REFUSED,
            f"{_name(backend)} does not keep or delete what it is given",
            _START,
        )
    return _name(backend)


def _backend() -> "KeyringBackend":
    # Imported here: it looks for D-Bus, and a daemon with another root source never needs it.
    import keyring
    from keyring.backends.chainer import ChainerBackend

    backend = keyring.get_keyring()
    if isinstance(backend, ChainerBackend):
        # A chain reads from all and writes to whichever agrees; only its first link is used.
        links: list[KeyringBackend] = list(type(backend).backends)
        backend = links[0] if links else backend
    name = _name(backend)
    if name not in ACCEPTED:
        why = "no keychain works here" if name in _NONE else "this vault trusts no such keychain"
        raise RootError(Code.KEYCHAIN_REFUSED, f"{why}: {name}", _START)
    if str(getattr(backend, "preferred_collection", "")).endswith("/session"):
        raise RootError(
            Code.KEYCHAIN_REFUSED,
            "the session collection is chosen, which is forgotten at logout",
            "unset KEYRING_PROPERTY_PREFERRED_COLLECTION",
        )
    return backend


def _name(backend: object) -> str:
    return f"{type(backend).__module__}.{type(backend).__qualname__}"


def _bounded(deadline: float, work: Callable[[], _T]) -> _T:
    """Run `work` in a thread that may be left behind, and translate whatever it raises."""
    answers: SimpleQueue[_T | Exception] = SimpleQueue()

    def run() -> None:
        try:
            answers.put(work())
        except Exception as error:  # noqa: BLE001 - backends raise whatever they like
            answers.put(error)

    Thread(target=run, name="keychain", daemon=True).start()
    try:
        answer = answers.get(timeout=deadline)
    except Empty:
        answer = RootError(
            Code.KEYCHAIN_SILENT,
            f"the keychain did not answer within {deadline:g} seconds",
            "answer the prompt on the desktop, or unlock the keychain first",
        )
    if isinstance(answer, Exception):
        raise _translated(answer)
    return answer


def _translated(error: Exception) -> RootError:
    if isinstance(error, RootError):
        return error
    # By name: keyring itself may be what could not be imported.
    kind = type(error).__name__
    if kind == "KeyringLocked":
        return RootError(
            Code.ROOT_LOCKED,
            "the keychain is locked",
            "unlock it: log in to the desktop, or `gnome-keyring-daemon --replace --unlock`",
        )
    return RootError(Code.KEYCHAIN_FAILED, f"the keychain failed with {kind}", _START)


def _parse(stored: str) -> RootKey:
    try:
        return parse_root(stored.encode("ascii"))
    except UnicodeEncodeError:
        raise malformed("is not in the stored form") from None

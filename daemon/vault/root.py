"""The places that a root key may be in, as the configuration describes them.

One of them is pinned, by name; never another in its place. A passphrase that a person gave is kept
only while a root is read with it. Leaves the vault's `RootError`.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Final

from daemon.config import Vault
from daemon.estate import Estate
from daemon.vault.standing import Place
from identity.credential import load_credential
from identity.errors import IdentityError
from vault.errors import Code, RootError
from vault.privatefile import read_private
from vault.root import (
    FileRoot,
    KeychainRoot,
    PassphraseRoot,
    RootSource,
    SuppliedRoot,
    TokenRoot,
)
from vault.secret import Secret

KEYCHAIN_SERVICE: Final = "stockade"
_LABEL: Final = "stockade-vault"
_MAX_PASSPHRASE: Final = 4096


def source_at(
    place: Place, estate: Estate, vault: Vault, passphrase: Secret | None = None
) -> RootSource:
    """What holds the root of that place."""
    suffix = f".{place.label}" if place.label else ""
    match place.kind:
        case "keychain":
            item = str(estate.trust_domain) + (f"/{place.label}" if place.label else "")
            return KeychainRoot(KEYCHAIN_SERVICE, item)
        case "file":
            return FileRoot(estate.home.data / f"vault.root{suffix}")
        case "credential":
            return _credential(place.label or vault.credential)
        case "passphrase":
            path = estate.home.data / f"vault.passphrase{suffix}"
            return PassphraseRoot(path, _passphrase(vault, passphrase))
        case "token":
            return TokenRoot(
                path=estate.home.data / f"vault.token{suffix}",
                module=Path(vault.module),
                token=vault.token,
                key=_LABEL + suffix.replace(".", "-"),
                pin=lambda: _pin(vault),
            )


def _credential(name: str) -> SuppliedRoot:
    def read() -> bytes:
        try:
            return load_credential(name)
        except IdentityError as error:
            raise RootError(Code.ROOT_ABSENT, error.message, error.fix) from None

    how = f"`stockaded new-root | systemd-creds encrypt --name={name} - FILE`"
    return SuppliedRoot(f"systemd credential {name}", how, read)


def _passphrase(vault: Vault, given: Secret | None) -> Callable[[], Secret | None]:
    """The one that was given now, or the one that the operator keeps somewhere."""

    def passphrase() -> Secret | None:
        if given is not None:
            with given.view() as words:
                return Secret(words)
        text = _kept(vault.passphrase_file, vault.passphrase_credential)
        return None if text is None else Secret(text.rstrip(b"\r\n"))

    return passphrase


def _pin(vault: Vault) -> str:
    text = _kept(vault.pin_file, vault.pin_credential)
    if text is None:
        raise RootError(
            Code.TOKEN_UNUSABLE,
            "the configuration does not say where the token's PIN is",
            "name `pin_file` or `pin_credential` under [vault]",
        )
    return text.decode("utf-8", "replace").strip()


def _kept(file: str, credential: str) -> bytes | None:
    """What is in the file or in the credential; None where neither is named."""
    if credential:
        try:
            return load_credential(credential)
        except IdentityError as error:
            raise RootError(Code.ROOT_LOCKED, error.message, error.fix) from None
    return read_private(Path(file), _MAX_PASSPHRASE) if file else None


def unchosen() -> RootError:
    """No root has been chosen: there are no secrets, and nothing is chosen in silence."""
    return RootError(
        Code.ROOT_ABSENT,
        "no OS keychain worked when this home was made, and no other place was chosen for the"
        " vault's root key",
        "`stockade down`, then `stockade up --vault-root file` keeps it in a 0600 file",
    )

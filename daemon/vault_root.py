"""Which vault root the configuration pins. One of them, by name; never another in its place."""

from typing import Never

from daemon.config import Config
from daemon.estate import Estate
from vault.errors import Code, RootError
from vault.root import FileRoot, KeychainRoot, RootKey, RootSource

KEYCHAIN_SERVICE = "stockade"
ROOT_FILE = "vault.root"


def root_source(estate: Estate, config: Config) -> RootSource:
    """The pinned root, or one that says that none is."""
    match config.vault.root:
        case "keychain":
            return KeychainRoot(KEYCHAIN_SERVICE, str(estate.trust_domain))
        case "file":
            return FileRoot(estate.home.data / ROOT_FILE)
        case None:
            return UnchosenRoot()


class UnchosenRoot:
    """No root has been chosen: there are no secrets, and nothing is chosen in silence."""

    def load(self) -> RootKey:
        """Refuses."""
        self._refuse()

    def create(self) -> RootKey:
        """Refuses."""
        self._refuse()

    def describe(self) -> str:
        """Says so."""
        return "not chosen"

    @staticmethod
    def _refuse() -> Never:
        raise RootError(
            Code.ROOT_ABSENT,
            "no OS keychain worked when this home was made, and no other place was chosen for the"
            " vault's root key",
            "`stockade down`, then `stockade up --vault-root file` keeps it in a 0600 file",
        )

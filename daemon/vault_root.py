"""Which vault root the configuration pins. One of them, by name; never another in its place."""

from daemon.config import Config
from daemon.errors import ConfigError
from daemon.estate import Estate
from vault.root import FileRoot, KeychainRoot, RootSource

KEYCHAIN_SERVICE = "stockade"
ROOT_FILE = "vault.root"


def root_source(estate: Estate, config: Config) -> RootSource:
    """The pinned root; raises `ConfigError` if none is."""
    match config.vault.root:
        case "keychain":
            return KeychainRoot(KEYCHAIN_SERVICE, str(estate.trust_domain))
        case "file":
            return FileRoot(estate.home.data / ROOT_FILE)
        case None:
            raise ConfigError(
                "vault.root is not set",
                code="VAULT_ROOT_UNPINNED",
                fix='set vault.root = "keychain" or "file", as it was when secrets were stored',
            )

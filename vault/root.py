"""Where the root key comes from: one tiny interface, and the sources that fill it.

Exactly one source is chosen when the daemon is initialised and named in its configuration. A
source that fails has failed: nothing here tries another one, because a keychain silently replaced
by a file is how a root key ends up in the clear.
"""

from typing import Protocol

from vault.keychain import KeychainReport, KeychainRoot, probe_keychain
from vault.rootfile import FileRoot
from vault.rootkey import RootKey, RootKeyId

__all__ = [
    "FileRoot",
    "KeychainReport",
    "KeychainRoot",
    "RootKey",
    "RootKeyId",
    "RootSource",
    "probe_keychain",
]


class RootSource(Protocol):
    """A place that holds one root key. All methods block: call them in a thread."""

    def load(self) -> RootKey:
        """Fetch the root key, or raise `RootError`; never creates one."""

    def create(self) -> RootKey:
        """Make and store a new root key; refuses with ROOT_EXISTS if there is one."""

    def describe(self) -> str:
        """Name the place for `stockade doctor`, without any secret."""

"""How far the vault had come, kept outside of the database: an older database is noticed by it.

Each change of a secret or of a root counts one up, in the transaction of the change, and gives the
state a name. After the commit the count is noted beside the database, and in the keychain where the
root is there. A database that is behind what was noted, or that came to the same count by other
changes, was put back: secrets of it may have been removed or replaced since. Whoever puts back all
of it at once, the notes too, is not noticed here; that takes a checkpoint of the ledger, kept
elsewhere.

A note is written after the commit, so a daemon that is killed in between is behind with its note,
never ahead. Leaves the vault's `RootError`, and OSError.
"""

import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from daemon.store import meta
from daemon.store.commit import Tx
from vault.privatefile import read_private
from vault.root import KeychainNote

META_KEY: Final = "vault.changes"
_MAX_BYTES: Final = 256


@dataclass(frozen=True, slots=True)
class Mark:
    """A state of the vault: the how manieth change led to it, and its name."""

    count: int = 0
    name: str = ""

    def encode(self) -> str:
        """As it is stored."""
        return json.dumps({"count": self.count, "name": self.name})

    @classmethod
    def decode(cls, text: str | None) -> "Mark":
        """From what is stored; the beginning where nothing is."""
        return cls() if text is None else cls(**json.loads(text))

    def follows(self, noted: "Mark") -> bool:
        """Whether this, of the database, is what was noted or something later."""
        return self.count > noted.count or self == noted


class Notebook(Protocol):
    """A place outside of the database that remembers one mark. Both block."""

    def read(self) -> Mark | None:
        """What was noted last; None if nothing ever was."""

    def store(self, mark: Mark) -> None:
        """Note it in the place of what was noted before."""


def advance(tx: Tx) -> Mark:
    """Count one change, in its transaction."""
    before = meta.get(tx.connection, META_KEY)
    after = Mark(Mark.decode(before).count + 1, secrets.token_hex(8))
    meta.swap(tx.connection, META_KEY, before, after.encode())
    return after


@dataclass(frozen=True, slots=True)
class KeychainNotes:
    """A mark in the keychain, where a disk that is put back does not reach."""

    item: KeychainNote

    def read(self) -> Mark | None:
        """See `Notebook`."""
        text = self.item.read()
        return None if text is None else _decoded(text)

    def store(self, mark: Mark) -> None:
        """See `Notebook`."""
        self.item.store(mark.encode())


@dataclass(frozen=True, slots=True)
class NoteFile:
    """A mark in a file of the data directory."""

    path: Path

    def read(self) -> Mark | None:
        """See `Notebook`."""
        if not self.path.exists():
            return None
        return _decoded(read_private(self.path, _MAX_BYTES).decode("utf-8", "replace"))

    def store(self, mark: Mark) -> None:
        """See `Notebook`; the old note or the new one is there, whatever happens."""
        temporary = self.path.with_name(self.path.name + ".new")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(mark.encode().encode())
            file.flush()
            os.fsync(descriptor)
        temporary.replace(self.path)


def _decoded(text: str) -> Mark:
    try:
        return Mark.decode(text)
    except (ValueError, TypeError):
        # What cannot be read is no note that the database could be held against.
        return Mark(2**52, "unreadable")

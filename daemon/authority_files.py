"""The authorities' keys and certificates on disk, and which of them the database says are in force.

The database decides (one row of `meta`, changed together with the receipt); the files follow. So a
daemon that was killed between any two steps finds at the next start either a successor that the
database does not know, which nobody has seen and which is removed, or one that it knows. A
directory restored from an older backup than its database does not start with a retired authority.
Keys are 0600 and refused if others could have read them. Raises `KeyFileError` and `StartError`.
"""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from daemon.authorities import InForce
from daemon.errors import StartError
from identity.authority import Authority
from identity.authoritycert import certificate_fingerprint
from identity.errors import IdentityError, KeyFileError
from identity.keyfile import load_private, write_private

META_KEY = "authority"


@dataclass(frozen=True, slots=True)
class Standing:
    """What the database says: fingerprints of the authorities' keys. JSON in `meta`."""

    current: str
    successor: str | None = None
    until_ms: int = 0

    def encode(self) -> str:
        """As it is stored."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def decode(cls, text: str | None) -> "Standing | None":
        """From what is stored; None if no authority was ever rotated here."""
        return None if text is None else cls(**json.loads(text))


@dataclass(frozen=True, slots=True)
class Files:
    """Where they are."""

    data: Path

    @property
    def current(self) -> tuple[Path, Path]:
        """Key and certificate of the authority that everybody knows."""
        return self.data / "authority.key", self.data / "authority.pem"

    @property
    def successor(self) -> tuple[Path, Path]:
        """Those of the one that takes over."""
        return self.data / "authority-next.key", self.data / "authority-next.pem"

    def open(self, standing: Standing | None) -> InForce:
        """The authorities the database says are in force; finishes or undoes what was begun."""
        if standing is None:
            self.remove_successor()
            return InForce(_load(*self.current))
        if standing.successor is None:
            if _fingerprint(self.successor[1]) == standing.current:
                self.promote()
            self.remove_successor()
            return InForce(self._expected(self.current, standing.current))
        return InForce(
            self._expected(self.current, standing.current),
            self._expected(self.successor, standing.successor),
            standing.until_ms,
        )

    def add_successor(self, authority: Authority) -> None:
        """Stores a new one. Nothing is in force by it."""
        self.remove_successor()
        key, certificate = self.successor
        write_private(key, authority.key_pem)
        write_public(certificate, authority.cert_pem)
        _sync(self.data)  # it must be there when the database says so

    def promote(self) -> None:
        """Puts the successor in the place of the current one, whose key is gone then.

        The key first: a certificate in place without its key would look finished.
        """
        for source, destination in zip(self.successor, self.current, strict=True):
            if source.exists():
                source.replace(destination)
        _sync(self.data)

    def remove_successor(self) -> None:
        """Removes one that is not in force, or what was written of it."""
        key, certificate = self.successor
        for path in (key, certificate, _temporary(certificate)):
            path.unlink(missing_ok=True)

    def _expected(self, paths: tuple[Path, Path], fingerprint: str) -> Authority:
        found = _load(*paths)
        if found.spki_sha256 != fingerprint:
            raise unreadable(paths[1], "another authority than the one in force")
        return found


def write_public(path: Path, data: bytes) -> None:
    """Replaces a file whole."""
    temporary = _temporary(path)
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def _temporary(path: Path) -> Path:
    return path.with_name(path.name + ".new")


def unreadable(path: Path | str, why: str | None) -> StartError:
    """The error of a data directory that is damaged."""
    return StartError(
        f"{path}: {why}", code="INSTALLATION_UNREADABLE", fix="restore it from a backup"
    )


def _load(key: Path, certificate: Path) -> Authority:
    try:
        return Authority.load(load_private(key), certificate.read_bytes())
    except KeyFileError:
        raise  # it names its file
    except OSError as error:
        raise unreadable(certificate, error.strerror) from None
    except IdentityError as error:
        raise unreadable(f"{key} with {certificate.name}", error.message) from None


def _fingerprint(certificate: Path) -> str | None:
    """The fingerprint of the key in a certificate file; None if there is none."""
    try:
        return certificate_fingerprint(certificate.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise unreadable(certificate, error.strerror) from None
    except IdentityError as error:
        raise unreadable(certificate, error.message) from None


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

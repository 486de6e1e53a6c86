"""The authorities' keys and certificates on disk, and which of them the database says are in force.

The database decides (one row of `meta`, changed together with the receipt); the files follow. So a
daemon that was killed between any two steps finds at the next start either a successor that the
database does not know, which nobody has seen and which is removed, or one that it knows. A
directory restored from an older backup than its database does not start with a retired authority.
Key files are 0600 and refused if others could have read them. A key in a token is destroyed when
its file goes; if that fails, the file stays as a note of it, and the next start tries again. Raises
`KeyFileError`, `TokenError` and `StartError`.
"""

import json
import os
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

import structlog

from daemon.durable import sync_folder
from daemon.errors import StartError
from daemon.identity.authorities import InForce
from daemon.identity.authority_keys import AuthorityKeys
from identity.authority import Authority
from identity.authoritycert import certificate_fingerprint
from identity.errors import IdentityError, KeyFileError, TokenError
from identity.keyfile import load_private, write_private
from identity.names import TrustDomain

_log = structlog.get_logger("stockade.identity")

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
    keys: AuthorityKeys

    @property
    def current(self) -> tuple[Path, Path]:
        """Key and certificate of the authority that everybody knows."""
        return self.data / "authority.key", self.data / "authority.pem"

    @property
    def successor(self) -> tuple[Path, Path]:
        """Those of the one that takes over."""
        return self.data / "authority-next.key", self.data / "authority-next.pem"

    @property
    def retired(self) -> Path:
        """The key file of one that was retired, for as long as its key is still in the token."""
        return self.data / "authority-retired.key"

    def open(self, standing: Standing | None) -> InForce:
        """The authorities the database says are in force; finishes or undoes what was begun."""
        if standing is None:
            self._clear()
            return InForce(self._load(*self.current))
        if standing.successor is None:
            if _fingerprint(self.successor[1]) == standing.current:
                self._put_in_place()
            self._clear()
            return InForce(self._expected(self.current, standing.current))
        return InForce(
            self._expected(self.current, standing.current),
            self._expected(self.successor, standing.successor),
            standing.until_ms,
        )

    def create(self, trust_domain: TrustDomain, now: datetime) -> None:
        """Makes the first authority. What an init that died before its end has left, goes."""
        self._remove(*self.current)
        self._make(*self.current, trust_domain, now)

    def add_successor(self, trust_domain: TrustDomain, now: datetime) -> Authority:
        """Makes and stores a new one. Nothing is in force by it."""
        self._remove(*self.successor)
        return self._make(*self.successor, trust_domain, now)

    def promote(self) -> None:
        """Puts the successor in the place of the current one, whose key is gone then."""
        self._put_in_place()
        self._clear()

    def _make(
        self, key: Path, certificate: Path, trust_domain: TrustDomain, now: datetime
    ) -> Authority:
        new = self.keys.prepare()
        write_private(key, new.stored)
        authority = Authority.create(trust_domain, now, new.make())
        write_public(certificate, authority.cert_pem)
        sync_folder(self.data)  # it must be there when the database says so
        return authority

    def _put_in_place(self) -> None:
        # The key first: a certificate in place without its key would look finished.
        key, current = self.successor[0], self.current[0]
        if key.exists() and current.exists() and self.keys.in_token(load_private(current)):
            current.replace(self.retired)
        for source, destination in zip(self.successor, self.current, strict=True):
            if source.exists():
                source.replace(destination)
        sync_folder(self.data)

    def _clear(self) -> None:
        """Removes what is not in force. Without the token it serves all the same."""
        try:
            self._remove(self.retired)
            self._remove(*self.successor)
        except (TokenError, KeyFileError) as error:
            _log.warning("authority.key_not_destroyed", reason=error.code, fix=error.fix)

    def _remove(self, key: Path, certificate: Path | None = None) -> None:
        """Removes an authority: first what its key file names, then that file."""
        if key.exists():
            self.keys.destroy(_content(key))
            key.unlink()
        if certificate is not None:
            for path in (certificate, _temporary(certificate)):
                path.unlink(missing_ok=True)

    def _load(self, key: Path, certificate: Path) -> Authority:
        try:
            return Authority.of(self.keys.take_up(load_private(key)), certificate.read_bytes())
        except (KeyFileError, TokenError):
            raise  # they name their file, or the token
        except OSError as error:
            raise unreadable(certificate, error.strerror) from None
        except IdentityError as error:
            raise unreadable(f"{key} with {certificate.name}", error.message) from None

    def _expected(self, paths: tuple[Path, Path], fingerprint: str) -> Authority:
        found = self._load(*paths)
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


def _content(key: Path) -> bytes:
    try:
        return load_private(key)
    except KeyFileError:
        return b""  # nothing to be believed


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

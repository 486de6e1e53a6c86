"""Where the keys that sign the ledger are: in a file, or the Ed25519 one in a PKCS #11 token.

The key file of a token's key has its URI, and the ML-DSA-65 key, for which tokens have no way.
Which keys are in force the ledger says; the files follow. New keys are written, as the next ones,
before the receipt that hands over to them; they take the place of the old ones after it; what a
daemon that was killed between two steps has left, the next start finishes or undoes. A key in a
token goes when it is out of use. Raises `StartError`, `identity`'s `KeyFileError` and `TokenError`,
and the ledger's KeyFileError.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from daemon.durable import sync_folder
from daemon.errors import StartError
from daemon.identity.authority_files import unreadable, write_public
from daemon.identity.authority_keys import AuthorityKeys
from daemon.ledger.token import TokenSigning
from identity.errors import KeyFileError, TokenError
from identity.keyfile import load_private, write_private
from identity.keyuri import SCHEME, KeyUri
from ledger import keys as ledger_keys
from ledger.errors import KeyFileError as LedgerKeyFileError
from ledger.errors import LedgerError
from ledger.keys import PublicKeys, Signing, SigningKeys
from ledger.lineage import Lineage, encode_lineage, parse_lineage

_log = structlog.get_logger("stockade.ledger")

LABEL: Final = "stockade-ledger"
_ID_BYTES: Final = 8


@dataclass(frozen=True, slots=True)
class LedgerKeyFiles:
    """See the module. `tokens` opens the token that the configuration names."""

    data: Path
    tokens: AuthorityKeys
    in_token: bool = False

    @property
    def current(self) -> Path:
        """The keys in force."""
        return self.data / "ledger.key"

    @property
    def next(self) -> Path:
        """Those that are to follow."""
        return self.data / "ledger-next.key"

    @property
    def retired(self) -> Path:
        """The file of keys out of use, for as long as the token has one of them."""
        return self.data / "ledger-retired.key"

    def open(self, expected: PublicKeys | None) -> Signing:
        """The keys that the ledger says are in force; None: it never changed them."""
        if self.current.exists() or expected is None:
            found = self._load(self.current)
            if expected is None or found.public() == expected:
                self._clear()
                return found
        if self.next.exists():
            found = self._load(self.next)
            if found.public() == expected:
                self.promote()
                return found
        raise StartError(
            f"{self.current} holds other keys than those that the ledger was handed over to",
            code="LEDGER_KEYS_OTHER",
            fix="restore key and database from one backup: one of them is older than the other",
        )

    def add_next(self, chain: str) -> Signing:
        """Makes and stores new keys. Nothing is in force by it."""
        self._remove(self.next)
        fresh = ledger_keys.generate(chain)
        if not self.in_token:
            write_private(self.next, ledger_keys.encode_signing(fresh))
            return fresh
        uri = KeyUri(self.tokens.token, LABEL, os.urandom(_ID_BYTES))
        # The URI before the key that it names: none is forgotten in a token.
        write_private(self.next, uri.encode() + _second_line(fresh))
        key = self.tokens.open_token(uri).make_ed25519(uri)
        return TokenSigning(chain, key, fresh.mldsa65_seed)

    def promote(self) -> None:
        """Puts the next keys in the place of the current ones, which are gone then."""
        if self.current.exists() and load_private(self.current).startswith(SCHEME):
            self.current.replace(self.retired)
        self.next.replace(self.current)
        sync_folder(self.data)
        self._clear()

    def write_public(self, lineage: Lineage) -> None:
        """The copy that is there for taking elsewhere; what it says already is not taken back."""
        path, text = self.data / "ledger.pub", encode_lineage(lineage)
        before = path.read_bytes() if path.exists() else b""
        if before == text:
            return
        if before and not _leads_to(before, lineage):
            raise StartError(
                f"{path} has keys that the ledger does not, or had",
                code="LEDGER_KEYS_OTHER",
                fix="put the newer database back; if it is right, move that file away",
            )
        write_public(path, text)

    def _clear(self) -> None:
        """Removes what is not in force. Without the token it serves all the same."""
        for path in (self.retired, self.next):
            try:
                self._remove(path)
            except (TokenError, KeyFileError) as error:
                _log.warning("ledger.key_not_destroyed", reason=error.code, fix=error.fix)

    def _remove(self, path: Path) -> None:
        if not path.exists():
            return
        uri = _uri(load_private(path))
        if uri is not None:
            self.tokens.open_token(uri).destroy(uri)
        path.unlink()

    def _load(self, path: Path) -> Signing:
        content = load_private(path)
        uri = _uri(content)
        if uri is None:
            return ledger_keys.parse_signing(content)
        chain, seed = _second(content.split(b"\n", 1)[1])
        return TokenSigning(chain, self.tokens.open_token(uri).ed25519(uri), seed)


def held_in_files(data: Path) -> list[PublicKeys] | None:
    """The keys that the files of a home hold; None where one of them is in a token."""
    found = []
    for name in ("ledger.key", "ledger-next.key"):
        if (data / name).exists():
            content = load_private(data / name)
            if content.startswith(SCHEME):
                return None
            found.append(ledger_keys.parse_signing(content).public())
    return found


def _leads_to(text: bytes, lineage: Lineage) -> bool:
    """Whether these are the keys of the lineage, or its beginning."""
    try:
        return lineage.extended(parse_lineage(text)) == lineage
    except LedgerError:
        return False


def _uri(content: bytes) -> KeyUri | None:
    if not content.startswith(SCHEME):
        return None
    return KeyUri.parse(content.split(b"\n", 1)[0] + b"\n")


def _second_line(keys: SigningKeys) -> bytes:
    return ledger_keys.encode_signing(keys).split(b"\n", 1)[1]


def _second(line: bytes) -> tuple[str, bytes]:
    """Chain and seed of an ML-DSA-65 line: read as a key file whose first line says nothing."""
    try:
        chain = line.decode("ascii").partition("/")[2].partition("+")[0]
        nothing = SigningKeys(chain, bytes(32), bytes(32))
        first = ledger_keys.encode_signing(nothing).split(b"\n", 1)[0]
        return chain, ledger_keys.parse_signing(first + b"\n" + line).mldsa65_seed
    except (UnicodeDecodeError, LedgerKeyFileError):
        raise unreadable("ledger.key", "no key file of a key in a token") from None

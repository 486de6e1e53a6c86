"""Signing the ledger with a key in a token: the Ed25519 key is there, the ML-DSA-65 key is not.

Trusted to say that no receipt can be written where the token is away: StoreFault, as of a disk that
is full, so that calls are refused and status says why.
"""

from dataclasses import dataclass, field

from daemon.store.faults import StoreFault
from identity.errors import TokenError
from identity.tokenkey import TokenEd25519
from ledger.chain import Signer
from ledger.keys import PublicKeys, mldsa65_key


@dataclass(frozen=True, slots=True)
class TokenSigning:
    """What `ledger.keys.Signing` asks for."""

    chain: str
    key: TokenEd25519
    mldsa65_seed: bytes = field(repr=False)

    def public(self) -> PublicKeys:
        """See `Signing`."""
        second = mldsa65_key(self.mldsa65_seed).public_key().public_bytes_raw()
        return PublicKeys(self.chain, self.key.public, second)

    def signer(self) -> Signer:
        """See `Signing`."""
        return _TokenSigner(self.key)

    def sign_mldsa65(self, message: bytes, context: bytes) -> bytes:
        """See `Signing`."""
        return mldsa65_key(self.mldsa65_seed).sign(message, context)


@dataclass(frozen=True, slots=True)
class _TokenSigner:
    key: TokenEd25519

    def sign(self, message: bytes, /) -> bytes:
        try:
            return self.key.sign(message)
        except TokenError as error:
            raise StoreFault("LEDGER_KEY_UNAVAILABLE", error.message, error.fix) from error

"""What is kept of one call's contents, and what its receipts say of them.

Where something was taken out, nothing that is signed lets a short secret be found by trying: the
digests of the true contents are keyed with a salt of this call alone, which its caller is told and
which is on no disk once the call is over; and the digest of the exact call is in no receipt.
Pure but for the salt.
"""

import hashlib
import hmac
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from daemon.contents.copy import Withheld
from stockade.statement import ExactCall

SALT: Final = 32
MAX_TOLD: Final = 32
"""So many places are named in a receipt; how many there are is said besides."""

Setting = Literal["full", "redacted", "none"]


@dataclass(frozen=True, slots=True)
class Kept:
    """See the module. Without a salt nothing was taken out: contents stay, or go, as they are."""

    setting: Setting = "full"
    copy: bytes = field(default=b"", repr=False)
    withheld: Sequence[Withheld] = ()
    salt: bytes = field(default=b"", repr=False)
    # What is said of the first ruling, without what may not be kept; None: all of it may.
    message: str | None = field(default=None, repr=False)

    @property
    def redacted(self) -> bool:
        """Whether something was taken out."""
        return bool(self.salt)

    def digest_of(self, exact: ExactCall | None) -> str | None:
        """The digest of the exact call, where that tells nothing of what was taken out."""
        return None if exact is None or self.redacted else exact.digest()

    def told(self, arguments: bytes) -> Mapping[str, Any]:
        """What the receipt of the arrival says of the arguments."""
        said: dict[str, Any] = {"contents": self.setting}
        if not self.redacted:
            return {"arguments_digest": hashlib.sha256(arguments).hexdigest(), **said}
        places = [{"at": one.at, "why": one.why.value} for one in self.withheld[:MAX_TOLD]]
        return {
            "arguments_salted_digest": salted(self.salt, "arguments", arguments).hexdigest(),
            "redacted_arguments_digest": hashlib.sha256(self.copy).hexdigest(),
            "withheld": places,
            "withheld_count": len(self.withheld),
            **said,
        }


def salted(salt: bytes, what: str, data: bytes = b"") -> hmac.HMAC:
    """HMAC-SHA256 of some contents; `what` they are is part of it."""
    return hmac.new(salt, what.encode() + b"\0" + data, hashlib.sha256)


def new_salt() -> bytes:
    """For one call."""
    return secrets.token_bytes(SALT)

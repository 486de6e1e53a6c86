"""Alerts by webhook: posted, and signed anew at each try with the time of the try.

Trusted so that whoever listens can tell an alert of ours from others, and a new one from one that
was recorded. Leaves OSError, with nothing of the URL's path, which may hold a token.
"""

import hashlib
import hmac
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

import anyio.to_thread

from daemon.webhook import post

SIGNATURE, TIMESTAMP = "Stockade-Signature", "Stockade-Timestamp"


@dataclass(frozen=True, slots=True)
class Hook:
    """Where alerts are posted, and the key that they are signed with."""

    url: str
    key: bytes

    @property
    def place(self) -> str:
        """Without the path."""
        return urlsplit(self.url).netloc

    async def deliver(self, body: bytes) -> None:
        """Posts it; OSError if it was not taken."""
        await anyio.to_thread.run_sync(self._post, body, int(time.time()), abandon_on_cancel=True)

    def _post(self, body: bytes, now: int) -> None:
        headers = {
            "Content-Type": "application/json",
            TIMESTAMP: str(now),
            SIGNATURE: f"v1={sign(self.key, now, body)}",
        }
        status = post(self.url, body, headers)
        if not 200 <= status < 300:
            raise OSError(0, f"it answered {status}")


def sign(key: bytes, timestamp: int, body: bytes) -> str:
    """HMAC-SHA256 over the time, a full stop and the body; hex."""
    return hmac.new(key, b"%d.%b" % (timestamp, body), hashlib.sha256).hexdigest()

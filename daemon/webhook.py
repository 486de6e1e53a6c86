"""Posting to a URL that the operator named: no proxy, no redirect, a bounded answer.

Blocks, and may hang with the network up to its timeout, and with whoever answers a byte at a time
up to the whole of it: run it in a thread that nobody waits for. Of the answer its head is read.
Raises `OSError` alone.
"""

import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from http.client import HTTPConnection

TIMEOUT_SECONDS: Final = 10.0
WHOLE_SECONDS: Final = 30.0


def post(url: str, body: bytes, headers: Mapping[str, str]) -> int:
    """The status of the answer."""
    # Only who has a webhook pays for these modules.
    import ssl
    from http.client import HTTPConnection, HTTPException, HTTPSConnection

    try:
        parts = urlsplit(url)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        if parts.scheme == "http":
            connection = HTTPConnection(parts.netloc, timeout=TIMEOUT_SECONDS)
        else:
            context = ssl.create_default_context()
            connection = HTTPSConnection(parts.netloc, timeout=TIMEOUT_SECONDS, context=context)
        with _in_time(connection):
            connection.request(
                "POST", path, body=body, headers={"User-Agent": "stockade", **headers}
            )
            return connection.getresponse().status
    except (HTTPException, ValueError, OverflowError) as error:  # what no URL or answer should be
        raise OSError(0, f"no answer in HTTP ({type(error).__name__})") from None


@contextmanager
def _in_time(connection: "HTTPConnection") -> Iterator[None]:
    """Hangs up when the whole has taken too long: a timeout is of each read alone."""

    def hang_up() -> None:
        if connection.sock is not None:
            with suppress(OSError):
                connection.sock.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(WHOLE_SECONDS, hang_up)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        connection.close()

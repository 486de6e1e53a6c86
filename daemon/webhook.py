"""Posting to a URL that the operator named: no proxy, no redirect, a bounded answer.

Blocks, and may hang with the network up to its timeout: run it in a thread that nobody waits for.
Raises `OSError` alone.
"""

from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

TIMEOUT_SECONDS: Final = 10.0
_ANSWERS_READ: Final = 65_536


def post(url: str, body: bytes, headers: Mapping[str, str]) -> int:
    """The status of the answer."""
    # Only who has a webhook pays for these modules.
    import ssl
    from http.client import HTTPConnection, HTTPException, HTTPSConnection

    parts = urlsplit(url)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if parts.scheme == "http":
        connection = HTTPConnection(parts.netloc, timeout=TIMEOUT_SECONDS)
    else:
        context = ssl.create_default_context()
        connection = HTTPSConnection(parts.netloc, timeout=TIMEOUT_SECONDS, context=context)
    try:
        connection.request("POST", path, body=body, headers={"User-Agent": "stockade", **headers})
        answer = connection.getresponse()
        answer.read(_ANSWERS_READ)
    except HTTPException as error:
        raise OSError(0, f"no answer in HTTP ({type(error).__name__})") from None
    finally:
        connection.close()
    return answer.status

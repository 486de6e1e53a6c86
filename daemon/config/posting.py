"""A URL that the daemon posts to: one that can be posted to, said when the file is read."""

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field


def _postable(url: str) -> str:
    parts = urlsplit(url)  # ValueError for brackets that do not fit
    if url:
        if not (url.isascii() and url.isprintable() and parts.hostname):
            raise ValueError("has to be http(s)://HOST[:PORT]/..., in ASCII")
        if parts.port == 0:  # and ValueError for a port that is none
            raise ValueError("port 0 is none")
        parts.hostname.encode("idna")  # UnicodeError, a ValueError, for a label that is none
    return url


PostUrl = Annotated[str, Field(pattern=r"^(https?://[^/@\s]+(/\S*)?)?$"), AfterValidator(_postable)]

"""One field of an answer of the KV engine, version 2, of OpenBao and HashiCorp Vault.

    {"data": {"data": {FIELD: "text", ...}, "metadata": {"version": 3, ...}}, ...}

Trusted to return a value only together with its version, and only if it is text: a number or a list
has more than one spelling. What the parser made of the answer is overwritten, every value of it.
Raises `SourceError`, which never repeats the answer.
"""

from typing import Any, Final

import orjson

from vault.burn import burn
from vault.errors import Code, SourceError
from vault.secret import Secret

_FIX: Final = "look at the secret there, with the same token: `bao kv get`"


def parse_answer(body: bytes, field: str) -> tuple[int, Secret] | None:
    """The version and the value of a field; None where the answer has no such field."""
    try:
        answer: Any = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise _malformed("is not JSON") from None
    finally:
        # It works on a copy of the body, which it gives back as it is: the next takes its place.
        orjson.loads(b'"%b"' % (b" " * max(len(body) - 2, 0)))
    try:
        return _field(answer, field)
    except (KeyError, TypeError):
        raise _malformed("is not one of the KV engine's, version 2") from None
    finally:
        _burn_values(answer)


def _field(answer: Any, field: str) -> tuple[int, Secret] | None:
    data, version = answer["data"]["data"], answer["data"]["metadata"]["version"]
    if not isinstance(data, dict) or type(version) is not int or version < 1:
        raise _malformed("is not one of the KV engine's, version 2")
    value = data.get(field)
    if value is None:
        return None
    if not isinstance(value, str):
        raise _malformed("has something else than text in that field")
    encoded = value.encode()
    try:
        return version, Secret(encoded)
    finally:
        burn(encoded)


def _burn_values(made: Any) -> None:
    # Not the names: the parser keeps and shares those.
    match made:
        case str():
            burn(made)
        case dict():
            for value in made.values():
                _burn_values(value)
        case list():
            for value in made:
                _burn_values(value)


def _malformed(what: str) -> SourceError:
    return SourceError(Code.SOURCE_MALFORMED, f"the answer {what}", _FIX)

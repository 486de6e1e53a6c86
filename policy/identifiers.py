"""Which ids an entity may have, by type.

Trusted to make ids comparable byte by byte: each type has one narrow ASCII grammar, so a name that
differs in case, white space or Unicode form is no id at all, and can neither be an entity nor
stand in a policy where it would silently never match. Leaves `EntityError` only.
"""

import ipaddress
import re

from policy.errors import EntityError
from policy.values import EntityUid

_NAME = r"[a-z][a-z0-9_-]{0,62}"
_PART = r"[a-z0-9](?!.*\.\.)[a-z0-9._-]{0,62}"
_HOST_LABEL = r"(?!-)[a-z0-9-]{1,63}(?<!-)"

_GRAMMAR = {
    "Group": _NAME,
    "Device": r"[a-z0-9][a-z0-9._:-]{0,127}",
    "Agent": r"[a-z0-9][a-z0-9._:-]{0,127}",
    "Toolset": _NAME,
    "Tool": r"[a-z][a-z0-9_]{0,62}",
    "Workspace": _PART,
    "Secret": rf"(global|(device|agent|tool|source)/{_PART})/{_PART}",
    "Host": rf"{_HOST_LABEL}(\.{_HOST_LABEL})*",
    "Call": r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}",
    "Daemon": r"stockade",
    "AlertRule": r"[a-z][a-z_]{0,62}",
    "Action": r"[a-z][a-z_]{0,62}",
}
_COMPILED = {name: re.compile(pattern) for name, pattern in _GRAMMAR.items()}
_HOST_BYTES = 253  # RFC 1035, 2.3.4, without the root's dot


def is_valid_id(uid: EntityUid) -> bool:
    """Whether the type exists and the id follows its grammar."""
    pattern = _COMPILED.get(uid.type)
    if pattern is None:
        return False
    if uid.type == "Host":
        return _is_host(uid.id)
    return pattern.fullmatch(uid.id) is not None


def checked(uid: EntityUid) -> EntityUid:
    """The same uid, or `EntityError` (BAD_ID)."""
    if is_valid_id(uid):
        return uid
    raise EntityError(
        "BAD_ID",
        f"{uid.type}::{uid.id!r} is no id of a {uid.type}",
        f"ids of this type match {_GRAMMAR.get(uid.type, 'nothing: there is no such type')}",
    )


def _is_host(text: str) -> bool:
    """A lower-case DNS name without a trailing dot, or an address in its one canonical form.

    Decimal, octal, hex and short forms of an IPv4 address would be names for the same host.
    """
    if _is_numeric(text):
        return _is_canonical_address(text)
    return len(text) <= _HOST_BYTES and _COMPILED["Host"].fullmatch(text) is not None


def _is_canonical_address(text: str) -> bool:
    """No zone, and no IPv4 address written as IPv6: both would be second names of a host."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and (address.ipv4_mapped or address.scope_id):
        return False
    return str(address) == text


def _is_numeric(text: str) -> bool:
    """Whether a resolver would read it as an address: by WHATWG, the last label is a number."""
    last = text.rsplit(".", 1)[-1]
    return ":" in text or last.isdecimal() or re.fullmatch(r"0x[0-9a-f]*", last) is not None

"""Names: trust domain, device id, agent name, and the SPIFFE id that carries them.

Trusted to decide whether two names are the same name. It does so by allowing each name exactly
one spelling: no case folding, no percent-decoding, no Unicode, no normalisation. Whatever is not
that one spelling is refused with NAME_MALFORMED (SAN_FOREIGN_DOMAIN for another trust domain),
because a second spelling of a name is how a `forbid` is stepped around.

The forms are those of the SPIFFE-ID standard (section 2), narrowed; these types are strings, so
that databases and Cedar take them, but none can be made from text that is not in its form.
"""

import base64
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Final, Literal, NewType, Self, final

from identity.errors import Code, NamingError, shown

Serial = NewType("Serial", str)
"""A certificate's serial number in lower-case hexadecimal, without leading zeros."""

_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_SEGMENT = r"[a-z0-9][a-z0-9._-]{0,62}"
_SPIFFE: Final = re.compile(r"spiffe://([^/]*)/(device|agent)/([^/]*)")
_SPIFFE_MAX: Final = 2048  # SPIFFE-ID 2.3


class _Name(str):
    """A string that can only exist in one form."""

    __slots__ = ()
    _form: ClassVar[re.Pattern[str]]
    _what: ClassVar[str]
    _fix: ClassVar[str]
    _limit: ClassVar[int]

    def __new__(cls, text: str) -> Self:
        # fullmatch, never match with "$": "$" also matches before a final newline.
        if len(text) > cls._limit or not cls._form.fullmatch(text) or ".." in text:
            raise NamingError(
                Code.NAME_MALFORMED, f"{shown(text)} is not a {cls._what}", f"use {cls._fix}"
            )
        return super().__new__(cls, text)


@final
class TrustDomain(_Name):
    """The name all certificates of one installation share; lower-case DNS labels."""

    __slots__ = ()
    _form = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
    _what = "trust domain"
    _fix = "lower-case letters, digits and hyphens in labels joined by dots, 255 in all"
    _limit = 255


@final
class DeviceId(_Name):
    """A paired client: "dev-" and 80 random bits in lower-case base32."""

    __slots__ = ()
    _form = re.compile(r"dev-[a-z2-7]{16}")
    _what = "device id"
    _fix = 'the id `stockade devices list` shows: "dev-" and 16 of a-z and 2-7'
    _limit = 20

    @classmethod
    def generate(cls, random: Callable[[int], bytes] = os.urandom) -> "DeviceId":
        """Make a new id; the daemon chooses it, never the device."""
        return cls("dev-" + base64.b32encode(random(10)).decode("ascii").lower())


@final
class AgentName(_Name):
    """An agent, named by the device that enrolls it."""

    __slots__ = ()
    _form = re.compile(_SEGMENT)
    _what = "agent name"
    _fix = "1 to 63 of a-z, 0-9, dot, underscore and hyphen, the first a letter or digit, no .."
    _limit = 63


@final
@dataclass(frozen=True, slots=True)
class PrincipalName:
    """Who a certificate speaks for. The kind is part of the name: a device is never an agent."""

    kind: Literal["device", "agent"]
    id: DeviceId | AgentName

    def __post_init__(self) -> None:
        # Rebuilt, so that a plain string passed by unchecked code cannot slip in.
        form = DeviceId if self.kind == "device" else AgentName
        object.__setattr__(self, "id", form(self.id))


def parse_spiffe(uri: str, trust_domain: TrustDomain) -> PrincipalName:
    """Read `spiffe://<trust-domain>/device/<id>` or `/agent/<name>` of our own trust domain.

    The trust domain is an argument so that no caller can forget to compare it.
    """
    found = _SPIFFE.fullmatch(uri) if len(uri) <= _SPIFFE_MAX else None
    if found is None:
        raise NamingError(
            Code.NAME_MALFORMED,
            f"{shown(uri)} is not the SPIFFE id of a device or agent",
            "use spiffe://<trust-domain>/device/<id> or spiffe://<trust-domain>/agent/<name>",
        )
    domain, kind, name = found.groups()
    if TrustDomain(domain) != trust_domain:
        raise NamingError(
            Code.SAN_FOREIGN_DOMAIN,
            f"{shown(uri)} belongs to another trust domain than {trust_domain}",
            "pair this client with the daemon it is meant to reach",
        )
    if kind == "device":
        return PrincipalName("device", DeviceId(name))
    return PrincipalName("agent", AgentName(name))


def spiffe_uri(trust_domain: TrustDomain, name: PrincipalName) -> str:
    """Write the SPIFFE id of a principal; the inverse of `parse_spiffe`."""
    return f"spiffe://{trust_domain}/{name.kind}/{name.id}"


def daemon_uri(trust_domain: TrustDomain) -> str:
    """Write the daemon's own SPIFFE id. It is no principal: `parse_spiffe` refuses it."""
    return f"spiffe://{trust_domain}/daemon"


def serial_of(number: int) -> Serial:
    """Write a certificate's serial number as text: it has up to 160 bits, databases have 64."""
    return Serial(format(number, "x"))

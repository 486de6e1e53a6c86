"""The names a daemon's own certificate may carry: DNS names and IP addresses, in one spelling.

Trusted to let no wildcard, no look-alike and no address nobody can dial into a server
certificate. Raises `RequestError` (SERVER_NAME_REFUSED).
"""

import ipaddress
import re
from collections.abc import Sequence
from typing import Final

from cryptography import x509

from identity.errors import Code, RequestError, shown

_MAX_NAMES: Final = 64
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
# The last label needs a letter: "127.1" is an address to some resolvers and a name to others.
_DNS: Final = re.compile(rf"(?:{_LABEL}\.)*(?=[a-z0-9-]*[a-z]){_LABEL}")


def general_names(
    dns_names: Sequence[str], ip_addresses: Sequence[str]
) -> list[x509.DNSName | x509.IPAddress]:
    """Check every name and return them without repetition, in order."""
    if not 0 < len(dns_names) + len(ip_addresses) <= _MAX_NAMES:
        raise _refused(f"a server needs 1 to {_MAX_NAMES} names")
    names = [_dns(name) for name in dns_names] + [_address(text) for text in ip_addresses]
    return list(dict.fromkeys(names))


def _dns(name: str) -> x509.DNSName | x509.IPAddress:
    if len(name) > 253 or not _DNS.fullmatch(name):
        raise _refused(f"{shown(name)} is not a lower-case DNS name")
    return x509.DNSName(name)


def _address(text: str) -> x509.DNSName | x509.IPAddress:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise _refused(f"{shown(text)} is not an IP address") from None
    scoped = isinstance(address, ipaddress.IPv6Address) and address.scope_id is not None
    if scoped or address.is_unspecified or address.is_multicast:
        raise _refused(f"{shown(text)} is not an address a client can dial")
    return x509.IPAddress(address)


def _refused(message: str) -> RequestError:
    return RequestError(
        Code.SERVER_NAME_REFUSED,
        message,
        "name the host and addresses clients dial, without wildcards",
    )

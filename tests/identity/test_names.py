"""Names have one spelling."""

import pickle
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from identity.errors import Code, IdentityError, NamingError
from identity.names import (
    AgentName,
    DeviceId,
    PrincipalName,
    TrustDomain,
    daemon_uri,
    parse_spiffe,
    spiffe_uri,
)
from tests.identity.making import DEVICE, DEVICE_URI, DOMAIN

agent_names = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,62}", fullmatch=True).filter(
    lambda text: ".." not in text
)


def test_a_device_id_is_read_back() -> None:
    """The inverse of a device's SPIFFE id is the device."""
    principal = PrincipalName("device", DEVICE)
    assert spiffe_uri(DOMAIN, principal) == DEVICE_URI
    assert parse_spiffe(DEVICE_URI, DOMAIN) == principal


@given(agent_names)
def test_an_agent_name_is_read_back(name: str) -> None:
    """The inverse of an agent's SPIFFE id is the agent."""
    principal = PrincipalName("agent", AgentName(name))
    assert parse_spiffe(spiffe_uri(DOMAIN, principal), DOMAIN) == principal


@pytest.mark.parametrize(
    "text",
    [
        "",
        DEVICE_URI + "\n",
        DEVICE_URI + "/",
        DEVICE_URI + "?x=1",
        DEVICE_URI + "#x",
        DEVICE_URI + "%00",
        DEVICE_URI + "\x00",
        DEVICE_URI.upper(),
        DEVICE_URI.replace("spiffe:", "SPIFFE:"),
        DEVICE_URI.replace("spiffe:", "https:"),
        DEVICE_URI.replace("/device/", "//device/"),
        DEVICE_URI.replace("/device/", "/device//"),
        DEVICE_URI.replace("/device/", "/Device/"),
        DEVICE_URI.replace("/device/", "/daemon/"),
        DEVICE_URI.replace("/device/", "/%64evice/"),
        DEVICE_URI.replace("stockade.example", "Stockade.example"),
        DEVICE_URI.replace("stockade.example", "stockade.example:443"),
        DEVICE_URI.replace("stockade.example", "user@stockade.example"),
        DEVICE_URI.replace("stockade.example", "stockade.example."),
        DEVICE_URI.replace("stockade.example", ""),
        DEVICE_URI.replace("dev-a", "dev-A"),
        DEVICE_URI.replace("dev-a", "dev-\u0430"),
        DEVICE_URI.replace("dev-a", "dev-1"),
        f"spiffe://{DOMAIN}/agent/",
        f"spiffe://{DOMAIN}/agent/.",
        f"spiffe://{DOMAIN}/agent/..",
        f"spiffe://{DOMAIN}/agent/a..b",
        f"spiffe://{DOMAIN}/agent/a b",
        f"spiffe://{DOMAIN}/agent/\u212a",
        f"spiffe://{DOMAIN}/agent/" + "a" * 64,
        f"spiffe://{DOMAIN}/agent/a/../b",
        "spiffe://" + "a" * 3000 + "/agent/a",
        f"spiffe://{DOMAIN}/daemon",
        f"spiffe://{DOMAIN}",
    ],
)
def test_a_second_spelling_is_refused(text: str) -> None:
    """Case, Unicode, extra slashes, percent-encoding, queries and the daemon's id are refused."""
    with pytest.raises(NamingError) as refusal:
        parse_spiffe(text, DOMAIN)
    assert refusal.value.code is Code.NAME_MALFORMED
    assert refusal.value.fix


@pytest.mark.parametrize(
    "domain",
    ["other.example", "evilstockade.example", "stockade.example.evil", "sub.stockade.example"],
)
def test_a_foreign_trust_domain_is_refused(domain: str) -> None:
    """A neighbouring, prefixed, suffixed or sub-domain is another trust domain."""
    with pytest.raises(NamingError) as refusal:
        parse_spiffe(f"spiffe://{domain}/agent/a", DOMAIN)
    assert refusal.value.code is Code.SAN_FOREIGN_DOMAIN


@pytest.mark.parametrize(
    "text", ["", ".", "a.", ".a", "a..b", "-a", "a-", "A", "a_b", "ä", "a" * 64]
)
def test_a_trust_domain_is_dns_labels(text: str) -> None:
    """A trust domain that is no lower-case DNS name is refused."""
    with pytest.raises(NamingError):
        TrustDomain(text)


def test_device_ids_come_from_eighty_random_bits() -> None:
    """A generated id encodes exactly the random bytes it was given."""
    asked = []
    numbers = count()

    def random(size: int) -> bytes:
        asked.append(size)
        return bytes([next(numbers)] * size)

    assert DeviceId.generate(random) == "dev-aaaaaaaaaaaaaaaa"
    assert DeviceId.generate(random) == "dev-aeaqcaibaeaqcaib"
    assert asked == [10, 10]
    assert DeviceId.generate() != DeviceId.generate()


def test_a_principal_cannot_hold_the_wrong_kind_of_name() -> None:
    """An agent's name is no device id, even for code that goes round the types."""
    with pytest.raises(NamingError):
        PrincipalName("device", AgentName("builder"))
    assert PrincipalName("agent", AgentName("a")) != PrincipalName("device", DEVICE)


def test_a_name_survives_pickling_as_itself() -> None:
    """A name that crossed a process boundary is still in its form."""
    assert type(pickle.loads(pickle.dumps(DEVICE))) is DeviceId  # noqa: S301 - our own bytes


def test_the_daemon_is_no_principal() -> None:
    """The daemon's own SPIFFE id parses as nobody."""
    with pytest.raises(NamingError):
        parse_spiffe(daemon_uri(DOMAIN), DOMAIN)


@given(st.text(max_size=300))
def test_no_text_breaks_the_parser(text: str) -> None:
    """Garbage raises the package's error or nothing, and what parses is spelled one way."""
    for candidate in (text, f"spiffe://{DOMAIN}/agent/{text}", f"spiffe://{text}/agent/a"):
        try:
            principal = parse_spiffe(candidate, DOMAIN)
        except IdentityError as error:
            said = str(error)
        else:
            said = spiffe_uri(DOMAIN, principal)
            assert said == candidate
        assert said.isascii()

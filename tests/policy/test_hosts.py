"""Hosts that tools want to reach: in the domains above them, and in no other."""

import pytest

from policy.entities import HostEntity
from policy.pdp import Question
from tests.policy.world import context_for, pdp, uid

CONNECT = 'principal, action == Action::"connect"'


@pytest.mark.parametrize(
    ("host", "domain", "within"),
    [
        ("api.example.com", "example.com", True),
        ("example.com", "example.com", True),
        ("a.b.example.com", "com", True),
        ("evilexample.com", "example.com", False),
        ("example.com.evil.net", "example.com", False),
    ],
)
def test_a_host_is_in_the_domains_above_it(host: str, domain: str, within: bool) -> None:
    """Label by label: no suffix without a boundary, and an address in none."""
    text = f'permit ({CONNECT}, resource in Host::"{domain}");'
    _, context, _ = context_for("connect")
    question = Question(
        uid("Device::dev-callers"), "connect", HostEntity(host).uid, context, (HostEntity(host),)
    )
    assert pdp(text).decide(question).allowed is within


def test_a_host_is_matched_by_name_too() -> None:
    """What no domain says, `like` can."""
    text = f'permit ({CONNECT}, resource) when {{ resource.name like "api.*" }};'
    _, context, _ = context_for("connect")
    for host, allowed in (("api.example.com", True), ("www.example.com", False)):
        entity = HostEntity(host)
        question = Question(uid("Device::dev-callers"), "connect", entity.uid, context, (entity,))
        assert pdp(text).decide(question).allowed is allowed


@pytest.mark.parametrize("address", ["10.0.0.1", "::1", "2001:db8::1"])
def test_an_address_is_in_no_domain(address: str) -> None:
    """Its parts are no labels."""
    assert HostEntity(address).parents == ()

"""Whose a secret is: agent B does not get what is agent A's, whatever policy grants."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from daemon.principal import Principal
from daemon.vault.scope import not_its_own


def caller(device: str, agent: str = "") -> Principal:
    found: Any = SimpleNamespace(
        device_id=device, agent=SimpleNamespace(agent_id=agent) if agent else None
    )
    return cast("Principal", found)


@pytest.mark.parametrize(
    ("reference", "who", "own"),
    [
        ("secret://global/a", caller("dev-1"), True),
        ("secret://global/a", caller("dev-1", "a-1"), True),
        ("secret://tool/push/a", caller("dev-1"), True),
        ("secret://tool/pull/a", caller("dev-1"), False),
        ("secret://device/dev-1/a", caller("dev-1"), True),
        ("secret://device/dev-2/a", caller("dev-1"), False),
        ("secret://device/dev-1/a", caller("dev-1", "a-1"), False),
        ("secret://agent/a-1/a", caller("dev-1", "a-1"), True),
        ("secret://agent/a-1/a", caller("dev-1", "a-2"), False),
        ("secret://agent/a-1/a", caller("dev-1"), False),
        ("secret://GLOBAL/a", caller("dev-1"), False),
        ("no reference", caller("dev-1"), False),
    ],
)
def test_a_secret_is_its_owners_alone(reference: str, who: Principal, own: bool) -> None:
    """Everybody's, the tool's, the caller's own; not a device's for its agent, nor the reverse."""
    assert not_its_own(["secret://global/x", reference], who, "push") == (
        None if own else reference
    )

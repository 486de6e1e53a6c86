"""Whose a secret is: everybody's, or one device's, agent's or tool's.

Trusted to let a call name only secrets that are everybody's, its tool's, or its caller's own: a
device's are not its agents', nor an agent's its device's. What another source keeps is everybody's.
Whether the call may use them is then
policy's to say. Pure.
"""

from collections.abc import Sequence

from daemon.principal import Principal
from vault.errors import VaultError
from vault.reference import GLOBAL, parse_reference


def not_its_own(references: Sequence[str], principal: Principal, tool: str) -> str | None:
    """The first of these secrets that is somebody else's; None if there is none."""
    agent = principal.agent.agent_id if principal.agent else None
    own = {"tool": tool, "agent": agent, "device": None if agent else principal.device_id}
    for reference in references:
        try:
            scope = parse_reference(reference).scope
        except VaultError:
            return reference  # no name that any secret can have
        kind, _, owner = scope.partition("/")
        if scope.source is None and scope != GLOBAL and own.get(kind) != owner:
            return reference
    return None

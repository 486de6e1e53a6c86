"""One daemon a module, with an owner, an approver and a caller."""

from tests.promises.conftest import approver, approver_home, caller, owner

__all__ = ["approver", "approver_home", "caller", "owner"]

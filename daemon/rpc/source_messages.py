"""What was found of the other sources of secrets, as messages. Pure."""

from daemon.elsewhere.checking import Checked, Held
from daemon.errors import Fault
from stockade.v1 import secret_pb2

Response = secret_pb2.CheckSourcesResponse


def source_to_proto(one: Checked) -> secret_pb2.CheckSourcesResponse.Source:
    """A source with its secrets."""
    return Response.Source(
        name=one.name,
        kind=one.kind,
        place=one.place,
        reachable=one.reachable,
        authenticated=one.authenticated,
        why=_why(one.fault),
        secrets=[_held(held) for held in one.secrets],
    )


def _held(held: Held) -> secret_pb2.CheckSourcesResponse.Held:
    return Response.Held(
        reference=held.reference,
        present=held.version is not None,
        version=held.version or 0,
        revoked=held.revoked,
        why=_why(held.fault),
    )


def _why(fault: Fault | None) -> secret_pb2.CheckSourcesResponse.Why | None:
    if fault is None:
        return None
    return Response.Why(code=fault.code, message=fault.message, fix=fault.fix)

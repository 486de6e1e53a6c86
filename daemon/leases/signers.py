"""Who signed a lease: one person, or several who signed the very same terms.

The one whose signature completed it is in the columns of its row, the others in `cosigned`:
canonical JSON, a list of {"device", "signature" (hex), "certificate" (PEM)}. Pure. Trusted to give
each device once. Leaves `LeaseError` for what another hand wrote there.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

from daemon.store.leases import LeaseRow
from stockade.canonical import canonical
from stockade.lease import LeaseError


@dataclass(frozen=True, slots=True)
class Signer:
    """A device and its signature over a lease, with the certificate that it is by."""

    device_id: str
    signature: bytes = field(repr=False)
    certificate: bytes = field(repr=False)

    def to_json(self) -> dict[str, str]:
        """As a receipt has it."""
        return {
            "approver": f"device/{self.device_id}",
            "signature": self.signature.hex(),
            "certificate": self.certificate.decode("ascii"),
        }


def cosigned(others: Sequence[Signer]) -> bytes | None:
    """The signatures beside the row's own, as they are stored; None if there are none."""
    if not others:
        return None
    return canonical(
        [
            {
                "device": one.device_id,
                "signature": one.signature.hex(),
                "certificate": one.certificate.decode("ascii"),
            }
            for one in others
        ]
    )


def signers_of(row: LeaseRow) -> tuple[Signer, ...]:
    """All who signed it, the one who completed it first."""
    first = Signer(str(row.signer), row.signature, row.certificate)
    return (first, *_others(row, first.device_id))


def signed_by(row: LeaseRow, device_id: str) -> bool:
    """Whether this device is one of those who signed it."""
    return any(one.device_id == device_id for one in signers_of(row))


def _others(row: LeaseRow, first: str) -> tuple[Signer, ...]:
    if row.cosigned is None:
        return ()
    try:
        found = tuple(
            Signer(
                str(one["device"]),
                bytes.fromhex(one["signature"]),
                str(one["certificate"]).encode("ascii"),
            )
            for one in json.loads(row.cosigned)
        )
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise LeaseError(f"not the signatures of a lease: {type(error).__name__}") from None
    names = {first, *(one.device_id for one in found)}
    if not found or len(names) != len(found) + 1 or cosigned(found) != row.cosigned:
        raise LeaseError("the signatures of a lease are not what was stored")
    return found

"""Who could administer this daemon: that somebody always can.

Trusted to count as an owner nobody who can never connect again. A device whose certificates have
ended would have to be paired anew, by an owner; but the local device gets another certificate by
`stockade up`. Pure but for the registry it is given. Raises nothing.
"""

from itertools import islice

from daemon.identity.devices import OWNERS, Devices


def is_last_owner(devices: Devices, device_id: str, local: str) -> bool:
    """Whether nobody could administer this daemon without that device; `local` is its own."""
    asked = devices.get(device_id)
    if asked is None or OWNERS not in asked.groups:
        return False
    owners = (
        str(device.row.device_id)
        for device in devices.active
        if OWNERS in device.groups and f"device/{device.row.device_id}" not in devices.suspended
    )
    able = (own for own in owners if own in (device_id, local) or devices.can_connect(own))
    return list(islice(able, 2)) == [device_id]

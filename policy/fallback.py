"""What is in force where no valid policy set is: nothing, but to see so and to mend it.

Trusted to permit no call. Everyone paired may ask what the daemon's state is; the device of the
daemon's own machine, whose user could change its files and its database as well, may put a set in
force. Pure; raises nothing.
"""

import json

FILE = "no-valid-policy.cedar"

_SEE = """\
// The policy set that should be in force is not valid: `stockade status` says why.
@id("no-valid-policy-see")
permit (principal, action in Action::"greet", resource);
"""
_MEND = """\
@id("no-valid-policy-mend")
permit (principal == Device::{device}, action in Action::"administer", resource);
"""


def fallback_files(local_device: str) -> dict[str, str]:
    """A set for a daemon whose own machine's device is this; empty, if it has none."""
    mend = _MEND.format(device=json.dumps(local_device)) if local_device else ""
    return {FILE: _SEE + mend}

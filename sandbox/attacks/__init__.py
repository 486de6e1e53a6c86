"""The battery: attacks that a tier has to hold, each beside a control that shows it can succeed.

An attack counts as held only if the same program, with one grant more, does produce the effect:
otherwise it may have failed for a reason that is no control of ours. Effects are judged from
outside, or by a token that the program could not have had otherwise; never by what it claims.

Trusted to be harmless on a user's machine: it writes only below the directory it is given, sends
nothing beyond loopback, ends only processes it started, and bounds every bomb. Raises nothing for
an attack that cannot be staged here; its row says so.
"""

from sandbox.attacks.attack import Attack, Row, Verdict
from sandbox.attacks.battery import ATTACKS, run_battery

__all__ = ["ATTACKS", "Attack", "Row", "Verdict", "run_battery"]

"""The measures, by the part they measure."""

from collections.abc import Sequence

from bench.measures import (
    activation,
    approval,
    bombs,
    calls,
    connections,
    devices,
    engines,
    ledger,
    ledger_long,
    load,
    many_secrets,
    policy,
    rates,
    rest,
    revoked,
    start,
    vault,
)
from bench.plan import Measure

# A start is measured before anything else has warmed or loaded the machine.
ALL: Sequence[Measure] = (
    *start.MEASURES,
    *rest.MEASURES,
    *calls.MEASURES,
    *engines.MEASURES,
    *bombs.MEASURES,
    *approval.MEASURES,
    *connections.MEASURES,
    *devices.MEASURES,
    *revoked.MEASURES,
    *rates.MEASURES,
    *load.MEASURES,
    *policy.MEASURES,
    *activation.MEASURES,
    *vault.MEASURES,
    *many_secrets.MEASURES,
    *ledger.MEASURES,
    *ledger_long.MEASURES,
)

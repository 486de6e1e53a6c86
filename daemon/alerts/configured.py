"""Alerts as configured. Raises `StartError` (ALERT_KEY_UNUSABLE) without the webhook's key."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from daemon.alerts.hook import Hook
from daemon.alerts.line import Line, Way
from daemon.alerts.program import Program
from daemon.alerts.rules import Bursts, Rules, Severity
from daemon.alerts.telling import Alerts
from daemon.config.alerting import Alerting
from daemon.errors import StartError
from daemon.foundation import Foundation
from identity.credential import load_credential
from identity.errors import IdentityError
from vault.errors import VaultError
from vault.privatefile import read_private

LEAST_BYTES, MOST_BYTES = 32, 4096
_SEVERITIES: Final = {severity.word: severity for severity in Severity}


def configured(base: Foundation) -> Alerts:
    """For this daemon."""
    config = base.config.alerts
    return Alerts(
        Rules(
            Bursts(
                denied=config.denied_per_minute,
                strangers=config.strangers_per_minute,
                asked=config.asked_per_minute,
            )
        ),
        _SEVERITIES[config.least],
        [Line(way, base.estate.chain_id) for way in _ways(base, config)],
        base.clock.now_ms,
    )


def _ways(base: Foundation, config: Alerting) -> Iterator[Way]:
    if config.webhook:
        yield Hook(config.webhook, _key(config))
    if config.command:
        yield Program(config.command, config.command_seconds, base.estate.home.data)


def _key(config: Alerting) -> bytes:
    try:
        if config.webhook_key_credential:
            key = load_credential(config.webhook_key_credential)
        else:
            key = read_private(Path(config.webhook_key_file), MOST_BYTES)
    except (IdentityError, VaultError) as error:
        raise _unusable(error.message) from None
    key = key.strip()
    if not LEAST_BYTES <= len(key) <= MOST_BYTES:
        raise _unusable(f"it has {len(key)} bytes")
    return key


def _unusable(why: str) -> StartError:
    return StartError(
        f"the key of alerts.webhook cannot be used: {why}",
        code="ALERT_KEY_UNUSABLE",
        fix=f"put {LEAST_BYTES} to {MOST_BYTES} bytes into a file of mode 0600:"
        " openssl rand -hex 32 > FILE",
    )

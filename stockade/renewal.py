"""Keeping the certificate of a client that stays open good: a thread that renews it in time.

Streams need nothing done: the daemon lets them go on while their key has a certificate. Another
process of this device may have renewed it already; then that one is taken up. Failing costs nobody
anything until the certificate ends, so it is tried again and logged, and never raised.
"""

import logging
import threading
import weakref
from datetime import timedelta
from typing import TYPE_CHECKING

from stockade.credentials import load_credentials, now
from stockade.errors import StockadeError
from stockade.home import Home

if TYPE_CHECKING:
    from stockade.client import Client

# The wall clock is looked at so often: a machine that slept wakes up with less time left.
STEP_SECONDS = 60.0
_SHORTEST = 0.2

_log = logging.getLogger("stockade")


def keep_renewed(client: "Client", home: Home, closed: threading.Event) -> None:
    """Starts the thread; it ends when the client is closed, or forgotten."""
    reference = weakref.ref(client)
    threading.Thread(
        target=_run, args=(reference, home, closed), name="stockade-renewal", daemon=True
    ).start()


def _run(reference: "weakref.ref[Client]", home: Home, closed: threading.Event) -> None:
    seconds = 0.0
    while not closed.wait(seconds):
        client = reference()
        if client is None:
            return
        seconds = _step(client, home, closed)
        del client  # or waiting would keep it


def _step(client: "Client", home: Home, closed: threading.Event) -> float:
    """Renews if it is time; how long to wait then."""
    client.tidy()
    if client.credentials.renewal_due(now()):
        try:
            _take_up(client, home)
        except StockadeError as error:
            _log.warning("the certificate was not renewed: %s", error)
        except ValueError:  # gRPC's word for a channel that was closed meanwhile
            if not closed.is_set():
                raise
    return _wait(client)


def _take_up(client: "Client", home: Home) -> None:
    stored = load_credentials(home.client)
    if stored.certificate != client.credentials.certificate and not stored.renewal_due(now()):
        client.use(stored)
    else:
        client.renew_certificate(home)


def _wait(client: "Client") -> float:
    credentials, moment = client.credentials, now()
    left = credentials.renewal_time() - moment
    if left <= timedelta(0):
        # Due, and it did not work: some tries before the end.
        left = (credentials.lifetime()[1] - moment) / 5
        if left <= timedelta(0):
            return STEP_SECONDS
    return min(max(left.total_seconds() + 0.05, _SHORTEST), STEP_SECONDS)

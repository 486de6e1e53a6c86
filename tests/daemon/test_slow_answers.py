"""Attack: a server that the operator named answers a byte at a time, or has a name that is none.

No thread of the daemon may be held by it for longer than the time that was given, nor the daemon
ended by it.
"""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from daemon import webhook
from daemon.config import parse_config
from daemon.elsewhere.exchange import get
from daemon.errors import ConfigError
from daemon.ledger.checkpoint_places import PlaceError, Syslog, Webhook

ANSWER = b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\nX-Slow: " + b"a" * 60 + b"\r\n\r\nok"


@contextmanager
def dripping(every: float = 0.05) -> Iterator[int]:
    """A server that ends its answer after a few seconds, if anybody waits; gives its port."""
    over = threading.Event()

    def serve(listener: socket.socket) -> None:
        with suppress(OSError):
            connection, _ = listener.accept()
            with connection:
                connection.recv(65_536)
                for byte in ANSWER:
                    if over.wait(every):
                        return
                    connection.sendall(bytes((byte,)))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            over.set()
            thread.join()


def test_a_webhook_that_drips_is_hung_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each byte comes in time, the whole does not."""
    monkeypatch.setattr(webhook, "WHOLE_SECONDS", 0.5)
    with dripping() as port, pytest.raises(OSError, match=r"."):
        webhook.post(f"http://127.0.0.1:{port}/", b"{}", {})


def test_a_source_of_secrets_that_drips_is_hung_up_on() -> None:
    """Who waits gives up at that time; the thread has to end with it, or there is one a call."""
    with dripping() as port, pytest.raises(TimeoutError):
        get(f"http://127.0.0.1:{port}", "/", {}, seconds=0.5, most=100, context=None)


NO_URLS = (
    "http://127.0.0.1:http/",
    "http://127.0.0.1:99999/",
    "http://[::1/",
    "http://a..b.invalid/",
    "https://x\u00e4.invalid/\u00e4",
)


@pytest.mark.parametrize("url", NO_URLS)
def test_a_url_that_is_none_is_an_undelivered_post(url: str) -> None:
    """It ends the task that posts no more than a server that is away would."""
    with pytest.raises(OSError, match=r"."):
        webhook.post(url, b"{}", {})


@pytest.mark.parametrize("url", [*NO_URLS, "http://127.0.0.1:0/"])
def test_a_url_that_is_none_is_refused_in_the_configuration(url: str) -> None:
    """Said when the file is read, and not at the first alert."""
    for text in (
        f'[ledger]\ncheckpoint_webhook = "{url}"\n',
        f'[alerts]\nwebhook = "{url}"\nwebhook_key_file = "/k"\n',
    ):
        with pytest.raises(ConfigError):
            parse_config(text.encode(), "config.toml")


def test_a_place_that_is_none_is_a_place_that_is_away() -> None:
    """A port beyond all ports keeps a checkpoint from nowhere else."""
    for place in (
        Syslog("udp:127.0.0.1:99999"),
        Syslog("tcp:127.0.0.1:99999"),
        Webhook(NO_URLS[1]),
    ):
        with pytest.raises(PlaceError):
            place.deliver(b"note")

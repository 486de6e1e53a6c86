"""Where checkpoints are kept besides the database: a file, a syslog, a webhook.

Trusted to hand over the note whole or to raise PlaceError with what to do; the file is replaced in
one step, and never by a checkpoint of a shorter ledger. All of it blocks, and may hang with the
disk or the network: run it in a thread that nobody waits for. Raises PlaceError alone.
"""

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import urlsplit

from daemon.config import Ledger
from daemon.durable import sync_folder
from daemon.errors import Unavailable
from daemon.webhook import post
from ledger.checkpoint import Checkpoint, parse_checkpoint
from ledger.errors import LedgerError
from ledger.keys import Keys
from ledger.note import MAX_NOTE

TIMEOUT_SECONDS: Final = 10.0
# local0 and notice: what syslogs keep by default.
_PRIORITY: Final = 16 * 8 + 5


class PlaceError(Unavailable):
    """A checkpoint could not be handed over."""

    code = "CHECKPOINT_UNDELIVERED"


class Place(Protocol):
    """One place."""

    @property
    def name(self) -> str:
        """As status has it."""
        ...

    def deliver(self, note: bytes) -> None:
        """Keep it there."""
        ...


@dataclass(frozen=True, slots=True)
class KeptFile:
    """A file that holds the newest checkpoint."""

    path: Path
    keys: Keys

    @property
    def name(self) -> str:
        """See `Place`."""
        return f"file {self.path}"

    def read(self) -> Checkpoint | None:
        """What it holds; None if there is no file. Raises PlaceError, also for what is no note."""
        try:
            with self.path.open("rb") as file:
                note = file.read(MAX_NOTE + 1)
        except OSError as error:
            # No folder is no answer: what it is on may not be mounted.
            if isinstance(error, FileNotFoundError) and self.path.parent.is_dir():
                return None
            raise _unusable(self.path, error) from None
        try:
            return parse_checkpoint(note, self.keys)
        except LedgerError as error:
            raise PlaceError(
                f"{self.path} holds no checkpoint of this ledger: {error.message}",
                code="CHECKPOINT_FILE_OTHER",
                fix="name another file in ledger.checkpoint_file, or find out who wrote this one",
            ) from None

    def deliver(self, note: bytes) -> None:
        """See `Place`."""
        found, checkpoint = self.read(), parse_checkpoint(note, self.keys)
        if found is not None and found.size > checkpoint.size:
            raise PlaceError(
                f"{self.path} vouches for {found.size} receipts, the ledger has {checkpoint.size}",
                code="LEDGER_ROLLED_BACK",
                fix="find out who put an older ledger back; keep the file",
            )
        fresh = self.path.with_name(self.path.name + ".new")
        try:
            # Whoever else writes in that folder may have laid a link there.
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
            with os.fdopen(os.open(fresh, flags, 0o644), "wb") as file:
                file.write(note)
                file.flush()
                os.fchmod(file.fileno(), 0o644)  # anybody may have it; that is what it is for
                os.fsync(file.fileno())
            fresh.replace(self.path)
            sync_folder(self.path.parent)
        except OSError as error:
            raise _unusable(self.path, error) from None


@dataclass(frozen=True, slots=True)
class Syslog:
    """A syslog: local by its socket, or by UDP or TCP."""

    target: str

    @property
    def name(self) -> str:
        """See `Place`."""
        return f"syslog {self.target}"

    def deliver(self, note: bytes) -> None:
        """See `Place`."""
        # Newlines would end the message: it travels as one line of JSON.
        said = json.dumps({"checkpoint": note.decode()})
        with _reaching(self.name):
            if self.target.startswith("/"):
                _send(socket.AF_UNIX, self.target, f"<{_PRIORITY}>stockade[{os.getpid()}]: {said}")
                return
            kind, _, rest = self.target.partition(":")
            host, _, port = rest.rpartition(":")
            message = f"<{_PRIORITY}>1 - {socket.gethostname()} stockade {os.getpid()} - - {said}"
            where = (host.strip("[]"), int(port))
            if kind == "udp":
                family, *_ = socket.getaddrinfo(*where, type=socket.SOCK_DGRAM)[0]
                _send(family, where, message)
            else:
                with socket.create_connection(where, TIMEOUT_SECONDS) as stream:
                    data = message.encode()
                    stream.sendall(b"%d %b" % (len(data), data))  # RFC 6587, 3.4.1


@dataclass(frozen=True, slots=True)
class Webhook:
    """A URL that notes are posted to. No proxy, no redirect: the operator named this one."""

    url: str

    @property
    def name(self) -> str:
        """See `Place`; without the path, which may hold a token."""
        return f"webhook {urlsplit(self.url).netloc}"

    def deliver(self, note: bytes) -> None:
        """See `Place`."""
        with _reaching(self.name):
            status = post(self.url, note, {"Content-Type": "text/plain; charset=utf-8"})
        if not 200 <= status < 300:
            raise PlaceError(f"{self.name} answered {status}", fix="see its own log")


def places_of(config: Ledger, keys: Keys) -> tuple[Place, ...]:
    """The places that the configuration names."""
    found: list[Place] = []
    if config.checkpoint_file:
        found.append(KeptFile(Path(config.checkpoint_file), keys))
    if config.checkpoint_syslog:
        found.append(Syslog(config.checkpoint_syslog))
    if config.checkpoint_webhook:
        found.append(Webhook(config.checkpoint_webhook))
    return tuple(found)


def _send(family: int, address: str | tuple[str, int], message: str) -> None:
    with socket.socket(family, socket.SOCK_DGRAM) as one:
        one.settimeout(TIMEOUT_SECONDS)
        one.sendto(message.encode(), address)


@contextmanager
def _reaching(name: str) -> Iterator[None]:
    try:
        yield
    except (OSError, UnicodeError, OverflowError) as error:  # a port may be none
        raise PlaceError(
            f"{name}: {getattr(error, 'strerror', None) or type(error).__name__}",
            fix="see that it is up and can be reached from here",
        ) from None


def _unusable(path: Path, error: OSError) -> PlaceError:
    return PlaceError(
        f"{path}: {error.strerror}",
        code="CHECKPOINT_FILE_UNUSABLE",
        fix="make its folder one the daemon's user may write in, and see that it is mounted",
    )

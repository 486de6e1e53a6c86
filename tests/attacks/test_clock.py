"""The machine's clock set about while the daemon runs: nothing gets time that it did not have.

The daemon is the real one; libfaketime (Debian's `faketime`) stands between it and its wall clock,
which the test sets. The boot clock, which does not jump, is the machine's own.
"""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest

from stockade.client import Client
from stockade.errors import StockadeError
from stockade.pairing import listener_certificate
from stockade.pairing_code import parse_pairing_code
from stockade.v1 import call_pb2
from tests.approvals.leasing import asked, give
from tests.attacks.brief import brief, until
from tests.attacks.certificates import Presented
from tests.attacks.certificates import client as client_of
from tests.attacks.probing import ledger
from tests.attacks.test_devices import Listener
from tests.attacks.test_pairing import ask, new_key
from tests.promises import acting
from tests.running import RunningDaemon, make_directory

HOUR = 3600
LIBRARY = "/usr/lib/*/faketime/libfaketimeMT.so.1"


@dataclass(frozen=True)
class WallClock:
    """The wall clock of a daemon, as somebody sets it."""

    file: Path

    @classmethod
    def make(cls, folder: Path) -> "WallClock":
        """One that is right."""
        made = cls(folder / "wall-clock")
        made.set(0)
        return made

    def set(self, seconds: int) -> None:
        """Sets it so far from the true time."""
        written = self.file.with_suffix(".new")
        written.write_text(f"{seconds:+d}\n")
        written.replace(self.file)

    @property
    def environ(self) -> dict[str, str]:
        """What makes a process live by it."""
        root = Path("/usr/lib")
        (library,) = root.glob(LIBRARY.removeprefix("/usr/lib/"))
        return {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(self.file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }


@pytest.fixture
def clock() -> Iterator[WallClock]:
    """A wall clock that the test may set."""
    folder = make_directory()
    yield WallClock.make(folder)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def daemon(clock: WallClock) -> Iterator[RunningDaemon]:
    """A daemon that lives by it; approvals wait for twenty seconds."""
    config = brief(device=HOUR) + "[approvals]\nlifetime_seconds = 20\n"
    made = RunningDaemon(make_directory(), config, clock.environ)
    yield made.start()
    made.stop()
    shutil.rmtree(made.root, ignore_errors=True)


def test_the_daemon_lives_by_the_clock_that_is_set(daemon: RunningDaemon, clock: WallClock) -> None:
    """The attacks below mean something: its receipts follow the clock forward, and stay there."""
    with daemon.client() as owner:
        list(owner.call("no_such_tool", {}))
        clock.set(20 * 60)
        list(owner.call("no_such_tool", {}))
        clock.set(-HOUR)
        list(owner.call("no_such_tool", {}))
        times = [datetime.fromisoformat(receipt["time"]) for receipt in ledger(owner)]
    assert times == sorted(times)
    ahead = times[-1] - datetime.now(UTC)
    assert timedelta(minutes=15) < ahead < timedelta(minutes=25)


def test_an_invitation_expires_though_the_clock_jumps_back(
    daemon: RunningDaemon, clock: WallClock
) -> None:
    """All but ten of its seconds go by a jump forward; an hour back gives it none of them again."""
    with daemon.client() as owner:
        events = owner.invite_device("phone", ["approvers"], lifetime_seconds=300)
        code = parse_pairing_code(next(events).opened.pairing_code)
        clock.set(290)
        assert listener_certificate(code)
        # Its certificate is judged by the clock: now the daemon has seen the jump.
        assert owner.who_am_i().principal
        clock.set(-HOUR)
        heard = Listener(events)
        until(lambda: bool(heard.events), seconds=200)  # ten that are left, and not three hundred
        assert heard.events[-1].closed.reason == "EXPIRED"
        csr, spki = new_key()
        with pytest.raises(StockadeError) as refused:
            list(ask(code, csr, code.proof(spki)))
        assert refused.value.reason == "PAIRING_UNREACHABLE"


def test_a_device_that_waits_is_not_let_in_after_the_invitation_has_expired(
    daemon: RunningDaemon, clock: WallClock
) -> None:
    """The person's yes comes after a jump back: the invitation was over, and stays so."""
    with daemon.client() as owner:
        events = owner.invite_device("phone", ["approvers"], lifetime_seconds=30)
        code = parse_pairing_code(next(events).opened.pairing_code)
        csr, spki = new_key()
        device = ask(code, csr, code.proof(spki))
        words = next(device).waiting.words
        assert next(events).waiting.words == words
        clock.set(31)
        with pytest.raises(grpc.RpcError) as over:
            list(device)
        assert over.value.code() is grpc.StatusCode.PERMISSION_DENIED
        clock.set(-HOUR)
        with pytest.raises(StockadeError) as refused:
            owner.confirm_pairing(code.invitation_id, words, accept=True)
        assert refused.value.reason == "UNKNOWN_INVITATION"
        assert [one.name for one in owner.list_devices()] == ["local"]


def test_a_certificate_that_has_ended_does_not_come_back_with_the_clock(
    daemon: RunningDaemon, clock: WallClock
) -> None:
    """On its old connection and on a new one, whose handshake the clock set back lets in."""
    phone = daemon.pair_device("phone", "callers")
    shown = Presented.of(phone)
    with client_of(daemon, shown) as old:
        assert old.who_am_i().principal
        clock.set(2 * HOUR)
        with pytest.raises(StockadeError) as refused:
            old.who_am_i()
        assert refused.value.reason == "CERT_EXPIRED"
        clock.set(0)
        with pytest.raises(StockadeError) as refused:
            old.who_am_i()
        assert refused.value.reason == "CERT_EXPIRED"
        with client_of(daemon, shown) as new, pytest.raises(StockadeError) as refused:
            new.who_am_i()
        assert refused.value.reason == "CERT_EXPIRED"


def test_a_lease_ends_though_the_clock_jumps_back(daemon: RunningDaemon, clock: WallClock) -> None:
    """Set back an hour while it stands: it has its ten seconds all the same, and no more."""
    with (
        daemon.client() as owner,
        Client.open(daemon.pair_device("approver", "approvers")) as approver,
    ):
        give(owner, approver, "run_shell", seconds=10, command="true")
        clock.set(-HOUR)
        until(lambda: not owner.list_leases())
        assert asked(owner, "run_shell", command="true")


def test_an_approval_expires_though_the_clock_jumps_back(
    daemon: RunningDaemon, clock: WallClock
) -> None:
    """Set back an hour while it waits: it has its twenty seconds all the same, and no more."""
    with daemon.client() as owner:
        call = acting.ask(owner, "run_shell", command="true")
        clock.set(-HOUR)
        heard = Listener(call.events)
        until(lambda: bool(heard.events))
        assert heard.events[-1].finished.state == call_pb2.CALL_STATE_EXPIRED

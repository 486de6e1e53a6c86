"""What a large registry costs: a daemon of one device and one of ten thousand, side by side.

Both are the same daemon on homes of their own; the second had 9,999 more devices, each with its
certificate, put into its registry while it was down. They answer in turn (A B A B).
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta

from bench.daemon import RunningDaemon
from bench.plan import Bench, Measure
from bench.result import Result, timing
from bench.sampling import Step, StepError, interleaved
from daemon.identity.devices import certificate_row
from daemon.store import certificates, devices
from daemon.store.devices import DeviceRow, DeviceStatus
from daemon.store.engine import open_engine, writing
from daemon.store.ids import DeviceId
from identity.authority import Authority
from identity.names import DeviceId as NewDeviceId
from stockade.client import Client
from stockade.connection import Stream
from stockade.credentials import certificate_request, load_credentials, make_key
from stockade.errors import StockadeError
from stockade.v1 import approval_pb2

MANY = 10_000
MEASURED = ("identity.handshake", "identity.rpc", "identity.cut")
UNITS = {"identity.handshake": "ms", "identity.rpc": "us", "identity.cut": "ms"}
HANDSHAKES, RPCS, CUTS = 200, 2000, 20


def run(bench: Bench) -> Iterator[Result]:
    """The three figures that a registry could slow down, each for one device and for many."""
    one, many = bench.prepared(), bench.prepared()
    populate(many, MANY - 1)
    for daemon in (one, many):
        daemon.start()
    with ExitStack() as stack:
        steps: dict[str, Callable[[RunningDaemon], Step]] = {
            "identity.handshake": _handshake,
            "identity.rpc": lambda daemon: _rpc(stack.enter_context(daemon.client())),
            "identity.cut": lambda daemon: _cut(daemon, stack.enter_context(daemon.client())),
        }
        counts = dict(zip(MEASURED, (HANDSHAKES, RPCS, CUTS), strict=True))
        for name, step in steps.items():
            few, lots = interleaved(bench.times(counts[name]), 3, step(one), step(many))
            yield timing(f"{name}.1", UNITS[name], few, beside=f"{name}.{MANY}")
            yield timing(f"{name}.{MANY}", UNITS[name], lots, beside=f"{name}.1")


def populate(daemon: RunningDaemon, number: int) -> None:
    """Registers so many devices with a certificate each; the daemon is down."""
    data, now = daemon.home.data, datetime.now(UTC)
    authority = Authority.load(
        (data / "authority.key").read_bytes(), (data / "authority.pem").read_bytes()
    )
    # One key for all: making ten thousand would measure nothing.
    request = certificate_request(make_key())
    engine = open_engine(data / "stockade.db")
    try:
        with writing(engine).begin() as connection:
            for index in range(number):
                new = NewDeviceId.generate()
                issued = authority.issue_device(request, new, now, timedelta(days=1))
                device_id = DeviceId(str(new))
                row = DeviceRow(
                    device_id, f"device {index}", "device", DeviceStatus.ACTIVE, _ms(now)
                )
                devices.add(connection, row)
                devices.set_groups(connection, device_id, ("callers",))
                certificates.add(connection, certificate_row(device_id, issued))
    finally:
        engine.dispose()


def _ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def _handshake(daemon: RunningDaemon) -> Step:
    def connect() -> None:
        with daemon.client() as client:
            client.who_am_i()

    return Step(connect)


def _rpc(client: Client) -> Step:
    return Step(client.who_am_i)


def _cut(daemon: RunningDaemon, owner: Client) -> Step:
    """From asking to revoke a device until its open stream has ended; the answer may come later."""
    stack, cut, count = ExitStack(), _Cut(), iter(range(10**9))

    def pair() -> None:
        home = daemon.pair_device(f"cut-{next(count)}", ["approvers"])
        client = stack.enter_context(Client.open(home))
        device_id = load_credentials(home.client).device_id
        cut.stream = client.watch_approvals()
        client.who_am_i()
        cut.asking = threading.Thread(target=owner.revoke_device, args=(device_id,))

    def revoke() -> None:
        cut.asking.start()
        try:
            for _ in cut.stream:
                pass
        except StockadeError as error:
            if error.reason != "DEVICE_REVOKED":
                raise StepError(error.reason) from None

    def clean() -> None:
        cut.asking.join()
        stack.close()

    return Step(revoke, pair, clean)


class _Cut:
    """What one repetition needs from its preparation."""

    stream: Stream[approval_pb2.ApprovalEvent]
    asking: threading.Thread


MEASURES = (Measure(tuple(f"{name}.{count}" for name in MEASURED for count in (1, MANY)), run),)

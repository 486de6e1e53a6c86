"""A principal that asks too often is told when to come back, and costs nobody else anything."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from stockade.client import Client, new_call_id
from stockade.errors import StockadeError
from stockade.v1 import device_pb2, device_pb2_grpc, tool_pb2, tool_pb2_grpc
from tests.attacks.brief import until
from tests.attacks.enrolling import enroll_agent
from tests.conftest import config_with
from tests.running import CONFIG, RunningDaemon, finished, running

RATES = """\
[rates]
calls_per_second = 1
calls_burst = 3
administration_per_second = 5
administration_burst = 20
"""


@pytest.fixture
def slow() -> Iterator[RunningDaemon]:
    """A daemon whose principals may call three times at once."""
    with running(CONFIG + RATES) as daemon:
        yield daemon


def refused_of(client: Client, number: int = 40) -> list[grpc.RpcError]:
    """So many calls, all under way before the first answer is read; those that were refused.

    At once, because a busy machine takes longer for one after the other than the rate does.
    """
    stub = tool_pb2_grpc.ToolServiceStub(client._connection.channel)
    requests = [
        tool_pb2.CallRequest(call_id=new_call_id(), tool="no_such_tool", arguments=b"{}")
        for _ in range(number)
    ]
    refused = []
    for stream in [stub.Call(request) for request in requests]:
        try:
            assert finished(list(stream)).reason == "UNKNOWN_TOOL"
        except grpc.RpcError as error:
            refused.append(error)
    return refused


def test_a_flood_of_calls_is_refused_with_the_time_to_wait(slow: RunningDaemon) -> None:
    """Beyond three at once: RESOURCE_EXHAUSTED, RATE_LIMITED and a RetryInfo; none runs."""
    with slow.client() as client:
        refused = refused_of(client)
    assert 1 <= len(refused) <= 40 - 3
    assert all(0 < wait_of(one) <= 1000 for one in refused)


def wait_of(refusal: grpc.RpcError) -> int:
    """How many milliseconds a refusal says to wait: RESOURCE_EXHAUSTED, with its reason."""
    assert refusal.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    (details,) = (
        trailer.value for trailer in refusal.trailing_metadata() if trailer.key.endswith("-bin")
    )
    status = status_pb2.Status.FromString(details)
    info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    assert status.details[0].Unpack(info)
    assert status.details[1].Unpack(retry)
    assert info.reason == "RATE_LIMITED"
    return int(retry.retry_delay.ToMilliseconds())


def test_a_flood_of_other_requests_costs_no_calls(slow: RunningDaemon) -> None:
    """Administration has a rate of its own: used up, with the time to wait, calls go on."""
    with slow.client() as client:
        stub = device_pb2_grpc.DeviceServiceStub(client._connection.channel)

        def refusal(_: int) -> grpc.RpcError | None:
            try:
                stub.WhoAmI(device_pb2.WhoAmIRequest())
            except grpc.RpcError as error:
                return error
            return None

        with ThreadPoolExecutor(50) as threads:
            refused = [one for one in threads.map(refusal, range(200)) if one is not None]
        assert refused
        assert all(0 < wait_of(one) <= 200 for one in refused)
        assert asked(client) == "UNKNOWN_TOOL"


def test_the_flooder_may_still_administer_and_others_may_still_call(slow: RunningDaemon) -> None:
    """A device out of calls can still ask for the status, and another device can still call."""
    home = slow.pair_device("other", "callers")
    with slow.client() as flooder, Client.open(home) as other:
        assert [wait_of(one) for one in refused_of(flooder)]
        assert flooder.status().tools == 5
        assert finished(list(other.call("no_such_tool", {}))).reason == "UNKNOWN_TOOL"


def test_more_agents_ask_no_more(slow: RunningDaemon) -> None:
    """The agents of a device share one rate, however many it enrolls; the device keeps its own."""
    bots = [enroll_agent(slow, f"bot{number}") for number in range(3)]
    let_in = 0
    began = time.monotonic()
    for bot in bots:
        with bot.client() as client:
            refused = refused_of(client, 20)
            assert all(wait_of(one) for one in refused)
            let_in += 20 - len(refused)
    # Three at once and one a second; had each agent a rate of its own, it were three times that.
    assert let_in <= 3 + 1 + (time.monotonic() - began)
    with slow.client() as device:
        assert finished(list(device.call("no_such_tool", {}))).reason == "UNKNOWN_TOOL"


def test_open_calls_hold_no_more_than_their_share_of_memory(workspace: Path) -> None:
    """Arguments of waiting calls beyond calls.max_open_mib are refused, and nothing is recorded."""
    bound = "[calls]\nmax_open_mib = 1\n"
    with running(config_with(workspace) + bound) as daemon, daemon.client() as client:
        arguments = {"workspace": "work", "path": "large", "content": "x" * 600_000}
        first = client.call("write_file", arguments, detach=True)
        for event in first:
            if event.HasField("awaiting_approval"):
                break
        with pytest.raises(StockadeError) as refused:
            list(client.call("write_file", arguments))
        assert refused.value.reason == "TOO_MANY_CALLS"
        assert len(client.list_calls().calls) == 1
        assert finished(list(client.call("no_such_tool", {}))).reason == "UNKNOWN_TOOL"


def test_one_device_does_not_fill_the_room_for_open_calls(workspace: Path) -> None:
    """Its calls, which wait for people, leave room for another's; its agents have no more."""
    bound = "[calls]\nmax_open = 16\n"
    with running(config_with(workspace) + bound) as daemon:
        other = daemon.pair_device("other", "owners")
        bot = enroll_agent(daemon, "bot")
        arguments = {"workspace": "work", "path": "new", "content": "x"}

        def waits(client: Client) -> bool:
            try:
                for event in client.call("write_file", arguments, detach=True):
                    if event.HasField("awaiting_approval"):
                        return True
            except StockadeError as error:
                if error.reason != "TOO_MANY_CALLS":
                    raise
            return False

        with daemon.client() as flooder, bot.client() as agent, Client.open(other) as bystander:
            assert sum(waits(flooder) for _ in range(20)) == 12
            assert not waits(agent)
            assert waits(bystander)
            assert asked(bystander) == "UNKNOWN_TOOL"
            # It is given back with each call that ends, set aside or not.
            for call in flooder.list_calls().calls:
                flooder.cancel_call(call.call_id)
            until(lambda: waits(flooder))


def test_streams_have_a_bound_and_requests_do_not() -> None:
    """Beyond `rates.open_streams` one more is refused; the device can still ask, and end some.

    A call that is refused so is not recorded. Another device and its agents have their own.
    """
    with running(CONFIG + "[rates]\nopen_streams = 4\n") as daemon:
        other = daemon.pair_device("other", "auditors")
        bots = [enroll_agent(daemon, f"bot{number}") for number in range(2)]
        with daemon.client() as flooder, Client.open(other) as bystander:
            held = [flooder.follow_ledger(1) for _ in range(4)]
            for stream in held:
                assert next(stream).sequence
            before = flooder.status().ledger_sequence
            refusals: tuple[Callable[[], object], ...] = (
                lambda: next(flooder.watch_approvals()),
                lambda: next(flooder.follow_ledger(1)),
                lambda: list(flooder.call("no_such_tool", {})),
            )
            for refusal in refusals:
                with pytest.raises(StockadeError) as refused:
                    refusal()
                assert refused.value.reason == "TOO_MANY_STREAMS"
                assert refused.value.fix
            assert flooder.status().ledger_sequence == before
            assert next(bystander.follow_ledger(1)).sequence
            with bots[0].client() as one, bots[1].client() as two:
                assert finished(list(one.call("no_such_tool", {}))).reason == "UNKNOWN_TOOL"
                assert finished(list(two.call("no_such_tool", {}))).reason == "UNKNOWN_TOOL"
            held.pop().cancel()
            until(lambda: asked(flooder) == "UNKNOWN_TOOL")


def asked(client: Client) -> str:
    """The reason for which a call ends, or is not taken at all."""
    try:
        return finished(list(client.call("no_such_tool", {}))).reason
    except StockadeError as error:
        return error.reason


def test_arguments_are_kept_no_faster_than_their_rate() -> None:
    """Large arguments of calls that are denied are refused, with the time to wait, and not kept."""
    slow = "[rates]\narguments_kib_per_second = 1024\narguments_kib_burst = 16384\n"
    with running(CONFIG + slow) as daemon, daemon.client() as client:
        stub = tool_pb2_grpc.ToolServiceStub(client._connection.channel)
        large = b'{"x": "' + b"y" * (6 * 1024 * 1024) + b'"}'
        before = client.status().ledger_sequence

        def send_one() -> None:
            request = tool_pb2.CallRequest(
                call_id=new_call_id(), tool="no_such_tool", arguments=large
            )
            list(stub.Call(request))

        with pytest.raises(grpc.RpcError) as refused:
            [send_one() for _ in range(8)]  # type: ignore[func-returns-value]
        assert 0 < wait_of(refused.value) <= 6_000
        assert client.status().ledger_sequence <= before + 2 * 7
        assert asked(client) == "UNKNOWN_TOOL"


def test_a_revoked_device_fills_no_ledger(slow: RunningDaemon) -> None:
    """Its refusals are recorded, but no faster than anybody's requests are served."""
    home = slow.pair_device("gone", "callers")
    with slow.client() as owner:
        with Client.open(home) as gone:
            owner.revoke_device(gone.credentials.device_id)
            before = owner.status().ledger_sequence
            reasons = []
            for _ in range(60):
                with pytest.raises(StockadeError) as refused:
                    gone.who_am_i()
                reasons.append(refused.value.reason)
        assert reasons[0] == "DEVICE_REVOKED"
        assert "RATE_LIMITED" in reasons
        recorded = owner.status().ledger_sequence - before
        assert recorded == reasons.count("DEVICE_REVOKED")
        assert recorded < len(reasons)

"""What only turns out when a call is asked about: what is not there, and what time it is."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from stockade.client import Client
from stockade.v1 import call_pb2, policy_pb2
from tests.operating.acting import tag, untag
from tests.promises.acting import ALONE, add_tool, apply, policy, run, until
from tests.running import CONFIG, RunningDaemon, finished, running

CALL = 'principal, action == Action::"call", resource'
# As far from UTC as the wall can be: its hours are never those of UTC.
FAR = "Pacific/Kiritimati"
PERMITTED = call_pb2.CallEvent.Decision.VERDICT_PERMITTED
ASKED = call_pb2.CallEvent.Decision.VERDICT_NEEDS_APPROVAL


@pytest.fixture(scope="module")
def shared_daemon() -> Iterator[RunningDaemon]:
    """A daemon whose operator lives elsewhere."""
    with running(f'{CONFIG}[policy]\ntime_zone = "{FAR}"\n') as made:
        with made.client() as client:
            add_tool(client, "plain", ["/bin/true"])
        yield made


def reason(client: Client) -> str:
    return finished(run(client, "plain")).reason


@pytest.mark.parametrize("effect", ["permit", "forbid"])
@pytest.mark.parametrize(
    "condition",
    [
        'Device::"gone".name == "x"',
        'Workspace::"gone".writable',
        'Tool::"gone" != resource && Tool::"gone".network',
    ],
)
def test_an_attribute_that_is_missing_at_run_time_is_a_no(
    owner: Client, effect: str, condition: str
) -> None:
    """It validates, and the entity is not there: the policy is named as the one in error."""
    with policy(owner, f'{ALONE}\n@id("looks") {effect} ({CALL}) when {{ {condition} }};'):
        end = finished(run(owner, "plain"))
        assert (end.state, end.reason) == (call_pb2.CALL_STATE_DENIED, "EVALUATION_ERROR")
        assert "`looks`" in end.message
    apply(owner, ALONE)
    assert reason(owner) == "SUCCEEDED"


def test_a_tag_that_is_missing_at_run_time_is_asked_for_first(owner: Client) -> None:
    """Without `hasTag` no set reads a tag; with it, what is not tagged is no error."""
    text = f'forbid ({CALL}) when {{ resource.getTag("state") == "off" }};'
    files = [policy_pb2.PolicyFile(name="a.cedar", text=text)]
    [problem, *_] = owner.check_policy(files).problems
    assert (problem.file, problem.line, problem.code) == ("a.cedar", 1, "POLICY_INVALID")
    guarded = text.replace("{ resource", '{ resource.hasTag("state") && resource')
    with policy(owner, ALONE + guarded):
        assert reason(owner) == "SUCCEEDED"
        owner.change_entities([tag("Tool/plain", "state", "off")])
        assert reason(owner) == "FORBIDDEN"
        owner.change_entities([untag("Tool/plain", "state")])


def test_quiet_hours_are_by_the_operators_clock(owner: Client) -> None:
    """A real call at this hour, by `policy.time_zone`, is asked about; by UTC's hour it is not."""
    now = datetime.now(ZoneInfo(FAR))

    def quiet(moment: datetime) -> str:
        # The hour may end under the test.
        hours = [moment.hour, (moment + timedelta(hours=1)).hour]
        scope = 'principal, action == Action::"call_unattended", resource'
        return f'@id("quiet") forbid ({scope}) when {{ {hours}.contains(context.clock.hour) }};'

    for moment, verdict in ((now.astimezone(UTC), PERMITTED), (now, ASKED)):
        with policy(owner, quiet(moment)):
            events = owner.call("plain", {})
            decided = next(event.decision for event in events if event.HasField("decision"))
            events.cancel()
        assert decided.verdict == verdict


def test_what_is_permitted_until_a_moment_ends_there(owner: Client) -> None:
    """The same call, the same policies: permitted before the moment and forbidden after it."""
    end = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=3)
    text = f'forbid ({CALL}) unless {{ context.time < datetime("{end:%Y-%m-%dT%H:%M:%SZ}") }};'

    def over() -> bool:
        found = reason(owner)
        assert found == "SUCCEEDED" or datetime.now(UTC) >= end
        return found == "FORBIDDEN"

    with policy(owner, text):
        assert until(over)

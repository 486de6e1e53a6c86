"""A group comes to be by being named: what is nearly another's name is asked about."""

from policy.lint import MADE_BY_NAMING
from stockade.cli.devices import USUAL_GROUPS
from tests.running import RunningDaemon


def test_a_new_group_that_is_called_nearly_as_another_is_asked_about(
    shared_daemon: RunningDaemon,
) -> None:
    """A device in `approvres` may answer nothing, and nothing else would say why."""
    with shared_daemon.client() as client:
        (device,) = client.list_devices()
    groups = list(device.groups)

    def put(*more: str) -> str:
        answer = shared_daemon.cli("devices", "groups", device.device_id, *groups, *more)
        assert answer.status == 0
        return answer.err

    assert "a new group, approvres: did you mean approvers?" in put("approvres")
    assert "did you mean" not in put("approvres")  # there is one by now
    assert "did you mean" not in put("approvers", "night-shift")
    assert "a new group, night-shfit: did you mean night-shift?" in put("night-shfit")


def test_the_usual_groups_are_those_of_the_lint() -> None:
    """`policy check` asks about policies that name nearly one of them."""
    assert set(USUAL_GROUPS) == set(MADE_BY_NAMING["Group"])

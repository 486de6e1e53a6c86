"""The registry of devices and agents: each change of it is a receipt, and outlives the process."""

import signal
from typing import Any

from cryptography import x509

from stockade.client import Client
from stockade.home import Home
from tests.attacks.certificates import Presented
from tests.attacks.enrolling import enroll_agent
from tests.attacks.probing import ledger
from tests.running import RunningDaemon, local_device


def serial(home: Home) -> str:
    """The serial number of the certificate that is stored there."""
    shown = x509.load_pem_x509_certificate(Presented.of(home).certificate)
    return format(shown.serial_number, "x")


def registered(client: Client) -> tuple[dict[str, object], dict[str, object]]:
    """All that is known of devices and agents, but for what says when it was asked."""
    devices = {one.device_id: one.SerializeToString() for one in client.list_devices()}
    agents = {one.agent_id: one.SerializeToString() for one in client.list_agents()}
    return dict(devices), dict(agents)


def test_every_change_is_a_receipt_of_whom_and_by_whom_and_outlives_a_kill(
    daemon: RunningDaemon,
) -> None:
    """Pairing, enrolling, renewing, other roles, each revocation: one receipt, in their order."""
    with daemon.client() as owner:
        me, before = owner.who_am_i().principal, owner.status().ledger_sequence
        home = daemon.pair_device("phone", "callers")
        bot = enroll_agent(daemon, "bot", home)
        first = serial(home)
        for place in (home, bot.home):
            with Client.open(place) as client:
                client.renew_certificate(place)
                phone = local_device(client).device_id
        owner.set_device_groups(phone, ["callers", "auditors"])
        owner.revoke_agent(bot.id)
        owner.revoke_certificate(first)
        kinds = ("device.", "agent.", "certificate.")
        found: list[dict[str, Any]] = [
            one for one in ledger(owner)[before:] if one["kind"].startswith(kinds)
        ]
        known = registered(owner)
    # Whoever renews does it for itself: who that is stands in the receipt.
    assert [(one["kind"], one["body"].get("principal")) for one in found] == [
        ("device.paired", me),
        ("agent.enrolled", f"device/{phone}"),
        ("device.renewed", None),
        ("agent.renewed", None),
        ("device.groups", me),
        ("agent.revoked", me),
        ("certificate.revoked", me),
    ]
    paired, enrolled, renewed, again, roles, ended, revoked = (one["body"] for one in found)
    assert (paired["device"], paired["name"], paired["groups"]) == (phone, "phone", ["callers"])
    assert (enrolled["agent"], enrolled["manifest_digest"]) == (bot.id, bot.digest)
    assert (renewed["device"], renewed["serial"]) == (phone, serial(home))
    assert (again["agent"], again["serial"]) == (bot.id, serial(bot.home))
    assert (roles["device"], roles["groups"]) == (phone, ["auditors", "callers"])
    assert (ended["agent"], ended["device"]) == (bot.id, phone)
    assert (revoked["device"], revoked["serial"]) == (phone, first)
    daemon.restart(signal.SIGKILL)
    with daemon.client() as owner:
        assert registered(owner) == known
        [device] = [one for one in owner.list_devices() if one.device_id == phone]
        assert sorted(device.groups) == ["auditors", "callers"]

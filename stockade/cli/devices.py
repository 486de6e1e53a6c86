"""`stockade devices`: the paired devices, inviting another, ending one."""

import difflib
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from stockade.cli import machine
from stockade.cli.options import Json, Yes, examples, group
from stockade.cli.terminal import (
    UsageError,
    address,
    answerable,
    ask,
    interruptible,
    note,
    say,
    table,
    when,
)
from stockade.cli.visible import visible
from stockade.errors import BadRequest, NotFound, PairingFailed, StockadeError

if TYPE_CHECKING:
    from stockade.client import Client
    from stockade.connection import Stream
    from stockade.v1 import device_pb2

app = group(
    "devices",
    "List, invite and revoke devices.",
    "stockade devices invite --name phone --group approvers",
    "stockade devices groups phone approvers auditors",
    "stockade devices revoke phone",
)

# Those of the default policy. Others come to be by being named.
USUAL_GROUPS = ("owners", "operators", "approvers", "callers", "auditors")

Which = Annotated[
    str, typer.Argument(metavar="DEVICE", help="A device's name, id, or the beginning of its id.")
]


@app.command("list", epilog=examples("stockade devices list --json"))
def list_(json_: Json = False) -> None:
    """List the devices."""
    from stockade.client import Client

    with Client.open() as client:
        found = client.list_devices()
    if json_:
        for one in found:
            machine.emit(one)
        return
    table(
        ("device", "name", "status", "certificate until", "groups"),
        (
            (one.device_id, one.name, one.status, when(one.certificate_expires),
             ", ".join(one.groups))
            for one in found
        ),
        empty="no devices",
    )  # fmt: skip


@app.command(
    epilog=examples(
        "stockade devices invite --name phone --group approvers",
        "stockade devices invite --name ci --group callers --json   # and `confirm`",
    )
)
def invite(
    name: Annotated[str, typer.Option("--name", help="What to call the device.")],
    group: Annotated[list[str], typer.Option("--group", "-g", help="A group it will be in.")],
    lifetime: Annotated[
        int, typer.Option("--lifetime", min=30, max=3600, help="Seconds the code lives.")
    ] = 600,
    qr: Annotated[bool, typer.Option("--qr", help="Show the code as a QR code too.")] = False,
    json_: Json = False,
) -> int:
    """Make a one-time pairing code, wait for the device, and ask whether it is the right one.

    Leaving this command closes the invitation.
    """
    from stockade.client import Client

    with (
        interruptible("the invitation is closed: `stockade devices list` shows who is paired"),
        Client.open() as client,
        client.invite_device(name, group, lifetime_seconds=lifetime) as events,
    ):
        _question(client, group)
        return _show_json(events) if json_ else _accompany(client, events, qr)


@app.command(epilog=examples("stockade devices confirm 5f0c2d9a11e0b7c4 --words 'oak-...'"))
def confirm(
    invitation: Annotated[str, typer.Argument(metavar="INVITATION", help="Its id.")],
    words: Annotated[str, typer.Option("--words", help="The words the device shows.")],
    reject: Annotated[bool, typer.Option("--reject", help="Say no.")] = False,
    json_: Json = False,
) -> None:
    """Say yes to the device that waits, by the words on its screen."""
    from stockade.client import Client

    with Client.open() as client:
        client.confirm_pairing(invitation, words.strip(), accept=not reject)
    if json_:
        machine.emit({"invitation_id": invitation, "accepted": not reject})
    else:
        say("refused" if reject else "confirmed")


@app.command(epilog=examples("stockade devices show phone --json"))
def show(device: Which, json_: Json = False) -> None:
    """Show a device and its certificates."""
    from stockade.client import Client

    with Client.open() as client:
        found = find(client, device)
    if json_:
        machine.emit(found)
        return
    say(f"{found.name} ({found.device_id}), {found.status}, in {', '.join(found.groups) or '-'}")
    table(
        ("certificate", "from", "until", "revoked"),
        (
            (one.serial, when(one.not_before), when(one.not_after),
             when(one.revoked) if one.HasField("revoked") else "-")
            for one in found.certificates
        ),
        empty="it has no certificate that is good",
    )  # fmt: skip


@app.command(
    epilog=examples(
        "stockade devices revoke phone",
        "stockade devices revoke --certificate 5c3f0a...   # as `devices show` has it",
    )
)
def revoke(
    device: Annotated[
        str, typer.Argument(metavar="DEVICE", help="A device's name, id, or its beginning.")
    ] = "",
    certificate: Annotated[
        str, typer.Option("--certificate", metavar="SERIAL", help="Only this certificate of it.")
    ] = "",
    yes: Yes = False,
    json_: Json = False,
) -> int:
    """End a device, or one certificate, for good: what was opened with it is cut."""
    from stockade.client import Client

    if bool(device) == bool(certificate):
        raise UsageError("name a device or --certificate SERIAL, one of them")
    with Client.open() as client:
        if certificate:
            return _revoke_certificate(client, certificate, json_)
        found = find(client, device)
        question = f"Revoke {found.name} ({found.device_id})?"
        if not yes and sys.stdin.isatty() and not ask(question):
            note("nothing was done")
            return 1
        answer = client.revoke_device(found.device_id)
    if json_:
        machine.emit({"device_id": found.device_id, **machine.plain(answer)})
    else:
        say(f"revoked {found.name} ({found.device_id})")
    return 0


@app.command(epilog=examples("stockade devices resume phone"))
def resume(device: Which, json_: Json = False) -> None:
    """Let a device in again that an alert suspended; its agents with it."""
    from stockade.client import Client

    with Client.open() as client:
        found = find(client, device)
        answer = client.resume_principal(f"device/{found.device_id}")
    if json_:
        machine.emit({"device_id": found.device_id, **machine.plain(answer)})
    else:
        say(f"{found.name} ({found.device_id}) is let in again")


@app.command(epilog=examples("stockade devices renew"))
def renew(json_: Json = False) -> None:
    """Renew the certificate of this device now. It does so by itself when half its life is over."""
    from stockade.client import Client
    from stockade.home import Home

    home = Home.locate()
    with Client.open(home) as client:
        end = client.renew_certificate(home).lifetime()[1]
    if json_:
        machine.emit({"not_after": end.isoformat()})
    else:
        say(f"this device's certificate is good until {end:%Y-%m-%d %H:%M} UTC")


@app.command("rotate-authority", epilog=examples("stockade devices rotate-authority"))
def rotate_authority(yes: Yes = False, json_: Json = False) -> int:
    """Replace the authority that issues all certificates; for a while both are accepted.

    Devices learn of the new one when they renew; one that does not, in that time, pairs again.
    """
    from stockade.client import Client

    with Client.open() as client:
        if not yes and sys.stdin.isatty() and not ask("Replace the authority?"):
            note("nothing was done")
            return 1
        answer = client.rotate_authority()
    if json_:
        machine.emit(answer)
        return 0
    say(f"the authority {answer.new[:16]} issues from now on")
    say(f"certificates of {answer.old[:16]} are accepted until {when(answer.until)}")
    note("devices learn of it when they renew: by themselves, or `stockade devices renew` there")
    return 0


@app.command(epilog=examples("stockade devices groups phone approvers auditors"))
def groups(
    device: Which,
    names: Annotated[list[str], typer.Argument(metavar="GROUP...", help="All it will be in.")],
    json_: Json = False,
) -> None:
    """Put a device in exactly these groups."""
    from stockade.client import Client

    with Client.open() as client:
        _question(client, names)
        answer = client.set_device_groups(find(client, device).device_id, names)
    if json_:
        machine.emit(answer)
    else:
        say(f"{answer.device.name} is in {', '.join(answer.device.groups) or 'no group'}")


def _question(client: "Client", names: Iterable[str]) -> None:
    """Say which of these groups is new and called nearly as another: that is a slip of the hand."""
    try:
        there = {group for device in client.list_devices() for group in device.groups}
    except StockadeError:  # who may invite need not be one who may list
        there = set()
    known = {*USUAL_GROUPS, *there}
    for name in (one for one in names if one not in known):
        if near := difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.75):
            note(f"a new group, {visible(name)}: did you mean {visible(near[0])}?")


def _revoke_certificate(client: "Client", serial: str, as_json: bool) -> int:
    answer = client.revoke_certificate(serial.lower())
    if as_json:
        machine.emit({"serial": serial, **machine.plain(answer)})
    else:
        say(f"revoked the certificate {serial}")
    return 0


def _show_json(events: "Stream[device_pb2.InviteDeviceEvent]") -> int:
    status = 1
    for event in events:
        machine.emit(event)
        if event.HasField("closed"):
            status = 0 if event.closed.reason == "PAIRED" else 1
    return status


def _accompany(client: "Client", events: "Stream[device_pb2.InviteDeviceEvent]", qr: bool) -> int:
    invitation = ""
    for event in events:
        if event.HasField("opened"):
            invitation = event.opened.invitation_id
            until = when(event.opened.expires)
            say(f"On the new device run `stockade pair CODE` before {until}, with this code:")
            say(event.opened.pairing_code)
            if qr:
                for line in qr_code(event.opened.pairing_code).splitlines():
                    say(line)
            note("waiting for the device (Ctrl-C closes the invitation)")
        elif event.HasField("waiting"):
            _judge(client, invitation, event.waiting)
        elif event.HasField("closed"):
            return _closed(event.closed)
    raise PairingFailed(
        "the daemon ended the invitation without a word",
        reason="STREAM_CUT",
        fix="`stockade devices list` shows whether the device was paired",
    )


def qr_code(pairing_code: str) -> str:
    """A pairing code as a QR code of half blocks: 45 columns, for a phone's camera."""
    import io

    import segno

    out = io.StringIO()
    # In capitals, which a code may be written in, it needs a third less space.
    segno.make_qr(pairing_code.upper(), error="l").terminal(out=out, compact=True, border=2)
    return out.getvalue().rstrip("\n")


def _judge(
    client: "Client", invitation: str, waiting: "device_pb2.InviteDeviceEvent.Waiting"
) -> None:
    say(f"A device at {address(waiting.source)} knows the code, for {waiting.name}.")
    say("If it is yours, its own screen shows:")
    say(f"  {waiting.words}")
    if not answerable():
        note(f"if so: stockade devices confirm {invitation} --words '...'")
        return
    accept = ask("Does the new device show exactly these words?")
    client.confirm_pairing(invitation, waiting.words, accept=accept)


def _closed(closed: "device_pb2.InviteDeviceEvent.Closed") -> int:
    if closed.reason == "PAIRED":
        say(f"paired {closed.device.name} ({closed.device.device_id})")
        return 0
    raise PairingFailed(
        {
            "REFUSED": "the pairing was refused; nothing was changed",
            "EXPIRED": "the code has run out; nothing was changed",
            "BAD_PROOF": "somebody tried this invitation without knowing the code",
        }.get(closed.reason, "the invitation is closed"),
        reason=f"PAIRING_{closed.reason}",
        fix="invite again; hand the code over by a channel you trust",
    )


def find(client: "Client", text: str) -> "device_pb2.Device":
    """The device of that id or name, or whose id begins like that."""
    devices = client.list_devices()
    exact = [one for one in devices if one.device_id == text]
    active = [one for one in devices if one.name == text and one.status != "revoked"]
    begin = [one for one in devices if one.device_id.startswith(text)]
    for found in (exact, active, begin):
        if len(found) == 1:
            return found[0]
        if found:
            raise BadRequest(
                f"{len(found)} devices fit {text!r}",
                reason="AMBIGUOUS_ID",
                fix="use an id of `stockade devices list`",
            )
    raise NotFound(
        f"no device fits {text!r}",
        reason="UNKNOWN_DEVICE",
        fix="`stockade devices list` shows them",
    )

"""`stockade status` and `stockade whoami`."""

from typing import TYPE_CHECKING, Annotated

import typer

from stockade.cli import machine
from stockade.cli.options import Json, examples
from stockade.cli.terminal import facts, many, say, when

if TYPE_CHECKING:
    from stockade.v1 import daemon_pb2

STATUS_EXAMPLES = examples("stockade status", "stockade status --json", "stockade status --check")
WHOAMI_EXAMPLES = examples("stockade whoami --json")


def status(
    check: Annotated[
        bool, typer.Option("--check", help="End with status 1 unless the daemon serves calls.")
    ] = False,
    json_: Json = False,
) -> int:
    """Show what the daemon does and what works on its machine."""
    from stockade.client import Client

    with Client.open() as client:
        answer = client.status()
    if json_:
        machine.emit(answer)
    else:
        facts(_lines(answer), label=16)
    return 1 if check and answer.health not in ("", "ok") else 0


def whoami(json_: Json = False) -> None:
    """Show who the daemon takes this device, or agent, for."""
    from stockade.client import Client

    with Client.open() as client:
        answer = client.who_am_i()
    if json_:
        machine.emit(answer)
        return
    device = answer.device
    if answer.HasField("agent"):
        agent = answer.agent
        say(f"{agent.name} ({answer.principal})")
        say(f"{'agent of':<13}{device.name} ({device.device_id})")
        say(f"{'manifest':<13}{agent.version}, sha256 {agent.manifest_digest}")
        say(f"{'certificate':<13}good until {when(agent.certificate_expires)}")
        return
    say(f"{device.name} ({answer.principal})")
    say(f"{'groups':<13}{', '.join(device.groups) or 'none'}")
    say(f"{'certificate':<13}good until {when(device.certificate_expires)}")


def _lines(answer: "daemon_pb2.GetStatusResponse") -> list[tuple[str, str]]:
    refused = f", {answer.refused_tools} refused" if answer.refused_tools else ""
    ledger = f"entry {answer.ledger_sequence} of chain {answer.ledger_chain}"
    if answer.ledger_state != "ok":
        ledger = f"NOT WORKING: {answer.ledger_state}"
    elif answer.ledger_damage:
        ledger += f"; DAMAGED: {answer.ledger_damage}"
    lines = [
        ("daemon", f"{answer.version} at {answer.address}, since {when(answer.started)}"),
        ("data", answer.data_directory),
        ("policy", _policy(answer)),
        ("tools", f"{answer.tools}{refused}"),
        ("calls", f"{answer.running_calls} running, {answer.pending_approvals} wait for approval"),
        ("connections", _connections(answer.connections)),
        ("ledger", ledger),
        ("vault", _vault(answer.vault)),
    ]
    if not answer.HasField("connections"):
        lines = [line for line in lines if line[0] != "connections"]
    if answer.reduced:
        lines[1] = ("left out", "paths, engines and reasons: an owner's `stockade status` has them")
    if answer.health not in ("", "ok"):
        lines.insert(1, ("health", f"DOES NOT SERVE: {answer.health}"))
    if answer.maintenance:
        lines.insert(2, ("maintenance", "on: `stockade policy maintenance off` ends it"))
    if answer.policy_folder.watched:
        lines.insert(3, ("policies/", f"watched: {_folder(answer.policy_folder)}"))
    if answer.HasField("ledger_checkpoint"):
        lines.append(("checkpoint", _checkpoint(answer.ledger_checkpoint)))
        places = answer.ledger_checkpoint.places
        lines += [("", f"in {one.name}: {_place(one)}") for one in places]
    for tier in answer.tiers:
        missing = ", ".join(one.primitive for one in tier.missing)
        why = missing or ("its owner can see why" if answer.reduced else "see stockade doctor")
        works = f"works{_escapes(answer, tier)}" if tier.works else f"does not work: {why}"
        lines.append((f"tier {tier.name}", works))
    return lines


def _escapes(
    answer: "daemon_pb2.GetStatusResponse", tier: "daemon_pb2.GetStatusResponse.Tier"
) -> str:
    """That there are ways out of it, as far as is published."""
    count = sum(len(one.known_escapes) for one in answer.engines if one.name in tier.engines)
    if not count:
        return ""
    ways = f"{count} ways out of it are" if count > 1 else "a way out of it is"
    return f", but {ways} published: see stockade doctor"


def _connections(found: "daemon_pb2.GetStatusResponse.Connections") -> str:
    held = f"{found.of_principals} of devices, {found.of_strangers} of strangers"
    ended = f"; {found.ended} ended or refused" if found.ended else ""
    return f"{held}; room for {found.most}{ended}"


def _policy(answer: "daemon_pb2.GetStatusResponse") -> str:
    if answer.policy_state not in ("", "ok"):
        return f"NONE IN FORCE, so every call is denied: {answer.policy_state}"
    return f"version {answer.policy_version}, {answer.policy_digest[:16]}"


def _folder(folder: "daemon_pb2.GetStatusResponse.PolicyFolder") -> str:
    if not folder.reason:
        return "nothing was refused"
    message = f": {folder.message}" if folder.message else ""
    return f"REFUSED, {folder.reason}{message}"


def _checkpoint(found: "daemon_pb2.GetStatusResponse.Checkpoint") -> str:
    if found.state != "ok":
        return f"NONE ANY MORE: {found.state}"
    return f"of entry {found.size}, {when(found.made)}"


def _place(place: "daemon_pb2.GetStatusResponse.Place") -> str:
    if place.reason:
        return f"NOT DELIVERED: {place.message}"
    return f"of entry {place.size}" if place.size else "none yet"


def _vault(vault: "daemon_pb2.GetStatusResponse.Vault") -> str:
    root = f"{vault.root}: " if vault.root else ""
    if not vault.available:
        mend = f"; {vault.fix}" if vault.fix else ""
        return f"{root}not available ({vault.reason or vault.code}){mend}"
    expiring = many(vault.expiring_secrets, "secret expires", "secrets expire")
    return f"{root}open, {expiring} soon" if vault.expiring_secrets else f"{root}open"

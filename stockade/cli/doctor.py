"""`stockade doctor`: what is wrong here, with its fix; as far as possible without a daemon."""

import shutil
import stat
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from stockade.cli import attacks, controls, doctor_host, machine
from stockade.cli.finding import Finding, grouped, verdict
from stockade.cli.options import Json, examples
from stockade.cli.terminal import UsageError, facts, many, say
from stockade.endpoint import is_served
from stockade.errors import StockadeError
from stockade.home import Home

if TYPE_CHECKING:
    from stockade.v1 import daemon_pb2

EXAMPLES = examples(
    "stockade doctor",
    "stockade doctor --json",
    "stockade doctor --controls",
    "stockade doctor --attack",
    "stockade doctor --attack --tier process --only network --only read",
)

_PROGRAMS = (
    ("bwrap", "apt install bubblewrap"),
    ("python3", "apt install python3"),
)


def doctor(
    attack: Annotated[
        bool,
        typer.Option("--attack", help="Attack the sandboxes and show what they hold."),
    ] = False,
    tier: Annotated[
        list[str] | None,
        typer.Option("--tier", metavar="TIER", help="Attack this tier; may be repeated."),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option("--only", metavar="NAME", help="Only attacks whose name begins so."),
    ] = None,
    controls_: Annotated[
        bool,
        typer.Option("--controls", help="Show every control of every tier, and what enforces it."),
    ] = False,
    json_: Json = False,
) -> int:
    """Look for what is wrong and say how to mend it. Exit status 1 when something is.

    With --attack the daemon runs attacks in each sandbox tier, each beside the same program
    with one grant more, and shows what was held. Nothing outside is harmed.
    """
    if attack:
        if controls_:
            raise UsageError("--attack and --controls exclude each other", fix="use one of them")
        return attacks.attack(tier or (), only or (), as_json=json_)
    if tier or only:
        raise UsageError("--tier and --only go with --attack", fix="add --attack")
    if controls_:
        return controls.controls(as_json=json_)
    home = Home.locate()
    answer = _ask(home)
    here = not _elsewhere(home)
    findings = [
        *_folders(home, with_data=here),
        *doctor_host.room(home.data),
        *doctor_host.service(home),
        *_device(home),
        *(_programs() if here else ()),
        *_daemon(answer, home),
    ]
    if json_:
        _emit(findings, answer)
    else:
        _say(findings, answer)
    return 0 if all(finding.ok for finding in findings) else 1


def _emit(
    findings: Sequence[Finding], answer: "daemon_pb2.GetStatusResponse | StockadeError"
) -> None:
    for finding in findings:
        machine.emit(
            {
                "what": finding.what,
                "ok": finding.ok,
                "warning": finding.warning,
                "message": finding.message,
                "fix": finding.to_do,
            }
        )
    if not isinstance(answer, StockadeError):
        for one in answer.tiers:
            controls.show(one, as_json=True)


def _say(
    findings: Sequence[Finding], answer: "daemon_pb2.GetStatusResponse | StockadeError"
) -> None:
    """The verdict, then what is wrong, what is worth knowing, and what is well."""
    say(verdict(findings))
    say()
    for alike in grouped(findings):
        first = alike[0]
        facts([(one.mark, f"{one.what}: {one.message}") for one in alike], label=5)
        if first.to_do:
            facts([("", f"fix: {first.to_do}")], label=5)
    if not isinstance(answer, StockadeError) and not answer.reduced:
        say()
        say("what enforces each control here: stockade doctor --controls")


def _elsewhere(home: Home) -> bool:
    """Whether this home is that of a device alone: its daemon has another, here or far away."""
    from stockade.credentials import load_credentials

    if home.data.exists():
        return False
    try:
        return load_credentials(home.client).address is not None
    except StockadeError:
        return False


def _folders(home: Home, *, with_data: bool) -> Iterator[Finding]:
    for what, path in (("home", home.config), ("data", home.data))[: 2 if with_data else 1]:
        if not path.is_dir():
            yield Finding(what, False, f"{path} does not exist", "run `stockade up`")
            continue
        status = path.stat()
        open_to = stat.S_IMODE(status.st_mode) & 0o022
        yield Finding(
            what,
            not open_to,
            f"{path} can be written by others" if open_to else str(path),
            f"chmod go-w {path}",
        )


def _device(home: Home) -> Iterator[Finding]:
    from stockade.credentials import load_credentials, now

    try:
        credentials = load_credentials(home.client)
        end = credentials.lifetime()[1]
        expired = credentials.expired(now())
    except StockadeError as error:
        yield Finding("device", False, error.message, error.fix)
        return
    text = f"{credentials.name} ({credentials.device_id}), certificate until {end:%Y-%m-%d %H:%M}Z"
    fix = "run `stockade up`" if credentials.address is None else "pair this device again"
    yield Finding("device", not expired, text, fix)


def _programs() -> Iterator[Finding]:
    for name, fix in _PROGRAMS:
        # Tools run in sandboxes whose /usr is the host's: what is elsewhere does not count.
        found = shutil.which(name, path="/usr/bin:/bin:/usr/sbin:/sbin")
        yield Finding(name, found is not None, found or "is not installed", fix)


def _ask(home: Home) -> "daemon_pb2.GetStatusResponse | StockadeError":
    from stockade.client import Client

    try:
        with Client.open(home) as client:
            return client.status()
    except StockadeError as error:
        return error


def _daemon(
    answer: "daemon_pb2.GetStatusResponse | StockadeError", home: Home
) -> Iterator[Finding]:
    if isinstance(answer, StockadeError):
        here = "" if is_served(home) else " (no daemon holds this home)"
        said = f"{answer.reason}: {answer.message}{here}"
        if answer.reason == "NOT_PAIRED":  # the device's own finding
            said = "none is known to this device"
        yield Finding("daemon", False, said, answer.fix)
        return
    yield Finding("daemon", True, f"{answer.version} at {answer.address}")
    yield from _reported(answer)


def _reported(answer: "daemon_pb2.GetStatusResponse") -> Iterator[Finding]:
    if answer.reduced:
        yield Finding(
            "rights",
            True,
            "this device is not told why something does not work, nor of engines and escapes",
            "run `stockade doctor` on an owner's device",
            warning=True,
        )
    if answer.health not in ("", "ok"):
        fix = "see the finding that is BAD for the same reason; sandbox.required_tiers says which"
        yield Finding("health", False, f"it does not serve: {answer.health}", fix)
    yield from _ledger(answer)
    yield from _checkpoints(answer.ledger_checkpoint)
    if answer.policy_state not in ("", "ok"):
        fix = "mend the policies, `stockade policy check`, then `stockade policy apply`"
        yield Finding("policy", False, answer.policy_state, fix)
    vault = answer.vault
    yield Finding(
        "vault",
        vault.available,
        (vault.root or "open") if vault.available else (vault.reason or vault.code),
        vault.fix,
    )
    if vault.expiring_secrets:
        yield Finding(
            "secrets",
            False,
            many(vault.expiring_secrets, "has expired or does soon", "have expired or do soon"),
            "`stockade secrets list`, then `stockade secrets put` with new values",
        )
    if answer.refused_tools:
        yield Finding(
            "tools",
            False,
            f"{many(answer.refused_tools, 'folder')} refused",
            "see `stockade tools list`",
        )
    yield from _engines(answer)
    for tier in answer.tiers:
        if tier.works:
            yield Finding(f"tier {tier.name}", True, "works")
        for missing in tier.missing:
            what = f"tier {tier.name}"
            yield Finding(what, False, f"{missing.primitive}: {missing.reason}", missing.fix)
        if not tier.works and not tier.missing:
            fix = "ask an owner" if answer.reduced else "see the daemon's log"
            yield Finding(f"tier {tier.name}", False, "does not work", fix)


def _ledger(answer: "daemon_pb2.GetStatusResponse") -> Iterator[Finding]:
    works = answer.ledger_state == "ok"
    yield Finding(
        "ledger",
        works,
        f"entry {answer.ledger_sequence}" if works else answer.ledger_state,
        f"free space in, or mend, {answer.data_directory or 'its data directory'}; until then"
        " nothing runs",
    )
    if answer.ledger_damage:
        fix = "verify an export against the checkpoints kept elsewhere; then restore a backup"
        yield Finding("ledger", False, answer.ledger_damage, fix)


def _checkpoints(found: "daemon_pb2.GetStatusResponse.Checkpoint") -> Iterator[Finding]:
    if found.state not in ("", "ok"):
        fix = "stop the daemon; verify an export against the checkpoints kept elsewhere"
        yield Finding("checkpoints", False, found.state, fix)
    for place in found.places:
        if place.reason:
            yield Finding(f"checkpoints to {place.name}", False, place.message, place.fix)


def _engines(answer: "daemon_pb2.GetStatusResponse") -> Iterator[Finding]:
    """What the tiers are made of, and the published escapes that it has."""
    for engine in answer.engines:
        version = engine.package_version or engine.version
        if not engine.known_escapes:
            yield Finding(f"engine {engine.name}", True, version)
        for escape in engine.known_escapes:
            yield Finding(
                f"engine {engine.name}",
                True,
                f"{version} has {escape.id}: {escape.summary}",
                f"upgrade {engine.name} to {escape.fixed_in} or later; where there is no such"
                " package, config.toml can put the tier out of use (`refuse_known_escapes` under"
                " [sandbox]) or take note of one that you found closed (`accepted_escapes`)",
                warning=True,
            )

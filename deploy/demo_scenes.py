"""The demo's scenes: what is typed at whose terminal, and how the answer has to be.

Each takes the stage as the one before left it. Raises `DemoError` when an answer is another.
"""

import json
import os
import secrets
from dataclasses import dataclass

from demo_terminal import DemoError, Terminal, heading, remark
from demo_world import SIGNING_POLICY, World, expected_report, expected_signature

SUCCEEDED, DENIED, BAD_LEDGER = 0, 10, 1


@dataclass(frozen=True)
class Stage:
    """The directory, and the three who sit at their terminals."""

    world: World
    caller: Terminal
    approver: Terminal
    verifier: Terminal


def play(stage: Stage) -> None:
    """The scenes, in order."""
    start_daemon(stage)
    pair_approver(stage)
    allowed_call(stage)
    attended_call(stage)
    denied_call(stage)
    secret_call(stage)
    verify_ledger(stage)


def start_daemon(stage: Stage) -> None:
    """The daemon on its embedded default; the vault's root in the keychain, if one works."""
    heading("The daemon starts; this device, its caller, is paired with it as its owner")
    world, caller = stage.world, stage.caller
    remark(f"configuration: {world.home / 'config.toml'}")
    up = ("stockade", "up", "--detach")
    world.configure("keychain")
    try:
        caller.run(*up, unbroken=True)
    except DemoError:
        if "keychain" not in caller.commands[-1].output.lower():
            raise
        remark(
            "no keychain works here. Stockade never falls back by itself, so it is told to: the"
            " vault's root key goes into a 0600 file."
        )
        world.configure("file")
        caller.run(*up, "--vault-root", "file", unbroken=True)
    caller.run("stockade", "tools", "list")


def pair_approver(stage: Stage) -> None:
    """A second device, with a key and a home of its own, by a one-time code and a person's yes."""
    heading("A second device is paired: the approver's. Its key is made there and stays there")
    caller, approver = stage.caller, stage.approver
    invite = caller.start(
        *("stockade", "devices", "invite", "--name", "approver", "--group", "approvers", "--json")
    )
    opened = _field(invite.await_line("pairing_code"), "opened")
    pairing = approver.start("stockade", "pair", opened["pairing_code"])
    waiting = _field(invite.await_line("words"), "waiting")
    words = waiting["words"]
    pairing.await_line(words)
    remark(f"both terminals show the same words ({words}): somebody says yes")
    caller.run("stockade", "devices", "confirm", opened["invitation_id"], "--words", words)
    pairing.wait(0)
    invite.wait(0)
    caller.run("stockade", "devices", "list")


def allowed_call(stage: Stage) -> None:
    """Policy permits reading unattended."""
    heading("Call 1: reading the orders. Policy permits it at once")
    words = ("--arg", "workspace=orders", "--arg", "path=orders.csv")
    said = stage.caller.run("stockade", "call", "read_file", "--verbose", *words, status=SUCCEEDED)
    _must("1005,east,1,1290.00" in said, "the call did not show the orders")


def attended_call(stage: Stage) -> None:
    """Policy permits running code, but not unattended: the approver sees it, and says yes."""
    heading("Call 2: running an agent's code over the orders. Policy wants a person's yes")
    caller, approver, report = stage.caller, stage.approver, stage.world.orders / "report.md"
    call = caller.start(
        *("stockade", "call", "run_python", "--verbose"),
        *("--arg", "workspace=orders", "--arg", "code=@summarise.py"),
    )
    approval = call.await_line("stockade approvals show ").rpartition(" ")[2]
    approver.run("stockade", "approvals", "list")
    _must(call.process.poll() is None, "the call did not wait for its approval")
    _must(not report.exists(), "the code ran before it was approved")
    remark(
        "the caller's terminal waits. The approver's yes is to exactly this, and is signed with"
        " the approver's own key:"
    )
    words = ("stockade", "approvals", "approve", "--full", approval)
    approver.answer(*words, question="[y/N]", answer="y")
    call.wait(SUCCEEDED)
    _must(report.read_text() == expected_report(), "the report is not what the orders add up to")
    remark(f"written: {report}")


def denied_call(stage: Stage) -> None:
    """Policy forbids writing through the workspace's read-only name."""
    heading("Call 3: changing the orders in the archive. Policy says no, and which policy")
    before = (stage.world.orders / "orders.csv").read_bytes()
    said = stage.caller.run(
        *("stockade", "call", "write_file", "--verbose", "--arg", "workspace=archive"),
        *("--arg", "path=orders.csv", "--arg", "content=1001,north,0,0.00"),
        status=DENIED,
    )
    _must("read-only-workspace" in said, "the denial did not name the policy")
    _must((stage.world.orders / "orders.csv").read_bytes() == before, "the orders were changed")


def secret_call(stage: Stage) -> None:
    """A secret reaches the one tool that policy grants it to, and is taken out of its output."""
    heading("Call 4: a tool of your own, with a secret that policy grants to it alone")
    world, caller, key = stage.world, stage.caller, secrets.token_hex(20)
    caller.run("stockade", "tools", "add", "sign_report")
    caller.run(
        *("stockade", "secrets", "put", "report_key"),
        stdin=key.encode(),
        remark="      # its value comes from standard input",
    )
    (world.home / "policies" / "signing.cedar").write_text(SIGNING_POLICY)
    remark(f"written: {world.home / 'policies' / 'signing.cedar'}")
    caller.run("stockade", "policy", "apply")
    words = ("--arg", "workspace=orders", "--arg", "path=report.md")
    said = caller.run("stockade", "call", "sign_report", "--verbose", *words, status=SUCCEEDED)
    _must(key not in said, "the secret was not taken out of the output")
    signature = expected_signature(key, (world.orders / "report.md").read_bytes())
    _must(signature in said, "the tool did not get the secret")
    remark("the tool printed the key; what arrived here does not hold it")


def verify_ledger(stage: Stage) -> None:
    """Export, stop the daemon, verify with the public key alone; then with changed copies."""
    heading("The ledger: exported, the daemon stopped, verified with the public key alone")
    caller, verifier, place = stage.caller, stage.verifier, stage.world.verifier
    export, checkpoint = place / "ledger.jsonl", place / "checkpoint.txt"
    caller.run("stockade", "ledger", "keys", into=place / "ledger.pub")
    caller.run("stockade", "ledger", "checkpoint", into=checkpoint)
    caller.run("stockade", "ledger", "export", os.path.relpath(export, caller.place))
    caller.run("stockade", "down")
    verify = ("stockade", "ledger", "verify")
    proof = ("--key", "ledger.pub", "--checkpoint", "checkpoint.txt")
    verifier.run(*verify, export.name, *proof)

    remark("somebody turns the denied call into another one, in a copy:")
    lines = export.read_bytes().splitlines(keepends=True)
    number = next(n for n, line in enumerate(lines) if b"call.denied" in line)
    changed = lines[number].replace(b"write_file", b"read__file")
    _must(changed != lines[number], "there is no receipt of the denied call to change")
    (place / "tampered.jsonl").write_bytes(
        b"".join([*lines[:number], changed, *lines[number + 1 :]])
    )
    said = verifier.run(*verify, "tampered.jsonl", *proof, status=BAD_LEDGER)
    _must(f"line {number + 1}" in said, f"the changed entry, line {number + 1}, was not named")

    remark("somebody cuts the last receipts off:")
    (place / "cut.jsonl").write_bytes(b"".join(lines[: number + 1]))
    verifier.run(*verify, "cut.jsonl", *proof, status=BAD_LEDGER)


def _field(line: str, name: str) -> dict[str, str]:
    found = json.loads(line)
    fields = found.get(name, found)
    return {str(key): str(value) for key, value in fields.items()}


def _must(holds: bool, otherwise: str) -> None:
    if not holds:
        raise DemoError(otherwise)

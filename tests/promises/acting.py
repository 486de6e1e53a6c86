"""What the tests of the promises do to a daemon: apply policy, add tools, call, look."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from policy.defaults import load_default_files
from stockade.client import Client, new_call_id
from stockade.connection import Connection, Stream
from stockade.credentials import load_credentials
from stockade.home import Home
from stockade.v1 import approval_pb2, call_pb2, policy_pb2, tool_pb2
from tests.host import of_each_process
from tests.running import RunningDaemon

DEADLINE = 60
# "About a second" for what must be dead; the machine that runs this may be busy.
SOON = 30

# For what an engine was asked to remove: it takes its own time, and the longer the more it has.
LEFT_SECONDS = 120
# `status` waits for less than an engine takes to be looked at that has much else to do.
LOOK_SECONDS = 180

# Everything that may be called at all runs without a human.
ALONE = '@id("alone") permit (principal, action == Action::"call_unattended", resource);'

Events = Stream[call_pb2.CallEvent]


def policy_files(extra: str, *, default: bool = True) -> list[policy_pb2.PolicyFile]:
    files = {**(load_default_files() if default else {}), "extra.cedar": extra}
    return [policy_pb2.PolicyFile(name=name, text=text) for name, text in files.items()]


def apply(client: Client, extra: str, *, default: bool = True) -> str:
    """Puts the default policies and `extra` in force; the digest."""
    return client.apply_policy(policy_files(extra, default=default)).digest


@contextmanager
def policy(client: Client, extra: str, *, default: bool = True) -> Iterator[str]:
    """`extra` in force for as long as the context lasts, then the default alone."""
    try:
        yield apply(client, extra, default=default)
    finally:
        apply(client, "")


def add_tool(
    client: Client,
    name: str,
    argv: list[str],
    *,
    rest: str = "",
    before: str = "",
    sensitivity: str = "0.1",
    files: Mapping[str, bytes] | None = None,
) -> tool_pb2.Tool:
    """Adds a tool of the operator's own without arguments; the manifest has `before` and `rest`."""
    manifest = (
        f'name = "{name}"\nversion = "1"\nsummary = "s"\nargv = {json.dumps(argv)}\n{before}'
        f'[input]\ntype = "object"\n[risk]\ndata_sensitivity = {sensitivity}\n{rest}\n'
    )
    sent = {"manifest.toml": manifest.encode(), **(files or {})}
    return client.add_tool(
        [tool_pb2.AddToolRequest.File(path=path, content=data) for path, data in sent.items()]
    ).tool


def python_tool(client: Client, name: str, code: str, **more: Any) -> tool_pb2.Tool:
    """Adds a tool that is a Python script of its folder."""
    argv = ["/usr/bin/python3", "-I", "-S", "/tool/main.py"]
    return add_tool(client, name, argv, files={"main.py": code.encode()}, **more)


def run(client: Client, tool: str, /, **arguments: object) -> list[call_pb2.CallEvent]:
    """A whole call."""
    return list(client.call(tool, arguments))


@dataclass
class Waiting:
    """A call that waits for a human."""

    call_id: str
    events: Events
    approval: approval_pb2.Approval

    def end(self) -> call_pb2.CallEvent.Finished:
        """Its end; whether it ever started is in `started`."""
        self.rest = list(self.events)
        assert self.rest[-1].HasField("finished")
        return self.rest[-1].finished

    @property
    def started(self) -> bool:
        """Whether a tool ran."""
        return any(event.HasField("started") for event in self.rest)


def ask(client: Client, tool: str, /, *, detach: bool = False, **arguments: object) -> Waiting:
    """Calls a tool and reads until a human is asked."""
    call_id = new_call_id()
    events = client.call(tool, arguments, call_id=call_id, detach=detach)
    for event in events:
        assert not event.HasField("finished"), event
        if event.HasField("awaiting_approval"):
            approval = client.get_approval(event.awaiting_approval.approval_id)
            return Waiting(call_id, events, approval)
    raise AssertionError("nobody was asked")


def answer_raw(
    client: Client, approval_id: str, signature: bytes, *, approve: bool = True, reason: str = ""
) -> approval_pb2.AnswerApprovalResponse:
    """An answer with a signature of any make; no check of this side is in the way."""
    request = approval_pb2.AnswerApprovalRequest(
        approval_id=approval_id, approve=approve, reason=reason, signature=signature
    )
    return client._connection.ask(client._approvals.AnswerApproval, request)


def receipts(client: Client, call_id: str) -> list[dict[str, Any]]:
    """A call's receipts, oldest first, as their signed bytes say."""
    found = client.read_ledger(call_id=call_id, page_size=500).receipts
    return [json.loads(receipt.canonical) for receipt in found]


def kinds(client: Client, call_id: str) -> list[str]:
    """The kinds of a call's receipts, in order."""
    return [str(receipt["kind"]) for receipt in receipts(client, call_id)]


def export(client: Client) -> bytes:
    """The whole ledger."""
    return b"".join(chunk.lines for chunk in client.export_ledger())


def entries(exported: bytes) -> list[dict[str, Any]]:
    """The receipts of an export, without believing any of it."""
    return [json.loads(line)["receipt"] for line in exported.splitlines()]


def until(happened: Callable[[], bool], seconds: float = DEADLINE) -> bool:
    """Whether it happened in time."""
    end = time.monotonic() + seconds
    while not happened():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def working_tiers(client: Client) -> dict[str, bool]:
    """Which tiers work, once the daemon is no longer looking at any; for an owner."""
    end = time.monotonic() + LOOK_SECONDS
    while True:
        tiers = client.status().tiers
        looking = any("still looking" in one.reason for tier in tiers for one in tier.missing)
        if not looking or time.monotonic() > end:
            return {tier.name: tier.works for tier in tiers}


def sleepers(mark: str) -> list[int]:
    """The host's processes that are `sleep MARK`, wherever they run."""
    argvs = {pid: line.split(b"\0") for pid, line in of_each_process("cmdline").items()}
    return [
        pid
        for pid, argv in argvs.items()
        if argv[0].endswith(b"sleep") and argv[1:2] == [mark.encode()]
    ]


def state(client: Client, call_id: str) -> tuple[str, str]:
    """Where a call is by the list of calls, and why."""
    for one in client.list_calls(page_size=500).calls:
        if one.call_id == call_id:
            return call_pb2.CallState.Name(one.state).removeprefix("CALL_STATE_"), one.reason
    return "", ""


def connect(home: Home, daemon: RunningDaemon) -> Client:
    """A paired device's client, where the daemon listens now: port 0 is another after a restart."""
    credentials = load_credentials(home.client)
    return Client(Connection(daemon.address, credentials), credentials)

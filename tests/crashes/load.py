"""Mixed load on a daemon that will be killed: calls of every kind, approvals, leases.

Each thread goes on until the daemon is gone. Being cut off is what they are here for; any other
error is kept and fails the test.
"""

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random

from stockade.approving import lease_for, verified
from stockade.client import Client, new_call_id
from stockade.errors import Conflict, DaemonUnreachable, StockadeError, Unavailable
from stockade.home import Home
from stockade.v1 import approval_pb2, tool_pb2
from tests.approvals.leasing import hence
from tests.crashes.told import Told
from tests.promises.acting import apply, connect
from tests.running import RunningDaemon

POLICY = """@id("alone") permit (principal, action == Action::"call_unattended", resource)
when { context.tier != "process" || resource == Tool::"run_shell" };
"""
WORK = {"workspace": "work"}
LEASE_USES = 60
# Appends to a file of the call's own: how many lines it has is how often the tool ran.
MANIFEST = """\
name = "{name}"
version = "1"
summary = "s"
argv = ["/bin/sh", "-c", "echo x >> ran-$1", "sh", "{{call}}"]
[input]
type = "object"
required = ["call", "workspace"]
[input.properties.call]
type = "string"
[input.properties.workspace]
type = "string"
[workspace]
access = "write"
[risk]
data_sensitivity = {sensitivity}
[capabilities]
filesystem_write = true
"""
# What makes the floor of a tool that tier: how sensitive it is, and what else it can do.
BOXES = {
    "container": ("0.6", ""),
    "gvisor": ("1.0", "network = true\nexternal_apis = true\n"),
}


@dataclass
class Load:
    """The load on one life of the daemon."""

    daemon: RunningDaemon
    approver: Home
    told: Told
    mark: str
    random: Random
    boxes: tuple[str, ...] = ()
    # A call runs in one of them.
    boxed: threading.Event = field(default_factory=threading.Event)
    errors: list[str] = field(default_factory=list)
    _threads: list[threading.Thread] = field(default_factory=list)

    def start(self) -> None:
        """Begins it."""
        acts = [self._call, self._call, self._detach, self._lease, self._ask, self._answer]
        for act in [*acts, *(self._in_box(tier) for tier in self.boxes)]:
            seed = self.random.random()
            thread = threading.Thread(target=self._until_cut, args=(act, Random(seed)))  # noqa: S311
            thread.start()
            self._threads.append(thread)

    def join(self) -> None:
        """The daemon is gone; so are they."""
        for thread in self._threads:
            thread.join(90)
            assert not thread.is_alive(), "a client did not notice that the daemon is gone"
        assert not self.errors, self.errors

    def _until_cut(self, act: Callable[[Client, Random], None], chance: Random) -> None:
        try:
            home = self.approver if act == self._answer else self.daemon.home
            with connect(home, self.daemon) as client:
                while True:
                    act(client, chance)
        except DaemonUnreachable:
            pass
        except Unavailable as error:
            self.errors.append(f"unavailable: {error}")
        except (StockadeError, AssertionError, OSError) as error:
            self.errors.append(f"{act}: {error!r}")

    def _follow(self, client: Client, call_id: str, *, detach: bool) -> None:
        """Sends a call that was begun, and hears what is said of it."""
        tool, arguments = self.told.begun[call_id]
        for event in client.call(tool, arguments, call_id=call_id, detach=detach):
            self.told.event(event)
            if event.HasField("started") and event.started.tier in self.boxes:
                self.boxed.set()
            if detach and event.WhichOneof("event") in ("started", "awaiting_approval"):
                return

    def _shell(self, client: Client, seconds: str, *, detach: bool) -> None:
        call_id = new_call_id()
        command = f"echo x >> ran-{call_id}; (setsid sleep {seconds} &) ; sleep {seconds}; echo y"
        self.told.begin(call_id, "run_shell", {"command": command, **WORK})
        self._follow(client, call_id, detach=detach)

    def _call(self, client: Client, chance: Random) -> None:
        self._shell(client, chance.choice((f"0.0{self.mark}", f"0.2{self.mark}")), detach=False)

    def _detach(self, client: Client, chance: Random) -> None:
        self._shell(client, chance.choice((f"0.0{self.mark}", f"3.0{self.mark}")), detach=True)
        threading.Event().wait(0.05)

    def _lease(self, client: Client, chance: Random) -> None:
        call_id = new_call_id()
        self.told.begin(call_id, "leased", {"call": call_id, **WORK})
        self._follow(client, call_id, detach=True)
        threading.Event().wait(chance.random() * 0.05)

    def _ask(self, client: Client, chance: Random) -> None:
        call_id = new_call_id()
        self.told.begin(call_id, "asked", {"call": call_id, **WORK})
        self._follow(client, call_id, detach=True)
        threading.Event().wait(0.02 + chance.random() * 0.1)

    def _in_box(self, tier: str) -> Callable[[Client, Random], None]:
        """Calls that run in a container of the engine's, attached and not."""

        def act(client: Client, chance: Random) -> None:
            call_id = new_call_id()
            self.told.begin(call_id, f"in_{tier}", {"call": call_id, **WORK})
            self._follow(client, call_id, detach=chance.random() < 0.5)
            threading.Event().wait(chance.random() * 0.1)

        return act

    def _answer(self, client: Client, chance: Random) -> None:
        pending = client.list_approvals()
        if not pending:
            threading.Event().wait(0.02)
            return
        approval = chance.choice(pending)
        yes = chance.random() < 0.8
        lease = None
        if yes and verified(approval).call.tool == "leased":
            lease = lease_for(
                verified(approval),
                expires_ms=hence(3600),
                uses=LEASE_USES,
                bounds={"call": {"any": True}, "workspace": {"is": "work"}},
                tied=True,
            )
        # Who was cut off while answering answers the same approval again, and is told so.
        with suppress(Conflict):
            client.answer_approval(approval, approve=yes, lease=lease)
            self.told.answer(approval.approval_id, yes)


def prepare(client: Client, boxes: tuple[str, ...]) -> None:
    """Policy and tools of the load."""
    apply(client, POLICY)
    for name in ("asked", "leased"):
        _add(client, name, "0.1", "")
    for tier in boxes:
        _add(client, f"in_{tier}", *BOXES[tier])


def _add(client: Client, name: str, sensitivity: str, more: str) -> None:
    manifest = (MANIFEST.format(name=name, sensitivity=sensitivity) + more).encode()
    client.add_tool([tool_pb2.AddToolRequest.File(path="manifest.toml", content=manifest)])


def pending(client: Client) -> dict[str, approval_pb2.Approval]:
    """What waits, by id."""
    return {one.approval_id: one for one in client.all_approvals()}

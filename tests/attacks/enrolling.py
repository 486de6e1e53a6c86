"""Agents for the attacks: manifests, enrolment over the wire, and clients that act as one."""

from dataclasses import dataclass
from pathlib import Path

from stockade.agents import Enrolled, enroll
from stockade.client import Client, new_call_id
from stockade.connection import Connection
from stockade.credentials import load_credentials
from stockade.home import Home
from tests.promises.acting import Waiting
from tests.running import RunningDaemon

EVERYTHING = 'toolsets = ["builtin", "local"]'


def manifest_text(name: str, capabilities: str = EVERYTHING, version: str = "1") -> str:
    """A manifest that declares that much."""
    return (
        f'name = "{name}"\nversion = "{version}"\nsummary = "an agent of the tests"\n'
        f'[[code]]\npath = "elsewhere/main.py"\nsha256 = "{"0" * 64}"\n'
        f"[capabilities]\n{capabilities}\n"
    )


@dataclass(frozen=True)
class EnrolledAgent:
    """An agent and where its credentials are."""

    home: Home
    enrolled: Enrolled

    @property
    def id(self) -> str:
        """Its id."""
        return self.enrolled.answer.agent.agent_id

    @property
    def digest(self) -> str:
        """Its manifest's digest."""
        return self.enrolled.answer.agent.manifest_digest

    def client(self) -> Client:
        """A client that acts as it, wherever the daemon listens by now."""
        return Client.open(self.home)


def enroll_agent(
    daemon: RunningDaemon,
    name: str,
    device: Home | None = None,
    *,
    capabilities: str = EVERYTHING,
    version: str = "1",
    folder: str = "",
) -> EnrolledAgent:
    """Enrolls an agent of a device (the local one), as its client does."""
    device = device or daemon.home
    home = Home.under(daemon.root / f"agent-{folder or name}")
    file = write_manifest(daemon.root, name, capabilities, version)
    with connect(daemon, device) as client:
        return EnrolledAgent(home, enroll(client, name, file, home, device))


def write_manifest(
    folder: Path, name: str, capabilities: str = EVERYTHING, version: str = "1"
) -> Path:
    """A manifest in a file."""
    file = folder / f"{name}.toml"
    file.write_text(manifest_text(name, capabilities, version))
    return file


def connect(daemon: RunningDaemon, home: Home) -> Client:
    """A client of a home, where the daemon listens now: port 0 is another after a restart."""
    if home == daemon.home:
        return daemon.client()
    credentials = load_credentials(home.client)
    return Client(Connection(daemon.address, credentials), credentials)


def wait_for(
    who: Client, owner: Client, tool: str, /, *, detach: bool = False, **arguments: object
) -> Waiting:
    """Calls a tool and reads until a human is asked; the owner sees what about."""
    call_id = new_call_id()
    events = who.call(tool, arguments, call_id=call_id, detach=detach)
    for event in events:
        assert not event.HasField("finished"), event
        if event.HasField("awaiting_approval"):
            approval = owner.get_approval(event.awaiting_approval.approval_id)
            return Waiting(call_id, events, approval)
    raise AssertionError("nobody was asked")

"""Enrolling an agent: its key is made where the agent will use it, and its credentials put there.

Run on the device that answers for the agent. The key never leaves its folder; what the device sends
is the manifest and a certificate request. Files of the agent's code that lie beside the manifest
are compared with what it says of them. Raises `StockadeError` kinds and nothing else.
"""

import hashlib
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stockade.client import Client
from stockade.credentials import (
    PROFILE,
    Credentials,
    certificate_request,
    checked,
    ensure_key,
    load_credentials,
    save_credentials,
)
from stockade.errors import BadRequest, CredentialsError
from stockade.home import Home

if TYPE_CHECKING:
    from stockade.v1 import agent_pb2

MAX_MANIFEST = 64 * 1024


@dataclass(frozen=True, slots=True)
class Enrolled:
    """What came of it."""

    answer: "agent_pb2.EnrollAgentResponse"
    credentials: Credentials


def enroll(client: Client, name: str, manifest: Path, home: Home, own_home: Home) -> Enrolled:
    """Enrolls the agent of a manifest as this device's; it acts from `home` from then on."""
    content = _read(manifest)
    _compare_code(content, manifest.parent)
    _refuse_another(home.client, name)
    key = ensure_key(home.client)
    answer = client.enroll_agent(name, content, certificate_request(key))
    here = client.credentials.address is None
    credentials = checked(
        Credentials(
            device_id=answer.agent.device_id,
            name=answer.agent.name,
            address=client.address,
            key=key,
            certificate=answer.certificate,
            authority=answer.authority,
            agent_id=answer.agent.agent_id,
            endpoint=own_home.endpoint if here else client.credentials.endpoint,
        )
    )
    save_credentials(home.client, credentials)
    return Enrolled(answer, credentials)


def _read(manifest: Path) -> bytes:
    with manifest.open("rb") as file:
        content = file.read(MAX_MANIFEST + 1)
    if len(content) > MAX_MANIFEST:
        raise BadRequest(
            f"{manifest} has more than {MAX_MANIFEST} bytes",
            reason="AGENT_MANIFEST_INVALID",
            fix="put what is long into a file of its own, and its digest into the manifest",
        )
    return content


def _compare_code(content: bytes, folder: Path) -> None:
    """Code that is there must be what the manifest says. The daemon judges all the rest."""
    try:
        listed = tomllib.loads(content.decode()).get("code", [])
        named = [(str(one["path"]), str(one["sha256"])) for one in listed]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return
    for name, digest in named:
        path = folder / name
        if not path.is_file():
            continue
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != digest:
            raise BadRequest(
                f"{path} is not the file that the manifest names",
                reason="AGENT_CODE_DIFFERS",
                fix=f'if it is right, write sha256 = "{found}" into the manifest',
            )


def _refuse_another(folder: Path, name: str) -> None:
    """A folder that is a device's, or another agent's, stays that."""
    if not (folder / PROFILE).exists():
        return
    found = load_credentials(folder)
    if found.agent_id is None or found.name != name:
        whose = "a device" if found.agent_id is None else f"the agent {found.name}"
        raise CredentialsError(
            f"{folder} already holds the credentials of {whose}",
            reason="ALREADY_PAIRED",
            fix="choose another --home, or move this folder away",
        )

"""What the operator's tests do: files in a folder, receipts by their kind."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from policy.defaults import load_default_files
from stockade.client import Client
from stockade.v1 import policy_pb2


def folder(path: Path, extra: str = "", files: Mapping[str, str] | None = None) -> Path:
    """A folder with the default policies, `extra.cedar`, and other files by name."""
    path.mkdir(exist_ok=True)
    for name, text in {**load_default_files(), "extra.cedar": extra, **(files or {})}.items():
        (path / name).write_text(text)
    return path


def in_folder(path: Path) -> list[policy_pb2.PolicyFile]:
    """The policy files of a folder."""
    return [
        policy_pb2.PolicyFile(name=one.name, text=one.read_text())
        for one in sorted(path.glob("*.cedar"))
    ]


def last_receipt(client: Client, kind: str) -> dict[str, Any]:
    """The body of the newest receipt of a kind."""
    for receipt in client.read_ledger(page_size=100).receipts:
        if receipt.kind == kind:
            body: dict[str, Any] = json.loads(receipt.canonical)["body"]
            return body
    raise AssertionError(f"no receipt {kind}")


def uid(text: str) -> policy_pb2.Entity:
    """An entity, from "Group/owners"."""
    kind, _, name = text.partition("/")
    return policy_pb2.Entity(type=kind, id=name)


def join(child: str, parent: str) -> policy_pb2.ChangeEntitiesRequest.Change:
    """The change that puts one in the other."""
    membership = policy_pb2.Membership(child=uid(child), parent=uid(parent))
    return policy_pb2.ChangeEntitiesRequest.Change(join=membership)


def leave(child: str, parent: str) -> policy_pb2.ChangeEntitiesRequest.Change:
    """The change that takes one out of the other."""
    membership = policy_pb2.Membership(child=uid(child), parent=uid(parent))
    return policy_pb2.ChangeEntitiesRequest.Change(leave=membership)


def tag(entity: str, key: str, value: str) -> policy_pb2.ChangeEntitiesRequest.Change:
    """The change that tags it."""
    tagged = policy_pb2.Tag(entity=uid(entity), key=key, value=value)
    return policy_pb2.ChangeEntitiesRequest.Change(tag=tagged)


def untag(entity: str, key: str) -> policy_pb2.ChangeEntitiesRequest.Change:
    """The change that takes the tag away."""
    tagged = policy_pb2.Tag(entity=uid(entity), key=key)
    return policy_pb2.ChangeEntitiesRequest.Change(untag=tagged)

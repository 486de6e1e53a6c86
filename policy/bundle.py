"""Policy files into a bundle: parsed, validated strictly, named and digested. All or nothing.

Trusted so that nothing that does not validate ever decides: a `Bundle` exists only if every file
of it is right. Pure but for `load_directory`, which reads files and follows no link. Leaves
`BundleError` (with every `Problem` found) and `SchemaError`.
"""

import hashlib
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import NewType

import cedarpy

from policy.admission import MAX_FILE_BYTES, MAX_FILES, admit, join
from policy.errors import BundleError, Problem
from policy.schema import Schema, parse_schema
from policy.statements import PolicyRef, Statement

BundleDigest = NewType("BundleDigest", str)
"""SHA-256, lower-case hex."""

_POSITIONAL = re.compile(r"policy(\d+)")


@dataclass(frozen=True, slots=True)
class PolicySlice:
    """Policies to evaluate together; `refs[n]` is what the engine calls `policyn`."""

    handle: cedarpy.PolicySet
    refs: tuple[PolicyRef, ...]

    def ref(self, engine_id: str) -> PolicyRef:
        """The policy behind the engine's name for it."""
        match = _POSITIONAL.fullmatch(engine_id)
        if match is None or int(match[1]) >= len(self.refs):
            return PolicyRef(engine_id, "", 0)
        return self.refs[int(match[1])]


@dataclass(frozen=True, slots=True)
class Bundle:
    """A validated policy set. Equal if its digest is."""

    digest: BundleDigest
    schema: Schema = field(compare=False)
    files: Mapping[str, str] = field(compare=False, repr=False)
    whole: PolicySlice = field(compare=False, repr=False)

    @property
    def policies(self) -> tuple[PolicyRef, ...]:
        """Every policy, in the order of file names and lines."""
        return self.whole.refs

    @classmethod
    def build(cls, files: Mapping[str, str], schema: str) -> "Bundle":
        """The bundle of these files under this schema, or `BundleError`."""
        parsed_schema = parse_schema(schema)
        files = {name: files[name] for name in sorted(files)}
        statements, refs = admit(files, parsed_schema)
        whole = PolicySlice(_parse_all(statements), refs)
        return cls(digest(files, schema), parsed_schema, MappingProxyType(files), whole)

    @classmethod
    def check(cls, files: Mapping[str, str], schema: str) -> tuple[Problem, ...]:
        """What is wrong with these files; nothing if they make a bundle."""
        try:
            cls.build(files, schema)
        except BundleError as refused:
            return refused.problems
        return ()


def digest(files: Mapping[str, str], schema: str) -> BundleDigest:
    """SHA-256 over the count, then each name and content, then the schema; lengths before bytes."""
    parts = [part for name in sorted(files) for part in (name, files[name])]
    state = hashlib.sha256(b"stockade policy bundle v1\n" + len(files).to_bytes(8, "big"))
    for part in (*parts, schema):
        data = part.encode("utf-8")
        state.update(len(data).to_bytes(8, "big") + data)
    return BundleDigest(state.hexdigest())


def _parse_all(statements: list[Statement]) -> cedarpy.PolicySet:
    """The set the engine evaluates, in the order of the statements."""
    handle = cedarpy.PolicySet.from_str(join(statements))
    if len(handle) != len(statements):
        problem = Problem(
            "", 0, "POLICY_SYNTAX", "the engine counts otherwise", "simplify comments"
        )
        raise BundleError((problem,))
    return handle


def load_directory(path: Path) -> dict[str, str]:
    """The `*.cedar` files of a directory, by name. Other names are ignored; odd ones refused."""
    names = _list(path)
    problems: list[Problem] = []
    files: dict[str, str] = {}
    for name in names[: MAX_FILES + 1]:
        try:
            files[name] = _read(path / name)
        except (OSError, ValueError) as error:
            message = "not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
            fix = "policy files are regular files of UTF-8 text; no links"
            problems.append(Problem(name, 0, "POLICY_UNREADABLE", message, fix))
    if problems:
        raise BundleError(tuple(problems))
    return files


def _list(path: Path) -> list[str]:
    try:
        return sorted(entry.name for entry in path.iterdir() if entry.name.endswith(".cedar"))
    except OSError as error:
        problem = Problem("", 0, "POLICY_UNREADABLE", str(error), "check the policy directory")
        raise BundleError((problem,)) from None


def _read(path: Path) -> str:
    # O_NONBLOCK: opening a FIFO must not wait for a writer.
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    with os.fdopen(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise ValueError("not a regular file")
        data = file.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise ValueError(f"larger than {MAX_FILE_BYTES} bytes")
    return data.decode("utf-8")

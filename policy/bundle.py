"""Policy files into a bundle: validated strictly, named, indexed and digested. All or nothing.

Trusted so that nothing that does not validate ever decides: a `Bundle` exists only if every file
of it is right. Pure but for `load_directory`, which reads files and follows no link. Leaves
`BundleError` (with every `Problem` found) and `SchemaError`.
"""

import hashlib
import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import NewType

from policy.admission import MAX_FILE_BYTES, MAX_FILES, admit
from policy.discernment import LookedAt
from policy.errors import BundleError, Problem
from policy.pace import LIGHT, Pause, no_pause, paced, taken
from policy.requests import Requests
from policy.schema import Schema, parse_schema
from policy.slices import Slices, TextSource
from policy.statements import PolicyRef

BundleDigest = NewType("BundleDigest", str)
"""SHA-256, lower-case hex."""


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Bundle:
    """A validated policy set. Equal if its digest is."""

    digest: BundleDigest
    schema: Schema = field(compare=False)
    files: Mapping[str, str] = field(compare=False, repr=False)
    policies: tuple[PolicyRef, ...] = field(compare=False, repr=False)
    """Every policy, in the order of file names and lines."""
    texts: Sequence[str] = field(compare=False, repr=False)
    """The text of each."""
    slices: Slices = field(compare=False, repr=False)
    requests: Requests = field(compare=False, repr=False)

    @classmethod
    def build(
        cls,
        files: Mapping[str, str],
        schema: str,
        pause: Pause = no_pause,
        before: "Bundle | None" = None,
    ) -> "Bundle":
        """The bundle of these files under this schema, or `BundleError`.

        Policies that are in the bundle `before`, under the same schema, are not validated again,
        and which requests fit that schema is known already.
        """
        known = before if before is not None and before.schema.text == schema else None
        parsed_schema = known.schema if known else parse_schema(schema)
        valid = frozenset(paced(known.texts, pause, LIGHT)) if known else frozenset[str]()
        files = {name: files[name] for name in sorted(files)}
        admitted = admit(files, parsed_schema, pause, valid)
        scopes = paced(taken(admitted.scopes), pause, LIGHT)
        source = TextSource(admitted.texts)
        looked_at = LookedAt(admitted.context, admitted.texts)
        slices = Slices(scopes, source, looked_at)
        return cls(
            digest(files, schema),
            parsed_schema,
            MappingProxyType(files),
            admitted.refs,
            admitted.texts,
            slices,
            known.requests if known else Requests(parsed_schema),
        )

    def pieces(self) -> list[object]:
        """All that is large in it, in small parts: who holds them can let go of them bit by bit."""
        return [*self.policies, *self.texts, *self.slices.pieces()]

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


def load_directory(path: Path) -> dict[str, str]:
    """The `*.cedar` files of a directory, by name. Other names are ignored; odd ones refused."""
    names = _list(path)
    problems: list[Problem] = []
    files: dict[str, str] = {}
    for name in names[: MAX_FILES + 1]:
        shown = os.fsencode(name).decode("utf-8", "backslashreplace")
        try:
            if shown != name:
                raise ValueError("its name is not UTF-8")
            files[name] = _read(path / name)
        except (OSError, ValueError) as error:
            message = "not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
            fix = "policy files are regular files of UTF-8 text; no links"
            problems.append(Problem(shown, 0, "POLICY_UNREADABLE", message, fix))
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

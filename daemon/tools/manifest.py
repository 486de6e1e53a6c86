"""A tool's manifest: the contract its author declares, parsed into a frozen value.

Trusted to accept only a manifest whose every key is known, typed and bounded, which declares at
least the risk of what it asks for, and whose argv binds to the arguments it declares. Pure: files
come in as values; whether a host program exists is asked by the registry.

Errors: ``ManifestError``, always with the file and the key.
"""

from __future__ import annotations

import posixpath
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum, unique
from types import MappingProxyType
from typing import Never

from pydantic import ValidationError

from daemon.tools.argv import ArgvError, Placeholder, Stdin, bind_argv, bind_stdin
from daemon.tools.errors import ManifestError, Reason
from daemon.tools.input import InputSchema, compile_input
from daemon.tools.manifest_file import (
    Capabilities,
    Limits,
    ManifestFile,
    Risk,
    Secret,
    Workspace,
)
from daemon.tools.schema import InputSchemaError
from daemon.tools.strict_json import JsonError, JsonLimits, parse_json
from daemon.tools.tree import FileEntry
from sandbox.frame import PYTHON, runs_in_place

MANIFEST = "manifest.toml"
MAX_MANIFEST = 64 * 1024
_SCHEMA_JSON = JsonLimits(max_bytes=256 * 1024, max_depth=33, max_values=4_000)
_BUILTIN = "builtin"
_SIGNED = "signed"  # policy's word for a provenance, which a manifest cannot claim


@unique
class Origin(Enum):
    """Where a tool came from: with the daemon, or from its operator."""

    BUILTIN = "builtin"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a tool declares, checked."""

    name: str
    version: str
    summary: str
    description: str
    toolset: str
    argv: tuple[str | Placeholder, ...]
    stdin: Stdin
    input: InputSchema = field(repr=False)
    capabilities: Capabilities
    risk: Risk
    workspace: Workspace | None
    secrets: tuple[Secret, ...]
    limits: Limits
    environment: Mapping[str, str]
    runtime: str = "executable"
    image: str = ""


def parse_manifest(
    files: Mapping[str, FileEntry], *, where: str, folder: str | None, origin: Origin
) -> Manifest:
    """Parse the manifest among a tool's files; ``where`` is the folder in errors, or empty."""
    return _Parser(files, where).parse(folder, origin)


class _Parser:
    """One parse: the files, and how to name them in errors."""

    def __init__(self, files: Mapping[str, FileEntry], where: str) -> None:
        self._files = files
        self._where = where
        self._label = posixpath.join(where, MANIFEST)

    def parse(self, folder: str | None, origin: Origin) -> Manifest:
        found = self._shape(self._toml())
        self._identity(found, folder, origin)
        schema = self._input(found)
        self._workspace(found, schema)
        self._secrets(found)
        self._runtime(found)
        try:
            argv = bind_argv(found.argv, schema, self._files)
            stdin = bind_stdin(found.stdin, schema)
        except ArgvError as error:
            self._refuse(error.key, error.reason, error.code)
        return Manifest(
            name=found.name,
            version=found.version,
            summary=found.summary,
            description=found.description,
            toolset=found.toolset,
            argv=argv,
            stdin=stdin,
            input=schema,
            capabilities=found.capabilities,
            risk=found.risk,
            workspace=found.workspace,
            secrets=tuple(found.secrets),
            limits=found.limits,
            environment=MappingProxyType(dict(found.environment)),
            runtime=found.runtime,
            image=found.image,
        )

    def _toml(self) -> dict[str, object]:
        entry = self._files.get(MANIFEST)
        if entry is None:
            self._refuse("", "there is no such file", Reason.MANIFEST_MISSING)
        if len(entry.content) > MAX_MANIFEST:
            self._refuse("", f"more than {MAX_MANIFEST} bytes", Reason.MANIFEST_MALFORMED)
        try:
            return tomllib.loads(entry.content.decode("utf-8"), parse_float=Decimal)
        except (ValueError, ArithmeticError, RecursionError) as error:
            # ArithmeticError: an exponent beyond Decimal. RecursionError: brackets in thousands.
            reason = f"not TOML: {error}".splitlines()[0]
            self._refuse("", reason, Reason.MANIFEST_MALFORMED)

    def _shape(self, document: dict[str, object]) -> ManifestFile:
        try:
            return ManifestFile.model_validate(document)
        except ValidationError as error:
            found = error.errors(include_url=False, include_input=False)
            # A key that is misspelt is missing as well: the typo is what there is to correct.
            first = min(found, key=lambda one: one["type"] != "extra_forbidden")
            key = ".".join(ascii(s)[1:-1] if isinstance(s, str) else str(s) for s in first["loc"])
            reason, code = _worded(first["type"], first["msg"], first.get("ctx", {}))
            self._refuse(key, reason, code)

    def _identity(self, found: ManifestFile, folder: str | None, origin: Origin) -> None:
        if folder is not None and found.name != folder:
            self._refuse("name", "must equal the name of the folder", Reason.MANIFEST_NAME)
        if (found.toolset == _BUILTIN) != (origin is Origin.BUILTIN):
            reason = f'"{_BUILTIN}" is the toolset of exactly the tools that come with the daemon'
            self._refuse("toolset", reason, Reason.MANIFEST_TOOLSET)
        if found.toolset == _SIGNED:
            self._refuse("toolset", f'"{_SIGNED}" is reserved', Reason.MANIFEST_TOOLSET)

    def _input(self, found: ManifestFile) -> InputSchema:
        if (found.input is None) == (found.input_schema is None):
            reason = "exactly one of input and input_schema must be given"
            self._refuse("input", reason, Reason.MANIFEST_INVALID)
        if found.input is not None:
            return self._compile(found.input, self._label, "input")
        name = found.input_schema or ""
        entry = self._files.get(name)
        if entry is None:
            self._refuse("input_schema", "names no file of the folder", Reason.MANIFEST_INVALID)
        label = posixpath.join(self._where, name)
        try:
            document = parse_json(entry.content, _SCHEMA_JSON)
        except JsonError as error:
            raise _error(label, "input_schema", error.message, Reason.SCHEMA_INVALID) from None
        return self._compile(document, label, "")

    def _compile(self, document: object, label: str, key: str) -> InputSchema:
        try:
            return compile_input(document)
        except InputSchemaError as fault:
            raise _error(label, f"{key}{fault.pointer}" or "/", fault.reason, fault.code) from None

    def _workspace(self, found: ManifestFile, schema: InputSchema) -> None:
        workspace = found.workspace
        if workspace is None:
            return
        argument = schema.argument(workspace.argument)
        if argument is None or argument.get("type") != "string":
            reason = "must be an argument of the input schema of type string"
            self._refuse("workspace.argument", reason, Reason.MANIFEST_INVALID)
        if workspace.access == "write" and not found.capabilities.filesystem_write:
            # Otherwise the risk score would not count what the tool can do.
            reason = '"write" needs capabilities.filesystem_write = true'
            self._refuse("workspace.access", reason, Reason.MANIFEST_INVALID)

    def _runtime(self, found: ManifestFile) -> None:
        if found.runtime == "python" and (found.image or not runs_in_place(found.argv)):
            words = " ".join(PYTHON)
            reason = f'"python" needs argv to begin with `{words}`, then -c or a file; and no image'
            self._refuse("runtime", reason, Reason.MANIFEST_INVALID)

    def _secrets(self, found: ManifestFile) -> None:
        variables, files = set(found.environment), set[str]()
        for i, secret in enumerate(found.secrets):
            if (secret.env is None) == (secret.file is None):
                reason = "exactly one of env and file must be given"
                self._refuse(f"secrets.{i}", reason, Reason.MANIFEST_INVALID)
            place, taken = ("env", variables) if secret.env else ("file", files)
            name = secret.env or secret.file or ""
            if name in taken:
                self._refuse(f"secrets.{i}.{place}", "given twice", Reason.MANIFEST_DUPLICATE)
            taken.add(name)

    def _refuse(self, key: str, reason: str, code: Reason) -> Never:
        raise _error(self._label, key, reason, code)


def _error(label: str, key: str, reason: str, code: Reason) -> ManifestError:
    return ManifestError(label, key, reason, code, f"Correct {key or 'the file'} in {label}.")


def _worded(kind: str, message: str, context: Mapping[str, object]) -> tuple[str, Reason]:
    """Pydantic's finding in the words of this package."""
    match kind:
        case "extra_forbidden":
            return "there is no such key", Reason.MANIFEST_UNKNOWN_KEY
        case "missing":
            return "is required", Reason.MANIFEST_INVALID
        case "greater_than_equal":
            return f"must be at least {context.get('ge')}", Reason.MANIFEST_INVALID
        case "less_than_equal":
            return f"must be at most {context.get('le')}", Reason.MANIFEST_INVALID
        case "string_pattern_mismatch":
            return f"must match {context.get('pattern')}", Reason.MANIFEST_INVALID
        case "value_error":
            return message.removeprefix("Value error, "), Reason.MANIFEST_INVALID
        case _:
            return message.replace("Input should", "must"), Reason.MANIFEST_INVALID

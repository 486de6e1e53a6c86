"""Every error that leaves ``daemon.tools``: one small closed tree.

An error says what happened, carries one reason code and says what to do. No error carries a
value taken from a call's arguments: an argument may be a secret, and errors reach logs, receipts
and the caller's terminal.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum, unique


@unique
class Reason(StrEnum):
    """The closed set of reason codes of this package."""

    MANIFEST_MISSING = "MANIFEST_MISSING"
    MANIFEST_MALFORMED = "MANIFEST_MALFORMED"
    MANIFEST_INVALID = "MANIFEST_INVALID"
    MANIFEST_UNKNOWN_KEY = "MANIFEST_UNKNOWN_KEY"
    MANIFEST_DUPLICATE = "MANIFEST_DUPLICATE"
    MANIFEST_NAME = "MANIFEST_NAME"
    MANIFEST_TOOLSET = "MANIFEST_TOOLSET"
    MANIFEST_PLACEHOLDER = "MANIFEST_PLACEHOLDER"
    MANIFEST_ARGV_FILE = "MANIFEST_ARGV_FILE"
    SCHEMA_INVALID = "SCHEMA_INVALID"
    SCHEMA_UNSUPPORTED = "SCHEMA_UNSUPPORTED"
    SCHEMA_REFERENCE = "SCHEMA_REFERENCE"
    SCHEMA_PATTERN = "SCHEMA_PATTERN"
    SCHEMA_TOO_LARGE = "SCHEMA_TOO_LARGE"
    FOLDER_UNREADABLE = "FOLDER_UNREADABLE"
    FOLDER_NAME = "FOLDER_NAME"
    FOLDER_NOT_REGULAR = "FOLDER_NOT_REGULAR"
    FOLDER_HARD_LINK = "FOLDER_HARD_LINK"
    FOLDER_WRITABLE = "FOLDER_WRITABLE"
    FOLDER_COLLISION = "FOLDER_COLLISION"
    FOLDER_TOO_LARGE = "FOLDER_TOO_LARGE"
    SNAPSHOT_FAILED = "SNAPSHOT_FAILED"
    SNAPSHOT_MISSING = "SNAPSHOT_MISSING"
    SNAPSHOT_CHANGED = "SNAPSHOT_CHANGED"
    INSTALL_FAILED = "INSTALL_FAILED"
    TOOL_SHADOWS_BUILTIN = "TOOL_SHADOWS_BUILTIN"
    ARGUMENTS_TOO_LARGE = "ARGUMENTS_TOO_LARGE"
    ARGUMENTS_MALFORMED = "ARGUMENTS_MALFORMED"
    ARGUMENTS_DUPLICATE_KEY = "ARGUMENTS_DUPLICATE_KEY"
    ARGUMENTS_TOO_DEEP = "ARGUMENTS_TOO_DEEP"
    ARGUMENTS_INVALID = "ARGUMENTS_INVALID"
    INVOCATION_NUL = "INVOCATION_NUL"
    INVOCATION_TOO_LARGE = "INVOCATION_TOO_LARGE"
    INVOCATION_TYPE = "INVOCATION_TYPE"


class ToolError(Exception):
    """The root: a reason code, what happened, and what to do about it."""

    def __init__(self, code: Reason, message: str, fix: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.fix = fix


class ManifestError(ToolError):
    """A manifest, or the schema beside it, is refused; names the file and the key."""

    def __init__(self, file: str, key: str, reason: str, code: Reason, fix: str) -> None:
        where = f"{file}: {key}: " if key else f"{file}: "
        super().__init__(code, where + reason, fix)
        self.file = file
        self.key = key
        self.reason = reason


class FolderError(ToolError):
    """A tool's folder, or an upload of one, is refused; names the entry."""

    def __init__(self, entry: str, reason: str, code: Reason, fix: str) -> None:
        super().__init__(code, f"{entry}: {reason}", fix)
        self.entry = entry
        self.reason = reason


class SnapshotError(ToolError):
    """The content-addressed store cannot write, find or vouch for a tool's files."""


class InstallError(ToolError):
    """The operator's folder of tools cannot be changed."""


class ShadowError(ToolError):
    """An operator's tool carries, or a removal names, the name of a builtin."""


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken rule of an input schema: where, and which; never the value."""

    pointer: str
    rule: str


class ArgumentsError(ToolError):
    """The arguments of a call are refused, by the JSON grammar or by the tool's schema."""

    def __init__(
        self, code: Reason, message: str, fix: str, violations: tuple[Violation, ...] = ()
    ) -> None:
        super().__init__(code, message, fix)
        self.violations = violations


class InvocationError(ToolError):
    """Valid arguments that cannot become an argv: a NUL byte, or more than execve takes."""

"""The shape of ``manifest.toml``: every key, its type, its bounds, its default.

pydantic in strict mode: no coercion, no unknown keys. Rules that join several keys are in
``manifest``. The sections are frozen and become part of the ``Manifest`` as they are.

Errors: pydantic's ``ValidationError``, turned into ``ManifestError`` by the only caller.
"""

from __future__ import annotations

import unicodedata
from decimal import Decimal
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
)

# pydantic's patterns are the Rust engine's: linear time, and ``$`` is the very end.
NAME = r"^[a-z][a-z0-9_]{0,62}$"
IDENTIFIER = r"^[A-Za-z_][A-Za-z0-9_-]{0,62}$"
VARIABLE = r"^[A-Z_][A-Z0-9_]{0,62}$"
VERSION = r"^[0-9A-Za-z][0-9A-Za-z.+-]{0,63}$"
_PART = "[a-z0-9][a-z0-9._-]{0,62}"
# The vault's grammar, and policy's: what only one of them took would name nothing.
REFERENCE = rf"^secret://(?:global|(?:device|agent|tool|source)/{_PART})/{_PART}$"
# By digest: an image's id, or what a registry calls it. A tag can be moved.
IMAGE = r"^(?:[a-z0-9][a-z0-9._/:-]{0,200}@)?sha256:[0-9a-f]{64}$"
RISK_PLACES = 4  # decimal places of a risk input: as many as Cedar's decimal has

_INVISIBLE = ("Cc", "Cf", "Co", "Cs", "Zl", "Zp")


def _shown_as_written(text: str) -> str:
    """Refuse what would let a manifest rewrite the terminal or the prompt that shows it."""
    if any(unicodedata.category(c) in _INVISIBLE for c in text.replace("\n", "")):
        raise ValueError("holds control or invisible characters")
    return text


def _one_line(text: str) -> str:
    if "\n" in text:
        raise ValueError("must be one line")
    return text


def _no_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("holds a NUL byte")
    return text


def no_dots(text: str) -> str:
    """Refuse what could climb."""
    if ".." in text:
        raise ValueError("holds two dots in a row")
    return text


def _exact(value: object) -> object:
    """A decimal as written: ``0.3`` and ``"0.3"`` are 3/10, not the nearest binary fraction."""
    if isinstance(value, str):
        if not value.replace(".", "", 1).isdecimal() or not value.isascii():
            raise ValueError("must be a decimal number from 0 to 1")
        return Decimal(value)
    return Decimal(value) if type(value) is int else value


def _risk_input(value: Decimal) -> Decimal:
    exponent = value.as_tuple().exponent
    if not isinstance(exponent, int) or not 0 <= value <= 1 or exponent < -RISK_PLACES:
        raise ValueError(f"must be a decimal number from 0 to 1, at most {RISK_PLACES} places")
    return value


def _pattern(pattern: str) -> StringConstraints:
    return StringConstraints(pattern=pattern)


Name: TypeAlias = Annotated[str, _pattern(NAME)]
Identifier: TypeAlias = Annotated[str, _pattern(IDENTIFIER)]
Variable: TypeAlias = Annotated[str, _pattern(VARIABLE)]
Text: TypeAlias = Annotated[str, Field(max_length=4096), AfterValidator(_no_nul)]
Summary: TypeAlias = Annotated[
    str,
    StringConstraints(min_length=1, max_length=200),
    AfterValidator(_one_line),
    AfterValidator(_shown_as_written),
]
RiskInput: TypeAlias = Annotated[Decimal, BeforeValidator(_exact), AfterValidator(_risk_input)]


class Section(BaseModel):
    """A table of the manifest: strict, closed, frozen."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Capabilities(Section):
    """What the tool's runs may be granted; each raises the risk."""

    network: bool = False
    filesystem_write: bool = False
    external_apis: bool = False


class Risk(Section):
    """What the tool says of the data it touches."""

    data_sensitivity: RiskInput


class Workspace(Section):
    """Which argument names the workspace to mount at /workspace, and how."""

    argument: Identifier = "workspace"
    access: Literal["read", "write"]


class Secret(Section):
    """A secret the tool asks for, and where it expects it: a variable or /run/secrets/FILE."""

    reference: Annotated[str, _pattern(REFERENCE), AfterValidator(no_dots)]
    env: Variable | None = None
    file: Annotated[str, _pattern(r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}$")] | None = None


class Limits(Section):
    """What one run may use. The maxima bound what a careless manifest can ask of the host."""

    wall_seconds: Annotated[int, Field(ge=1, le=86_400)] = 30
    cpu_seconds: Annotated[int, Field(ge=1, le=86_400)] = 30
    memory_mib: Annotated[int, Field(ge=16, le=65_536)] = 512
    pids: Annotated[int, Field(ge=1, le=4_096)] = 64
    # It passes through: what of it is kept is `calls.retain_output_kib`.
    output_kib: Annotated[int, Field(ge=1, le=262_144)] = 1_024
    file_size_mib: Annotated[int, Field(ge=1, le=65_536)] = 64
    open_files: Annotated[int, Field(ge=16, le=65_536)] = 256
    tmp_mib: Annotated[int, Field(ge=1, le=16_384)] = 64


class ManifestFile(Section):
    """The whole file."""

    name: Name
    version: Annotated[str, _pattern(VERSION)]
    summary: Summary
    description: Annotated[str, Field(max_length=8192), AfterValidator(_shown_as_written)] = ""
    toolset: Name = "local"
    argv: Annotated[
        list[Annotated[str, Field(max_length=32_768), AfterValidator(_no_nul)]],
        Field(min_length=1, max_length=64),
    ]
    stdin: Annotated[str, Field(max_length=66)] = "none"
    runtime: Literal["executable", "python"] = "executable"
    image: Annotated[str, _pattern(IMAGE)] = ""
    input: dict[str, Any] | None = None
    input_schema: Annotated[str, Field(max_length=240)] | None = None
    capabilities: Capabilities = Capabilities()
    risk: Risk
    workspace: Workspace | None = None
    secrets: Annotated[list[Secret], Field(max_length=32)] = []
    limits: Limits = Limits()
    environment: Annotated[dict[Variable, Text], Field(max_length=64)] = {}

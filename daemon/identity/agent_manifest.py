"""An agent's manifest: what it is made of, and what it may ask for. TOML in, a frozen value out.

Trusted to accept only a manifest whose every key is known, typed and bounded. Its digest is over
the bytes as they came, so that any change at all makes another agent. What it declares is a bound,
never a grant: an empty list allows nothing. Whether the code is what the manifest says is for the
device that enrolls it. Pure; raises `BadRequest` (AGENT_MANIFEST_INVALID).
"""

import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints
from pydantic import ValidationError as Invalid

from daemon.errors import BadRequest
from daemon.tools.manifest_file import NAME, REFERENCE, VERSION, Summary, no_dots
from policy.identifiers import is_valid_id
from policy.values import EntityUid

MAX_BYTES = 64 * 1024
# An id is NAME-DIGEST-DEVICE in at most 63 characters (identity.names).
AGENT_NAME = r"^[a-z0-9][a-z0-9_-]{0,39}$"
_SHA256 = r"^[0-9a-f]{64}$"


def _a_host(text: str) -> str:
    if not is_valid_id(EntityUid("Host", text)):
        raise ValueError("must be a lower-case host name, or an address in its canonical form")
    return text


def _a_path(text: str) -> str:
    if text.startswith("/") or "\\" in text or not text.isprintable():
        raise ValueError("must be a relative path of printable characters")
    if any(part in ("", ".", "..") for part in text.split("/")):
        raise ValueError("must not hold empty parts, . or ..")
    return text


def _each_once(items: list[Any]) -> list[Any]:
    if len(set(items)) != len(items):
        raise ValueError("holds something twice")
    return items


def _pattern(pattern: str) -> StringConstraints:
    return StringConstraints(pattern=pattern)


Name: TypeAlias = Annotated[str, _pattern(NAME)]
Reference: TypeAlias = Annotated[str, _pattern(REFERENCE), AfterValidator(no_dots)]
Host: TypeAlias = Annotated[str, AfterValidator(_a_host)]
Digest: TypeAlias = Annotated[str, _pattern(_SHA256)]


class _Section(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Code(_Section):
    """One file of the agent's code, relative to its manifest."""

    path: Annotated[str, Field(min_length=1, max_length=240), AfterValidator(_a_path)]
    sha256: Digest


class Capabilities(_Section):
    """All that the agent may ask for: tools by name or by toolset, secrets, hosts."""

    toolsets: Annotated[list[Name], Field(max_length=64), AfterValidator(_each_once)] = []
    tools: Annotated[list[Name], Field(max_length=256), AfterValidator(_each_once)] = []
    secrets: Annotated[list[Reference], Field(max_length=64), AfterValidator(_each_once)] = []
    hosts: Annotated[list[Host], Field(max_length=256), AfterValidator(_each_once)] = []


class AgentManifest(_Section):
    """The whole file."""

    name: Annotated[str, _pattern(AGENT_NAME)]
    version: Annotated[str, _pattern(VERSION)]
    summary: Summary
    code: Annotated[list[Code], Field(min_length=1, max_length=1024)]
    configuration: Digest | dict[str, Any] = {}
    capabilities: Capabilities = Capabilities()


@dataclass(frozen=True, slots=True)
class Declared:
    """What an agent declared: the most it may ask for."""

    toolsets: frozenset[str] = frozenset()
    tools: frozenset[str] = frozenset()
    secrets: frozenset[str] = frozenset()
    hosts: frozenset[str] = frozenset()
    # The agent's id: what was put for it alone, was put after its manifest was written.
    agent_id: str = ""

    @classmethod
    def of(cls, capabilities: Capabilities, agent_id: str = "") -> "Declared":
        """The same as sets, of this agent."""
        return cls(
            frozenset(capabilities.toolsets),
            frozenset(capabilities.tools),
            frozenset(capabilities.secrets),
            frozenset(capabilities.hosts),
            agent_id,
        )

    def covers_secret(self, reference: str) -> bool:
        """Whether the agent declared this secret, or it is its own."""
        own = bool(self.agent_id) and reference.startswith(f"secret://agent/{self.agent_id}/")
        return own or reference in self.secrets

    def covers_tool(self, name: str, toolsets: frozenset[str]) -> bool:
        """Whether the tool was declared, by its name or by a toolset that it is in."""
        return name in self.tools or bool(self.toolsets & toolsets)


def manifest_digest(data: bytes) -> str:
    """What an agent is bound to: SHA-256 over the manifest's bytes, hex."""
    return hashlib.sha256(data).hexdigest()


def parse_agent_manifest(data: bytes) -> AgentManifest:
    """A manifest from bytes of anybody's."""
    if len(data) > MAX_BYTES:
        raise _invalid("", f"it has more than {MAX_BYTES} bytes")
    try:
        document = tomllib.loads(data.decode("utf-8"))
        found = AgentManifest.model_validate(document)
    except Invalid as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise _invalid(_key(first["loc"]), _worded(first)) from None
    except (ValueError, RecursionError) as error:
        # RecursionError: brackets in thousands.
        raise _invalid("", f"not TOML: {error}".splitlines()[0][:200]) from None
    paths = [code.path for code in found.code]
    if len(set(paths)) != len(paths):
        raise _invalid("code", "names a path twice")
    return found


def _key(location: tuple[int | str, ...]) -> str:
    return ".".join(ascii(part)[1:-1] if isinstance(part, str) else str(part) for part in location)


def _worded(problem: Mapping[str, Any]) -> str:
    words = {"extra_forbidden": "there is no such key", "missing": "is required"}
    message = str(problem["msg"]).removeprefix("Value error, ").replace("Input should", "must")
    return words.get(str(problem["type"]), message)


def _invalid(key: str, reason: str) -> BadRequest:
    return BadRequest(
        f"the agent's manifest: {key + ': ' if key else ''}{reason}",
        code="AGENT_MANIFEST_INVALID",
        fix="correct the manifest; docs/agents.md has its keys",
    )

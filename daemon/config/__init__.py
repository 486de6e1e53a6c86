"""The operator's configuration: `config.toml`, read once at start.

Every key is declared here with its meaning; docs/configuration.md and the commented file that init
writes are made from these declarations. Unknown keys, wrong types and values out of range are
refused with the key and the reason (`ConfigError`): a typo must not remove a rule.
"""

import tomllib
from pathlib import Path

from pydantic import Field, ValidationError, model_validator

from daemon.config.alerting import Alerting
from daemon.config.elsewhere import EnvFile, OpenBao, SourceName
from daemon.config.judging import Approvals, PolicySection, Risk, zone_of
from daemon.config.keeping import Ledger, Vault
from daemon.config.running import (
    Calls,
    Containers,
    Ready,
    SandboxSection,
    Workspace,
    WorkspaceName,
)
from daemon.config.section import Section
from daemon.config.serving import Authority, Identity, Log, Monitoring, Rates, Server, Tracing
from daemon.errors import ConfigError

__all__ = [
    "Authority",
    "Config",
    "Containers",
    "EnvFile",
    "Ledger",
    "Log",
    "OpenBao",
    "Rates",
    "Vault",
    "Workspace",
    "load_config",
    "parse_config",
    "zone_of",
]


class Config(Section):
    """The whole file."""

    server: Server = Server()
    identity: Identity = Identity()
    authority: Authority = Authority()
    vault: Vault = Vault()
    env_files: dict[SourceName, EnvFile] = Field(default_factory=dict)
    openbao: dict[SourceName, OpenBao] = Field(default_factory=dict)
    ledger: Ledger = Ledger()
    approvals: Approvals = Approvals()
    policy: PolicySection = PolicySection()
    risk: Risk = Risk()
    workspaces: dict[WorkspaceName, Workspace] = Field(default_factory=dict)
    sandbox: SandboxSection = SandboxSection()
    ready: Ready = Ready()
    containers: Containers = Containers()
    calls: Calls = Calls()
    rates: Rates = Rates()
    metrics: Monitoring = Monitoring()
    traces: Tracing = Tracing()
    alerts: Alerting = Alerting()
    log: Log = Log()

    @model_validator(mode="after")
    def _a_token_is_named(self) -> "Config":
        if self.ledger.key == "token" and not self.authority.token_named:
            raise ValueError(
                'ledger.key = "token" needs module, token, and pin_file or pin_credential under'
                " [authority]"
            )
        return self

    @model_validator(mode="after")
    def _one_source_to_a_name(self) -> "Config":
        twice = self.env_files.keys() & self.openbao.keys()
        if twice:
            raise ValueError(f"two sources of secrets are named {min(twice)}")
        return self


def parse_config(data: bytes, name: str = "config.toml") -> Config:
    """Configuration from TOML bytes; raises `ConfigError` naming the key."""
    try:
        return Config.model_validate(tomllib.loads(data.decode()))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{name}: not TOML: {error}", fix="correct the file's syntax") from None
    except ValidationError as error:
        lines = [_problem(dict(problem)) for problem in error.errors(include_url=False)]
        raise ConfigError(
            "; ".join(f"{name}: {line}" for line in lines),
            fix="docs/configuration.md lists every key",
        ) from None


def load_config(path: Path) -> Config:
    """Configuration from a file; a missing file is an error, not a default."""
    try:
        return parse_config(path.read_bytes(), str(path))
    except OSError as error:
        raise ConfigError(
            f"{path}: {error.strerror}", fix="`stockade up` writes a commented one"
        ) from None


def _problem(problem: dict[str, object]) -> str:
    location = problem["loc"]
    assert isinstance(location, tuple)  # noqa: S101 - pydantic's documented shape
    key = ".".join(str(part) for part in location if part != "[key]")
    if problem["type"] == "extra_forbidden":
        return f"{key}: unknown key"
    return f"{key}: {problem['msg']}"

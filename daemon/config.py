"""The operator's configuration: `config.toml`, read once at start.

Every key is declared here with its meaning; docs/configuration.md and the commented file that init
writes are made from these declarations. Unknown keys, wrong types and values out of range are
refused with the key and the reason (`ConfigError`): a typo must not remove a rule.
"""

import tomllib
from datetime import UTC, tzinfo
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from daemon.errors import ConfigError
from sandbox.engines import ESCAPES
from sandbox.protected import DEFAULT_NAMES, check_names

_RUNTIME = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"

WorkspaceName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,62}$")]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Server(_Section):
    """Where the daemon listens."""

    listen: str = Field(
        default="127.0.0.1:7607",
        pattern=r"^(\[[0-9a-fA-F:]+\]|[A-Za-z0-9.-]+):\d{1,5}$",
        description="Address and port for paired devices. Port 0 takes any free port.",
    )
    pairing_host: str = Field(
        default="",
        description="Host name or address put into pairing codes; empty means that of `listen`.",
    )
    drain_seconds: int = Field(
        default=10, ge=0, le=3600, description="How long calls under way may finish after SIGTERM."
    )


# Below this a certificate ends before it can be used.
MIN_HOURS = 0.001


class Identity(_Section):
    """Certificates: of devices, of the daemon, of the authority that issues both."""

    device_certificate_hours: float = Field(
        default=24,
        ge=MIN_HOURS,
        le=24 * 366,
        allow_inf_nan=False,
        description="Lifetime of a device's certificate; the client renews it half-way.",
    )
    local_certificate_hours: float = Field(
        default=24 * 30,
        ge=MIN_HOURS,
        le=24 * 366,
        allow_inf_nan=False,
        description=(
            "Lifetime of the local command line's certificate, whose key is as safe as the daemon's"
            " own; renewed half-way. Once it has ended, only a restart by its user mends it."
        ),
    )
    agent_certificate_hours: float = Field(
        default=8,
        ge=MIN_HOURS,
        le=24 * 366,
        allow_inf_nan=False,
        description=(
            "Lifetime of an agent's certificate; the client renews it half-way. An agent that is"
            " away for longer is enrolled again by its device."
        ),
    )
    server_certificate_hours: float = Field(
        default=24 * 7,
        ge=MIN_HOURS,
        le=24 * 366,
        allow_inf_nan=False,
        description="Lifetime of the daemon's own certificate; renewed half-way, without restart.",
    )
    authority_overlap_hours: float = Field(
        default=72,
        ge=MIN_HOURS,
        le=24 * 366,
        allow_inf_nan=False,
        description=(
            "How long an authority that was rotated is still accepted. A device that renews its"
            " certificate meanwhile stays paired, so it should not be shorter than that lifetime."
        ),
    )


class Authority(_Section):
    """The key of the authority that issues the certificates: in a file, or in a PKCS #11 token."""

    key: Literal["file", "token"] = Field(
        default="file",
        description=(
            'Where the next authority\'s key is made: "file" (0600, in the data directory) or'
            ' "token". The one in force stays where it is until it is rotated.'
        ),
    )
    module: str = Field(
        default="",
        pattern=r"^(/.*)?$",
        description="Absolute path of the token's PKCS #11 module, a shared library.",
    )
    token: str = Field(default="", max_length=32, description="Label of the token.")
    key_label: str = Field(
        default="stockade-authority",
        pattern=r"^[A-Za-z0-9._ -]{1,64}$",
        description="Label of the keys made in it.",
    )
    pin_file: str = Field(
        default="",
        pattern=r"^(/.*)?$",
        description="Absolute path of a 0600 file that holds the token's PIN.",
    )
    pin_credential: str = Field(
        default="",
        pattern=r"^[A-Za-z0-9._-]{0,64}$",
        description="Or the name of the systemd credential that holds it.",
    )

    @model_validator(mode="after")
    def _whole(self) -> "Authority":
        if self.pin_file and self.pin_credential:
            raise ValueError("pin_file and pin_credential exclude each other")
        if self.key == "token" and not self.token_named:
            raise ValueError("a token needs module, token, and pin_file or pin_credential")
        return self

    @property
    def token_named(self) -> bool:
        """Whether there is all that it takes to open a token."""
        return all((self.module, self.token, self.pin_file or self.pin_credential))


class Vault(_Section):
    """Where the vault's root key is, and how secrets are kept."""

    root: Literal["keychain", "file", "credential", "passphrase", "token"] | None = Field(
        default=None,
        description=(
            'Pinned when the data directory is made: "keychain" (of the OS), "file" (0600, in the'
            ' data directory), "credential" (of systemd), "passphrase" or "token" (PKCS #11). Never'
            " falls back from one to another; `stockade secrets rotate --root` changes it."
        ),
    )
    credential: str = Field(
        default="stockade-vault-root",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$",
        description="Name of the systemd credential that holds the root key.",
    )
    passphrase_file: str = Field(
        default="",
        pattern=r"^(/.*)?$",
        description=(
            "Absolute path of a 0600 file that holds the passphrase. Where neither is named, the"
            " vault is locked after each start until `stockade secrets unlock`."
        ),
    )
    passphrase_credential: str = Field(
        default="",
        pattern=r"^[A-Za-z0-9._-]{0,64}$",
        description="Or the name of the systemd credential that holds it.",
    )
    module: str = Field(
        default="",
        pattern=r"^(/.*)?$",
        description="Absolute path of the token's PKCS #11 module, a shared library.",
    )
    token: str = Field(default="", max_length=32, description="Label of the token.")
    pin_file: str = Field(
        default="",
        pattern=r"^(/.*)?$",
        description="Absolute path of a 0600 file that holds the token's PIN.",
    )
    pin_credential: str = Field(
        default="",
        pattern=r"^[A-Za-z0-9._-]{0,64}$",
        description="Or the name of the systemd credential that holds it.",
    )
    keep_versions: int = Field(
        default=2,
        ge=0,
        le=100,
        description="How many versions of a secret are kept besides the one in use.",
    )
    expiry_warning_days: int = Field(
        default=14,
        ge=0,
        le=366,
        description="So long before a secret expires, lists, status and doctor warn of it.",
    )

    @model_validator(mode="after")
    def _whole(self) -> "Vault":
        for kind in ("passphrase", "pin"):
            if getattr(self, f"{kind}_file") and getattr(self, f"{kind}_credential"):
                raise ValueError(f"{kind}_file and {kind}_credential exclude each other")
        if self.root == "token" and not (self.module and self.token):
            raise ValueError("a token needs module and token")
        return self


class Approvals(_Section):
    """Waiting for people."""

    lifetime_seconds: int = Field(
        default=600,
        ge=5,
        le=7 * 86400,
        description="How long a call waits for a human before it expires.",
    )


class PolicySection(_Section):
    """What policies are told, and when they are taken from the folder."""

    time_zone: str = Field(
        default="UTC",
        description=(
            "The zone of `context.clock` in policies, by its IANA name, as in `Europe/Vienna`."
        ),
    )
    watch: bool = Field(
        default=False,
        description=(
            "Apply the folder `policies/` whenever it changes. Whoever can write there then changes"
            " policy."
        ),
    )
    watch_quiet_seconds: float = Field(
        default=2,
        ge=0.1,
        le=3600,
        allow_inf_nan=False,
        description="How long the folder has to be as it is before it is applied.",
    )

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        zone_of(name)
        return name


def zone_of(name: str) -> tzinfo:
    """The time zone of that name; raises ValueError."""
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"there is no time zone {name!r:.80}") from None


class Risk(_Section):
    """Risk scores at which a stronger sandbox begins; scores run from 0 to 1."""

    container_floor: Decimal = Field(
        default=Decimal("0.3"),
        ge=0,
        le=1,
        strict=False,
        description="From here on, at least a container.",
    )
    gvisor_floor: Decimal = Field(
        default=Decimal("0.6"), ge=0, le=1, strict=False, description="From here on, gVisor."
    )

    @model_validator(mode="after")
    def _ordered(self) -> "Risk":
        if self.gvisor_floor < self.container_floor:
            raise ValueError("gvisor_floor must not be below container_floor")
        return self


class Workspace(_Section):
    """A directory that tools may be given."""

    path: str = Field(
        pattern=r"^/", description="Absolute path of a directory. Only what is in it is mounted."
    )
    access: Literal["read", "write"] = Field(
        default="read", description='"read" or "write": the most that any tool gets.'
    )
    protected: tuple[str, ...] = Field(
        default=DEFAULT_NAMES,
        strict=False,
        description=(
            "Files and folders in it that stay as they are, also where they do not exist, whatever"
            " a tool may write. What git would run is protected besides, whatever stands here."
        ),
    )

    @field_validator("protected")
    @classmethod
    def _names(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        return check_names(names)


class SandboxSection(_Section):
    """Sandboxes, whatever their tier."""

    refuse_known_escapes: bool = Field(
        default=False,
        description=(
            "Whether a tier is out of use while what it is made of (bubblewrap, dockerd, runc,"
            " runsc) has a published escape; `stockade doctor` names them either way."
        ),
    )
    accepted_escapes: tuple[str, ...] = Field(
        default=(),
        strict=False,
        description=(
            "Published escapes that you looked into and found closed, or without consequence here,"
            ' by id: ["CVE-2025-31133"]. Neither named nor refused.'
        ),
    )

    @field_validator("accepted_escapes")
    @classmethod
    def _ids(cls, ids: tuple[str, ...]) -> tuple[str, ...]:
        known = {escape.id for escape in ESCAPES}
        for one in ids:
            if one not in known:
                raise ValueError(f"{one!r:.40} is none of {', '.join(sorted(known))}")
        return ids


class Ready(_Section):
    """Sandboxes started before they are needed. Each is used once; what is kept is learned."""

    per_profile: int = Field(
        default=4,
        ge=0,
        le=256,
        description=(
            "The most that wait for one profile: a tool's mounts and limits. 0 starts none ahead."
        ),
    )
    total: int = Field(default=16, ge=0, le=4096, description="The most that wait in one tier.")
    idle_seconds: int = Field(
        default=120,
        ge=1,
        le=86400,
        description="A profile that nobody asked for this long has none waiting any more.",
    )


class Containers(_Section):
    """Docker Engine, which the container and gVisor tiers run on. Its socket is as good as root."""

    socket: str = Field(
        default="/var/run/docker.sock",
        pattern=r"^/[^\x00]{0,100}$",
        description="Where Docker Engine listens: an absolute path.",
    )
    runtime: str = Field(
        default="runc",
        pattern=_RUNTIME,
        description="The engine's runtime for the container tier.",
    )
    gvisor_runtime: str = Field(
        default="runsc",
        pattern=_RUNTIME,
        description="The engine's runtime for the gVisor tier: runsc, by the name it has there.",
    )
    per_profile: int = Field(
        default=2,
        ge=0,
        le=64,
        description=(
            "The most containers that wait for one profile: a tool's image, mounts and limits. 0"
            " starts none ahead."
        ),
    )
    total: int = Field(
        default=8, ge=0, le=1024, description="The most that wait in one of the two tiers."
    )
    starts: int = Field(
        default=2, ge=1, le=64, description="The most that one tier starts at one time."
    )
    idle_seconds: int = Field(
        default=300,
        ge=1,
        le=86400,
        description="A profile that nobody asked for this long has none waiting any more.",
    )


class Calls(_Section):
    """Bounds on calls."""

    max_running: int = Field(
        default=32,
        ge=1,
        le=4096,
        description="Runs at one time; further permitted calls wait their turn.",
    )
    max_open: int = Field(
        default=20000,
        ge=1,
        le=1_000_000,
        description="Calls that have not ended, waiting ones included.",
    )
    max_open_mib: int = Field(
        default=256,
        ge=1,
        le=65536,
        description="Arguments of all calls that have not ended, in memory.",
    )
    retain_output_kib: int = Field(
        default=1024,
        ge=16,
        le=65536,
        description="Output of one call kept in memory for watchers that join or lag.",
    )


class Rates(_Section):
    """How often one principal may ask, a second and at once, and how much may be open of it."""

    calls_per_second: int = Field(
        default=200,
        ge=1,
        le=1_000_000,
        description="Calls of one principal a second, on the long run.",
    )
    calls_burst: int = Field(
        default=1000, ge=1, le=1_000_000, description="Calls of one principal at once."
    )
    arguments_kib_per_second: int = Field(
        default=1024,
        ge=1,
        le=1_000_000_000,
        description=(
            "Arguments of one principal's calls a second, on the long run. They are kept, also of"
            " calls that are denied, so this is how fast one principal can fill the disk."
        ),
    )
    arguments_kib_burst: int = Field(
        default=64 * 1024,
        ge=16 * 1024,
        le=1_000_000_000,
        description="Arguments of one principal's calls at once; no less than one call may have.",
    )
    administration_per_second: int = Field(
        default=100,
        ge=1,
        le=1_000_000,
        description="Other requests of one principal a second, on the long run.",
    )
    administration_burst: int = Field(
        default=1000, ge=1, le=1_000_000, description="Other requests of one principal at once."
    )
    open_streams: int = Field(
        default=1000,
        ge=4,
        le=1_000_000,
        description=(
            "Streams of one principal that are open at one time: calls that are watched to their"
            " end, approvals or receipts that are followed. A device's agents share as many."
        ),
    )
    pairing_per_minute: int = Field(
        default=30,
        ge=1,
        le=1_000_000,
        description=(
            "Attempts to pair from one source (an address, of IPv6 its /64) a minute, on the long"
            " run."
        ),
    )
    pairing_burst: int = Field(
        default=30, ge=1, le=1_000_000, description="Attempts to pair from one source at once."
    )


class Log(_Section):
    """The daemon's own log, on standard error."""

    format: Literal["auto", "json", "text"] = Field(
        default="auto", description='"json", "text", or "auto": text on a terminal, else JSON.'
    )
    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="The least severe line that is written."
    )


class Config(_Section):
    """The whole file."""

    server: Server = Server()
    identity: Identity = Identity()
    authority: Authority = Authority()
    vault: Vault = Vault()
    approvals: Approvals = Approvals()
    policy: PolicySection = PolicySection()
    risk: Risk = Risk()
    workspaces: dict[WorkspaceName, Workspace] = {}
    sandbox: SandboxSection = SandboxSection()
    ready: Ready = Ready()
    containers: Containers = Containers()
    calls: Calls = Calls()
    rates: Rates = Rates()
    log: Log = Log()


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

"""Where the daemon listens, who it is, how often it may be asked, and what it logs."""

from typing import Literal

from pydantic import Field, model_validator

from daemon.config.posting import PostUrl
from daemon.config.section import Section

# Below this a certificate ends before it can be used.
MIN_HOURS = 0.001


class Server(Section):
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
    keepalive_seconds: int = Field(
        default=60,
        ge=1,
        le=86400,
        description=(
            "How often a client is asked whether it is still there, while it says nothing. One that"
            " does not answer within a third of it is taken for gone, and so are its calls."
        ),
    )
    connection_seconds: int = Field(
        default=3600,
        ge=1,
        le=86400 * 365,
        description=(
            "How long a connection takes new requests, give or take a tenth: then clients open"
            " another, with today's certificates and to today's address. What it carries goes on"
            " to its end, however long that takes."
        ),
    )
    drain_seconds: int = Field(
        default=10, ge=0, le=3600, description="How long calls under way may finish after SIGTERM."
    )


class Identity(Section):
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


class Authority(Section):
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


class Rates(Section):
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
    open_connections: int = Field(
        default=256,
        ge=4,
        le=16_384,
        description=(
            "Connections of one principal that are open at one time; one is enough for all that a"
            " client does. A device's agents share as many. No principal gets more than a quarter"
            " of what the port takes in all."
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


class Monitoring(Section):
    """Where Prometheus reads the daemon's metrics: nowhere unless an address is named."""

    listen: str = Field(
        default="",
        pattern=r"^((127\.\d{1,3}\.\d{1,3}\.\d{1,3}|localhost|\[::1\]):\d{1,5})?$",
        description=(
            'A loopback address and port, as in "127.0.0.1:9607": `GET /metrics` there is for'
            " everybody on this machine, and names no principal, tool or secret. Port 0 takes any."
        ),
    )


class Tracing(Section):
    """Where traces of calls are sent: nowhere unless a collector is named."""

    endpoint: PostUrl = Field(
        default="",
        description=(
            "Where an OpenTelemetry collector takes traces by OTLP over HTTP, as in"
            ' "http://127.0.0.1:4318/v1/traces". Needs `stockade[otel]`.'
        ),
    )


class Log(Section):
    """The daemon's own log, on standard error."""

    format: Literal["auto", "json", "text"] = Field(
        default="auto", description='"json", "text", or "auto": text on a terminal, else JSON.'
    )
    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="The least severe line that is written."
    )

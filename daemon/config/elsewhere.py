"""Sources of secrets beside the vault: which there are, and which secrets of them may be named."""

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from daemon.config.section import Section

_PART = r"[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,62})"
SourceName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
SecretNameText = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]
Variable = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,127}$")]
FieldOfPath = Annotated[str, Field(pattern=rf"^{_PART}(?:/{_PART}){{0,15}}#{_PART}$")]
LOOPBACK = ("127.0.0.1", "::1", "localhost")


class EnvFile(Section):
    """A 0600 file of NAME=VALUE lines, as many as you like; `secret://source/NAME/...`."""

    path: str = Field(pattern=r"^/", description="Its absolute path.")
    names: dict[SecretNameText, Variable] = Field(
        default_factory=dict,
        description=(
            'Which secrets there are, and which variable each is: { api-token = "API_TOKEN" }.'
            " No other variable can be had."
        ),
    )


class OpenBao(Section):
    """OpenBao or HashiCorp Vault: its KV engine, version 2; `secret://source/NAME/...`."""

    address: str = Field(
        default="https://127.0.0.1:8200",
        description="Its URL. Without TLS only on this machine's loopback.",
    )
    authority_file: str = Field(
        default="",
        pattern=r"^(/.*)?$",
        description="Absolute path of the PEM file of whoever signed its certificate; empty: the"
        " system's authorities.",
    )
    token_file: str = Field(
        default="",
        pattern=r"^(/.*)?$",
        description="Absolute path of a 0600 file that holds the token; read at each use.",
    )
    token_credential: str = Field(
        default="",
        pattern=r"^[A-Za-z0-9._-]{0,64}$",
        description="Or the name of the systemd credential that holds it.",
    )
    namespace: str = Field(default="", pattern=r"^[A-Za-z0-9._/-]{0,256}$", description="If any.")
    mount: str = Field(
        default="secret", pattern=rf"^{_PART}(?:/{_PART}){{0,15}}$", description="Of the KV engine."
    )
    timeout_seconds: float = Field(
        default=5, ge=0.1, le=60, allow_inf_nan=False, description="An answer takes no longer."
    )
    names: dict[SecretNameText, FieldOfPath] = Field(
        default_factory=dict,
        description=(
            "Which secrets there are, and the path and field of each:"
            ' { api-token = "apps/mail#token" }. Nothing else there can be had.'
        ),
    )

    @field_validator("address")
    @classmethod
    def _address(cls, address: str) -> str:
        parts = urlsplit(address)
        plain = parts.scheme == "http" and parts.hostname in LOOPBACK
        if not parts.hostname or not (plain or parts.scheme == "https"):
            raise ValueError("has to be https://HOST[:PORT], or http:// on the loopback")
        if parts.path.strip("/") or parts.query or parts.fragment or "@" in parts.netloc:
            raise ValueError("has to be no more than https://HOST[:PORT]")
        _ = parts.port  # raises ValueError where it is none
        return address

    @field_validator("names")
    @classmethod
    def _no_walk(cls, names: dict[str, str]) -> dict[str, str]:
        if any(".." in text for text in names.values()):
            raise ValueError("no two dots in a row")
        return names

    @model_validator(mode="after")
    def _whole(self) -> "OpenBao":
        if bool(self.token_file) == bool(self.token_credential):
            raise ValueError("one of token_file and token_credential says where the token is")
        return self

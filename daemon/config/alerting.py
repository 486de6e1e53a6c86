"""Which receipts somebody should hear of, and where they are told."""

from typing import Literal

from pydantic import Field, field_validator, model_validator

from daemon.config.posting import PostUrl
from daemon.config.section import Section

# Actions of policy's schema.
ReactionName = Literal["suspend_principal", "revoke_leases", "start_maintenance"]


class Alerting(Section):
    """Alerts: what receipts are worth, told to the log, and to a webhook if one is named."""

    least: Literal["info", "warning", "critical"] = Field(
        default="warning", description="The least grave that is told."
    )
    denied_per_minute: int = Field(
        default=30,
        ge=1,
        le=100_000,
        description="So many refusals of one principal in a minute are a burst.",
    )
    strangers_per_minute: int = Field(
        default=10,
        ge=1,
        le=100_000,
        description="So many requests from one address that could not say who they are.",
    )
    asked_per_minute: int = Field(
        default=30,
        ge=1,
        le=100_000,
        description="So many questions to people by one principal's calls.",
    )
    webhook: PostUrl = Field(
        default="",
        description="Each alert is posted to this URL, as JSON, signed with the key.",
    )
    webhook_key_file: str = Field(
        default="",
        pattern=r"^(/.*)?$",
        description="Absolute path of a 0600 file that holds its key, of 32 bytes or more.",
    )
    webhook_key_credential: str = Field(
        default="",
        pattern=r"^[A-Za-z0-9._-]{0,64}$",
        description="Or the name of the systemd credential that holds it.",
    )

    command: list[str] = Field(
        default_factory=list,
        max_length=64,
        description=(
            "A program, by its absolute path, and its arguments: started for each alert, which it"
            " gets as a line of JSON on standard input. Without a shell; 0 says that it was told."
        ),
    )
    command_seconds: int = Field(
        default=10,
        ge=1,
        le=300,
        description="How long it may run; then it is killed, with what it started.",
    )
    reactions: list[ReactionName] = Field(
        default_factory=list,
        description=(
            "What an alert may bring about by itself, where policy also permits the rule to:"
            " `suspend_principal`, `revoke_leases`, `start_maintenance` (docs/operate.md)."
        ),
    )

    @field_validator("command")
    @classmethod
    def _a_program(cls, command: list[str]) -> list[str]:
        if command and not (command[0].startswith("/") and len(command[0]) > 1):
            raise ValueError("the first word is the absolute path of a program")
        if any("\0" in word for word in command):
            raise ValueError("no word of it may hold a NUL")
        return command

    @model_validator(mode="after")
    def _whole(self) -> "Alerting":
        keys = [key for key in (self.webhook_key_file, self.webhook_key_credential) if key]
        if bool(self.webhook) != (len(keys) == 1) or len(keys) > 1:
            raise ValueError("a webhook needs one of webhook_key_file and webhook_key_credential")
        return self

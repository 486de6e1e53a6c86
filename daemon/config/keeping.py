"""How secrets are kept, and where the ledger's checkpoints go."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from daemon.config.posting import PostUrl
from daemon.config.section import Section


class Vault(Section):
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


class Ledger(Section):
    """The ledger: its checkpoints, and how long the contents it speaks of are kept."""

    key: Literal["file", "token"] = Field(
        default="file",
        description=(
            'Where the next key that signs receipts is made: "file" (0600, in the data directory)'
            ' or "token", the one under [authority]. The one in force stays where it is until it is'
            " rotated. A token signs some hundred to some thousand receipts a second."
        ),
    )
    contents: Literal["full", "redacted", "none"] = Field(
        default="full",
        description=(
            "What of the contents below is kept once a call is over: all of it, the arguments"
            " without what is or may be a secret (a copy, with its own digest in the receipt; what"
            ' people were shown goes within a minute) and output that has none, or nothing. "none"'
            " takes them out within a minute, and of output keeps nothing at all. Each call's first"
            " receipt says which it was."
        ),
    )
    output_kib: int = Field(
        default=64,
        ge=0,
        le=256,
        description=(
            "No more than so much of each of the two streams of a call's output is kept: how it"
            " began and how it ended, and how much was between the two. 0: nothing."
        ),
    )
    retain_days: int = Field(
        default=365,
        ge=0,
        le=36_500,
        description=(
            "So long arguments and output of calls that are over, what people were shown, and the"
            " terms of leases are kept; 0: for ever. Receipts stay, with the digests of all of it."
        ),
    )
    retain_mib: int = Field(
        default=4096,
        ge=0,
        le=1_000_000_000,
        description=(
            "And no more than so much of it: the oldest go first, of the devices that have more"
            " than an equal share of it with their agents. 0: no bound."
        ),
    )

    checkpoint_seconds: int = Field(
        default=60,
        ge=1,
        le=86_400,
        description="So long after the last checkpoint, newer receipts get one.",
    )
    checkpoint_receipts: int = Field(
        default=1000,
        ge=1,
        le=1_000_000_000,
        description="And at once where so many receipts have none.",
    )
    checkpoint_file: str = Field(
        default="",
        pattern=r"^(/.*)?$",
        description=(
            "Absolute path of a file that always holds the newest checkpoint: best on another"
            " machine's disk. A start compares the ledger with it, and refuses an older or another"
            " one."
        ),
    )
    checkpoint_syslog: str = Field(
        default="",
        pattern=r"^(/.*|(udp|tcp):(\[[0-9a-fA-F:]+\]|[A-Za-z0-9.-]+):\d{1,5})?$",
        description=(
            'Each checkpoint goes to this syslog: "/dev/log", "udp:HOST:PORT" or "tcp:HOST:PORT".'
        ),
    )
    checkpoint_webhook: PostUrl = Field(
        default="",
        description="Each checkpoint is posted to this URL, as text.",
    )
    witness_for: list[Annotated[str, Field(pattern=r"^/.+$")]] = Field(
        default_factory=list,
        max_length=64,
        description=(
            "Absolute paths of the public keys of other ledgers whose checkpoints this daemon"
            " countersigns."
        ),
    )

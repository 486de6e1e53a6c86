"""Where Stockade's files are: the operator's, the daemon's and this device's.

`$STOCKADE_HOME` puts everything under one directory; without it the XDG base directories decide,
and for root /etc/stockade and /var/lib/stockade.
Computes paths and nothing else: creating and checking is for whoever owns the file.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import platformdirs


@dataclass(frozen=True, slots=True)
class Home:
    """The two directories that everything else is under."""

    config: Path
    data: Path

    @classmethod
    def locate(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """`$STOCKADE_HOME`, else the XDG directories of this user (root: the system's)."""
        if root := environment.get("STOCKADE_HOME"):
            return cls.under(Path(root).absolute())
        if os.geteuid() == 0:
            # A daemon of root is the system's: root's own directories are closed to the user its
            # tools run as.
            return cls(config=Path("/etc/stockade"), data=Path("/var/lib/stockade"))
        return cls(
            config=platformdirs.user_config_path("stockade"),
            data=platformdirs.user_data_path("stockade"),
        )

    @classmethod
    def under(cls, root: Path) -> Self:
        """Everything under one directory."""
        return cls(config=root, data=root / "data")

    @property
    def config_file(self) -> Path:
        """The daemon's configuration."""
        return self.config / "config.toml"

    @property
    def policies(self) -> Path:
        """The operator's working copy of the Cedar policies."""
        return self.config / "policies"

    @property
    def tools(self) -> Path:
        """Tool folders of the operator's own."""
        return self.config / "tools"

    @property
    def client(self) -> Path:
        """This device's key, certificate and profile."""
        return self.config / "client"

    @property
    def endpoint(self) -> Path:
        """Written by a serving daemon: where it listens and its process id, as JSON."""
        return self.data / "daemon.json"

    @property
    def socket(self) -> Path:
        """Where a serving daemon listens for the device of its machine, and for nobody else."""
        return self.data / "stockaded.sock"

    @property
    def lock(self) -> Path:
        """Locked by the one daemon that owns the data directory."""
        return self.data / "lock"

    @property
    def log(self) -> Path:
        """What a detached daemon writes."""
        return self.data / "stockaded.log"

    @property
    def ledger_keys(self) -> Path:
        """The ledger's public keys, to copy somewhere else."""
        return self.data / "ledger.pub"

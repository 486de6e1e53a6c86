"""The files of a data directory: made once by init, read at every start.

`create` makes what is missing and touches nothing that is there; `open_estate` reads and refuses
what another user could have read or planted. Private files are 0600, directories 0700. Raises
`StartError` (and the leaves' own errors, which carry code and fix).
"""

import json
import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Self

from daemon.errors import StartError
from daemon.identity.authority_files import Files, unreadable, write_public
from identity.errors import IdentityError
from identity.keyfile import write_private
from identity.names import TrustDomain
from ledger import keys as ledger_keys
from stockade.home import Home

# A daemon of root runs tools as another user, who must be able to search the way to a tool's copy;
# the files on the way are 0600 all the same.
DIRECTORY_MODE = 0o711 if os.geteuid() == 0 else 0o700


@dataclass(frozen=True, slots=True)
class Estate:
    """What a daemon owns besides its database."""

    home: Home
    trust_domain: TrustDomain
    chain_id: str

    @classmethod
    def open(cls, home: Home) -> Self:
        """Reads an initialised data directory."""
        try:
            facts = json.loads((home.data / "installation.json").read_bytes())
            trust_domain, chain_id = TrustDomain(facts["trust_domain"]), str(facts["chain"])
        except FileNotFoundError:
            raise StartError(
                f"{home.data} has not been initialised",
                code="NOT_INITIALISED",
                fix="run `stockade up`, which initialises it",
            ) from None
        except (OSError, ValueError, KeyError, TypeError, IdentityError) as error:
            raise unreadable(home.data / "installation.json", type(error).__name__) from None
        return cls(home=home, trust_domain=trust_domain, chain_id=chain_id)


def _now() -> datetime:
    return datetime.now(UTC)


def make_directories(home: Home) -> None:
    """Makes the directories that are missing."""
    for directory in (home.config, home.data, home.data / "tools", home.tools):
        _private_directory(directory)


def create(home: Home, authority: Files, now: Callable[[], datetime] = _now) -> bool:
    """Makes what is missing of a data directory; whether it was made now."""
    marker = home.data / "installation.json"
    if marker.exists():
        return False
    name = secrets.token_hex(8)
    trust_domain = TrustDomain(f"{name}.stockade")
    authority.create(trust_domain, now())
    keys = ledger_keys.generate(name)
    _fresh(home.data / "ledger.key", ledger_keys.encode_signing(keys))
    write_public(home.ledger_keys, ledger_keys.encode_public(keys.public()))
    _copy_default_policies(home.policies)
    # Last: its presence says that everything before it is complete.
    write_public(
        marker, json.dumps({"trust_domain": str(trust_domain), "chain": name}).encode() + b"\n"
    )
    return True


def _fresh(path: Path, data: bytes) -> None:
    # An init that died before its marker left keys that nobody has used.
    path.unlink(missing_ok=True)
    write_private(path, data)


def _copy_default_policies(destination: Path) -> None:
    if destination.exists():
        return
    destination.mkdir(mode=0o700)
    for source in resources.files("policy").joinpath("default").iterdir():
        if source.name.endswith((".cedar", ".test.toml")):
            write_public(destination / source.name, source.read_bytes())


def check_home(home: Home) -> None:
    """Refuses a home in which another user could plant policies, tools, or a configuration."""
    own = (home.data, home.data / "tools")
    operators = (home.config, home.config_file, home.policies, home.tools)
    for path in (*own, *operators):
        if path.exists():
            _check_closed(path, {os.geteuid()} if path in own else {os.geteuid(), 0})


def _private_directory(path: Path) -> None:
    try:
        if not path.exists():
            path.mkdir(parents=True)
            path.chmod(DIRECTORY_MODE)  # whatever the umask is
    except OSError as error:
        raise _unusable(path, error) from None
    _check_closed(path, {os.geteuid()})


def _check_closed(path: Path, owners: set[int]) -> None:
    try:
        status = path.stat()
    except OSError as error:
        raise _unusable(path, error) from None
    if status.st_uid not in owners:
        raise StartError(
            f"{path} belongs to user id {status.st_uid}",
            code="DIRECTORY_WRONG_OWNER",
            fix=f"chown -R {os.geteuid()} -- {path}",
        )
    if status.st_mode & 0o022:
        raise StartError(
            f"{path} is writable by other users",
            code="DIRECTORY_EXPOSED",
            fix=f"chmod go-w -- {path}",
        )


def _unusable(path: Path, error: OSError) -> StartError:
    return StartError(
        f"{path}: {error.strerror}",
        code="DIRECTORY_UNUSABLE",
        fix="choose another place with STOCKADE_HOME",
    )

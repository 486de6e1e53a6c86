"""A backup of a whole home: database, keys, policies, tools, configuration, sealed in one file.

Trusted to hold one state of the database, also of a daemon that serves; to leave out what belongs
to a running daemon, and what is kept elsewhere: root keys in a keychain, token or credential, files
that the configuration names outside of the home. Raises `StartError`, `StoreFault` and the errors
of `vault`.

The content: a tar stream (POSIX.1-2001) of `backup.json`, then of what is under `config/` and
`data/`, plain files and directories alone. What the operator keeps elsewhere and links into the
home by its own name (`config.toml`, `policies`, ...) is in it as what it is; other links are not
followed, since tools' folders may come from anybody, and those left out are named.
"""

import io
import json
import os
import stat
import tarfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from daemon.errors import StartError
from daemon.estate import Estate
from daemon.store import copies, copying
from daemon.store.schema import REVISION
from daemon.working_folder import BACKUP, remove_left, working_folder
from stockade.home import Home
from vault.sealed_stream import SealingWriter
from vault.secret import Secret

FACTS: Final = "backup.json"
FORM: Final = 1
CONFIG: Final = ("config.toml", "policies", "tools", "client")
DATABASE: Final = "stockade.db"
_RUNNING: Final = ("lock", "daemon.json", "egress", "stockaded.log")


@dataclass(frozen=True, slots=True)
class Facts:
    """What a backup says of itself: whose it is, and where its ledger ends."""

    form: int
    schema: str
    trust_domain: str
    chain: str
    receipts: int
    last_digest: str


def back_up(home: Home, passphrase: Secret, file: Path) -> tuple[Facts, list[str]]:
    """Writes the backup to a file that is not there yet, mode 0600; and what it has not."""
    estate = Estate.open(home)
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise StartError(
            f"{file} is there already", code="FILE_EXISTS", fix="name a new file"
        ) from None
    try:
        with (
            os.fdopen(descriptor, "wb") as out,
            working_folder(BACKUP, home.data) as folder,
        ):
            remove_left(BACKUP, home.data)
            written = _write(estate, passphrase, out, folder / DATABASE)
            out.flush()
            os.fsync(out.fileno())
    except BaseException:
        file.unlink(missing_ok=True)
        raise
    return written


def _write(estate: Estate, passphrase: Secret, out: Any, database: Path) -> tuple[Facts, list[str]]:
    home, left_out = estate.home, list[str]()
    with SealingWriter(passphrase, out) as sealed, _tar(sealed) as tar:
        found = [
            # These alone may be links: the operator made them.
            *((f"config/{name}", (home.config / name).resolve()) for name in CONFIG),
            *((f"data/{name}", home.data / name) for name in _owned(home.data)),
        ]
        keys = _ledger_keys(home)
        entries = [entry for name, path in found for entry in _entries(name, path, left_out)]
        copying.copy(home.data / DATABASE, database)
        facts = _facts(estate, database)
        _add(tar, FACTS, json.dumps(asdict(facts)).encode())
        for name, path in entries:
            _add_path(tar, name, path)
        _add_path(tar, f"data/{DATABASE}", database)
        if _ledger_keys(home) != keys:
            # The database may be of before, and the keys of after.
            raise StartError(
                "the ledger's keys were rotated meanwhile",
                code="LEDGER_KEYS_OTHER",
                fix="take the backup again",
            )
    return facts, [name for name in left_out if name.startswith("config/")]


def _ledger_keys(home: Home) -> list[bytes]:
    paths = (home.data / name for name in ("ledger.key", "ledger-next.key"))
    return [path.read_bytes() for path in paths if path.exists()]


def _facts(estate: Estate, database: Path) -> Facts:
    with copies.reading(database) as copy:
        head = copy.head(estate.chain_id)
    return Facts(
        form=FORM,
        schema=REVISION,
        trust_domain=str(estate.trust_domain),
        chain=estate.chain_id,
        receipts=0 if head is None else head.sequence,
        last_digest="" if head is None else head.digest.hex(),
    )


def _tar(sealed: SealingWriter) -> tarfile.TarFile:
    stream: Any = sealed  # tarfile wants no more of it than `write`
    return tarfile.open(fileobj=stream, mode="w|", format=tarfile.PAX_FORMAT)


def _owned(data: Path) -> list[str]:
    """What in the data directory is kept: not the database itself, which is copied."""
    names = sorted(entry.name for entry in data.iterdir())
    return [
        name
        for name in names
        if name not in _RUNNING and not name.startswith((".", "stockade.db", "stockade-before-"))
    ]


def _entries(name: str, path: Path, left_out: list[str]) -> Iterator[tuple[str, Path]]:
    left = [(name, path)]  # no recursion: nothing says how deep it is
    while left:
        name, path = left.pop()
        try:
            mode = path.lstat().st_mode
        except FileNotFoundError:
            continue
        if stat.S_ISDIR(mode):
            yield name, path
            inside = sorted(path.iterdir(), reverse=True)
            left += [(f"{name}/{inner.name}", inner) for inner in inside]
        elif stat.S_ISREG(mode):
            yield name, path
        else:
            left_out.append(name)


def _add_path(tar: tarfile.TarFile, name: str, path: Path) -> None:
    """It as it is now: nothing where it has gone since it was listed, and no link."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        found = os.fstat(descriptor)
        info = tarfile.TarInfo(name)
        info.mode, info.mtime = stat.S_IMODE(found.st_mode), int(found.st_mtime)
        if stat.S_ISDIR(found.st_mode):
            info.type = tarfile.DIRTYPE
            tar.addfile(info)
        elif stat.S_ISREG(found.st_mode):
            info.size = found.st_size
            with open(descriptor, "rb", closefd=False) as content:
                tar.addfile(info, content)
    finally:
        os.close(descriptor)


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(content), 0o600
    tar.addfile(info, io.BytesIO(content))

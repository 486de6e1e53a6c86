"""A home out of its backup: put where nothing is yet, and only if all of it is sound.

Trusted to touch nothing that is there, to leave nothing behind when it refuses, and to hand over
only what was verified: every byte is authenticated, the database has no damage and a schema that
this version knows, its ledger verifies with its own public keys from the first receipt to the last
one that was backed up, and the keys belong together. Raises `StartError`, `StoreFault` and the
errors of `vault`.
"""

import json
import os
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any, Final

from daemon.errors import StartError
from daemon.estate import DIRECTORY_MODE, Estate
from daemon.home_backup import CONFIG, DATABASE, FACTS, FORM, Facts
from daemon.ledger.key_files import held_in_files
from daemon.ledger.keys import followed
from daemon.store import copies
from daemon.store.copies import Copy
from daemon.store.schema import REVISION
from daemon.working_folder import RESTORE, remove_left, working_folder
from ledger.errors import BadEntry
from ledger.lineage import Lineage, parse_lineage
from ledger.verify import verify
from stockade.home import Home
from vault.sealed_stream import OpeningReader
from vault.secret import Secret

_PIECE: Final = 1 << 20


def restore(home: Home, passphrase: Secret, file: Path) -> Facts:
    """Makes the home anew out of the backup."""
    home = replace(home, data=home.data.resolve())  # which may be a link to where there is room
    _require_empty(home)
    with _folders(home):
        remove_left(RESTORE, home.data.parent)
        return _restored(home, passphrase, file)


@contextmanager
def _folders(home: Home) -> Iterator[None]:
    """Those that the home lies in. The ones made for it go again, empty, if it comes to nothing."""
    made: list[Path] = []
    try:
        for folder in (home.data.parent, home.config):
            for one in (*reversed(folder.parents), folder):
                if not one.exists():
                    one.mkdir(mode=DIRECTORY_MODE if one == folder else 0o777)
                    made.append(one)
        yield
    except BaseException:
        for one in reversed(made):
            with suppress(OSError):  # somebody else has put something there
                one.rmdir()
        raise


def _restored(home: Home, passphrase: Secret, file: Path) -> Facts:
    with working_folder(RESTORE, home.data.parent) as place:
        _unpack(passphrase, file, place)
        restored = Home(config=place / "config", data=place / "data")
        facts = _verified(restored)
        for folder in (restored.data, restored.data / "tools", restored.tools):
            # It may have been another user's, with other needs.
            folder.mkdir(exist_ok=True)
            folder.chmod(DIRECTORY_MODE)
        _put_in_place(restored, home)
    return facts


def _put_in_place(restored: Home, home: Home) -> None:
    """All of it, or nothing."""
    moved: list[Path] = []
    try:
        for name in CONFIG:
            if (restored.config / name).exists():
                moved.append(home.config / name)
                shutil.move(restored.config / name, home.config / name)
        # Last, and at once: with it there is a home.
        restored.data.rename(home.data)
    except BaseException:
        for path in moved:
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        raise


def _require_empty(home: Home) -> None:
    found = [home.config / name for name in CONFIG if os.path.lexists(home.config / name)]
    if home.data.is_mount():
        raise StartError(
            f"{home.data} is a file system of its own, which cannot be put there at once",
            code="DATA_IS_MOUNT",
            fix="mount the folder above it, or let it be a link to a folder in that file system",
        )
    if home.data.exists() and any(home.data.iterdir()):
        found.append(home.data)
    if found:
        raise StartError(
            f"{found[0]} is there already",
            code="HOME_NOT_EMPTY",
            fix="restore into a home that does not exist yet: STOCKADE_HOME=NEW stockade restore",
        )


def _unpack(passphrase: Secret, file: Path, place: Path) -> None:
    with file.open("rb") as source:
        sealed = OpeningReader(passphrase, source)
        stream: Any = sealed  # tarfile wants no more of it than `read`
        try:
            with tarfile.open(fileobj=stream, mode="r|") as tar:
                folders = [member for member in tar if _put(tar, member, place)]
        except tarfile.TarError as error:
            raise _unsound(f"it is no archive: {error}") from None
        while sealed.read(_PIECE):
            pass  # what an archive is padded with
        sealed.finish()
    # Only now, the deepest first: in those of copies of tools nobody but root could have put more.
    for folder in sorted(folders, key=lambda one: one.name, reverse=True):
        (place / folder.name).chmod(folder.mode & 0o755)


def _put(tar: tarfile.TarFile, member: tarfile.TarInfo, place: Path) -> bool:
    """Puts it there; whether it is a folder, whose mode is still to be set."""
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts or not (member.isfile() or member.isdir()):
        raise _unsound(f"{member.name!a} has no place in a home")
    target = place / path
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if member.isdir():
        target.mkdir(mode=0o700, exist_ok=True)
        return True
    content = tar.extractfile(member)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    with os.fdopen(os.open(target, flags, 0o600), "wb") as out:
        if content is not None:
            shutil.copyfileobj(content, out, _PIECE)
        out.flush()
        os.fchmod(out.fileno(), member.mode & 0o755)
        os.fsync(out.fileno())
    return False


def _verified(home: Home) -> Facts:
    facts = _facts(home.config.parent / FACTS)
    estate = Estate.open(home)
    if (estate.chain_id, str(estate.trust_domain)) != (facts.chain, facts.trust_domain):
        raise _unsound("its parts are of different installations")
    with copies.reading(home.data / DATABASE) as copy:
        _require_known(copy.revision)
        _verify_ledger(copy, estate, facts)
    return facts


def _facts(path: Path) -> Facts:
    try:
        found = json.loads(path.read_bytes())
        if found["form"] != FORM:
            raise StartError(
                f"the backup has form {found['form']}; this version reads {FORM}",
                code="BACKUP_NEWER",
                fix="restore it with the version that made it, or a newer one",
            )
        return Facts(**found)
    except (OSError, ValueError, KeyError, TypeError):
        raise _unsound("it does not say what it is") from None


def _require_known(found: str | None) -> None:
    if found is None or found > REVISION:
        raise StartError(
            f"the database has the schema {found} of a newer version",
            code="STORE_NEWER",
            fix="restore it with the version that made it, or a newer one",
        )


def _verify_ledger(copy: Copy, estate: Estate, facts: Facts) -> None:
    lineage, held = followed(copy.rotations(facts.chain)), held_in_files(estate.home.data)
    if lineage is None:
        pinned = parse_lineage(estate.home.ledger_keys.read_bytes())
        lineage = Lineage(pinned.first if held is None else held[0])
    if held is not None and lineage.current not in held:
        raise _unsound("its ledger was handed over to other keys than it has")
    try:
        verified = verify(copy.ledger(facts.chain), lineage.first)
    except BadEntry as error:
        raise _unsound(f"its ledger does not verify: {error}") from None
    except (TypeError, ValueError):
        raise _unsound("its ledger does not verify: a receipt is not one") from None
    digest = "" if verified.head is None else verified.head.digest.hex()
    if (verified.count, digest) != (facts.receipts, facts.last_digest):
        raise _unsound("its ledger does not end where it ended when it was backed up")


def _unsound(why: str) -> StartError:
    return StartError(
        f"the backup cannot be used: {why}", code="BACKUP_DAMAGED", fix="use another copy of it"
    )

"""What the service manager hands to this service and to nobody else (systemd's `LoadCredential=`).

Trusted to read only what lies in the folder that the manager names, by a plain name, and that no
other user of the machine could have read or written. It may belong to root, who put it there, and
its group bits may be an access list for this user. Raises `KeyFileError`
(CREDENTIAL_UNUSABLE).
"""

import os
import re
import stat
from pathlib import Path

from identity.errors import Code, KeyFileError, shown

VARIABLE = "CREDENTIALS_DIRECTORY"
MAX_BYTES = 65_536
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def load_credential(name: str) -> bytes:
    """The credential of that name."""
    folder = os.environ.get(VARIABLE, "")
    if not folder or not _NAME.fullmatch(name):
        raise _unusable(name, "the service manager has given this process none")
    path = Path(folder, name)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode) or status.st_mode & 0o027:
                raise _unusable(name, f"{path} is open to others")
            if status.st_uid not in (0, os.geteuid()):
                raise _unusable(name, f"{path} belongs to user id {status.st_uid}")
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise _unusable(name, f"{path}: {error.strerror}") from None
    if len(data) > MAX_BYTES:
        raise _unusable(name, f"{path} holds more than {MAX_BYTES} bytes")
    return data


def _unusable(name: str, why: str) -> KeyFileError:
    return KeyFileError(
        Code.CREDENTIAL_UNUSABLE,
        f"the credential {shown(name)} cannot be used: {why}",
        f"add LoadCredential={name}:/path/to/the/file to the service's unit",
    )

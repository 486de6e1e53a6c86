"""The root file system of tools that name no image: empty but for links into /usr and a small /etc.

Pure: the archive and its name. The host's /usr is bound into it read-only, so there is nothing to
download, and a tool sees the programs the process tier would show it. The name says the content,
so an image is made once for an engine and found again; whether it is that, `container_image` sees.
"""

import hashlib
import io
import tarfile
from collections.abc import Mapping
from functools import cache

from sandbox.hostview import root_directories, root_links

REPOSITORY = "stockade-root"
_DIRECTORIES = ("dev", "etc", "proc", "run", "sys", "usr")
_TMP = 0o1777


@cache
def archive(uid: int) -> tuple[bytes, str]:
    """The tar archive and its digest."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name in sorted({*_DIRECTORIES, *(path.strip("/") for path in root_directories())}):
            _add(tar, name, tarfile.DIRTYPE, 0o755)
        _add(tar, "tmp", tarfile.DIRTYPE, _TMP)
        for path, target in sorted(root_links().items()):
            _add(tar, path.strip("/"), tarfile.SYMTYPE, 0o777, link=target)
        for path, text in sorted(_etc(uid).items()):
            _add(tar, path, tarfile.REGTYPE, 0o444, content=text.encode())
    content = out.getvalue()
    return content, hashlib.sha256(content).hexdigest()


def tag_of(digest: str) -> str:
    """What an engine calls an archive of this digest."""
    return digest[:32]


def _etc(uid: int) -> Mapping[str, str]:
    """No user, group or host of the real system; Docker adds hosts, hostname and resolv.conf."""
    return {
        "etc/passwd": f"tool:x:{uid}:{uid}::/tmp:/bin/sh\n",
        "etc/group": f"tool:x:{uid}:\n",
        "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
    }


def _add(
    tar: tarfile.TarFile, name: str, kind: bytes, mode: int, link: str = "", content: bytes = b""
) -> None:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode, entry.linkname, entry.size = kind, mode, link, len(content)
    tar.addfile(entry, io.BytesIO(content))

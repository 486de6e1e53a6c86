"""The root of the container image, from the packages that this Debian machine has: no network.

Writes a tar of the files of these packages and of all they depend on, for `docker import`. From
/etc only what the dynamic linker, certificates and names of services need: nothing of this machine
gets into the image that its packages did not bring. Run as `python3 root.py > root.tar`.
"""

import io
import re
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

PACKAGES = (
    *("base-files", "bash", "bubblewrap", "ca-certificates", "coreutils", "dash", "libseccomp2"),
    *("libc-bin", "libstdc++6", "openssl", "python3", "tzdata", "util-linux"),
)
ETC = (
    "/etc/alternatives/",
    "/etc/ld.so.conf",
    "/etc/ssl/certs/",
    "/etc/services",
    "/etc/protocols",
)
LEFT_OUT = ("/usr/share/doc/", "/usr/share/man/", "/usr/share/locale/", "/usr/share/info/")
LINKS = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
FOLDERS = ("dev", "etc", "home", "proc", "root", "run", "sys", "tmp", "var/lib", "var/tmp", "opt")
USER = 65532
WRITTEN = {
    "etc/passwd": f"root:x:0:0:root:/root:/bin/sh\nstockade:x:{USER}:{USER}::/var/lib/stockade:"
    "/bin/sh\nnobody:x:65534:65534::/nonexistent:/usr/sbin/nologin\n",
    "etc/group": f"root:x:0:\nstockade:x:{USER}:\nnogroup:x:65534:\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
}


def closure(wanted: tuple[str, ...]) -> set[str]:
    """These packages and everything that they depend on, as far as it is installed."""
    asked = ["dpkg-query", "-W", "-f", "${Package}\\t${Provides}\\t${Pre-Depends}, ${Depends}\\n"]
    needs: dict[str, list[str]] = {}
    provided: dict[str, str] = {}
    for line in subprocess.run(asked, capture_output=True, text=True, check=True).stdout.split(
        "\n"
    ):
        name, _, rest = line.partition("\t")
        provides, _, depends = rest.partition("\t")
        needs[name] = _names(depends)
        provided |= dict.fromkeys(_names(provides), name)
    found: set[str] = set()
    open_ = list(wanted)
    while open_:
        name = open_.pop()
        name = name if name in needs else provided.get(name, "")
        if name and name not in found:
            found.add(name)
            open_ += needs[name]
    missing = set(wanted) - found
    if missing:
        sys.exit(f"not installed here: {', '.join(sorted(missing))}\nfix: apt-get install them")
    return found


def _names(field: str) -> list[str]:
    return [
        found for part in re.split(r"[,|]", field) if (found := part.split("(")[0].strip(" :any"))
    ]


def files(packages: set[str]) -> Iterator[Path]:
    """Their files where they really are, since /bin is a link to /usr/bin."""
    listed = subprocess.run(
        ["dpkg-query", "-L", *sorted(packages)], capture_output=True, text=True, check=True
    )
    seen = set()
    for line in listed.stdout.splitlines():
        path = Path(line)
        if not path.is_absolute() or not (path.is_symlink() or path.exists()):
            continue
        if len(path.parts) > 1 and path.parts[1] in LINKS:
            path = Path("/usr", *path.parts[1:])
        text = str(path)
        if text.startswith("/etc/") and not text.startswith(ETC):
            continue
        if text.startswith(LEFT_OUT) and path.name != "copyright":
            continue
        if text in seen or (path.is_dir() and not path.is_symlink()):
            continue
        seen.add(text)
        yield path
        if path.is_symlink() and str(path.readlink()).startswith("/etc/alternatives/"):
            yield Path(path.readlink())
    yield from (path for path in Path("/etc/ssl/certs").glob("*") if path.exists())


def main() -> None:
    """Writes it to standard output."""
    with tarfile.open(fileobj=sys.stdout.buffer, mode="w|") as tar:
        for name in FOLDERS:
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if name.endswith("tmp") else 0o755
            tar.addfile(entry)
        for name in LINKS:
            if Path("/", name).is_symlink():
                entry = tarfile.TarInfo(name)
                entry.type, entry.linkname = tarfile.SYMTYPE, f"usr/{name}"
                tar.addfile(entry)
        home = tarfile.TarInfo("var/lib/stockade")
        home.type, home.mode, home.uid, home.gid = tarfile.DIRTYPE, 0o700, USER, USER
        tar.addfile(home)
        for name, text in WRITTEN.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(text), 0o644
            tar.addfile(entry, io.BytesIO(text.encode()))
        added = set()
        for path in files(closure(PACKAGES)):
            if path not in added:
                added.add(path)
                tar.add(path, arcname=str(path).lstrip("/"), recursive=False, filter=_plain)


def _plain(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    """As root's, and without rights that a file gives to whoever runs it."""
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = "root"
    entry.mode &= 0o755
    entry.mtime = 0
    return entry


if __name__ == "__main__":
    main()

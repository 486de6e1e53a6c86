"""How the launcher runs on a root file system that has no Python: a tool's own image.

The host's /usr is shown at a place of its own, and its interpreter is started by its own loader
with its own libraries, so nothing of the image is used, whatever C library it has. Pure, but for
looking up where loader and interpreter really lie. Raises `SpecRefusedError` on a machine of a kind
whose loader is not known.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from sandbox.errors import SpecRefusedError
from sandbox.frame import PYTHON

PLACE = "/.stockade"
# Without these the C library reads an image's own locale and time zone.
ENVIRONMENT: Mapping[str, str] = {"LC_ALL": "C", "TZ": "UTC0"}
# By which any loader is told, in an image too, what every program loads first: where, and what.
LED_BY = ("/etc", "/etc/ld.so.preload")
_LOADERS = {"x86_64": "/lib64/ld-linux-x86-64.so.2", "aarch64": "/lib/ld-linux-aarch64.so.1"}


def command() -> tuple[str, ...]:
    """What stands before the launcher's text."""
    loader = Path(_LOADERS.get(os.uname().machine, "/nonexistent")).resolve()
    if not loader.is_relative_to("/usr") or not loader.exists():
        raise SpecRefusedError(
            "IMAGE_REFUSED", "images cannot be started on this machine", "use a tool without one"
        )
    interpreter = Path(PYTHON[0]).resolve()
    libraries = ":".join(f"{PLACE}{path}" for path in (loader.parent, "/usr/lib"))
    start = (f"{PLACE}{loader}", "--library-path", libraries, f"{PLACE}{interpreter}")
    return (*start, *PYTHON[1:])

"""Writing into the configuration which kind of place the root key is in, after that was changed.

Trusted to change that one line and nothing else, whole or not at all, and only if what results is a
configuration that says so. Leaves `Conflict` (VAULT_ROOT_UNPINNED) with the line to write by hand.
"""

import re
from pathlib import Path
from typing import Final

from daemon.config import parse_config
from daemon.config_file import root_line
from daemon.errors import ConfigError, Conflict
from daemon.identity.authority_files import write_public

_SECTION: Final = re.compile(r"^\[vault\][^\n]*\n(?:(?!\[)[^\n]*\n)*", re.MULTILINE)
_ROOT: Final = re.compile(r"^root[ \t]*=[^\n]*$", re.MULTILINE)


def repin(path: Path, kind: str) -> None:
    """Makes the configuration name this kind of root."""
    try:
        text = path.read_text()
        if parse_config(text.encode()).vault.root == kind:
            return
        section = _SECTION.search(text)
        if section is None:
            raise ConfigError("no [vault] section", fix=f"add one, with {root_line(kind)}")
        changed, count = _ROOT.subn(root_line(kind), section[0])
        whole = text[: section.start()] + changed + text[section.end() :]
        if count != 1 or parse_config(whole.encode()).vault.root != kind:
            raise ConfigError(
                "no single line that names the root", fix=f"leave one: {root_line(kind)}"
            )
        write_public(path, whole.encode())
    except (OSError, ConfigError) as error:
        raise Conflict(
            f"the root key is in its new place, but {path} still names the old one: {error}",
            code="VAULT_ROOT_UNPINNED",
            fix=f"write in its [vault] section: {root_line(kind)}",
        ) from None

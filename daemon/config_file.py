"""The configuration as text: what init writes, and what docs/configuration.md is made from.

Both come from the declarations in `daemon.config`, so a key cannot be undocumented.
"""

import json
import textwrap
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from daemon.config import Config, EnvFile, OpenBao, Workspace

_HEADER = """\
# Stockade's configuration. Every key is here with its default; unknown keys are refused.
# The daemon reads it at start: `stockade down`, then `stockade up`.
"""


# Sections of which there are as many as the operator likes, and the name of an example.
MANY: dict[str, tuple[type[BaseModel], str]] = {
    "workspaces": (Workspace, "notes"),
    "env_files": (EnvFile, "team"),
    "openbao": (OpenBao, "central"),
}

UNCHOSEN_LINE = '# root = "keychain" or "file": not chosen yet'


def root_line(vault_root: str) -> str:
    """The line that pins the vault's root."""
    return f"root = {json.dumps(vault_root)}"


def commented_config(vault_root: str | None) -> str:
    """A config.toml in which everything but the vault's root is commented out."""
    lines = [_HEADER]
    for section, model in _sections():
        if section in MANY:
            lines += [f"# {model.__doc__}", f"# [{section}.{MANY[section][1]}]"]
        else:
            lines += [f"# {model.__doc__}", f"[{section}]"]
        for name, field in model.model_fields.items():
            lines += [f"# {line}" for line in _wrap(str(field.description))]
            if (section, name) == ("vault", "root"):
                lines += [UNCHOSEN_LINE if vault_root is None else root_line(vault_root)]
            else:
                setting = f"{name} = {_default(field)}"
                lines += [f"# {line}" for line in _wrap(setting)]
        lines += [""]
    return "\n".join(lines)


def reference() -> str:
    """docs/configuration.md's tables: one section each."""
    lines: list[str] = []
    for section, model in _sections():
        title = f"{section}.NAME" if section in MANY else section
        lines += [f"## `[{title}]`", "", str(model.__doc__), "", "| key | default | meaning |"]
        lines += ["| --- | --- | --- |"]
        for name, field in model.model_fields.items():
            default = _default(field)
            lines += [f"| `{name}` | `{default}` | {field.description} |"]
        lines += [""]
    return "\n".join(lines)


def _sections() -> Iterator[tuple[str, type[BaseModel]]]:
    for name, field in Config.model_fields.items():
        kind: Any = field.annotation
        yield name, MANY[name][0] if name in MANY else kind


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return '"/absolute/path"'
    if field.default_factory is not None:
        return json.dumps(field.get_default(call_default_factory=True))
    if field.default is None:
        return "(chosen at init)"
    if isinstance(field.default, Decimal):
        return f'"{field.default}"'
    return json.dumps(field.default)


def _wrap(text: str) -> list[str]:
    # Not at a hyphen: a name in a list would be two.
    return textwrap.wrap(text, 90, break_on_hyphens=False, break_long_words=False)

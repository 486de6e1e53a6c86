"""The default policy shipped in the package: what `init` writes for the operator to edit.

Reads package data only.
"""

from importlib import resources


def load_default_files() -> dict[str, str]:
    """The default policy files, by name."""
    folder = resources.files("policy").joinpath("default")
    return {
        entry.name: entry.read_text("utf-8")
        for entry in sorted(folder.iterdir(), key=lambda entry: entry.name)
        if entry.name.endswith(".cedar")
    }

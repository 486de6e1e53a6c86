"""Which paths are protected: the default list, and what an operator's list may hold.

Pure. A name is relative to the workspace, normalised, and shallow; it protects the file or folder
of that name with all that is in it.
"""

import posixpath
from collections.abc import Iterable

_MOST, _DEEPEST, _LONGEST = 64, 4, 255

DEFAULT_NAMES: tuple[str, ...] = (
    # What shells and their companions read where they find it.
    *(".bashrc", ".bash_profile", ".profile", ".zshrc", ".zshenv", ".zprofile"),
    *(".envrc", ".gitconfig", ".npmrc", ".yarnrc.yml", ".mise.toml", ".ssh"),
    # What editors, and the agents in them, run when they open the folder.
    *(".vscode", ".idea", ".devcontainer", ".devcontainer.json", ".vimrc", ".exrc", ".mcp.json"),
    # What runs at a commit.
    *(".pre-commit-config.yaml", ".husky"),
    # What runs elsewhere, with the rights of the repository.
    *(".github/workflows", ".github/actions", ".gitlab-ci.yml", ".circleci"),
    # Ours.
    ".stockade",
)

# In a repository, besides: what git executes, or where it is led by.
GIT = ".git"
GIT_NAMES = ("config", "config.worktree", "hooks", "worktrees", "commondir")


def check_names(names: Iterable[str]) -> tuple[str, ...]:
    """The names as they are, if each is one; raises ValueError saying which is not."""
    checked = tuple(names)
    if len(checked) > _MOST:
        raise ValueError(f"more than {_MOST} paths")
    for name in checked:
        parts = name.split("/")
        if posixpath.normpath(name) != name or parts[0] in ("", ".", ".."):
            raise ValueError(f"{name!r} is not a relative, normalised path")
        if len(parts) > _DEEPEST or any(len(part.encode()) > _LONGEST for part in parts):
            raise ValueError(f"{name!r} is too deep or too long")
        if parts[0] == GIT:
            raise ValueError(f"{name!r}: what is protected in {GIT} is not for choosing")
        if not name.isprintable():
            raise ValueError(f"{name!r} holds characters that cannot be shown")
    for name in checked:
        if any(name.startswith(f"{other}/") for other in checked):
            raise ValueError(f"{name!r} is protected by another path already")
    return checked

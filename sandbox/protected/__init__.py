"""Protected paths of a workspace: what a tool that may write there still may not make or change.

What lies in a workspace and runs on the host without being asked for (hooks, git's configuration,
what editors, shells and CI read) would let a tool act outside its sandbox, later. While a run that
may write is on, such paths are mounted read-only over themselves; those that are missing are held
by an empty directory that only we make and that is gone afterwards. Repositories further down are
compared before and after, and what would run is put aside.

Trusted to leave the workspace as it was but for what the tool was allowed to do. Raises
`WorkspaceError` where that cannot be had; then nothing runs.
"""

from sandbox.protected.errors import WorkspaceError
from sandbox.protected.keeper import Held, Keeper
from sandbox.protected.names import DEFAULT_NAMES, check_names

__all__ = ["DEFAULT_NAMES", "Held", "Keeper", "WorkspaceError", "check_names"]

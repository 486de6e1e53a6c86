"""The one error of this package."""

from sandbox.errors import SandboxError


class WorkspaceError(SandboxError):
    """A protected path cannot be held, so nothing was started."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(
            "WORKSPACE_UNPROTECTED",
            f"{path} in the workspace cannot be kept from the tool: {why}",
            "mend it, or take it from the workspace's `protected` in config.toml",
        )

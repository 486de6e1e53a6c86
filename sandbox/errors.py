"""The errors of the sandbox package, by blame.

A run that started and went badly is an `Outcome`, never an exception. These are for what was
refused before anything was started.
"""


class SandboxError(Exception):
    """The root of every error this package raises.

    `code` is stable and meant for programs; `fix` says what the reader can do about it. Neither
    ever contains the value of an argument, an environment variable or a secret.
    """

    def __init__(self, code: str, message: str, fix: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.fix = fix


class SpecRefusedError(SandboxError):
    """The caller asked for something no tier will start; nothing was started."""


class TierUnavailableError(SandboxError):
    """The host cannot run this tier; nothing was started, and nothing weaker was tried."""

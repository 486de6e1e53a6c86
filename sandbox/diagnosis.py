"""Why a sandbox did not start on this host, and the command that would change it.

Reads a few kernel settings; judges, changes nothing, raises nothing.
"""

from pathlib import Path

from sandbox.outcome import Outcome
from sandbox.tier import Missing

_SYSCTL = Path("/proc/sys")


def diagnose(outcome: Outcome, sysctl: Path = _SYSCTL) -> tuple[Missing, ...]:
    """The settings that forbid user namespaces; else what the engine itself said."""
    found = forbidding(sysctl)
    if found:
        return found
    said = outcome.detail or f"the probe ended as {outcome.end.value}"
    if "Unknown option" in said:
        return (Missing("bubblewrap", said, "upgrade bubblewrap (Debian 12: 0.8.0-2+deb12u1)"),)
    return (
        Missing("bubblewrap", f"the probe did not run: {said}", "see what bubblewrap said above"),
    )


def forbidding(sysctl: Path = _SYSCTL) -> tuple[Missing, ...]:
    """The kernel settings of this moment that forbid user namespaces."""
    return tuple(
        Missing("user namespaces", f"{name} is {value}", fix)
        for name, refuses, fix in _SETTINGS
        if (value := _value(sysctl / name)) == refuses
    )


def _value(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except OSError:
        return None


_SETTINGS = (
    (
        "kernel/unprivileged_userns_clone",
        "0",
        "sysctl -w kernel.unprivileged_userns_clone=1",
    ),
    (
        "kernel/apparmor_restrict_unprivileged_userns",
        "1",
        "give bubblewrap an AppArmor profile that allows userns",
    ),
    ("user/max_user_namespaces", "0", "sysctl -w user.max_user_namespaces=15000"),
)

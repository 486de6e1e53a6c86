"""The sandbox tiers: one interface, one module per mechanism.

Trusted to run a program with exactly the grants of its `RunSpec` and to say truthfully which
controls were achieved. Refuses to decide anything: whether a call may run, and in which tier, is
the PEP's business. Only `SandboxError` and its subclasses leave this package.
"""

from sandbox.container import ContainerSandbox
from sandbox.container_settings import ContainerSettings
from sandbox.errors import SandboxError, SpecRefusedError, TierUnavailableError
from sandbox.outcome import Control, End, LimitName, Outcome, OutputDigest, Usage
from sandbox.process import ProcessSandbox
from sandbox.settings import ProcessSettings
from sandbox.spec import Limits, Mount, RunSpec
from sandbox.tier import Missing, OutputSink, ProbeReport, Sandbox

__all__ = [
    "ContainerSandbox",
    "ContainerSettings",
    "Control",
    "End",
    "LimitName",
    "Limits",
    "Missing",
    "Mount",
    "Outcome",
    "OutputDigest",
    "OutputSink",
    "ProbeReport",
    "ProcessSandbox",
    "ProcessSettings",
    "RunSpec",
    "Sandbox",
    "SandboxError",
    "SpecRefusedError",
    "TierUnavailableError",
    "Usage",
]

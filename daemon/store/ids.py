"""The ids of stored things, so that none is taken for another."""

from typing import NewType

CallId = NewType("CallId", str)
ApprovalId = NewType("ApprovalId", str)
LeaseId = NewType("LeaseId", str)
DeviceId = NewType("DeviceId", str)
AgentId = NewType("AgentId", str)
Serial = NewType("Serial", str)
"""A certificate's serial number, lower-case hex."""
PolicyDigest = NewType("PolicyDigest", str)

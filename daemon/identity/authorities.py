"""The authorities in force: one, or two while one takes over from the other.

Between `begin` and `finish` the new one issues to devices, and the old one still vouches for the
daemon, because that is the one every device knows; certificates of both are accepted, and every
device that renews learns of both. What is stored, and in which order:
`daemon.identity.authority_files` and `daemon.identity.rotation`. Read by the threads of gRPC's
handshakes, so every state is one assignment. Issuing leaves `BadRequest` for a request that is not
good, `Unavailable` for a key out of reach.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import anyio
import anyio.to_thread

from daemon.errors import BadRequest, Unavailable
from identity.authority import Authority, IssuedCertificate
from identity.errors import IdentityError, KeyFileError, TokenError
from identity.names import AgentName, DeviceId

# A token may take its time, and signs one after the other: this many threads wait for it.
ISSUING_THREADS = 2


@dataclass(frozen=True, slots=True)
class InForce:
    """One state of the authorities."""

    current: Authority
    # The one that takes over, and until when the current one is good.
    successor: Authority | None = None
    until_ms: int = 0
    # Their names, which are compared for every RPC.
    _current_name: str = field(init=False, repr=False)
    _successor_name: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_current_name", self.current.name)
        name = "" if self.successor is None else self.successor.name
        object.__setattr__(self, "_successor_name", name)

    @property
    def issuing(self) -> Authority:
        """The one that certifies devices and agents."""
        return self.successor or self.current

    @property
    def bundle(self) -> bytes:
        """All that are accepted, as PEM certificates one after the other."""
        successor = b"" if self.successor is None else self.successor.cert_pem
        return self.current.cert_pem + successor

    def accepts(self, issuer: str, now_ms: int) -> bool:
        """Whether certificates of the authority of this name are good."""
        if self.successor is None:
            return issuer == self._current_name
        # By the clock: that the end of the old one could not be recorded does not prolong it.
        in_time = now_ms < self.until_ms and issuer == self._current_name
        return in_time or issuer == self._successor_name


class Authorities:
    """See the module."""

    def __init__(self, state: InForce, now_ms: Callable[[], int]) -> None:
        self._state = state
        self._now_ms = now_ms
        self._limiter = anyio.CapacityLimiter(ISSUING_THREADS)

    @property
    def state(self) -> InForce:
        """What is in force now."""
        return self._state

    async def issue_device(
        self, csr_pem: bytes, device: DeviceId, now: datetime, lifetime: timedelta
    ) -> IssuedCertificate:
        """A device's certificate, beside the event loop."""
        issuing = self._state.issuing
        return await self._issue(lambda: issuing.issue_device(csr_pem, device, now, lifetime))

    async def issue_agent(
        self, csr_pem: bytes, agent: AgentName, now: datetime, lifetime: timedelta
    ) -> IssuedCertificate:
        """An agent's certificate, beside the event loop."""
        issuing = self._state.issuing
        return await self._issue(lambda: issuing.issue_agent(csr_pem, agent, now, lifetime))

    async def _issue(self, issue: Callable[[], IssuedCertificate]) -> IssuedCertificate:
        try:
            return await anyio.to_thread.run_sync(issue, limiter=self._limiter)
        except IdentityError as error:
            ours = isinstance(error, TokenError | KeyFileError)
            kind = Unavailable if ours else BadRequest
            raise kind(error.message, code=str(error.code), fix=error.fix) from None

    @property
    def bundle(self) -> bytes:
        """What devices are told to trust."""
        return self._state.bundle

    def accepts(self, issuer: str) -> bool:
        """Whether certificates of the authority of this name are good now."""
        return self._state.accepts(issuer, self._now_ms())

    def replace(self, state: InForce) -> None:
        """Puts another state in force; it is stored already."""
        self._state = state

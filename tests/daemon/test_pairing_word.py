"""A person's word on a device that waits: the first is final."""

import pytest

from daemon.errors import NotFound
from daemon.identity.pairing import Candidate, Invitation, Pairing
from identity.fingerprint import Fingerprint
from stockade.pairing_code import PairingCode


@pytest.mark.parametrize("first", [True, False])
def test_a_second_word_changes_nothing(first: bool) -> None:
    """Said before the device's task has heard the first: a yes after a no lets nobody in."""
    code = PairingCode("192.0.2.7:40123", bytes(32), bytes(16))
    invitation = Invitation(code, "phone", [], "device/dev-x", lambda: None, 0)
    invitation.candidate = Candidate(b"", Fingerprint("ab" * 32), "ipv4:192.0.2.9:1")
    pairing = Pairing.__new__(Pairing)
    pairing._open = {code.invitation_id: invitation}
    words = invitation.candidate.words
    pairing.decide(code.invitation_id, first, words)
    with pytest.raises(NotFound) as refused:
        pairing.decide(code.invitation_id, not first, words)
    assert refused.value.code == "UNKNOWN_INVITATION"
    assert invitation.accepted is first

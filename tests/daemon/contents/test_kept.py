"""What receipts say of contents: frozen with the fixture of the ledger."""

import json
from pathlib import Path

from daemon.contents.copy import Why, Withheld
from daemon.contents.kept import MAX_TOLD, Kept, salted
from tests.ledger.test_redacted import COPY, SALT, TRUE

FIXTURE = Path(__file__).parents[2] / "ledger" / "fixtures" / "evidence-redacted-v1.ndjson"
BODY = json.loads(FIXTURE.read_bytes().splitlines()[1])["entry"]["receipt"]["body"]
PLACES = (Withheld("/pin", Why.SCHEMA), Withheld("/url", Why.VAULT))


def test_the_fields_are_those_that_are_frozen() -> None:
    """Today's daemon writes of the fixture's call what the fixture has."""
    told = Kept("redacted", COPY, PLACES, SALT).told(TRUE)
    assert told == {name: BODY[name] for name in told}
    assert set(BODY) - set(told) == {"call", "principal", "tool"}


def test_of_many_places_some_are_named_and_all_counted() -> None:
    """A receipt is bounded, whatever is sent."""
    told = Kept("redacted", b"", PLACES * 1000, SALT).told(b"{}")
    assert len(told["withheld"]) == MAX_TOLD
    assert told["withheld_count"] == 2000


def test_without_redaction_the_digest_is_the_plain_one() -> None:
    """As it always was, and each says what holds."""
    for setting in ("full", "none", "redacted"):
        told = Kept(setting).told(b"{}")
        assert told["contents"] == setting
        assert set(told) == {"contents", "arguments_digest"}


def test_a_salt_makes_the_same_contents_another_digest() -> None:
    """Two calls with the same secret cannot be told to have it."""
    both = {salted(bytes([n]) * 32, "arguments", TRUE).hexdigest() for n in range(2)}
    assert len(both) == 2

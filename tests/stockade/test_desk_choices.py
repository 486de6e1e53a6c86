"""What an approver chooses at the screen: leases and their bounds, reasons, and leaving it."""

import time

from stockade.approving import lease_for
from stockade.lease import parse_lease
from tests.stockade.at_desk import GRACE, Open, ready
from tests.stockade.serving import World, statement


def test_a_lease_for_exactly_this(world: World, desk: Open) -> None:
    """Exact arguments, for a time and a number of uses chosen by keys; what is shown is signed."""
    world.add(statement(1))
    pane = desk()
    ready(pane)
    pane.press("e")
    pane.expect("A LEASE", 'exactly these arguments: {"path": "a.txt"}', "10 at most")
    pane.press("t")
    pane.expect("7 h left")
    pane.press("u")
    pane.expect("100 at most")
    time.sleep(GRACE)
    pane.press_until("y", "yes, and a lease until")
    terms = parse_lease(world.requests[-1].lease_terms)
    assert (terms.exactly, terms.uses, terms.bounds) == ({"path": "a.txt"}, 100, None)
    assert terms.policy_digest == "cd" * 32
    assert 7 * 3600 < terms.expires_ms / 1000 - time.time() <= 8 * 3600


def test_a_lease_within_bounds(world: World, desk: Open) -> None:
    """Each argument's bound is in words, begins exact, and is widened by its own key alone."""
    arguments = {"content": "a\nb", "path": "src/lib/a.txt", "mode": 3}
    world.add(statement(1, arguments))
    pane = desk()
    ready(pane)
    pane.press("b")
    pane.expect(
        "1 content: NOT BOUNDED YET", "2 mode: exactly 3", '3 path: exactly "src/lib/a.txt"'
    )
    time.sleep(GRACE)
    pane.press_until("y", "no narrow bound fits content")
    assert world.requests == []
    for key, widened in (
        ("1", "1 content: ANYTHING"),
        ("2", "2 mode: a whole number from 0 to 3"),
        ("3", '3 path: "src/lib" or a path below it'),
    ):
        pane.press(key)
        pane.expect(widened)
    pane.press_until("y", "yes, and a lease until")
    terms = parse_lease(world.requests[-1].lease_terms)
    assert terms.bounds == {
        "content": {"any": True},
        "mode": {"from": 0, "to": 3},
        "path": {"below": "src/lib"},
    }


def test_a_lease_that_another_signed_is_signed_as_it_is(world: World, desk: Open) -> None:
    """Its words are shown first, no key changes it, and the very same bytes are signed."""
    said = statement(1)
    one = world.add(said)
    theirs = lease_for(said, expires_ms=said.expires_ms + 60_000, uses=7)
    one.lease_terms = theirs.encode()
    one.answers.add(device_id="dev-bbbbbbbbbbbbbbbb", device_name="ada", approved=True, leased=True)
    pane = desk(rows=40)
    ready(pane, "yes, and a lease by ada", "l yes, and the lease that another has signed")
    pane.press("e")
    pane.expect("10 at most")
    pane.press("Escape")
    ready(pane)
    pane.press("l")
    pane.expect("A LEASE", 'exactly these arguments: {"path": "a.txt"}', "7 at most")
    pane.press("t", "u", "p")
    pane.expect("as another has signed it", "7 at most")
    time.sleep(GRACE)
    pane.press_until("y", "yes, and a lease until")
    assert world.requests[-1].lease_terms == theirs.encode()


def test_the_same_yes_again_and_again(world: World, desk: Open) -> None:
    """After equal yeses the policy that would have answered is offered, and nothing is changed."""
    for number in range(1, 4):
        world.add(statement(number))
    pane = desk()
    for left, then in (("3 wait", "2 wait"), ("2 wait", "1 waits"), ("1 waits", "nothing waits")):
        ready(pane, left)
        assert "approvals suggest" not in pane.screen()
        pane.press_until("a", then)
    pane.expect("the same yes again: `stockade approvals suggest`")
    assert [type(one).__name__ for one in world.requests] == ["AnswerApprovalRequest"] * 3


def test_escape_goes_back(world: World, desk: Open) -> None:
    """A lease, a reason or a second thought that is left has answered nothing."""
    world.add(statement(1))
    pane = desk()
    ready(pane)
    for key, seen in (("e", "A LEASE"), ("b", "A LEASE"), ("r", "no, because")):
        pane.press(key)
        pane.expect(seen)
        time.sleep(GRACE)
        pane.press("Escape")
        ready(pane)
    assert world.requests == []


def test_a_typed_reason(world: World, desk: Open) -> None:
    """A reason may be typed and corrected; what is pasted into it does not send it."""
    world.add(statement(1))
    pane = desk()
    ready(pane)
    pane.press("r")
    pane.expect("no, because")
    pane.press("t")
    pane.expect("reason: _")
    pane.write("the wrong filf")
    pane.expect("filf_")
    pane.press("BSpace")
    pane.write("e")
    pane.paste("\nas \x1b[2Jsaid\n")
    pane.expect("said")
    assert world.requests == []
    pane.press("Enter")
    pane.expect("nothing waits")
    assert world.requests[-1].reason.startswith("the wrong file")
    assert world.requests[-1].reason.isprintable()

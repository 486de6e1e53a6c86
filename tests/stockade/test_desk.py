"""`approvals watch` at a real terminal: keys answer what is on the screen, nothing else does."""

import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest

from stockade.lease import parse_lease
from stockade.v1 import approval_pb2
from tests.pane import Pane
from tests.stockade.serving import Daemon, World, statement

ID = statement(1).approval_id
KEYS = "a yes, once"
GRACE = 0.6
COMMAND = "from stockade.cli.main import main; main()"

Open = Callable[..., Pane]


@pytest.fixture
def desk(daemon: Daemon) -> Iterator[Open]:
    """Opens `approvals watch` on a terminal of a size."""
    opened = []

    def open_(*options: str, **size: Any) -> Pane:
        # By env: tmux has a TERM of its own for what it starts.
        given = [f"{key}={value}" for key, value in size.pop("environment", {}).items()]
        code = size.pop("code", COMMAND)
        argv = ["env", *given, sys.executable, "-c", code, "approvals", "watch", *options]
        opened.append(Pane(argv, {"STOCKADE_HOME": str(daemon.home.config)}, **size))
        return opened[-1]

    yield open_
    for one in opened:
        one.close()


def _ready(pane: Pane, *texts: str) -> str:
    """The screen once its keys count."""
    pane.expect(KEYS, *texts)
    time.sleep(GRACE + 0.2)
    return pane.screen()


def test_all_that_is_asked_is_on_the_screen(world: World, desk: Open) -> None:
    """Who, what, why by file and line, risk and its inputs, tier, arguments, time, choices."""
    world.add(statement(1, {"command": "make  clean", "workspace": "notes"}))
    shown = _ready(desk())
    for text in (
        "who        builder (device/dev-",
        "tool       files.write",
        "asks for   ask-writes (owners.cedar:12)",
        "risk       0.420 of 1: code_trust 0.9000, filesystem_write",
        "tier       container",
        "secrets    secret://global/token",
        "command = a command line",
        "│ $ make  clean",
        'workspace = "notes"',
        "a yes, once · e yes to exactly this, for a time · b bounded, for a time · r no",
    ):
        assert text in shown
    assert " left, until " in shown
    assert all(len(line) <= 80 for line in shown.splitlines())


def test_the_time_left_counts(world: World, desk: Open) -> None:
    """The time that is left is that of now, with no key pressed."""
    world.add(statement(1))
    pane = desk()

    def left() -> str:
        lines = pane.expect(" left, until ").splitlines()
        return next(line for line in lines if " left, until " in line)

    first = left()
    deadline = time.monotonic() + 20
    while left() == first:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_keys_answer_what_is_on_the_screen(world: World, desk: Open) -> None:
    """One key answers the approval on the screen; the next comes up; q quits and leaves a log."""
    world.add(statement(1))
    world.add(statement(2))
    pane = desk()
    _ready(pane, "2 wait")
    pane.press("a")
    pane.expect("yes, once", "1 waits")
    _ready(pane)
    pane.press("r")
    pane.expect("no, because:")
    time.sleep(GRACE)
    pane.press("2")
    pane.expect("nothing waits for you")
    pane.press("q")
    assert pane.ended() == 0
    left = pane.screen(scrolled=True)
    assert "files.write for builder: yes, once" in left
    assert "files.write for builder: no" in left
    first, second = world.requests
    assert (first.approval_id, first.approve, first.lease_terms) == (ID, True, b"")
    assert (second.approve, second.reason) == (False, "too wide")


def test_a_typed_reason(world: World, desk: Open) -> None:
    """A reason may be typed and corrected; what is pasted into it does not send it."""
    world.add(statement(1))
    pane = desk()
    _ready(pane)
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


def test_a_paste_is_no_answer(world: World, desk: Open) -> None:
    """What is pasted answers nothing, not even one letter: the terminal says that it was pasted."""
    world.add(statement(1))
    pane = desk()
    _ready(pane)
    for pasted in ("a", "aaaa", "a\na\n", "yes\n"):
        pane.press("m")
        pane.paste(pasted)
        pane.expect("a paste: no answer")
        time.sleep(GRACE)
    assert world.requests == []


def test_a_burst_is_no_answer(world: World, desk: Open) -> None:
    """Several keys at once, and keys that are not ours, answer nothing."""
    world.add(statement(1))
    pane = desk()
    _ready(pane)
    for burst in ("aa", "ay", "ea", "\x1b[Aa", "\x1ba", "é", "a\r"):
        pane.press("m")
        pane.write(burst)
        pane.expect("no answer")
        time.sleep(GRACE)
    assert world.requests == []


def test_no_key_by_default(world: World, desk: Open) -> None:
    """Enter, space, escape, y and capitals are no answer."""
    world.add(statement(1))
    pane = desk()
    _ready(pane)
    pane.press("Enter", "Space", "y", "A", "Y", "R", "Escape", "Tab", "1")
    time.sleep(0.5)
    assert world.requests == []
    assert KEYS in pane.screen()


def test_early_keys_are_forgotten(world: World, desk: Open) -> None:
    """Keys pressed before an approval is on the screen, or as it appears, do not answer it."""
    pane = desk(code=f"from stockade.cli import desk; desk.GRACE_SECONDS = 60; {COMMAND}")
    pane.expect("nothing waits")
    pane.press("a")
    world.changes.append(world.add(statement(1)))
    pane.expect(KEYS)
    pane.press("a", "m")
    time.sleep(GRACE)
    assert world.requests == []


def test_what_changes_is_taken_away(world: World, desk: Open) -> None:
    """An approval that was settled elsewhere is gone from the screen and cannot be answered."""
    one = world.add(statement(1))
    pane = desk()
    _ready(pane)
    settled = approval_pb2.Approval()
    settled.CopyFrom(one)
    settled.state = approval_pb2.APPROVAL_STATE_REJECTED
    world.changes.append(settled)
    pane.expect("is rejected", "nothing waits")
    pane.press("a")
    assert world.requests == []


def test_a_yes_needs_the_end_to_have_been_on_the_screen(world: World, desk: Open) -> None:
    """What is further down has to be read first; however long it is, the keys stay in sight."""
    world.add(statement(1, {f"argument_{number:02}": "x" for number in range(30)}))
    pane = desk()
    _ready(pane, "space shows more")
    pane.press("a")
    pane.expect("not yet: there was more to read")
    assert world.requests == []
    pane.press("End")
    pane.expect("argument_29", KEYS, "> 01988a3c")
    pane.press("a")
    pane.expect("nothing waits")
    assert world.requests[-1].approve


def test_a_fold_is_unfolded_by_a_key_or_said_yes_to_knowingly(world: World, desk: Open) -> None:
    """Long arguments are folded with their size; a yes to them takes a second key."""
    content = "\n".join(f"line {number}" for number in range(100))
    world.add(statement(1, {"content": content}))
    pane = desk(rows=40)
    _ready(pane, "content = a text of 100 lines", "NOT SHOWN: 704 B of 789 B")
    pane.press("a")
    pane.expect("704 B of its arguments are folded away", "y yes all the same")
    assert world.requests == []
    pane.press("f")
    _ready(pane, "line 15")
    pane.press("End")
    pane.expect("line 99")
    pane.press("a")
    pane.expect("nothing waits")
    assert world.requests[-1].approve


def test_secrets_are_masked_until_asked_for(world: World, desk: Open) -> None:
    """What looks like a secret is not on the screen; a key shows it."""
    token = "ghp_" + "k3" * 18
    world.add(
        statement(1, {"command": f"git push https://x:{token}@example.org", "password": "pw"})
    )
    pane = desk()
    shown = _ready(pane)
    assert token not in shown
    assert "[masked, 40 characters]@example.org" in shown
    assert 'password = "[masked, 2 characters]"' in shown
    pane.press("m")
    pane.expect('password = "pw"')
    assert token in pane.screen().replace("\n    │ ", "")


def test_a_lease_for_exactly_this(world: World, desk: Open) -> None:
    """Exact arguments, for a time and a number of uses chosen by keys; what is shown is signed."""
    world.add(statement(1))
    pane = desk()
    _ready(pane)
    pane.press("e")
    pane.expect("A LEASE", 'exactly these arguments: {"path": "a.txt"}', "10 at most")
    pane.press("t")
    pane.expect("7 h left")
    pane.press("u")
    pane.expect("100 at most")
    time.sleep(GRACE)
    pane.press("y")
    pane.expect("yes, and a lease until")
    terms = parse_lease(world.requests[-1].lease_terms)
    assert (terms.exactly, terms.uses, terms.bounds) == ({"path": "a.txt"}, 100, None)
    assert terms.policy_digest == "cd" * 32
    assert 7 * 3600 < terms.expires_ms / 1000 - time.time() <= 8 * 3600


def test_a_lease_within_bounds(world: World, desk: Open) -> None:
    """Each argument's bound is in words, begins exact, and is widened by its own key alone."""
    arguments = {"content": "a\nb", "path": "src/lib/a.txt", "mode": 3}
    world.add(statement(1, arguments))
    pane = desk()
    _ready(pane)
    pane.press("b")
    pane.expect(
        "1 content: NOT BOUNDED YET", "2 mode: exactly 3", '3 path: exactly "src/lib/a.txt"'
    )
    time.sleep(GRACE)
    pane.press("y")
    pane.expect("no narrow bound fits content")
    assert world.requests == []
    for key, widened in (
        ("1", "1 content: ANYTHING"),
        ("2", "2 mode: a whole number from 0 to 3"),
        ("3", '3 path: "src/lib" or a path below it'),
    ):
        pane.press(key)
        pane.expect(widened)
    pane.press("y")
    pane.expect("yes, and a lease until")
    terms = parse_lease(world.requests[-1].lease_terms)
    assert terms.bounds == {
        "content": {"any": True},
        "mode": {"from": 0, "to": 3},
        "path": {"below": "src/lib"},
    }


def test_the_same_yes_again_and_again(world: World, desk: Open) -> None:
    """After equal yeses the policy that would have answered is offered, and nothing is changed."""
    for number in range(1, 4):
        world.add(statement(number))
    pane = desk()
    for left in ("3 wait", "2 wait", "1 waits"):
        _ready(pane, left)
        assert "approvals suggest" not in pane.screen()
        pane.press("a")
    pane.expect("the same yes again: `stockade approvals suggest`")
    assert [type(one).__name__ for one in world.requests] == ["AnswerApprovalRequest"] * 3


@pytest.mark.parametrize("keys", [(), ("r", "t")])
def test_a_closed_terminal_ends_it(world: World, desk: Open, keys: tuple[str, ...]) -> None:
    """When the terminal is gone, so is the watch, whatever it waited for; nothing is answered."""
    world.add(statement(1))
    pane = desk()
    _ready(pane)
    pane.press(*keys)
    process = psutil.Process(pane.pid)
    pane.close()
    process.wait(20)
    assert world.requests == []


def test_escape_goes_back(world: World, desk: Open) -> None:
    """A lease, a reason or a second thought that is left has answered nothing."""
    world.add(statement(1))
    pane = desk()
    _ready(pane)
    for key, seen in (("e", "A LEASE"), ("b", "A LEASE"), ("r", "no, because")):
        pane.press(key)
        pane.expect(seen)
        time.sleep(GRACE)
        pane.press("Escape")
        _ready(pane)
    assert world.requests == []


def test_an_unclear_approval_cannot_be_answered(world: World, desk: Open) -> None:
    """A statement that contradicts itself is named, not shown, and has no key but to go on."""
    one = world.add(statement(1))
    one.statement = one.statement.replace(b'"a.txt"', b'"b.txt"')
    pane = desk()
    pane.expect("STATEMENT_INVALID", "s skip")
    time.sleep(GRACE)
    pane.press("a", "y")
    assert "b.txt" not in pane.screen()
    assert world.requests == []


def test_another_size_and_no_colour(world: World, desk: Open) -> None:
    """A terminal may be narrow, change its size, be too small; without colour nothing is lost."""
    world.add(statement(1, {"patch": "--- a\n+++ b\n@@ -1 +1 @@\n-old\n+new\n"}))
    pane = desk(environment={"NO_COLOR": "1"}, columns=40, rows=40)
    shown = _ready(pane, "+new", "-old")
    assert all(len(line) <= 40 for line in shown.splitlines())
    assert "\x1b[3" not in pane.screen(colours=True)
    pane.resize(100, 10)
    pane.expect("too small")
    pane.press("a")
    pane.resize(100, 30)
    _ready(pane, "patch = a diff: 1 file, 1 added, 1 removed")
    assert world.requests == []


def test_colour_says_it_again(world: World, desk: Open) -> None:
    """On a terminal with colour, added and removed lines have theirs."""
    world.add(statement(1, {"patch": "--- a\n+++ b\n@@ -1 +1 @@\n-old\n+new\n"}))
    pane = desk()
    _ready(pane)
    shown = pane.screen(colours=True)
    assert "\x1b[32m    │ +new" in shown
    assert "\x1b[31m    │ -old" in shown


def test_without_a_paintable_terminal_there_are_lines(world: World, desk: Open) -> None:
    """A dumb terminal gets lines, and answers by lines."""
    world.add(statement(1))
    pane = desk(environment={"TERM": "dumb"})
    pane.expect("arguments")
    pane.write(f"approve {ID}\n")
    pane.expect("approved")
    pane.write("quit\n")
    assert pane.ended() == 0
    assert world.requests[-1].approve

"""`approvals watch` at a real terminal: keys answer what is on the screen, nothing else does."""

import time

import psutil
import pytest

from stockade.v1 import approval_pb2
from tests.stockade.at_desk import COMMAND, GRACE, KEYS, Open, ready
from tests.stockade.serving import World, statement

ID = statement(1).approval_id


def test_all_that_is_asked_is_on_the_screen(world: World, desk: Open) -> None:
    """Who, what, why by file and line, risk and its inputs, tier, arguments, time, choices."""
    world.add(statement(1, {"command": "make  clean", "workspace": "notes"}))
    shown = ready(desk())
    for text in (
        "who         builder (device/dev-",
        "tool        files.write",
        "asks for    ask-writes (owners.cedar:12)",
        "risk        0.420 of 1: code_trust 0.9000, filesystem_write",
        "tier        container",
        "secrets     secret://global/token",
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
    deadline = time.monotonic() + 90
    while left() == first:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_keys_answer_what_is_on_the_screen(world: World, desk: Open) -> None:
    """One key answers the approval on the screen; the next comes up; q quits and leaves a log."""
    world.add(statement(1))
    world.add(statement(2))
    pane = desk()
    ready(pane, "2 wait")
    pane.press_until("a", "yes, once", "1 waits")
    ready(pane)
    pane.press("r")
    pane.expect("no, because:")
    time.sleep(GRACE)
    pane.press_until("2", "nothing waits for you")
    pane.press("q")
    assert pane.ended() == 0
    left = pane.screen(scrolled=True)
    assert "files.write for builder: yes, once" in left
    assert "files.write for builder: no" in left
    first, second = world.requests
    assert (first.approval_id, first.approve, first.lease_terms) == (ID, True, b"")
    assert (second.approve, second.reason) == (False, "too wide")


def test_a_paste_is_no_answer(world: World, desk: Open) -> None:
    """What is pasted answers nothing, not even one letter: the terminal says that it was pasted."""
    world.add(statement(1))
    pane = desk()
    ready(pane)
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
    ready(pane)
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
    ready(pane)
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
    ready(pane)
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
    ready(pane, "space shows more")
    pane.press_until("a", "not yet: there was more to read")
    assert world.requests == []
    pane.press("End")
    pane.expect("argument_29", KEYS, "> 01988a3c")
    pane.press_until("a", "nothing waits")
    assert world.requests[-1].approve


def test_a_fold_is_unfolded_by_a_key_or_said_yes_to_knowingly(world: World, desk: Open) -> None:
    """Long arguments are folded with their size; a yes to them takes a second key."""
    content = "\n".join(f"line {number}" for number in range(100))
    world.add(statement(1, {"content": content}))
    pane = desk(rows=40)
    ready(pane, "content = a text of 100 lines", "NOT SHOWN: 704 B of 789 B")
    pane.press_until("a", "704 B of its arguments are folded away", "y yes all the same")
    assert world.requests == []
    pane.press("f")
    ready(pane, "line 15")
    pane.press("End")
    pane.expect("line 99")
    pane.press_until("a", "nothing waits")
    assert world.requests[-1].approve


def test_secrets_are_masked_until_asked_for(world: World, desk: Open) -> None:
    """What looks like a secret is not on the screen; a key shows it."""
    token = "ghp_" + "k3" * 18
    world.add(
        statement(1, {"command": f"git push https://x:{token}@example.org", "password": "pw"})
    )
    pane = desk()
    shown = ready(pane)
    assert token not in shown
    assert "[masked, 40 characters]@example.org" in shown
    assert 'password = "[masked, 2 characters]"' in shown
    pane.press("m")
    pane.expect('password = "pw"')
    assert token in pane.screen().replace("\n    ┊ ", "")


@pytest.mark.parametrize("keys", [(), ("r", "t")])
def test_a_closed_terminal_ends_it(world: World, desk: Open, keys: tuple[str, ...]) -> None:
    """When the terminal is gone, so is the watch, whatever it waited for; nothing is answered."""
    world.add(statement(1))
    pane = desk()
    ready(pane)
    pane.press(*keys)
    process = psutil.Process(pane.pid)
    pane.close()
    process.wait(90)
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
    shown = ready(pane, "+new", "-old")
    assert all(len(line) <= 40 for line in shown.splitlines())
    for key in (
        "a yes",
        "r no",
        "e lease",
        "space",
        "n next",
        "s skip",
        "· f ·",
        "· m ·",
        "q quit",
    ):
        assert key in shown
    assert "\x1b[3" not in pane.screen(colours=True)
    pane.resize(100, 10)
    pane.expect("too small")
    pane.press("a")
    pane.resize(100, 30)
    ready(pane, "patch = a diff: 1 file, 1 added, 1 removed")
    assert world.requests == []


def test_colour_says_it_again(world: World, desk: Open) -> None:
    """On a terminal with colour, added and removed lines have theirs."""
    world.add(statement(1, {"patch": "--- a\n+++ b\n@@ -1 +1 @@\n-old\n+new\n"}))
    pane = desk()
    ready(pane)
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

"""`stockade policy diff`: two policy sets, by their text and by what they permit."""

import difflib
from typing import TYPE_CHECKING, Annotated

import typer

from stockade.cli import machine, policy_replay
from stockade.cli.options import Json, examples
from stockade.cli.policy_files import IN_FORCE, place, source_of
from stockade.cli.policy_replay import LAST, Last
from stockade.cli.terminal import note, say

if TYPE_CHECKING:
    from stockade.v1 import policy_pb2

EXAMPLES = examples(
    "stockade policy diff",
    "stockade policy diff ./candidate",
    "stockade policy diff 11 12 --last 5000 --json",
)


def diff(
    one: Annotated[
        str,
        typer.Argument(
            metavar="SET",
            help="A folder, a version, or `now`. If it is the only one, what would change if it"
            " came into force; default: this home's policies.",
        ),
    ] = "",
    other: Annotated[
        str, typer.Argument(metavar="SET", help="What the first is compared with.")
    ] = "",
    last: Last = LAST,
    json_: Json = False,
) -> int:
    """Show what differs between two policy sets, and what becomes newly possible.

    Exit status 1 when they differ. What becomes possible is said in two ways: which changes it
    could come through, and which of the calls that were made could do more.
    """
    from stockade.client import Client
    from stockade.v1 import policy_pb2

    alone = not other and one != IN_FORCE
    before, after = (IN_FORCE, one) if alone else (one, other)
    sources = source_of(before), source_of(after)
    with Client.open() as client:
        found = client.diff_policy(*sources)
        request = policy_pb2.ReplayPolicyRequest(
            baseline=sources[0], candidate=sources[1], limit=last
        )
        changes, summary = policy_replay.run(client, request)
    if json_:
        replay = {"changes": [machine.plain(one) for one in changes], **machine.plain(summary)}
        machine.emit({**machine.plain(found), "replay": replay})
        return 1 if found.changes or list(found.before) != list(found.after) else 0
    differs = _say_files(found)
    _say_policies(found)
    if differs:
        _say_possible(found)
        policy_replay.say_changes(changes)
        policy_replay.say_summary(summary)
    else:
        note("no difference")
    return 1 if differs else 0


def _say_files(found: "policy_pb2.DiffPolicyResponse") -> bool:
    """The text of every file that is not as it was; whether there is one."""
    old, new = ({file.name: file.text for file in one} for one in (found.before, found.after))
    differs = False
    for name in sorted({*old, *new}):
        lines = difflib.unified_diff(
            old.get(name, "").splitlines(),
            new.get(name, "").splitlines(),
            f"a/{name}" if name in old else "/dev/null",
            f"b/{name}" if name in new else "/dev/null",
            lineterm="",
        )
        for line in lines:
            say(line)
            differs = True
        differs |= (name in old) != (name in new)
    return differs


def _say_policies(found: "policy_pb2.DiffPolicyResponse") -> None:
    if found.changes:
        say("policies:")
    for one in found.changes:
        ref = one.after if one.HasField("after") else one.before
        more = "  (could permit more)" if one.may_permit_more else ""
        say(f"  {one.what:<8} {one.effect} {place(ref)}{more}")


def _say_possible(found: "policy_pb2.DiffPolicyResponse") -> None:
    if any(one.may_permit_more for one in found.changes):
        say("what becomes possible can only come through the changes marked `could permit more`")
    else:
        say("no change could permit what was not permitted, with the entities there are")

"""`stockade policy replay`: calls that were made, put to another policy set."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from stockade.cli import machine
from stockade.cli.options import Json, examples
from stockade.cli.policy_files import Which, place, source_of
from stockade.cli.terminal import many, note, say, when

if TYPE_CHECKING:
    from stockade.client import Client
    from stockade.v1 import policy_pb2

EXAMPLES = examples(
    "stockade policy replay ./candidate",
    "stockade policy replay 12 --last 5000",
    "stockade policy replay ./candidate --against now --json",
)
LAST = 1000

Last = Annotated[
    int, typer.Option("--last", metavar="N", min=1, max=20_000, help="So many calls at most.")
]


def replay(
    which: Which = "",
    last: Last = LAST,
    against: Annotated[
        str,
        typer.Option(
            "--against",
            metavar="SET",
            help="Compare with this set's answers, not with what was decided then.",
        ),
    ] = "",
    json_: Json = False,
) -> int:
    """Ask a policy set about the calls that were made, and list what would be otherwise.

    Each call is asked about in its own circumstances: its time, risk, entities and approvers. Exit
    status 1 when any call would be decided otherwise. Calls that nobody made are not in it.
    """
    from stockade.client import Client
    from stockade.v1 import policy_pb2

    request = policy_pb2.ReplayPolicyRequest(
        candidate=source_of(which), recorded=not against, limit=last
    )
    if against:
        request.baseline.CopyFrom(source_of(against))
    with Client.open() as client:
        changes, summary = run(client, request, as_json=json_)
    if not json_:
        say_changes(changes)
        say_summary(summary)
    return 1 if changes else 0


def run(
    client: "Client", request: "policy_pb2.ReplayPolicyRequest", *, as_json: bool = False
) -> "tuple[list[policy_pb2.ReplayPolicyResponse.Change], policy_pb2.ReplayPolicyResponse.Summary]":
    """The changes and the summary; each told as it comes, if for a program."""
    from stockade.v1 import policy_pb2

    changes, summary = [], policy_pb2.ReplayPolicyResponse.Summary()
    with client.replay_policy(request) as events:
        for event in events:
            if as_json:
                machine.emit(event)
            if event.HasField("change"):
                changes.append(event.change)
            else:
                summary = event.summary
    return changes, summary


def say_changes(changes: "Iterable[policy_pb2.ReplayPolicyResponse.Change]") -> None:
    """What would be otherwise, in both directions."""
    changes = list(changes)
    for title, kept in (
        ("could do more:", [one for one in changes if one.more]),
        ("could do less:", [one for one in changes if one.less]),
    ):
        if kept:
            say(title)
        for one in kept:
            say(f"  {one.call_id} {when(one.time)} {one.tool}, {one.principal}")
            say(f"    {_outcome(one.before)} -> {_outcome(one.after)}")
            if one.after.policies:
                say(f"    by {', '.join(place(ref) for ref in one.after.policies)}")


def say_summary(summary: "policy_pb2.ReplayPolicyResponse.Summary") -> None:
    """What was looked at, and what that says."""
    if not summary.calls:
        say("no calls were made yet: there is nothing to replay")
        return
    span = f"{when(summary.oldest)} to {when(summary.newest)}"
    say(
        f"{many(summary.calls, 'call')} ({span}): {summary.same} as before, "
        f"{summary.more} could do more, {summary.less} less"
    )
    for passed in summary.passed:
        say(f"  {passed.calls} say nothing: {passed.reason}")
    note("what nobody has called yet is not in this")


def _outcome(one: "policy_pb2.ReplayPolicyResponse.Outcome") -> str:
    tier = f" in {one.tier}" if one.tier else ""
    return f"{one.ruling} ({one.reason}){tier}"

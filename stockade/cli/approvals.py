"""`stockade approvals`: what waits for a person's word, and giving it."""

import sys
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from stockade.cli import machine
from stockade.cli.approvals_suggest import EXAMPLES as SUGGEST_EXAMPLES
from stockade.cli.approvals_suggest import suggest
from stockade.cli.ids import resolve, shortened
from stockade.cli.options import Json, Yes, examples, group
from stockade.cli.terminal import UsageError, ask, columns, note, say, table, time_left, when

if TYPE_CHECKING:
    from stockade.client import Client
    from stockade.v1 import approval_pb2

app = group(
    "approvals",
    "See what waits for a person's word, and give it.",
    "stockade approvals watch",
    "stockade approvals show 01988a3c-5d1f",
    "stockade approvals approve 01988a3c-5d1f",
    "stockade approvals reject 01988a3c-5d1f --reason 'not on a Friday'",
)

app.command("suggest", epilog=SUGGEST_EXAMPLES)(suggest)


class _Lease(NamedTuple):
    """A lease as it was asked for."""

    lasts: str
    uses: int
    bounds: list[str]
    any_policy: bool


# Not made here, but signed as another has.
_SAME = _Lease("", 0, [], any_policy=False)

Id = Annotated[str, typer.Argument(metavar="ID", help="An approval's id, or the beginning of one.")]
Reason = Annotated[str, typer.Option("--reason", help="Shown to the requester.")]
Full = Annotated[bool, typer.Option("--full", help="Do not fold long arguments.")]
Unmask = Annotated[bool, typer.Option("--unmask", help="Show what looks like a secret, too.")]


@app.command("list", epilog=examples("stockade approvals list --all --json"))
def list_(
    all_: Annotated[bool, typer.Option("--all", help="Also the settled ones.")] = False,
    json_: Json = False,
) -> None:
    """List the approvals that wait."""
    from stockade.client import Client

    with Client.open() as client:
        found = client.list_approvals(settled=True) if all_ else list(client.all_approvals())
    if json_:
        for one in found:
            machine.emit(one)
        return
    short = shortened([one.approval_id for one in found])
    table(
        ("id", "who", "tool", "tier", "risk", "state"),
        (_row(one, short[one.approval_id]) for one in found),
        empty="nothing waits for approval",
    )


@app.command(epilog=examples("stockade approvals show 01988a3c-5d1f --full"))
def show(id_: Id, full: Full = False, unmask: Unmask = False, json_: Json = False) -> None:
    """Show exactly what an approval would approve."""
    from stockade.cli.answering import show as show_approval
    from stockade.client import Client

    with Client.open() as client:
        approval = _find(client, id_)
    if json_:
        from stockade.approving import verified

        verified(approval)
        machine.emit(approval)
    else:
        show_approval(approval, whole=full, unmasked=unmask)


@app.command(
    epilog=examples(
        "stockade approvals approve 01988a3c-5d1f",
        "stockade approvals approve 01988a3c-5d1f --once   # in a script",
        "stockade approvals approve 01988a3c-5d1f --for 1h --uses 20",
        "stockade approvals approve 01988a3c-5d1f --for 1h --uses 20 \\",
        "  --bound path=below:src --bound content=any --bound workspace=is:work",
        "stockade approvals approve 01988a3c-5d1f --same-lease  # as another did",
    )
)
def approve(
    id_: Id,
    yes: Yes = False,
    reason: Reason = "",
    full: Full = False,
    unmask: Unmask = False,
    once: Annotated[
        bool,
        typer.Option("--once", help="This call alone: the default. Without a terminal, a yes."),
    ] = False,
    lasts: Annotated[
        str,
        typer.Option("--for", metavar="TIME", help="Also calls to come, for 30m, 8h, 2d: a lease."),
    ] = "",
    uses: Annotated[int, typer.Option("--uses", min=1, help="How many of them.")] = 10,
    bound: Annotated[
        list[str] | None,
        typer.Option(
            "--bound",
            metavar="NAME=BOUND",
            help="An argument's bound instead of its exact value: any, is:TEXT, below:PATH,"
            " one_of:A,B, from:LOW:HIGH.",
        ),
    ] = None,
    any_policy: Annotated[
        bool, typer.Option("--any-policy", help="The lease stands when policy changes, too.")
    ] = False,
    same: Annotated[
        bool,
        typer.Option(
            "--same-lease",
            help="Sign the lease that another has signed with it, where policy wants several.",
        ),
    ] = False,
    json_: Json = False,
) -> int:
    """Say yes to exactly what is shown; with --for, also to calls like it."""
    if not lasts and (bound or any_policy):
        raise UsageError("--bound and --any-policy are about a lease", fix="say --for TIME")
    if once + bool(lasts) + same > 1:
        raise UsageError("--once, --for and --same-lease exclude each other", fix="use one of them")
    wanted: _Lease | None = _Lease(lasts, uses, bound or [], any_policy) if lasts else None
    wanted = _SAME if same else wanted
    # Named where nobody can be asked, it is the answer; at a terminal the question is still asked.
    said = yes or (once and not sys.stdin.isatty())
    how = (full, unmask)
    return _answer(id_, approve=True, yes=said, reason=reason, how=how, as_json=json_, lease=wanted)


@app.command(epilog=examples("stockade approvals reject 01988a3c-5d1f --reason 'wrong path'"))
def reject(
    id_: Id,
    yes: Yes = False,
    reason: Reason = "",
    full: Full = False,
    unmask: Unmask = False,
    json_: Json = False,
) -> int:
    """Say no. It ends the call."""
    how = (full, unmask)
    return _answer(id_, approve=False, yes=yes, reason=reason, how=how, as_json=json_)


@app.command(
    epilog=examples(
        "stockade approvals watch",
        "stockade approvals watch --hook ~/bin/asked",
        "stockade approvals watch --json",
    )
)
def watch(
    hook: Annotated[
        str,
        typer.Option("--hook", metavar="PROGRAM", help="Started for each approval that comes."),
    ] = "",
    json_: Json = False,
) -> int:
    """Show approvals as they come, and answer them.

    On a terminal by single keys, which the screen names. Otherwise by lines: "approve ID",
    "reject ID [reason]", "quit", about approvals that were shown. With --json it only shows.
    The hook gets the id and a summary as STOCKADE_APPROVAL_ID and STOCKADE_SUMMARY.
    """
    from stockade.cli.approvals_watch import watch as run
    from stockade.cli.watch_settings import load_settings
    from stockade.client import Client
    from stockade.home import Home

    settings = load_settings(Home.locate().client)
    if hook:
        settings = settings.with_command(hook)
    with Client.open() as client:
        return run(client, settings, as_json=json_)


def _answer(
    text: str,
    *,
    approve: bool,
    yes: bool,
    reason: str,
    how: tuple[bool, bool],
    as_json: bool,
    lease: _Lease | None = None,
) -> int:
    if not yes and not sys.stdin.isatty():
        raise UsageError(
            "there is no terminal to ask at",
            fix="look at it with `stockade approvals show`, then pass "
            + ("--once (or --yes)" if approve else "--yes"),
        )
    from stockade.cli.answering import is_pending, show, state_of
    from stockade.client import Client
    from stockade.errors import Conflict

    with Client.open() as client:
        approval = _find(client, text)
        if not is_pending(approval):
            raise Conflict(
                f"the approval is not pending but {state_of(approval)}",
                reason="APPROVAL_NOT_PENDING",
                fix="`stockade approvals list` shows what waits",
            )
        whole, unmasked = how
        stream = sys.stderr if as_json else sys.stdout
        shown, _ = show(approval, whole=whole, unmasked=unmasked, file=stream)
        terms = None
        if lease is not None:
            from stockade.approving import offered
            from stockade.cli.leasing import lease_from, lines_of

            if lease is _SAME:
                terms = offered(shown.approval)
            else:
                lasts, uses, bounds, any_policy = lease
                terms = lease_from(shown.statement, lasts, uses, bounds, any_policy=any_policy)
            note("and, without asking again:")
            for line in lines_of(terms, columns() - 2, unmasked=unmasked):
                note(f"  {line}")
        verb = ("Approve this, and that" if terms else "Approve") if approve else "Reject"
        if not yes and not ask(f"{verb} this?"):
            note("nothing was answered")
            return 1
        answer = shown.answer(client, approve=approve, reason=reason, lease=terms)
    if as_json:
        machine.emit(answer)
    else:
        _say_outcome(approve, answer.approval, leased=terms is not None)
    return 0


def _say_outcome(approve: bool, approval: "approval_pb2.Approval", *, leased: bool) -> None:
    from stockade.cli.answering import is_pending

    if not approve:
        say("rejected; the call has ended")
    elif is_pending(approval):
        say("your yes is recorded; policy asks for more before the call runs")
        if leased:
            say("the lease stands when enough others have signed it, too (--same-lease)")
    elif any(answer.leased for answer in approval.answers) and not leased:
        say("approved, once: the lease that others had signed does not stand")
    else:
        say("approved")


def _row(one: "approval_pb2.Approval", short: str) -> tuple[str, ...]:
    from stockade.approving import verified
    from stockade.cli.answering import is_pending, state_of
    from stockade.cli.lookalike import revealed
    from stockade.errors import ApprovalUnclear

    state = state_of(one)
    if is_pending(one):
        state = time_left(one.expires.ToMilliseconds())
    else:
        state += f" {when(one.created)}"
    try:
        statement = verified(one)
    except ApprovalUnclear as error:
        return (short, "-", "-", "-", "-", error.reason)
    call = statement.call
    risk = f"{statement.risk_milli / 1000:.3f}"
    who, tool = revealed(statement.requester_name), revealed(call.tool)
    return (short, who, tool, call.tier, risk, state)


def _find(client: "Client", text: str) -> "approval_pb2.Approval":
    def known() -> list[str]:
        pending = [one.approval_id for one in client.all_approvals()]
        if any(one.startswith(text.strip().lower()) for one in pending):
            return pending
        return [one.approval_id for one in client.list_approvals(settled=True, page_size=500)]

    whole = resolve(text, "approval", known)
    approval = client.get_approval(whole)
    if approval.approval_id != whole:
        from stockade.errors import ApprovalUnclear

        raise ApprovalUnclear("the daemon sent another approval than was asked for")
    return approval

"""`stockade approvals suggest`: policies instead of the same yes again and again."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stockade.cli import machine
from stockade.cli.options import Json, Yes, examples
from stockade.cli.terminal import UsageError, ask, many, note, say, when
from stockade.cli.visible import visible

if TYPE_CHECKING:
    from stockade.client import Client
    from stockade.v1 import policy_pb2

EXAMPLES = examples(
    "stockade approvals suggest",
    "stockade approvals suggest --least 5 --json",
    "stockade approvals suggest approved-run_shell-1f --write ./policies",
    "stockade approvals suggest approved-run_shell-1f --apply",
)


def suggest(
    id_: Annotated[
        str, typer.Argument(metavar="ID", help="A suggestion's id, or the beginning of one.")
    ] = "",
    least: Annotated[
        int, typer.Option("--least", min=2, max=1000, help="How many equal yeses it takes.")
    ] = 3,
    write: Annotated[
        Path | None,
        typer.Option("--write", metavar="FOLDER", help="Add it to this folder of policies."),
    ] = None,
    apply: Annotated[
        bool, typer.Option("--apply", help="Put it in force, beside the policies in force.")
    ] = False,
    yes: Yes = False,
    json_: Json = False,
) -> int:
    """Show the policy that would have answered what was approved again and again.

    Each permits exactly one call, to run unasked from then on. Nothing changes unless you say
    --write or --apply, and --apply takes a person who may apply policy.
    """
    if (write or apply) and not id_:
        raise UsageError("no suggestion is named", fix="name one by its id")
    from stockade.client import Client

    with Client.open() as client:
        answer = client.suggest_policy(least)
        if not id_:
            _say_all(answer, as_json=json_)
            return 0
        one = _find(answer, id_)
        if json_:
            machine.emit(one)
        else:
            _say(one)
        if write is not None:
            note(f"added to {_write(write, one)}")
        return _apply(client, answer, one, yes=yes) if apply else 0


def _say_all(answer: "policy_pb2.SuggestPolicyResponse", *, as_json: bool) -> None:
    if as_json:
        machine.emit(answer)
        return
    for number, one in enumerate(answer.suggestions):
        if number:
            say("")
        _say(one)
    if not answer.suggestions:
        say("nothing was approved so often that a policy is worth it")
    for passed in answer.passed:
        note(f"no policy for {many(passed.calls, 'call')}: {passed.reason}")


def _say(one: "policy_pb2.SuggestPolicyResponse.Suggestion") -> None:
    arguments = one.arguments.decode()
    say(f"suggestion  {one.id}")
    say(f"approved    {one.times} times, {when(one.first)} to {when(one.last)}")
    say(f"by          {', '.join(one.approver_names)}")
    say(f"whose       {one.holder_name}")
    say(f"tool        {one.tool}")
    say(f"arguments   {arguments}")
    say(f"would be    permitted unasked, in tier {one.tier}; any forbid still wins")
    if one.principal.startswith("agent/"):
        say("also        the agent's device, for the same call")
    say(f"policy      {one.file}")
    for line in one.text.splitlines():
        print(f"  {visible(line)}")
    for problem in one.problems:
        note(f"{problem.severity}: {problem.message}")


def _find(
    answer: "policy_pb2.SuggestPolicyResponse", text: str
) -> "policy_pb2.SuggestPolicyResponse.Suggestion":
    found = {one.id: one for one in answer.suggestions}
    matching = [id_ for id_ in found if id_.startswith(text)]
    if len(matching) != 1:
        how = "several suggestions begin" if matching else "no suggestion begins"
        raise UsageError(f"{how} with {text!r}", fix="`stockade approvals suggest` shows them")
    return found[matching[0]]


def _added(before: str, one: "policy_pb2.SuggestPolicyResponse.Suggestion") -> str:
    return f"{before.rstrip()}\n\n{one.text}" if before.strip() else one.text


def _write(folder: Path, one: "policy_pb2.SuggestPolicyResponse.Suggestion") -> Path:
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder", fix="name the folder of the policies")
    if Path(one.file).name != one.file:
        raise UsageError(f"{one.file!r} is no name of a file", fix="ask who runs this daemon")
    path = folder / one.file
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    path.write_text(_added(before, one), encoding="utf-8")
    return path


def _apply(
    client: "Client",
    answer: "policy_pb2.SuggestPolicyResponse",
    one: "policy_pb2.SuggestPolicyResponse.Suggestion",
    *,
    yes: bool,
) -> int:
    from stockade.v1 import policy_pb2

    in_force = client.get_policy()
    if in_force.digest != answer.policy_digest:
        raise UsageError("policy changed meanwhile", fix="look at the suggestion again")
    if not yes and not ask("Put this policy in force?"):
        note("nothing was applied")
        return 1
    files = {file.name: file.text for file in in_force.files}
    files[one.file] = _added(files.get(one.file, ""), one)
    sent = [policy_pb2.PolicyFile(name=name, text=text) for name, text in files.items()]
    applied = client.apply_policy(sent)
    note(f"in force: version {applied.version}, {applied.digest}")
    note("the folder that you apply from may not have it yet: --write FOLDER adds it there")
    return 0

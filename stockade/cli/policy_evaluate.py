"""`stockade policy evaluate`: Cedar requests answered from files, by the daemon's index, offline.

One of the few modules here that import the package `policy` (docs/adr/0003). Talks to nobody.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stockade.cli import machine
from stockade.cli.options import Json, examples
from stockade.cli.terminal import UsageError, note, say
from stockade.errors import StockadeError

if TYPE_CHECKING:
    from policy.cases import Case
    from policy.errors import PolicyError
    from policy.workbench import Answer, Workbench

EXAMPLES = examples(
    "stockade policy evaluate --policies p.cedar --entities e.json \\",
    "    --schema s.cedarschema --requests r.json --json",
    "stockade policy evaluate --corpus ./cedar-corpus",
)

_File = Path | None


def evaluate(
    policies: Annotated[_File, typer.Option("--policies", help="Cedar, or its JSON.")] = None,
    entities: Annotated[_File, typer.Option("--entities", help="Cedar's JSON.")] = None,
    schema: Annotated[_File, typer.Option("--schema", help="A Cedar schema.")] = None,
    requests: Annotated[_File, typer.Option("--requests", help="A list of requests.")] = None,
    corpus: Annotated[
        _File, typer.Option("--corpus", metavar="DIR", help="A folder of cases instead.")
    ] = None,
    json_: Json = False,
) -> int:
    """Answer Cedar requests from files, as the daemon's index would. Needs no daemon.

    Prints a line per request: decision, the policies that determined it, those in error. With
    --corpus, asks every case in a folder of Cedar's integration tests. Exit status 1 when an answer
    there is not the one expected, and each is named; 2 when a file is not what it should be.
    """
    if corpus is not None:
        if policies or entities or schema or requests:
            raise UsageError("--corpus has files of its own", fix="give --corpus alone")
        return _evaluate_corpus(corpus, json_)
    if policies is None or entities is None or requests is None:
        raise UsageError(
            "--policies, --entities and --requests belong together",
            fix="give all three; an empty list of entities is []",
        )
    _evaluate_files(policies, entities, schema, requests, json_)
    return 0


def _evaluate_files(
    policies: Path, entities: Path, schema: Path | None, requests: Path, json_: bool
) -> None:
    from policy.cases import parse_case
    from policy.errors import PolicyError

    try:
        case = parse_case(_text(requests))
        bench = _bench(policies, entities, schema)
        for one in case.expectations:
            answer = bench.answer(one.request)
            if json_:
                machine.emit({"request": one.name, **_json(answer)})
            else:
                _say(one.name, answer)
    except PolicyError as error:
        raise _usage(error) from None


def _bench(policies: Path, entities: Path, schema: Path | None) -> "Workbench":
    from policy.workbench import Policies, Workbench

    text = _text(policies)
    read = Policies.from_json(text) if policies.suffix == ".json" else Policies.from_cedar(text)
    return Workbench(read, _text(entities), None if schema is None else _text(schema))


def _json(answer: "Answer") -> dict[str, Any]:
    return {
        "decision": answer.decision,
        "reasons": list(answer.reasons),
        "errors": list(answer.errors),
        "messages": list(answer.messages),
    }


def _say(name: str, answer: "Answer") -> None:
    by = f" by {', '.join(answer.reasons)}" if answer.reasons else ""
    say(f"{name}: {answer.decision}{by}")
    for message in answer.messages:
        say(f"  {message}")


def _evaluate_corpus(folder: Path, json_: bool) -> int:
    cases = requests = 0
    disagreements: list[dict[str, str]] = []
    for path in sorted(folder.rglob("*.json")):
        if path.name.endswith(".entities.json"):
            continue
        cases += 1
        for request, why in _examine(path):
            requests += 1
            if why:
                disagreements.append({"case": path.stem, "request": request, "why": why})
                if not json_:
                    say(f"{path.stem}: {request}: {why}")
    if not cases:
        raise UsageError(f"{folder} holds no cases", fix="name the folder they were unpacked in")
    if json_:
        machine.emit({"cases": cases, "requests": requests, "disagreements": disagreements})
    else:
        agree = "all agree" if not disagreements else f"{len(disagreements)} disagree"
        note(f"{cases} cases, {requests} requests: {agree}")
    return 1 if disagreements else 0


def _examine(path: Path) -> Iterator[tuple[str, str | None]]:
    """Each request of a case, and in what its answer is not the one expected."""
    from policy.cases import parse_case
    from policy.errors import PolicyError

    try:
        case = parse_case(_text(path))
        bench = _bench(*(_beside(path, case, one) for one in ("policies", "entities", "schema")))
    except (PolicyError, UsageError) as error:
        yield "the case itself", str(error)
        return
    for one in case.expectations:
        yield one.name, one.disagreement(bench.answer(one.request))


def _beside(path: Path, case: "Case", kind: str) -> Path:
    """The case names its files by a path of its own repository; they lie beside it."""
    if kind not in case.files:
        raise UsageError(f"{path} does not name its {kind}", fix="see the corpus's README")
    return path.parent / Path(case.files[kind]).name


def _text(path: Path) -> str:
    try:
        # As bytes: line breaks within a string are the policy's.
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not UTF-8 text", fix="save it as UTF-8") from None
    except OSError as error:
        message = f"{path} cannot be read: {error.strerror}"
        raise UsageError(message, fix="check the path") from None


def _usage(error: "PolicyError") -> StockadeError:
    return UsageError(str(error), reason=error.code, fix=error.fix)

"""Policy files, and what is wrong with them, between the wire and policy's own values."""

from collections.abc import Iterable, Mapping

from daemon.errors import BadRequest
from policy.errors import Problem
from stockade.v1 import policy_pb2

MAX_PROBLEMS = 1000  # an answer has to fit a message


def files(named: Mapping[str, str]) -> list[policy_pb2.PolicyFile]:
    """Policy files, by name."""
    return [policy_pb2.PolicyFile(name=name, text=named[name]) for name in sorted(named)]


def problem(one: Problem) -> policy_pb2.PolicyProblem:
    """What is wrong with a file."""
    return policy_pb2.PolicyProblem(
        file=one.file,
        line=one.line,
        code=one.code,
        message=one.message,
        fix=one.fix,
        severity=one.severity.value,
    )


def parse_files(sent: Iterable[policy_pb2.PolicyFile]) -> dict[str, str]:
    """The files of a request, by name."""
    found: dict[str, str] = {}
    for file in sent:
        if file.name in found:
            raise BadRequest(
                f"{file.name!r:.80} is given twice",
                code="DUPLICATE_FILE",
                fix="send each file once, under its own name",
            )
        found[file.name] = file.text
    return found

"""Requests with the answers they should get, in the shape of Cedar's own integration tests.

A case is a file of requests, and names the files of policies, entities and schema that belong to
it. Reads text, opens nothing. Pure; leaves `WorkbenchError`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from policy.errors import WorkbenchError
from policy.values import parse_uid
from policy.workbench import Answer, Request


@dataclass(frozen=True, slots=True)
class Expectation:
    """A request, what it is called, and the answer it should get, if somebody wrote one."""

    name: str
    request: Request
    answer: Answer | None = None

    def disagreement(self, given: Answer) -> str | None:
        """In what the answer given is another one; None if it is the one expected."""
        if self.answer is None:
            return None
        for part in ("decision", "reasons", "errors"):
            expected, found = (_text(getattr(one, part)) for one in (self.answer, given))
            if expected != found:
                return f"{part}: expected {expected or 'no policy'}, found {found or 'no policy'}"
        return None


@dataclass(frozen=True, slots=True)
class Case:
    """A file of requests."""

    expectations: tuple[Expectation, ...]
    files: Mapping[str, str] = field(default_factory=dict)
    """Where policies, entities and schema are, as the file says."""


def parse_case(text: str) -> Case:
    """A case, or a bare list of requests."""
    try:
        decoded = json.loads(text)
        requests = decoded["requests"] if isinstance(decoded, dict) else decoded
        files = decoded if isinstance(decoded, dict) else {}
        return Case(
            tuple(_expectation(number, one) for number, one in enumerate(requests)),
            {
                name: str(files[name])
                for name in ("policies", "entities", "schema")
                if name in files
            },
        )
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        what = f"lacks {error}" if isinstance(error, KeyError) else str(error)
        raise WorkbenchError(
            "BAD_REQUESTS",
            f"the file of requests is not what it should be: {what}",
            'give a list of {"principal", "action", "resource", "context"}, entities as'
            ' {"type", "id"}',
        ) from None


def _expectation(number: int, one: Mapping[str, Any]) -> Expectation:
    request = Request(
        principal=parse_uid(one["principal"]),
        action=parse_uid(one["action"]),
        resource=parse_uid(one["resource"]),
        context=one.get("context", {}),
        validate=bool(one.get("validateRequest", True)),
    )
    answer = None
    if "decision" in one:
        answer = Answer(
            str(one["decision"]).lower(), _names(one.get("reason")), _names(one.get("errors"))
        )
    return Expectation(str(one.get("description", f"request {number}")), request, answer)


def _names(values: list[str] | None) -> tuple[str, ...]:
    return tuple(sorted(map(str, values or ())))


def _text(part: str | tuple[str, ...]) -> str:
    return part if isinstance(part, str) else " ".join(part)

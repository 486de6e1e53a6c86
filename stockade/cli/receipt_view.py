"""What a receipt's body says, for people: short, without what its first line shows already. Pure.

Digests and signatures are cut, certificates and tables are named by their size: `--json` has them
whole. Takes whatever JSON a ledger holds; raises nothing.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from stockade.cli.risk_words import inputs_in_words
from stockade.cli.terminal import address, local_time, many

# In the line above, or in every receipt of the call.
_ABOVE = ("call", "tool", "state", "reason")
_MOMENTS = ("expires_ms", "time_ms")
_HEX = re.compile(r"(?:sha256:)?[0-9a-f]{64,}")
_KEPT = 16


def told(body: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Names and texts; what is empty says nothing."""
    for name, value in body.items():
        if name in _ABOVE or value in (None, "", [], {}):
            continue
        try:
            yield _field(name, value)
        except RecursionError:
            yield name, "too deep to be shown"


def _field(name: str, value: Any) -> tuple[str, str]:
    if name == "risk_milli" and isinstance(value, int):
        return "risk", f"{value / 1000:.3f} of 1"
    if name == "risk" and isinstance(value, dict):
        return "risk_inputs", inputs_in_words(value)
    if name == "origin" and isinstance(value, str):
        return name, address(value)
    if name in _MOMENTS and isinstance(value, int):
        return name.removesuffix("_ms"), local_time(value)
    if name == "questions" and isinstance(value, list):
        return name, "; ".join(_question(one) for one in value)
    if name == "controls" and isinstance(value, dict):
        return name, _controls(value)
    return name, _text(value)


def _text(value: Any) -> str:
    """A value in words, as far as it has to be read."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        fields = (_field(name, one) for name, one in value.items() if one not in (None, "", [], {}))
        return ", ".join(f"{name} {text}" for name, text in fields)
    if isinstance(value, list):
        return ", ".join(_text(one) for one in value)
    text = str(value)
    if text.startswith("-----BEGIN "):
        return f"PEM of {many(len(text), 'character')}"
    if _HEX.fullmatch(text):
        return text.removeprefix("sha256:")[:_KEPT] + "…"
    return text


def _question(question: Any) -> str:
    """One question that policy was asked, and by what it answered."""
    if not isinstance(question, dict):
        return _text(question)
    answer = "yes" if question.get("allowed") is True else f"no, {_text(question.get('code'))}"
    by = question.get("policies")
    return f"{_text(question.get('action'))}? {answer}{f' by {_text(by)}' if by else ''}"


def _controls(controls: Mapping[str, Any]) -> str:
    """How many there are, and those that nothing enforced."""
    bare = [
        name
        for name, one in controls.items()
        if not (isinstance(one, dict) and one.get("achieved"))
    ]
    return f"{len(controls)}, " + (
        f"of these NOT enforced: {', '.join(bare)}" if bare else "each enforced"
    )

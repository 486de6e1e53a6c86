"""A set asked about in two parts: what is put together is the engine's answer about the whole."""

import re

import cedarpy
from hypothesis import given
from hypothesis import strategies as st

from policy.engine import in_error
from policy.joining import Found, joined

_NAME = re.compile(r"policy([0-9]+)")
CONDITIONS = st.sampled_from(
    ("", "when { false }", "when { 9223372036854775807 + 1 > 0 }", "when { context.missing }")
)
POLICIES = st.lists(
    st.tuples(
        st.tuples(st.sampled_from(("permit", "forbid")), CONDITIONS).map(
            lambda two: f"{two[0]} (principal, action, resource) {two[1]};"
        ),
        st.booleans(),  # in which part it is
    ),
    max_size=8,
)
REQUEST = {"principal": 'U::"u"', "action": 'Action::"a"', "resource": 'R::"r"'}


def ask(policies: list[tuple[int, str]], context: str = "{}") -> Found:
    """The engine's answer about these, each called by its place in the whole set."""
    text = "\n".join(policy for _, policy in policies)
    result = cedarpy.is_authorized({**REQUEST, "context": context}, text, "[]")
    places = [place for place, _ in policies]

    def place(name: str) -> int:
        found = _NAME.fullmatch(name)
        assert found
        return places[int(found[1])]

    errors = []
    for text in result.diagnostics.errors:
        name = in_error(text)
        errors.append(text if name is None else text.replace(name, f"#{place(name)}"))
    numbers = sorted(place(name) for name in result.diagnostics.reasons)
    return Found(result.decision, tuple(numbers), tuple(sorted(errors)))


@given(POLICIES)
def test_two_parts_say_what_the_whole_says(policies: list[tuple[str, bool]]) -> None:
    """Decision, determining policies and errors, whichever policies are in which part."""
    numbered = [(place, text, part) for place, (text, part) in enumerate(policies)]
    one, other = (
        ask([(place, text) for place, text, part in numbered if part is side])
        for side in (True, False)
    )
    whole = ask([(place, text) for place, text, _ in numbered])
    assert joined(one, other) == whole
    assert joined(other, one) == whole


def test_what_could_not_be_asked_of_a_part_is_an_answer_of_neither() -> None:
    """A permit in the other part makes no yes of a question that was none."""
    permit = [(0, "permit (principal, action, resource);")]
    bad = ask([], context="not JSON")
    assert bad.decision is cedarpy.Decision.NoDecision
    for answer in (joined(ask(permit), bad), joined(bad, ask(permit))):
        assert answer == bad

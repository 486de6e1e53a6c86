"""How arguments become the argv and standard input of a run."""

from __future__ import annotations

import json
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.tools.arguments import ParsedArguments, parse_arguments
from daemon.tools.errors import InvocationError, Reason
from daemon.tools.invocation import MAX_ELEMENT, Invocation, build
from tests.daemon.tools.support import MINIMAL, uploaded, with_input

ECHO = uploaded(MINIMAL).manifest


def given_text(text: str) -> ParsedArguments:
    return parse_arguments(json.dumps({"text": text}).encode())


def refusal(text: str) -> InvocationError:
    with pytest.raises(InvocationError) as caught:
        build(ECHO, given_text(text))
    return caught.value


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=50))
def test_an_argument_is_one_element_as_it_is(text: str) -> None:
    """Whatever the text, it is exactly its own element: nothing splits, joins or quotes it."""
    assert build(ECHO, given_text(text)).argv == ("/bin/echo", "--", text)


@pytest.mark.parametrize(
    "text", ["; rm -rf /", "$(id)", "`id`", "{text}", "--help", "a\nb", "' \"", "${HOME}", "-rf"]
)
def test_a_splice_reaches_the_program_as_plain_text(text: str) -> None:
    """A command hidden in an argument stays text when the argv is really started."""
    manifest = uploaded(
        MINIMAL.replace(
            '["/bin/echo", "--", "{text}"]', '["/usr/bin/printf", "%s|", "{text}", "end"]'
        )
    ).manifest
    argv = build(manifest, given_text(text)).argv
    done = subprocess.run(argv, capture_output=True, check=True)
    assert done.stdout.decode() == f"{text}|end|"


def test_a_placeholder_in_a_value_is_not_filled_again() -> None:
    """Substitution happens once: a value that looks like a placeholder is a value."""
    manifest = uploaded(
        with_input('a = {type = "string"}\nb = {type = "string"}', schema='required = ["a", "b"]')
        .replace('["/bin/true"]', '["/bin/echo", "{a}", "{b}"]')
    ).manifest  # fmt: skip
    assert build(manifest, parse_arguments(b'{"a":"{b}","b":"{a}"}')).argv[1:] == ("{b}", "{a}")


def test_a_nul_byte_is_refused() -> None:
    """A NUL would end the element early: what runs would not be what was approved."""
    error = refusal("safe\0; rm -rf /")
    assert error.code is Reason.INVOCATION_NUL
    assert "safe" not in str(error)


def test_more_than_execve_takes_is_refused() -> None:
    """An element or argv the kernel would not take is refused before anything is started."""
    build(ECHO, given_text("x" * MAX_ELEMENT))
    assert refusal("x" * (MAX_ELEMENT + 1)).code is Reason.INVOCATION_TOO_LARGE
    assert refusal("é" * (MAX_ELEMENT // 2 + 1)).code is Reason.INVOCATION_TOO_LARGE
    many = uploaded(MINIMAL.replace('"{text}"', ", ".join(['"{text}"'] * 6))).manifest
    with pytest.raises(InvocationError, match="together"):
        build(many, given_text("x" * 100_000))


def test_integers_and_booleans_are_written_as_in_json() -> None:
    """Numbers and truth values reach argv in their JSON spelling; an absent one is its default."""
    manifest = uploaded(
        with_input('n = {type = "integer"}\nb = {type = "boolean", default = false}',
                   schema='required = ["n"]')
        .replace('["/bin/true"]', '["/bin/echo", "{n}", "{b}"]')
    ).manifest  # fmt: skip
    assert build(manifest, parse_arguments(b'{"n":-5.0}')).argv[1:] == ("-5", "false")
    assert build(manifest, parse_arguments(b'{"n":1,"b":true}')).argv[1:] == ("1", "true")


def test_standard_input_is_nothing_everything_or_one_string() -> None:
    """Standard input is empty, the canonical arguments, or one argument's text."""

    def stdin(kind: str) -> bytes:
        manifest = uploaded(f'stdin = "{kind}"\n{MINIMAL}').manifest
        return build(manifest, given_text("é\n")).stdin

    assert stdin("none") == b""
    assert stdin("arguments") == '{"text":"é\\n"}'.encode()
    assert stdin("{text}") == "é\n".encode()


def test_arguments_that_were_not_validated_do_not_pass() -> None:
    """An argument of a wrong type, or missing, is an error here too, never an empty element."""
    for raw in (b"{}", b'{"text":["a"]}', b'{"text":1.5}', b'{"text":null}'):
        with pytest.raises(InvocationError) as caught:
            build(ECHO, parse_arguments(raw))
        assert caught.value.code is Reason.INVOCATION_TYPE


def test_an_invocation_does_not_show_arguments() -> None:
    """The repr of an invocation holds no argument."""
    shown = repr(build(ECHO, given_text("hunter2")))
    assert Invocation.__name__ in shown
    assert "hunter2" not in shown

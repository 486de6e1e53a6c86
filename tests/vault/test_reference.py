"""References have one spelling."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vault.errors import Code, ReferenceFormError, VaultError
from vault.reference import GLOBAL, Scope, SecretName, SecretReference, parse_reference

parts = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,62}", fullmatch=True).filter(
    lambda text: ".." not in text
)
scopes = st.one_of(
    st.just("global"),
    st.builds("{}/{}".format, st.sampled_from(["device", "agent", "tool", "source"]), parts),
)


@given(scopes, parts)
def test_a_reference_is_read_back(scope: str, name: str) -> None:
    """What is written is what was read, for every scope."""
    reference = SecretReference(Scope(scope), SecretName(name))
    assert parse_reference(str(reference)) == reference
    assert str(reference) == f"secret://{scope}/{name}"


def test_the_forms_of_the_design() -> None:
    """Global secrets and a tool's own secrets are told apart by their scope."""
    assert parse_reference("secret://global/db") == SecretReference(GLOBAL, SecretName("db"))
    own = parse_reference("secret://tool/git.push/token")
    assert (own.scope, own.name) == ("tool/git.push", "token")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "secret://",
        "secret://global",
        "secret://global/",
        "secret:///name",
        "secret://global//name",
        "secret://global/a/b",
        "secret://global/../name",
        "secret://global/..",
        "secret://global/.",
        "secret://global/a..b",
        "secret://global/-a",
        "secret://global/_a",
        "secret://global/Name",
        "secret://Global/name",
        "SECRET://global/name",
        "secret://global/name\n",
        "secret://global/na\x00me",
        "secret://global/na me",
        "secret://global/na%6de",
        "secret://global/name?x",
        "secret://global/name#x",
        "secret://global/n\u0430me",
        "secret://global/\uff4eame",
        "secret://global/\u0661",
        "secret://global/" + "a" * 64,
        "secret://global/" + "a" * 300,
        "secret://tool/name",
        "secret://tool//name",
        "secret://tool/a/b/name",
        "secret://user/a/name",
        "secret:/global/name",
        " secret://global/name",
    ],
)
def test_a_second_spelling_is_refused(text: str) -> None:
    """Slashes, dots that walk, NUL, case, Unicode, percent and length are refused."""
    with pytest.raises(ReferenceFormError) as refusal:
        parse_reference(text)
    assert refusal.value.code is Code.REFERENCE_MALFORMED


def test_a_pasted_secret_is_not_repeated() -> None:
    """Somebody who pastes the value where the name belongs does not find it in the log."""
    with pytest.raises(ReferenceFormError) as refusal:
        parse_reference("hunter2-Pa55word")
    assert "hunter2" not in str(refusal.value) + refusal.value.fix


@given(st.text(max_size=300))
def test_no_text_breaks_the_parser(text: str) -> None:
    """Garbage raises the package's error, and what parses is spelled one way."""
    for candidate in (text, f"secret://{text}", f"secret://global/{text}"):
        try:
            reference = parse_reference(candidate)
        except VaultError:
            continue
        assert str(reference) == candidate

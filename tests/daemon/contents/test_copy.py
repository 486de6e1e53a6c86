"""The redacted copy: what is in it, and what never is."""

import base64
import json
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.contents.copy import RedactedCopy, Why, redacted_copy, redacted_text
from daemon.tools.arguments import canonical_form, parse_arguments
from daemon.tools.schema import settle_schema
from vault.forms import forms
from vault.redact import Redaction
from vault.reference import SecretName
from vault.secret import Secret

SECRET = b"Zq7'\"\\%\tvery-secret-Xk29"
TOKEN = "ghp_" + "a1B2" * 9
OPEN = {"type": "object", "additionalProperties": True}


def copied(value: Any, schema: Any = OPEN, *secrets: bytes, every: Why | None = None) -> Any:
    """The copy as JSON, and the places."""
    found = made(value, schema, *secrets, every=every)
    assert parse_arguments(found.canonical).canonical == found.canonical
    return json.loads(found.canonical), {one.at: one.why for one in found.withheld}


def made(value: Any, schema: Any, *secrets: bytes, every: Why | None = None) -> RedactedCopy:
    named = [(SecretName(f"n{number}"), Secret(one)) for number, one in enumerate(secrets)]
    with Redaction(named) as redaction:
        settled = None if schema is None else settle_schema(schema)
        return redacted_copy(value, redaction, settled, every)


def test_what_is_no_secret_stays_as_it_is() -> None:
    """Numbers, texts, lists, null: the copy is the very arguments, and nothing was taken out."""
    value: dict[str, Any] = {"a": [1, 2.5, True, None, "text"], "b": {"c": "d"}}
    assert made(value, OPEN, SECRET) == RedactedCopy(canonical_form(value), ())


def test_a_value_of_the_vault_is_taken_out_where_it_stands() -> None:
    """The rest of the text, the keys and the types stay readable."""
    text = SECRET.decode()
    copy, places = copied({"url": f"https://x/?k={text}&n=1", "n": 1}, OPEN, SECRET)
    assert copy == {"url": "https://x/?k=[redacted:n0]&n=1", "n": 1}
    assert places == {"/url": Why.VAULT}


def test_a_number_can_be_a_value_of_the_vault() -> None:
    """A PIN that was sent as a number is none in the copy."""
    copy, places = copied({"pin_code": 48151623, "n": 7}, OPEN, b"48151623")
    assert copy == {"pin_code": "[redacted number: vault]", "n": 7}
    assert places == {"/pin_code": Why.VAULT}


def test_a_key_can_be_a_value_of_the_vault() -> None:
    """What stands under it keeps its place."""
    copy, places = copied(
        {"m": {"hunter2hunter2": 1, "hunter2hunter2x": 2}}, OPEN, b"hunter2hunter2"
    )
    assert copy == {"m": {"[redacted:n0]": 1, "[redacted:n0]x": 2}}
    assert set(places) == {"/m/[redacted:n0]", "/m/[redacted:n0]x"}


def test_two_keys_that_become_one_stay_two() -> None:
    """Nothing is lost where two keys differ in nothing but a secret."""
    copy, _ = copied({"hunter2hunter2": 1, "aHVudGVyMmh1bnRlcjI=": 2}, OPEN, b"hunter2hunter2")
    assert sorted(copy.values()) == [1, 2]


def test_keys_that_become_one_cost_no_more_than_others() -> None:
    """Thousands that differ in nothing but a secret: the copy grows with them alone."""
    copy, _ = copied({f"ghp_{number:036}": number for number in range(3000)})
    assert sorted(copy.values()) == list(range(3000))
    assert max(map(len, copy)) < 64


def test_places_are_cut_where_keys_are_long() -> None:
    """Of each of ten thousand values under a long key a place is said, and not the key."""
    found = made({"k" * 500_000: {str(number): 1 for number in range(9000)}}, None)
    assert len(found.withheld) == 9000
    assert max(len(one.at) for one in found.withheld) == 256


def test_a_header_is_known_by_its_name() -> None:
    """Where name and value are apart, too."""
    headers = {"Authorization": "Bearer 0123456789abcdef0123", "x-cookie": "a=b", "Accept": "*/*"}
    copy, places = copied({"headers": headers})
    assert copy["headers"]["Accept"] == "*/*"
    assert places == {"/headers/Authorization": Why.NAME, "/headers/x-cookie": Why.NAME}


def test_a_value_across_leaves_takes_all_leaves() -> None:
    """A secret that is JSON, sent as the JSON that it is, is in no leaf: none is kept."""
    value: dict[str, Any] = {"account": {"id": "someone", "key": "k-4711"}}
    whole = canonical_form(value["account"])
    copy, places = copied({**value, "n": 1}, OPEN, whole)
    marks = "[redacted string: whole]"
    assert copy == {"account": {"id": marks, "key": marks}, "n": "[redacted number: whole]"}
    assert set(places.values()) == {Why.WHOLE}


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (TOKEN, "[redacted string: shape]"),
        (f"clone with {TOKEN} please", "clone with [redacted string: shape] please"),
        ("Authorization: Bearer abcdefgh12345", "Authorization: Bearer [redacted string: shape]"),
        ("postgres://u:hunter2@db/x", "postgres://u:[redacted string: shape]@db/x"),
        (
            "a\n-----BEGIN RSA PRIVATE KEY-----\nMIIC\n-----END RSA PRIVATE KEY-----\nb",
            "a\n[redacted string: shape]\nb",
        ),
        ("-----BEGIN PRIVATE KEY-----\ncut off", "[redacted string: shape]"),
    ],
)
def test_what_looks_like_a_secret_is_taken_out(text: str, kept: str) -> None:
    """The shapes that approvers have masked, and private keys wherever they stand."""
    assert copied({"v": [text]})[0] == {"v": [kept]}


def test_a_name_that_says_so_is_enough() -> None:
    """Whatever stands under it, and however deep; a truth value is no secret."""
    value = {"password": "a b", "db": {"api_key": 7, "tokens": 3}, "secret": [1], "token": True}
    copy, places = copied(value)
    assert copy["password"] == "[redacted string: name]"
    assert copy["db"] == {"api_key": "[redacted number: name]", "tokens": 3}
    assert (copy["secret"], copy["token"]) == ("[redacted array: name]", True)
    assert set(places.values()) == {Why.NAME}


MARKED = {"type": "string", "writeOnly": True}


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"properties": {"x": MARKED}}, {"x": "s3"}),
        ({"properties": {"x": {"type": "array", "items": MARKED}}}, {"x": ["s3", "s3"]}),
        ({"properties": {"x": {"type": "array", "prefixItems": [MARKED]}}}, {"x": ["s3"]}),
        ({"additionalProperties": MARKED}, {"x": "s3"}),
        ({"properties": {"x": {"$ref": "#/$defs/d"}}, "$defs": {"d": MARKED}}, {"x": "s3"}),
        ({"properties": {"x": {"anyOf": [{"type": "number"}, MARKED]}}}, {"x": "s3"}),
        (
            {"properties": {"x": {"type": "string"}}, "allOf": [{"properties": {"x": MARKED}}]},
            {"x": "s3"},
        ),
        ({"properties": {"x": {}}, "if": {}, "then": {"properties": {"x": MARKED}}}, {"x": "s3"}),
        ({"properties": {"x": {"type": "object", "writeOnly": True}}}, {"x": {"y": "s3"}}),
        ({"properties": {"x": {"properties": {"y": MARKED}}}}, {"x": {"y": "s3"}}),
    ],
)
def test_what_the_schema_marks_is_taken_out(schema: dict[str, Any], value: dict[str, Any]) -> None:
    """`writeOnly`, wherever a schema may say it, of a value that may be anything."""
    found = made(value, {"type": "object", **schema})
    assert b"s3" not in found.canonical
    assert {one.why for one in found.withheld} == {Why.SCHEMA}


def test_arguments_that_fit_no_schema_keep_keys_and_types_alone() -> None:
    """A misspelt name must not be a way around a mark."""
    copy, places = copied({"pasword": "s3", "n": 1, "l": [None, False]}, None)
    assert copy["pasword"] == "[redacted string: unfit]"
    assert copy["n"] == "[redacted number: unfit]"
    assert copy["l"] == [None, "[redacted boolean: unfit]"]
    assert set(places.values()) == {Why.UNFIT}


def test_the_mark_does_not_tell_how_long_it_was() -> None:
    """Of a short secret, its length is half of it."""
    short, long = ({"password": "x" * length, "t": TOKEN + "y" * length} for length in (1, 900))
    assert made(short, OPEN).canonical == made(long, OPEN).canonical


def test_where_even_the_marks_hold_a_secret_nothing_is_kept() -> None:
    """A value that is a word of ours, or a bracket: no copy can be made that has it not."""
    assert made({"a": "redacted"}, OPEN, b"redacted").canonical == b""
    assert made({"a": 1}, OPEN, b"{").canonical == b""


_LEAVES = st.none() | st.booleans() | st.integers(-999, 999) | st.text(max_size=12)
_KEYS = st.text(max_size=6)
_JSON = st.dictionaries(
    _KEYS,
    st.recursive(
        _LEAVES, lambda c: st.lists(c, max_size=3) | st.dictionaries(_KEYS, c, max_size=3)
    ),
    max_size=4,
)
_SECRETS = st.binary(min_size=4, max_size=24) | st.text(min_size=4, max_size=16).map(str.encode)


def encodings(value: bytes) -> list[str]:
    """As a caller may send it; independent of what the vault looks for."""
    text = value.decode("latin-1") if not _is_text(value) else value.decode()
    return [
        *([text] if _is_text(value) else []),
        base64.b64encode(value).decode(),
        base64.urlsafe_b64encode(b"xy" + value).decode(),
        value.hex(),
        value.hex().upper(),
        quote(value, safe=""),
        json.dumps(text)[1:-1],
    ]


def _is_text(value: bytes) -> bool:
    try:
        return bool(value.decode())
    except UnicodeDecodeError:
        return False


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_form_of_a_value_of_the_vault_is_in_the_copy(data: st.DataObject) -> None:
    """However it is written, wherever it stands: in a text, as a key, in a list, cut by nothing."""
    secret = data.draw(_SECRETS)
    value = data.draw(_JSON)
    spelt = data.draw(st.sampled_from(encodings(secret)))
    around = data.draw(st.text(max_size=5)), data.draw(st.text(max_size=5))
    text = around[0] + spelt + around[1]
    place = data.draw(st.sampled_from(["text", "key", "list", "object"]))
    added: dict[str, Any] = {
        "text": {"v": text},
        "key": {text: 1},
        "list": {"v": [1, [text]]},
        "object": {"v": {"w": {"x": text}}},
    }
    value |= added[place]
    copy = made(value, OPEN, secret).canonical
    assert not [one for one in forms(secret) if one in copy]
    assert made(value, OPEN, secret).canonical == copy


def test_what_is_said_of_a_call_quotes_no_secret() -> None:
    """A refusal that names what was sent is recorded without it."""
    with Redaction([(SecretName("door"), Secret(b"hunter2hunter2"))]) as redaction:
        said = redacted_text("there is no workspace 'hunter2hunter2'", redaction)
    assert said == "there is no workspace '[redacted:door]'"

"""What becomes a policy set, and what never does."""

import os
from pathlib import Path

import cedarpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy import admission, statements
from policy.bundle import Bundle, digest, load_directory
from policy.errors import BundleError, SchemaError
from policy.values import EntityUid
from tests.policy.world import SCHEMA

PERMIT = "permit (principal, action, resource);"


def codes(files: dict[str, str]) -> list[str]:
    return [problem.code for problem in Bundle.check(files, SCHEMA)]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("permit (principal, action, resource)", "POLICY_SYNTAX"),
        ("permit (principal, action, resource) when { foo( };", "POLICY_SYNTAX"),
        ('permit (principal, action, resource) when { "open };', "POLICY_SYNTAX"),
        ("allow all;", "POLICY_SYNTAX"),
        (";", "POLICY_SYNTAX"),
        ('{"effect": "permit"}', "POLICY_SYNTAX"),
        ('permit (principal, action == Action::"nope", resource);', "POLICY_INVALID"),
        ("permit (principal is User, action, resource);", "POLICY_INVALID"),
        ("permit (principal, action, resource) when { context.risk > 1 };", "POLICY_INVALID"),
        ("permit (principal, action, resource) when { principal.nam == 1 };", "POLICY_INVALID"),
        (
            'permit (principal, action == Action::"call", resource) when { context.lease == "" };',
            "POLICY_INVALID",
        ),
        (
            'forbid (principal, action == Action::"call", resource) when { context.a.b == 1 };',
            "POLICY_INVALID",
        ),
        ("permit (principal == ?principal, action, resource);", "TEMPLATE_REFUSED"),
        ('forbid (principal, action, resource == Tool::"Run_Shell");', "IMPOSSIBLE_ID"),
        ('forbid (principal, action, resource == Tool::"run_shell ");', "IMPOSSIBLE_ID"),
        ('forbid (principal, action, resource == Tool::"r\u0435ad_file");', "IMPOSSIBLE_ID"),
        ('permit (principal in Group::"Owners", action, resource);', "IMPOSSIBLE_ID"),
        ('@id("") permit (principal, action, resource);', "BAD_POLICY_ID"),
        ("@id permit (principal, action, resource);", "BAD_POLICY_ID"),
        ('@id("a.cedar#1") permit (principal, action, resource);', "BAD_POLICY_ID"),
        ('@id("a\\u{1b}[2J") permit (principal, action, resource);', "BAD_POLICY_ID"),
        ('@id("a") @id("b") permit (principal, action, resource);', "POLICY_SYNTAX"),
        ("permit (principal, action, resource); // \u202e", "HIDDEN_CHARACTER"),
        ("permit (principal, action, resource); \x00", "HIDDEN_CHARACTER"),
        ("permit (principal, action, resource); \ud800", "HIDDEN_CHARACTER"),
        (
            "permit (principal, action, resource) when { " + "||".join(["true"] * 300) + " };",
            "POLICY_TOO_COMPLEX",
        ),
        (
            # Within the scanner's bounds, but too deep a tree for whoever looks at conditions.
            "permit (principal, action, resource) when { " + "||".join(["true"] * 150) + " };",
            "POLICY_TOO_COMPLEX",
        ),
        (
            f"permit (principal, action, resource) when {{ {'(' * 30}true{')' * 30} }};",
            "POLICY_TOO_COMPLEX",
        ),
        (
            # No string to the engine, so none here: brackets must not hide in it.
            'permit (principal, action, resource) when { "\\\n' + "(" * 300 + '" == "" };',
            "POLICY_TOO_COMPLEX",
        ),
    ],
)
def test_what_does_not_validate_never_becomes_a_bundle(text: str, code: str) -> None:
    """A wrong policy is a problem with its file and line, and refuses the good ones beside it."""
    files = {"a.cedar": "\n" + text, "good.cedar": PERMIT}
    with pytest.raises(BundleError) as caught:
        Bundle.build(files, SCHEMA)
    problem = caught.value.problems[0]
    assert (problem.file, problem.line, problem.code) == ("a.cedar", 2, code)
    assert problem.message
    assert problem.fix
    assert caught.value.code == code


def test_a_letter_that_only_looks_alike_is_shown_by_its_number() -> None:
    """Else whoever reads the message sees the very name that was meant."""
    text = 'permit (principal in Group::"\u043ewners", action, resource);'
    (problem,) = Bundle.check({"a.cedar": text}, SCHEMA)
    assert problem.code == "IMPOSSIBLE_ID"
    assert "Group::'\\u043ewners'" in problem.message


def test_an_invalid_schema_activates_nothing() -> None:
    """A schema that does not parse is an error, never ignored."""
    with pytest.raises(SchemaError):
        Bundle.build({"a.cedar": PERMIT}, "entity ;")
    with pytest.raises(SchemaError):
        Bundle.build({"a.cedar": PERMIT}, "\ud800")


def test_no_policy_file_is_a_problem() -> None:
    """A folder in the wrong format is not silently deny-all."""
    assert codes({}) == ["NO_POLICY_FILES"]


@pytest.mark.parametrize("text", ["", "// nothing yet\n", "\n\n"])
def test_an_empty_file_is_a_set_that_permits_nothing(text: str) -> None:
    """An empty policy set is allowed; it denies."""
    assert Bundle.build({"a.cedar": text}, SCHEMA).policies == ()


@pytest.mark.parametrize("name", ["a.txt", "../a.cedar", "a/b.cedar", ".cedar", "a\n.cedar", "a"])
def test_odd_file_names_are_refused(name: str) -> None:
    """A file's name is printed and digested: only plain ones."""
    assert codes({name: PERMIT}) == ["BAD_FILE_NAME"]


def test_a_duplicate_id_is_a_problem() -> None:
    """Two policies of one id, in one file or two, cannot be told apart in a receipt."""
    one = f'@id("x") {PERMIT}'
    assert codes({"a.cedar": one + "\n" + one}) == ["DUPLICATE_ID"]
    assert codes({"a.cedar": one, "b.cedar": one}) == ["DUPLICATE_ID"]


def test_every_problem_is_found_at_once() -> None:
    """An operator mends a file in one go."""
    text = 'permit (;\n@id("y") @id("y") permit (principal, action, resource);\nnonsense;'
    problems = Bundle.check({"a.cedar": text}, SCHEMA)
    assert [problem.line for problem in problems] == [1, 2, 3]


def test_ids_and_lines_follow_the_text() -> None:
    """Strings and comments full of semicolons move no line and no id."""
    text = (
        '// one; two "\r\n@note(";")\npermit (principal, action, resource)\n'
        'when { "a;\n// b" == "a" /'
        '/ c; "\n};\n'
        f'{PERMIT} @id("third")\n{PERMIT}'
    )
    bundle = Bundle.build({"b.cedar": text, "a.cedar": PERMIT}, SCHEMA)
    assert [(p.id, p.line) for p in bundle.policies] == [
        ("a.cedar#1", 1),
        ("b.cedar#1", 2),
        ("b.cedar#2", 7),
        ("third", 7),
    ]


def test_a_policy_after_a_carriage_return_is_not_hidden_in_a_comment() -> None:
    """Cedar ends a comment at a bare carriage return; so does the line counter."""
    bundle = Bundle.build({"a.cedar": f"// only a comment\r{PERMIT}"}, SCHEMA)
    assert len(bundle.policies) == 1


@given(st.text(alphabet='permit(principal,action resource);"\\/\n\r// {}@id', max_size=60))
def test_whatever_the_text_the_outcome_is_a_bundle_or_problems(text: str) -> None:
    """No other exception escapes, and a bundle never has a policy without a place."""
    try:
        bundle = Bundle.build({"a.cedar": text}, SCHEMA)
    except BundleError as refused:
        assert refused.problems  # noqa: PT017 - either outcome is right
    else:
        assert len(bundle.policies) == len(bundle.slices.whole().handle)


SOME = st.lists(
    st.sampled_from(
        (
            PERMIT,
            'permit (principal, action == Action::"call", resource);',
            'forbid (principal, action == Action::"call", resource) when { context.maintenance };',
            'permit (principal, action == Action::"nope", resource);',
            "permit (principal, action, resource) when { context.risk > 1 };",
            'permit (principal in Group::"Owners", action, resource);',
            "permit (principal, action, resource",
        )
    ),
    max_size=5,
)


@given(SOME, SOME)
def test_what_was_valid_before_changes_no_outcome(first: list[str], second: list[str]) -> None:
    """With a bundle before it a set is admitted or refused as without, for the same reasons."""

    # The engine's own words on what is wrong are not always the same.
    def outcome(policies: list[str], before: Bundle | None) -> Bundle | set[tuple[str, int, str]]:
        try:
            return Bundle.build({"a.cedar": "\n".join(policies)}, SCHEMA, before=before)
        except BundleError as refused:
            return {(problem.file, problem.line, problem.code) for problem in refused.problems}

    found = outcome(first, None)
    before = found if isinstance(found, Bundle) else None
    alone, after = outcome(second, None), outcome(second, before)
    assert after == alone
    if isinstance(after, Bundle) and isinstance(alone, Bundle):
        assert (after.policies, after.texts) == (alone.policies, alone.texts)


def test_of_a_set_that_changes_what_is_new_is_validated(monkeypatch: pytest.MonkeyPatch) -> None:
    """One policy more among a thousand costs one; under another schema all count anew."""
    many = "\n".join(
        f'permit (principal == Device::"dev-{n}", action == Action::"call", resource);'
        for n in range(1000)
    )
    before = Bundle.build({"a.cedar": many}, SCHEMA)
    validated: list[str] = []
    real = cedarpy.validate_policies

    def spy(text: str, *rest: object, **options: bool) -> object:
        validated.append(text)
        return real(text, *rest, **options)  # type: ignore[arg-type] # whatever it was given

    monkeypatch.setattr(cedarpy, "validate_policies", spy)
    files = {"a.cedar": f"// moved\n{many}", "b.cedar": PERMIT}
    after = Bundle.build(files, SCHEMA, before=before)
    assert validated == [PERMIT]
    assert len(after.policies) == 1001
    assert after == Bundle.build(files, SCHEMA)
    assert after.requests is before.requests  # which fit, the same schema has said
    validated.clear()
    other = SCHEMA.replace("entity Daemon;", "entity Daemon, Elsewhere;")
    assert Bundle.build(files, other, before=before).requests is not before.requests
    assert sum(text.count("permit") for text in validated) == 1001


FILES = st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3)


@given(FILES, FILES)
def test_the_digest_tells_sets_apart(one: dict[str, str], two: dict[str, str]) -> None:
    """A boundary moved between two fields is seen; the order of the mapping is not."""
    assert (digest(one, "s") == digest(two, "s")) == (one == two)
    assert digest(one, "s") == digest(dict(reversed(one.items())), "s")
    assert digest(one, "s") != digest(one, "t")


def test_the_digest_is_frozen() -> None:
    """The digest is in approvals and receipts: these bytes never change."""
    assert digest({"a.cedar": PERMIT, "b.cedar": ""}, "entity A;") == (
        "e26ca172c8460c33b6727aa97c90c1a41bbd63553c149dbcf87bacdb0c5d1555"
    )


def test_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Too many files, too long a file or too many policies: refused before parsing."""
    assert codes({"a.cedar": " " * (admission.MAX_FILE_BYTES + 1)}) == ["POLICY_TOO_LARGE"]
    many = {f"f{n}.cedar": "" for n in range(admission.MAX_FILES + 1)}
    assert codes(many) == ["POLICY_TOO_LARGE"]
    monkeypatch.setattr(admission, "MAX_POLICIES", 2)
    assert codes({"a.cedar": PERMIT * 3}) == ["POLICY_TOO_LARGE"]
    long = f"// x\npermit{' ' * statements.MAX_STATEMENT}(principal, action, resource);"
    assert codes({"a.cedar": long}) == ["POLICY_TOO_COMPLEX"]


def test_load_reads_policy_files_only(tmp_path: Path) -> None:
    """Other names are none of its business."""
    (tmp_path / "b.cedar").write_text("b")
    (tmp_path / "a.cedar").write_text("a")
    (tmp_path / "README.md").write_text("no")
    assert list(load_directory(tmp_path).items()) == [("a.cedar", "a"), ("b.cedar", "b")]


def _odd(path: Path, kind: str) -> None:
    match kind:
        case "link":
            (path.parent / "outside").write_text(PERMIT)
            path.symlink_to(path.parent / "outside")
        case "folder":
            path.mkdir()
        case "fifo":
            os.mkfifo(path)
        case "latin-1":
            path.write_bytes(b"// \xe9")
        case "large":
            path.write_bytes(b" " * (admission.MAX_FILE_BYTES + 1))


@pytest.mark.parametrize("kind", ["link", "folder", "fifo", "latin-1", "large"])
def test_load_refuses_what_is_no_plain_file(tmp_path: Path, kind: str) -> None:
    """A link, folder, pipe, other encoding or huge file refuses the whole set."""
    _odd(tmp_path / "odd.cedar", kind)
    (tmp_path / "good.cedar").write_text(PERMIT)
    with pytest.raises(BundleError) as caught:
        load_directory(tmp_path)
    assert [(p.file, p.code) for p in caught.value.problems] == [("odd.cedar", "POLICY_UNREADABLE")]


def test_load_of_a_missing_folder_is_refused(tmp_path: Path) -> None:
    """No folder is not an empty policy set."""
    with pytest.raises(BundleError):
        load_directory(tmp_path / "nowhere")


def test_what_is_admitted_can_be_looked_at() -> None:
    """The engine gives a tree of every admitted policy, also of the widest."""
    terms = " || ".join(['principal in Group::"owners"'] * 90)
    bundle = Bundle.build(
        {"a.cedar": f"permit (principal, action, resource) when {{ {terms} }};"}, SCHEMA
    )
    assert bundle.slices.uids(bundle.slices.whole()) == {EntityUid("Group", "owners")}


CALLS = 'permit (principal, action == Action::"call", resource);'


@pytest.mark.parametrize(
    ("policy", "fix"),
    [
        ('permit (principal, action == Action::"cal", resource);', "has every action"),
        ('permit (principal, action == Action::"call", resource is Host);', "of which types"),
        (CALLS.replace(";", " when { context.workspace.writable };"), "with `has` first"),
        (CALLS.replace(";", " when { context.x };"), "compare"),
    ],
)
def test_what_is_wrong_comes_with_what_to_do_about_it(policy: str, fix: str) -> None:
    """An action that is misspelt is mended in another way than an attribute that may be absent."""
    with pytest.raises(BundleError) as refused:
        Bundle.build({"a.cedar": policy}, SCHEMA)
    assert fix in refused.value.problems[0].fix

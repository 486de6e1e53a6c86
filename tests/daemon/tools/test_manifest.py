"""What a manifest may say, and how each thing it may not say is refused."""

from __future__ import annotations

import dataclasses
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.tools.argv import Placeholder
from daemon.tools.errors import ManifestError, Reason
from daemon.tools.manifest import Manifest, Origin, parse_manifest
from daemon.tools.tree import FileEntry
from tests.daemon.tools.support import MINIMAL, with_input


def parse(text: str | bytes, schema: bytes | None = None) -> Manifest:
    content = text.encode() if isinstance(text, str) else text
    entries = {"manifest.toml": FileEntry(content)}
    if schema is not None:
        entries["schema.json"] = FileEntry(schema)
    return parse_manifest(entries, where="tools/probe", folder="probe", origin=Origin.OPERATOR)


def refused(text: str | bytes, schema: bytes | None = None) -> ManifestError:
    with pytest.raises(ManifestError) as caught:
        parse(text, schema)
    assert caught.value.fix
    return caught.value


def swap(old: str, new: str) -> str:
    assert old in MINIMAL
    return MINIMAL.replace(old, new)


def test_a_minimal_manifest_gets_the_defaults() -> None:
    """What a manifest leaves out is the least: no capability, no workspace, bounded limits."""
    found = parse(MINIMAL)
    assert found.argv == ("/bin/echo", "--", Placeholder("text"))
    assert (found.toolset, found.stdin, found.workspace) == ("local", "none", None)
    assert not any(found.capabilities.model_dump().values())
    assert found.limits.wall_seconds == 30
    assert found.secrets == ()


def test_a_manifest_cannot_be_changed() -> None:
    """A manifest is a value: neither it nor its sections can be assigned to."""
    found = parse(MINIMAL)
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.name = "other"  # type: ignore[misc]
    with pytest.raises(ValueError, match="frozen"):
        found.limits.wall_seconds = 9
    with pytest.raises(TypeError):
        found.environment["X"] = "1"  # type: ignore[index]


@pytest.mark.parametrize(
    ("written", "exact"),
    [("0.3", "0.3"), ('"0.3"', "0.3"), ("0", "0"), ("1", "1"), ("3e-1", "0.3"), ("1.0", "1")],
)
def test_a_risk_input_is_exact(written: str, exact: str) -> None:
    """0.3 in a manifest is three tenths, not the nearest binary fraction."""
    text = swap("data_sensitivity = 0.1", f"data_sensitivity = {written}")
    assert parse(text).risk.data_sensitivity == Decimal(exact)


RISK = "data_sensitivity = 0.1"
ARGV = 'argv = ["/bin/echo", "--", "{text}"]'
SECRET = '[[secrets]]\nreference = "secret://global/token"\n'
WORKSPACE = '[workspace]\nargument = "text"\n'

INVALID = Reason.MANIFEST_INVALID
PLACEHOLDER = Reason.MANIFEST_PLACEHOLDER
ARGV_FILE = Reason.MANIFEST_ARGV_FILE
DUPLICATE = Reason.MANIFEST_DUPLICATE
UNKNOWN_KEY = Reason.MANIFEST_UNKNOWN_KEY
MALFORMED = Reason.MANIFEST_MALFORMED
SENSITIVITY = "risk.data_sensitivity"


def risk(written: str) -> str:
    return swap(RISK, f"data_sensitivity = {written}")


BAD: list[tuple[str, str, str, Reason]] = [
    # the keys
    ("x = 1\n" + MINIMAL, "x", "no such key", UNKNOWN_KEY),
    (MINIMAL + "[limit]\n", "limit", "no such key", UNKNOWN_KEY),
    (MINIMAL + "[limits]\nwall = 1\n", "limits.wall", "no such", UNKNOWN_KEY),
    (MINIMAL + "[risk]\n", "", "not TOML", MALFORMED),
    ('name = "probe"\n' + MINIMAL, "", "not TOML", MALFORMED),
    (swap('version = "1.0.0"\n', ""), "version", "is required", INVALID),
    (swap("[risk]\ndata_sensitivity = 0.1\n", ""), "risk", "required", INVALID),
    # identity
    (swap('"probe"', '"Probe"'), "name", "must match", INVALID),
    (swap('"probe"', '"probe\\n"'), "name", "must match", INVALID),
    (swap('"probe"', '"prоbe"'), "name", "must match", INVALID),  # noqa: RUF001
    (swap('"probe"', f'"{"a" * 64}"'), "name", "must match", INVALID),
    (swap('"probe"', '"other"'), "name", "name of the folder", Reason.MANIFEST_NAME),
    (swap('"1.0.0"', "1.0"), "version", "valid string", INVALID),
    ('toolset = "signed"\n' + MINIMAL, "toolset", "reserved", Reason.MANIFEST_TOOLSET),
    (risk("0.12345"), SENSITIVITY, "4 places", INVALID),
    ('toolset = "builtin"\n' + MINIMAL, "toolset", "come with", Reason.MANIFEST_TOOLSET),
    # what people are shown
    (swap("Says what", "Says\\nwhat"), "summary", "one line", INVALID),
    (swap("Says what", "Says\\u001b[2Jwhat"), "summary", "control", INVALID),
    (swap("Says what", "Says\\u202ewhat"), "summary", "invisible", INVALID),
    # argv
    (swap(ARGV, "argv = []"), "argv", "at least 1", INVALID),
    (swap(ARGV, 'argv = "/bin/true"'), "argv", "valid list", INVALID),
    (swap(ARGV, 'argv = ["echo"]'), "argv.0", "absolute path", ARGV_FILE),
    (swap(ARGV, 'argv = ["{text}"]'), "argv.0", "absolute path", ARGV_FILE),
    (swap(ARGV, 'argv = ["/etc/x"]'), "argv.0", "absolute path", ARGV_FILE),
    (swap(ARGV, 'argv = ["/usr/../etc/x"]'), "argv.0", "absolute", ARGV_FILE),
    (swap(ARGV, 'argv = ["/usr//bin/x"]'), "argv.0", "absolute", ARGV_FILE),
    (swap(ARGV, 'argv = ["/usrx/bin"]'), "argv.0", "absolute", ARGV_FILE),
    (swap(ARGV, 'argv = ["/bin/x\\n"]'), "argv.0", "absolute", ARGV_FILE),
    (swap(ARGV, 'argv = ["/tool/gone"]'), "argv.0", "no file", ARGV_FILE),
    (swap(ARGV, 'argv = ["/bin/sh", "/tool/gone"]'), "argv.1", "no file", ARGV_FILE),
    (swap("{text}", "a\\u0000b"), "argv.2", "NUL", INVALID),
    (swap('"{text}"', '"{txt}"'), "argv.2", "{txt}", PLACEHOLDER),
    (swap("{text}", "echo {text}"), "argv.2", "whole element", PLACEHOLDER),
    (swap("{text}", "--text={text}"), "argv.2", "whole element", PLACEHOLDER),
    (swap('required = ["text"]', ""), "argv.2", "required", PLACEHOLDER),
    (swap('type = "string"', 'type = "array"'), "argv.2", "type", PLACEHOLDER),
    (swap('type = "string"', 'type = "number"'), "argv.2", "type", PLACEHOLDER),
    (swap('type = "string"', ""), "argv.2", "of type", PLACEHOLDER),
    (swap('type = "string"', 'type = ["string"]'), "argv.2", "type", PLACEHOLDER),
    (
        with_input('x = {type = "integer", default = "1"}').replace('"]', '", "{x}"]', 1),
        "argv.1",
        "default",
        PLACEHOLDER,
    ),
    # standard input
    ('stdin = "all"\n' + MINIMAL, "stdin", "must be", INVALID),
    ('stdin = "{gone}"\n' + MINIMAL, "stdin", "{gone}", PLACEHOLDER),
    # risk
    (risk("1.1"), SENSITIVITY, "0 to 1", INVALID),
    (risk("-0.1"), SENSITIVITY, "0 to 1", INVALID),
    (risk("nan"), SENSITIVITY, "finite", INVALID),
    (risk("inf"), SENSITIVITY, "finite", INVALID),
    (risk('"NaN"'), SENSITIVITY, "0 to 1", INVALID),
    (risk('"0.٣"'), SENSITIVITY, "0 to 1", INVALID),
    (risk("true"), SENSITIVITY, "", INVALID),
    (risk("1e-999"), SENSITIVITY, "0 to 1", INVALID),
    (risk(f"1e{'9' * 30}"), "", "not TOML", MALFORMED),
    # limits
    (MINIMAL + "[limits]\nwall_seconds = 0\n", "limits.wall_seconds", "at least 1", INVALID),
    (MINIMAL + "[limits]\npids = 100000\n", "limits.pids", "at most 4096", INVALID),
    (MINIMAL + "[limits]\npids = 1.0\n", "limits.pids", "valid integer", INVALID),
    (MINIMAL + "[limits]\npids = true\n", "limits.pids", "valid integer", INVALID),
    (MINIMAL + '[limits]\npids = "1"\n', "limits.pids", "valid integer", INVALID),
    # capabilities and the workspace
    (MINIMAL + "[capabilities]\nnetwork = 1\n", "capabilities.network", "boolean", INVALID),
    (MINIMAL + WORKSPACE, "workspace.access", "is required", INVALID),
    (MINIMAL + WORKSPACE + 'access = "write"\n', "workspace.access", "filesystem_write", INVALID),
    (MINIMAL + '[workspace]\naccess = "read"\n', "workspace.argument", "argument", INVALID),
    # secrets and variables
    (MINIMAL + SECRET, "secrets.0", "exactly one", INVALID),
    (MINIMAL + SECRET + 'env = "A"\nfile = "a"\n', "secrets.0", "exactly one", INVALID),
    (MINIMAL + SECRET + 'file = "../a"\n', "secrets.0.file", "must match", INVALID),
    (MINIMAL + SECRET + 'env = "a b"\n', "secrets.0.env", "must match", INVALID),
    (
        MINIMAL + SECRET.replace("global/", "") + 'env = "A"\n',
        "secrets.0.reference",
        "must match",
        INVALID,
    ),
    *(
        (
            MINIMAL + SECRET.replace("global/token", name) + 'env = "A"\n',
            "secrets.0.reference",
            "",
            INVALID,
        )
        for name in ("work/token", "global/Token", "tool/token", "device/a/b/c", "global/a..b")
    ),
    (MINIMAL + (SECRET + 'env = "A"\n') * 2, "secrets.1.env", "twice", DUPLICATE),
    (MINIMAL + (SECRET + 'file = "a"\n') * 2, "secrets.1.file", "twice", DUPLICATE),
    (MINIMAL + SECRET + 'env = "A"\n[environment]\nA = "x"\n', "secrets.0.env", "twice", DUPLICATE),
    (MINIMAL + "[environment]\nA = 1\n", "environment.A", "valid string", INVALID),
    (MINIMAL + '[environment]\nA = "\\u0000"\n', "environment.A", "NUL", INVALID),
    # the schema's place
    ('input_schema = "schema.json"\n' + MINIMAL, "input", "exactly one", INVALID),
    (MINIMAL[: MINIMAL.index("[input]")] + "[risk]\n" + RISK, "input", "exactly one", INVALID),
]


@pytest.mark.parametrize(("text", "key", "reason", "code"), BAD)
def test_a_bad_manifest_is_refused_by_key(text: str, key: str, reason: str, code: Reason) -> None:
    """Every bad manifest is refused with its file, its key, a reason and a code."""
    error = refused(text)
    assert (error.file, error.code) == ("tools/probe/manifest.toml", code), error
    assert reason in error.reason
    assert error.key.startswith(key)
    if key:
        assert error.key.split("[")[0].removesuffix(".") == key
        assert str(error) == f"tools/probe/manifest.toml: {error.key}: {error.reason}"


@pytest.mark.parametrize(
    "raw",
    [
        b"\xff",
        b"\xef\xbb\xbfname = 1",
        b"name = ",
        b"a = " + b"[" * 20_000,
        b"a = " + b"9" * 10_000,
        b"#" * 70_000,
        b"a = 1979-13-01",
    ],
)
def test_bytes_that_are_no_toml_are_refused(raw: bytes) -> None:
    """Malformed, deep or huge TOML is a ManifestError and nothing else."""
    assert refused(raw).code is Reason.MANIFEST_MALFORMED


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_no_other_exception_leaves(raw: bytes) -> None:
    """Whatever the bytes, a manifest is parsed or refused as a ManifestError."""
    refused(raw)


def test_a_folder_without_a_manifest_is_refused() -> None:
    """A folder is a tool only by its manifest."""
    with pytest.raises(ManifestError) as caught:
        parse_manifest({}, where="tools/probe", folder="probe", origin=Origin.OPERATOR)
    assert caught.value.code is Reason.MANIFEST_MISSING


def test_a_builtin_says_that_it_is_one() -> None:
    """The toolset 'builtin' and the daemon's own tools are the same set."""
    entries = {"manifest.toml": FileEntry(MINIMAL.encode())}
    with pytest.raises(ManifestError) as caught:
        parse_manifest(entries, where="t", folder="probe", origin=Origin.BUILTIN)
    assert caught.value.key == "toolset"


def test_a_schema_file_is_read_strictly_and_named_in_errors() -> None:
    """A schema in its own file is strict JSON, and its errors name that file."""
    text = MINIMAL[: MINIMAL.index("[input]")] + "[risk]\n" + RISK
    text = 'input_schema = "schema.json"\n' + text
    good = b'{"type":"object","required":["text"],"properties":{"text":{"type":"string"}}}'
    assert parse(text, good).input.names == ("text",)
    assert refused(text).key == "input_schema"
    twice = refused(text, b'{"type":"object","type":"object"}')
    assert (twice.file, twice.code) == ("tools/probe/schema.json", Reason.SCHEMA_INVALID)
    deep = refused(text, good.replace(b'"string"', b'"strin"'))
    assert (deep.file, deep.key.split("/")[1]) == ("tools/probe/schema.json", "properties")


def test_a_program_of_the_tool_must_be_executable() -> None:
    """An argv that starts a file of the folder needs that file's execute bit."""
    text = swap(ARGV, 'argv = ["/tool/main"]')
    entries = {"manifest.toml": FileEntry(text.encode()), "main": FileEntry(b"#!/bin/sh\n")}
    with pytest.raises(ManifestError, match="not executable"):
        parse_manifest(entries, where="t", folder="probe", origin=Origin.OPERATOR)
    entries["main"] = FileEntry(b"#!/bin/sh\n", executable=True)
    parse_manifest(entries, where="t", folder="probe", origin=Origin.OPERATOR)


def test_a_shell_variable_is_no_placeholder() -> None:
    """``${text}`` belongs to the shell and stays as it is written."""
    found = parse(swap('"--", "{text}"', '"-c", "echo ${text}", "{text}"'))
    assert found.argv[2] == "echo ${text}"


ARGV = 'argv = ["/bin/echo", "--", "{text}"]'
PYTHON = '["/usr/bin/python3", "-I", "-S", "-X", "utf8", "-c", "{text}"]'


def test_a_runtime_of_python_is_declared_with_its_argv() -> None:
    """Only what the waiting interpreter would be started with can be run in it."""
    found = parse(swap(ARGV, f'runtime = "python"\nargv = {PYTHON}'))
    assert found.runtime == "python"
    for argv in ('["/usr/bin/python3", "-c", "{text}"]', PYTHON.replace(', "-c", "{text}"', "")):
        assert refused(swap(ARGV, f'runtime = "python"\nargv = {argv}')).code is (
            Reason.MANIFEST_INVALID
        )
    assert refused(swap(ARGV, f'runtime = "perl"\n{ARGV}')).code is Reason.MANIFEST_INVALID


@pytest.mark.parametrize("name", ["debian", "debian:12", "debian@sha256:00", "sha256:xyz"])
def test_an_image_is_named_by_its_digest(name: str) -> None:
    """An image's id or digest is taken; a tag, which can be moved, is not."""
    good = "sha256:" + "0" * 64
    assert parse(swap(ARGV, f'image = "{good}"\n{ARGV}')).image == good
    assert refused(swap(ARGV, f'image = "{name}"\n{ARGV}')).code is Reason.MANIFEST_INVALID

"""The manifest of an agent: strict, bounded, and an identity by its bytes."""

import pytest

from daemon.errors import BadRequest
from daemon.identity.agent_manifest import (
    MAX_BYTES,
    Declared,
    manifest_digest,
    parse_agent_manifest,
)
from daemon.identity.enrolment import agent_id
from identity.errors import NamingError

MANIFEST = """\
name = "build"
version = "1.2"
summary = "builds what is asked for"
code = [{ path = "src/main.py", sha256 = "%s" }]

[configuration]
model = "large"
limits = { calls = 3 }

[capabilities]
toolsets = ["builtin"]
tools = ["read_file"]
secrets = ["secret://global/deploy_key"]
hosts = ["api.example.com", "10.0.0.1"]
""" % ("0" * 64)


def test_a_manifest_is_read_whole() -> None:
    """Every key arrives; capabilities become sets."""
    found = parse_agent_manifest(MANIFEST.encode())
    assert (found.name, found.version) == ("build", "1.2")
    assert [code.path for code in found.code] == ["src/main.py"]
    declared = Declared.of(found.capabilities)
    assert declared.toolsets == {"builtin"}
    assert declared.tools == {"read_file"}
    assert declared.secrets == {"secret://global/deploy_key"}
    assert declared.hosts == {"api.example.com", "10.0.0.1"}


def test_what_is_not_declared_is_nothing() -> None:
    """A manifest without capabilities allows nothing: an empty list is no open door."""
    text = MANIFEST[: MANIFEST.index("[capabilities]")]
    declared = Declared.of(parse_agent_manifest(text.encode()).capabilities)
    assert declared == Declared()
    assert not declared.covers_tool("read_file", frozenset({"builtin"}))


def test_a_configuration_may_be_a_digest() -> None:
    """One of SHA-256's form, or a table."""
    digest = f'configuration = "{"f" * 64}"\n'
    text = MANIFEST[: MANIFEST.index("[configuration]")] + digest
    assert parse_agent_manifest(text.encode()).configuration == "f" * 64


@pytest.mark.parametrize(
    ("found", "instead", "key"),
    [
        ("version", "versoin", "version"),
        ('tools = ["read_file"]', "tolls = []", "capabilities.tolls"),
        ('tools = ["read_file"]', 'tools = ["Read_file"]', "capabilities.tools.0"),
        ('tools = ["read_file"]', 'tools = ["*"]', "capabilities.tools.0"),
        ('tools = ["read_file"]', 'tools = "read_file"', "capabilities.tools"),
        ('tools = ["read_file"]', 'tools = ["a", "a"]', "capabilities.tools"),
        ("secret://global/", "secret://everywhere/", "capabilities.secrets.0"),
        ("secret://global/", "secret://agent/../", "capabilities.secrets.0"),
        ('"10.0.0.1"', '"010.0.0.1"', "capabilities.hosts.1"),
        ('"10.0.0.1"', '"Example.com"', "capabilities.hosts.1"),
        ('"10.0.0.1"', '"*.example.com"', "capabilities.hosts.1"),
        ('name = "build"', 'name = "Build"', "name"),
        ('name = "build"', 'name = "build\\n"', "name"),
        ('name = "build"', f'name = "{"b" * 41}"', "name"),
        ('name = "build"', 'name = "a/b"', "name"),
        ('name = "build"', "name = 1", "name"),
        ("builds what", "builds\\u001b[2J what", "summary"),
        ("src/main.py", "../main.py", "code.0.path"),
        ("src/main.py", "/main.py", "code.0.path"),
        ("0" * 64, "0" * 63, "code.0.sha256"),
        ("0" * 64, "A" * 64, "code.0.sha256"),
        ("code = [", "code = [] #", "code"),
        ("[configuration]", "[configuration_]", "configuration_"),
        ("[configuration]", 'configuration = "md5"\n[more]', "configuration"),
    ],
)
def test_what_is_not_in_its_form_is_refused_by_key(found: str, instead: str, key: str) -> None:
    """Unknown keys, other types, other spellings and wildcards are refused, and named."""
    assert found in MANIFEST
    with pytest.raises(BadRequest) as caught:
        parse_agent_manifest(MANIFEST.replace(found, instead, 1).encode())
    assert caught.value.code == "AGENT_MANIFEST_INVALID"
    assert f"manifest: {key}" in caught.value.message
    assert caught.value.fix


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xfe",
        b"name = ",
        b'{"name": "build"}',
        b"a = " + b"[" * 20_000,
        b"#" * (MAX_BYTES + 1),
        MANIFEST.encode() + b'\nname = "twice"',
        MANIFEST.encode().replace(b"\n\n", b"\n\x00\n", 1),
    ],
)
def test_bytes_that_are_no_manifest_are_refused(data: bytes) -> None:
    """Whatever the bytes are, the answer is the same one fault."""
    with pytest.raises(BadRequest) as caught:
        parse_agent_manifest(data)
    assert caught.value.code == "AGENT_MANIFEST_INVALID"


def test_any_change_is_another_agent() -> None:
    """The id carries the digest of the bytes: even a comment makes another one."""
    device = "dev-abcdefghijklmnop"
    first = manifest_digest(MANIFEST.encode())
    second = manifest_digest(MANIFEST.encode() + b"# \n")
    assert agent_id("build", first, device) == f"build-{first[:12]}-abcdefgh"
    assert agent_id("build", first, device) != agent_id("build", second, device)
    assert agent_id("build", first, device) != agent_id("build", first, "dev-bbcdefghijklmnop")


def test_the_longest_name_still_makes_an_id() -> None:
    """40 characters fit into a name of a certificate; no more are taken."""
    assert len(agent_id("b" * 40, "0" * 64, "dev-" + "a" * 16)) == 62
    with pytest.raises(NamingError):
        agent_id("b" * 42, "0" * 64, "dev-" + "a" * 16)


@pytest.mark.parametrize(
    ("reference", "covered"),
    [
        ("secret://agent/a-1/own", True),
        ("secret://global/declared", True),
        ("secret://agent/a-12/own", False),
        ("secret://agent/a-1", False),
        ("secret://agent//own", False),
        ("secret://global/other", False),
    ],
)
def test_an_agents_own_secrets_need_no_declaration(reference: str, covered: bool) -> None:
    """They are put by its id, which its manifest cannot know; another's stay undeclared."""
    secrets = frozenset({"secret://global/declared"})
    assert Declared(secrets=secrets, agent_id="a-1").covers_secret(reference) == covered
    without = Declared(secrets=secrets)
    assert without.covers_secret(reference) == (reference in secrets)

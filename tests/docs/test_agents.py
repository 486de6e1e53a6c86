"""The examples of docs/agents.md are what the code takes."""

from daemon.identity.agent_manifest import Declared, parse_agent_manifest
from daemon.tools.registry import BUILTIN_TOOLS
from policy.bundle import Bundle
from policy.schema import compose, load_base
from tests.docs.pages import fenced, read

PAGE = read("docs/agents.md")


def test_the_manifest() -> None:
    """The example is a manifest, and declares what it says."""
    found = parse_agent_manifest(fenced(PAGE, "toml")[0].encode())
    declared = Declared.of(found.capabilities)
    assert declared.covers_tool("git_push", frozenset({"local"}))
    assert declared.secrets == {"secret://global/deploy_key"}


def test_the_policies() -> None:
    """The examples fit the schema."""
    tools = {path.name: {"type": "object"} for path in BUILTIN_TOOLS.iterdir() if path.is_dir()}
    Bundle.build({"agents.cedar": fenced(PAGE, "cedar")[0]}, compose(load_base(), tools))

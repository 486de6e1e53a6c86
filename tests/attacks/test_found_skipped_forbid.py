"""A forbid in whose place a remembered answer stood: a call with no arguments ran against it."""

from itertools import product

from stockade.v1 import tool_pb2
from tests.promises.acting import apply
from tests.running import CONFIG, finished, running

TEXTS, FLAGS = "abcdefg", "tuvwxyz"
MANIFEST = """\
name = "deploy"
version = "1"
summary = "s"
argv = ["/usr/bin/echo", "DEPLOYED"]
[risk]
data_sensitivity = 0.1
[input]
type = "object"
"""
# Of each pair the permit compares with a constant and the forbid does not, so that the daemon asks
# about them apart; where neither argument is given both see the same, which is nothing. (Beside the
# default policies one part looks at more.) In which order they look at things is another in each
# process: here one in which some pairs showed it.
POLICY = """\
permit (principal, action == Action::"call_unattended", resource);
permit (principal, action in [Action::"administer", Action::"operate", Action::"review",
    Action::"read", Action::"greet", Action::"run_in_process"], resource);
permit (principal, action == Action::"call", resource == Tool::"deploy")
unless {{ context has arguments.deploy.{text} && context.arguments.deploy.{text} == "prod" }};
@id("only-reviewed")
forbid (principal, action == Action::"call", resource == Tool::"deploy")
unless {{ context has arguments.deploy.{flag} && context.arguments.deploy.{flag} }};
"""


def test_a_forbid_of_missing_arguments_is_never_skipped() -> None:
    """Whichever two arguments a set asks about: a call that gives neither is forbidden."""
    given = [(name, "string") for name in TEXTS] + [(name, "boolean") for name in FLAGS]
    schema = "".join(f'[input.properties.{name}]\ntype = "{kind}"\n' for name, kind in given)
    file = tool_pb2.AddToolRequest.File(path="manifest.toml", content=(MANIFEST + schema).encode())
    with running(CONFIG, PYTHONHASHSEED="1") as daemon, daemon.client() as client:
        client.add_tool([file])
        for text, flag in product(TEXTS, FLAGS):
            apply(client, POLICY.format(text=text, flag=flag), default=False)
            events = list(client.call("deploy", {}))
            assert finished(events).reason == "FORBIDDEN", (text, flag, events)
            assert finished(list(client.call("deploy", {flag: True}))).reason == "SUCCEEDED"

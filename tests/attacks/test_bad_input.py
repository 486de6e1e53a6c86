"""Bad input to a call: denied or refused with its reason, recorded, and nothing runs."""

import json
from pathlib import Path

import grpc
import pytest

from stockade.client import Client, new_call_id
from stockade.errors import Exhausted, NotFound
from stockade.v1 import call_pb2, tool_pb2, tool_pb2_grpc
from tests.attacks import certificates
from tests.attacks.certificates import Presented
from tests.attacks.marks import GOOD, MARK, marking
from tests.attacks.probing import SECONDS, denied, sequence
from tests.running import RunningDaemon, finished, output

MIB = 1024 * 1024


def nested(depth: int) -> bytes:
    """A document nested so deep, inside an otherwise good call."""
    return b'{"command": "%s", "workspace": "work", "x": %s1%s}' % (
        MARK.encode(),
        b"[" * depth,
        b"]" * depth,
    )


TEXT = json.dumps(marking())[1:-1].encode()

BAD_ARGUMENTS: dict[str, tuple[bytes, str]] = {
    "no bytes": (b"", "ARGUMENTS_MALFORMED"),
    "not JSON": (b"command=" + MARK.encode(), "ARGUMENTS_MALFORMED"),
    "an array": (b"[{%b}]" % TEXT, "ARGUMENTS_MALFORMED"),
    "a string": (b'"%s"' % MARK.encode(), "ARGUMENTS_MALFORMED"),
    "null": (b"null", "ARGUMENTS_MALFORMED"),
    "two documents": (b"{%b}{%b}" % (TEXT, TEXT), "ARGUMENTS_MALFORMED"),
    "a byte order mark": (b"\xef\xbb\xbf{%b}" % TEXT, "ARGUMENTS_MALFORMED"),
    "UTF-16": (json.dumps(marking()).encode("utf-16"), "ARGUMENTS_MALFORMED"),
    "Latin-1": (b'{"command": "\xe9", "workspace": "work"}', "ARGUMENTS_MALFORMED"),
    "a lone surrogate": (b'{"command": "\\ud800", "workspace": "work"}', "ARGUMENTS_MALFORMED"),
    "NaN": (b'{%b, "x": NaN}' % TEXT, "ARGUMENTS_MALFORMED"),
    "Infinity": (b'{%b, "x": -Infinity}' % TEXT, "ARGUMENTS_MALFORMED"),
    "a number out of range": (b'{%b, "x": 1e999}' % TEXT, "ARGUMENTS_MALFORMED"),
    "an integer out of range": (b'{%b, "x": 9007199254740993}' % TEXT, "ARGUMENTS_MALFORMED"),
    "a duplicate key": (b'{"command": "true", %b}' % TEXT, "ARGUMENTS_DUPLICATE_KEY"),
    "a duplicate key, spelled otherwise": (
        b'{"\\u0063ommand": "true", %b}' % TEXT,
        "ARGUMENTS_DUPLICATE_KEY",
    ),
    "deep": (nested(33), "ARGUMENTS_TOO_DEEP"),
    "very deep": (nested(100_000), "ARGUMENTS_TOO_LARGE"),
    "many values": (b'{%b, "x": [%b]}' % (TEXT, b"1," * 10_000 + b"1"), "ARGUMENTS_TOO_LARGE"),
    "one byte too many": (
        b"{%b%b}" % (TEXT, b" " * (MIB + 1 - len(TEXT) - 2)),
        "ARGUMENTS_TOO_LARGE",
    ),
    "10 MiB": (
        b'{"command": "%b", "workspace": "work"}' % (b"#" * (10 * MIB)),
        "ARGUMENTS_TOO_LARGE",
    ),
    "not in the schema": (json.dumps(marking(interpreter="bash")).encode(), "ARGUMENTS_INVALID"),
    "in another case": (b'{"Command": "true", "workspace": "work"}', "ARGUMENTS_INVALID"),
    "missing": (b'{"workspace": "work"}', "ARGUMENTS_INVALID"),
    "of another type": (
        b'{"command": ["%s"], "workspace": "work"}' % MARK.encode(),
        "ARGUMENTS_INVALID",
    ),
    "longer than the schema's": (
        json.dumps(marking(command=f"{MARK} #" + "x" * 100_000)).encode(),
        "ARGUMENTS_INVALID",
    ),
    "a workspace by path": (
        json.dumps(marking(workspace="../work")).encode(),
        "ARGUMENTS_INVALID",
    ),
    "a workspace that is not there": (
        json.dumps(marking(workspace="elsewhere")).encode(),
        "UNKNOWN_WORKSPACE",
    ),
}


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("which", BAD_ARGUMENTS)
def test_bad_arguments_are_denied_and_recorded(unhindered: Client, which: str) -> None:
    """Arguments that have not one meaning, or not the tool's, are denied; the denial is signed."""
    arguments, reason = BAD_ARGUMENTS[which]
    before = sequence(unhindered)
    events = list(unhindered.call("run_shell", arguments))
    end = denied(unhindered, events, reason)
    assert sequence(unhindered) == before + 2
    assert MARK not in end.message + end.fix  # the refusal names places and rules, no values


def test_good_arguments_do_run(unhindered: Client, workspace: Path) -> None:
    """The very call that the bad ones above resemble runs: they were denied for what is bad."""
    end = finished(list(unhindered.call("run_shell", marking())))
    assert end.state == call_pb2.CALL_STATE_SUCCEEDED
    (workspace / "it-ran").unlink()


@pytest.mark.usefixtures("untouched")
def test_ten_mebibytes_through_a_raw_stub(shared_daemon: RunningDaemon, unhindered: Client) -> None:
    """Without the client library the refusal is the same: a recorded denial with its reason."""
    arguments = b'{"command": "%b"}' % (b"#" * (10 * MIB))
    request = tool_pb2.CallRequest(call_id=new_call_id(), tool="run_shell", arguments=arguments)
    with certificates.channel(shared_daemon, Presented.of(shared_daemon.home)) as channel:
        events = list(tool_pb2_grpc.ToolServiceStub(channel).Call(request, timeout=SECONDS))
    denied(unhindered, events, "ARGUMENTS_TOO_LARGE")


@pytest.mark.usefixtures("untouched")
def test_a_message_above_the_limit_is_refused_unread(
    shared_daemon: RunningDaemon, unhindered: Client
) -> None:
    """A message larger than any request can be is refused, and the daemon goes on serving."""
    before = sequence(unhindered)
    arguments = b'{"command": "%b"}' % (b"#" * (17 * MIB))
    with pytest.raises(Exhausted) as caught:
        list(unhindered.call("run_shell", arguments))
    assert caught.value.reason == "RESOURCE_EXHAUSTED"
    assert caught.value.fix
    request = tool_pb2.CallRequest(call_id=new_call_id(), tool="run_shell", arguments=arguments)
    with (
        certificates.unbounded_channel(shared_daemon) as channel,
        pytest.raises(grpc.RpcError) as raw,
    ):
        list(tool_pb2_grpc.ToolServiceStub(channel).Call(request, timeout=SECONDS))
    assert raw.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert sequence(unhindered) == before
    assert output(list(unhindered.call("read_file", GOOD))) == b"hello\n"


NAMES = {
    "unknown": "no_such_tool",
    "empty": "",
    "upper case": "RUN_SHELL",
    "one capital": "Run_shell",
    "space before": " run_shell",
    "newline after": "run_shell\n",
    "NUL after": "run_shell\0",
    "fullwidth": "\uff52\uff55\uff4e_shell",
    "Cyrillic": "run_sh\u0435ll",
    "combining": "run_shel\u0301l",
    "zero width": "run\u200b_shell",
    "right to left": "\u202erun_shell",
    "a path": "../builtin/run_shell",
    "a version": "run_shell@1.0.0",
    "Cedar text": 'run_shell" || true || "',
    "very long": "run_shell" * 10_000,
}


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("which", NAMES)
def test_only_a_tools_own_name_is_its_name(unhindered: Client, which: str) -> None:
    """A name that differs in case, space or Unicode is another name, of no tool: denied."""
    events = list(unhindered.call(NAMES[which], marking()))
    denied(unhindered, events, "UNKNOWN_TOOL")
    shown = events[0].received.tool
    assert shown.isascii()
    assert shown.isprintable()
    assert len(shown) <= 64
    with pytest.raises(NotFound) as caught:
        unhindered.get_tool(NAMES[which])
    assert caught.value.reason == "UNKNOWN_TOOL"
    assert caught.value.fix


def test_the_command_line_says_so_too(shared_daemon: RunningDaemon) -> None:
    """Exit status 10, the reason and the fix on standard error; unreadable JSON is usage."""
    answer = shared_daemon.cli("call", "no_such_tool", "--args-json", "{}")
    assert answer.status == 10
    assert "UNKNOWN_TOOL" in answer.err
    assert "fix: " in answer.err
    doubled = '{"path": "hello.txt", "path": "hello.txt", "workspace": "work"}'
    answer = shared_daemon.cli("call", "read_file", "--args-json", doubled)
    assert answer.status in (2, 10)
    assert "DUPLICATE" in answer.err.upper()

"""CEF, by two readers that are not ours: its standard's grammar, and `jc`, which others use."""

import re
from typing import Any

import jc
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ledger.siem import cef_line

from .cef import read_cef
from .specimen import START_MS, uuid7
from .test_siem import KINDS, receipted

PREFIX = "CEF:0|security|threatmanager|1.0|100|"

# The standard's own examples of each character that is escaped, and of those that are not.
EXAMPLES = [
    (
        r"detected a \| in message|10|src=10.0.0.1 act=blocked a | dst=1.1.1.1",
        "detected a | in message",
        {"src": "10.0.0.1", "act": "blocked a |", "dst": "1.1.1.1"},
    ),
    (
        r"detected a \\ in packet|10|src=10.0.0.1 act=blocked a \\ dst=1.1.1.1",
        "detected a \\ in packet",
        {"src": "10.0.0.1", "act": "blocked a \\", "dst": "1.1.1.1"},
    ),
    (
        r"detected a = in message|10|src=10.0.0.1 act=blocked a \= dst=1.1.1.1",
        "detected a = in message",
        {"src": "10.0.0.1", "act": "blocked a =", "dst": "1.1.1.1"},
    ),
    (
        r"Detected a threat. No action needed|10|src=10.0.0.1 msg=Detected a threat.\nNo action.",
        "Detected a threat. No action needed",
        {"src": "10.0.0.1", "msg": "Detected a threat.\nNo action."},
    ),
]


@pytest.mark.parametrize(("line", "name", "fields"), EXAMPLES)
def test_the_reader_reads_the_examples_of_the_standard(
    line: str, name: str, fields: dict[str, str]
) -> None:
    """So that what it says of our lines counts."""
    header, found = read_cef(PREFIX + line)
    assert header == ["CEF:0", "security", "threatmanager", "1.0", "100", name, "10"]
    assert found == fields


@pytest.mark.parametrize(
    "line",
    [
        r"a\=b|5|src=1",
        "a|5|src=1=2",
        r"a|5|msg=a\tb",
        r"a|5|msg=a\|b",
        "a|5|msg=a\\",
        "a|5|a=1 a=2",
        "a|5| =1",
        "a|5|msg=a\nb=c",
        "a|11|msg=a",
        "a",
    ],
)
def test_the_reader_refuses_what_is_no_cef(line: str) -> None:
    """An escape that there is not, an equals sign or a backslash alone, a key that comes twice."""
    with pytest.raises(ValueError, match=r"[a-z]"):
        read_cef(PREFIX + line)


TEXT = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from('|\\= \n\r"'), min_size=1)


def shown(text: str) -> str:
    """What a reader gets of a text: all of it, but of what cannot be printed a space."""
    return "".join(c if c.isprintable() or c in "\r\n" else " " for c in text)


@given(message=TEXT, principal=TEXT, tool=TEXT, reason=TEXT)
@example(message="\\", principal="\\=", tool="=\\", reason="\\n")
@example(message=" cn1=9", principal="a=b |", tool="x\\\\|y ", reason=" ")
def test_each_value_comes_out_as_it_went_in(
    message: str, principal: str, tool: str, reason: str
) -> None:
    """Whatever callers choose, by the grammar; and there is no field more."""
    body = {"message": message, "principal": principal, "tool": tool, "reason": reason}
    header, fields = read_cef(cef_line(*receipted("call.denied", body)))
    assert header == ["CEF:0", "Stockade", "stockade", "1", "call.denied", "call.denied", "5"]
    told = {"msg": message, "suser": principal, "cs2": tool, "reason": reason}
    assert {name: fields[name] for name in told} == {n: shown(v) for n, v in told.items()}
    assert set(fields) == {
        *(*told, "cs2Label", "rt", "externalId", "act", "outcome"),
        *("cn1", "cn1Label", "cs3", "cs3Label", "cs4", "cs4Label"),
    }


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_receipt_is_cef(kind: str) -> None:
    """By the grammar, with all that receipts have and with nothing."""
    whole = {"principal": "device/1", "tool": "t", "message": "m", "origin": "ipv4:192.0.2.7:5"}
    for body in ({}, whole):
        header, fields = read_cef(cef_line(*receipted(kind, body)))
        assert (header[4], fields["act"], fields["rt"]) == (kind, kind, str(START_MS))


@given(message=st.from_regex(r"[a-z|=\"' .:/-]{1,40}", fullmatch=True).filter(str.strip))
def test_jc_reads_what_was_written(message: str) -> None:
    """A reader in use, for values without backslashes, which it undoes in an order of its own."""
    body: dict[str, Any] = {"message": message.strip(), "principal": "agent/a", "call": uuid7(9)}
    found: Any = jc.parse("cef", cef_line(*receipted("call.succeeded", body)), quiet=True)
    [event] = found
    assert (event["deviceVendor"], event["name"]) == ("Stockade", "call.succeeded")
    assert (event["CEFVersion"], event["agentSeverityNum"], event["sequence"]) == (0, 2, 1)
    assert re.sub(r"\s+", " ", event["msg"]) == re.sub(r"\s+", " ", message.strip())
    assert (event["suser"], event["call"]) == ("agent/a", uuid7(9))

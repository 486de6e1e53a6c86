"""One receipt, one line, whatever is in it; and what a reader of the format reads is what was."""

import json
import re
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ledger.chain import Chain, Entry
from ledger.export import encode_line, parse_line
from ledger.receipt import Receipt, parse_time
from ledger.siem import cef_line, ocsf_line

from .specimen import KEYS, START_MS, uuid7

NASTY = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)


def receipted(kind: str, body: dict[str, Any]) -> tuple[Receipt, Entry]:
    chain = Chain(KEYS.chain, KEYS.signer(), None)
    entry = chain.append(kind, body, receipt_id=uuid7(1), now_ms=START_MS)
    line = parse_line(encode_line(entry))
    return line.receipt, line.entry


def read_cef(line: str) -> tuple[list[str], dict[str, str]]:
    """CEF as its specification has it read: unescaped pipes part the header, then key=value."""
    header = re.split(r"(?<!\\)(?:\\\\)*\|", line, maxsplit=7)
    fields = re.findall(r"(?:^| )([A-Za-z0-9]+)=((?:\\.|[^\\=])*)(?=$| [A-Za-z0-9]+=)", header[7])
    undone = {r"\\": "\\", r"\=": "=", r"\n": "\n", r"\r": "\r"}
    return header[:7], {
        name: re.sub(r"\\[\\=nr]", lambda found: undone[found[0]], value) for name, value in fields
    }


def test_a_denied_call_in_cef() -> None:
    """Header and fields by their names."""
    receipt, entry = receipted(
        "call.denied",
        {
            "call": uuid7(9),
            "principal": "device/1",
            "tool": "run_shell",
            "reason": "NO_PERMIT",
            "message": "a|b=c\\d\nsecond",
            "origin": "ipv4:192.0.2.7:5000",
        },
    )
    header, fields = read_cef(cef_line(receipt, entry))
    assert header == ["CEF:0", "Stockade", "stockade", "1", "call.denied", "call.denied", "5"]
    assert fields["msg"] == "a|b=c\\d\nsecond"
    assert (fields["rt"], fields["externalId"]) == (str(START_MS), uuid7(1))
    assert (fields["suser"], fields["outcome"]) == ("device/1", "failure")
    assert (fields["src"], fields["spt"], fields["cn1"]) == ("192.0.2.7", "5000", "1")
    assert (fields["cs1Label"], fields["cs1"]) == ("call", uuid7(9))
    assert (fields["cs3Label"], fields["cs3"]) == ("digest", entry.digest.hex())


@given(message=NASTY, principal=NASTY, tool=NASTY)
def test_a_line_is_one_line(message: str, principal: str, tool: str) -> None:
    """No receipt can forge a second event, a field, or a header."""
    body = {"message": message, "principal": principal, "tool": tool}
    receipt, entry = receipted("call.received", body)
    cef, ocsf = cef_line(receipt, entry), ocsf_line(receipt, entry)
    assert len(cef.splitlines()) == len(ocsf.splitlines()) == 1
    assert cef.isprintable()
    header, fields = read_cef(cef)
    assert header[4] == "call.received"
    assert fields["cn1"] == "1"
    assert set(fields) <= {
        *("rt", "externalId", "act", "suser", "msg", "cn1", "cn1Label"),
        *("cs2", "cs2Label", "cs3", "cs3Label", "cs4", "cs4Label"),
    }
    event = json.loads(ocsf)
    assert event["unmapped"]["body"] == body
    assert event["actor"] == {"user": {"uid": principal}}


def test_ocsf_has_what_its_class_requires() -> None:
    """API Activity, 1.6.0: the required attributes, and a type that follows from the class."""
    for kind, status, severity in (
        ("call.denied", 2, 3),
        ("call.succeeded", 1, 1),
        ("rpc.refused", 2, 4),
        ("ledger.exported", 0, 1),
    ):
        receipt, entry = receipted(kind, {"origin": "ipv6:[2001:db8::1]:99"})
        event = json.loads(ocsf_line(receipt, entry))
        assert {"activity_id", "actor", "api", "category_uid", "class_uid", "metadata"} <= set(
            event
        )
        assert {"severity_id", "src_endpoint", "time", "type_uid"} <= set(event)
        assert event["type_uid"] == event["class_uid"] * 100 + event["activity_id"] == 600399
        assert {"product", "version"} <= set(event["metadata"])
        assert event["time"] == parse_time(receipt.time)
        assert (event["status_id"], event["severity_id"]) == (status, severity)
        assert event["src_endpoint"] == {"ip": "2001:db8::1", "port": 99}

"""One receipt, one line, whatever is in it; and what a reader of the format reads is what was."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

from ledger.chain import Chain, Entry
from ledger.export import encode_line, parse_line
from ledger.receipt import Receipt, parse_time
from ledger.siem import cef_line, ocsf_line

from .cef import read_cef
from .specimen import KEYS, START_MS, uuid7

# Every word in the daemon's sources that has the form of a kind: the kinds, and some more.
KINDS = sorted(
    {
        kind
        for file in (Path(__file__).parents[2] / "daemon").rglob("*.py")
        for kind in re.findall(r'"([a-z_]+\.[a-z_]+)"', file.read_text())
    }
)
NASTY = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)


def receipted(kind: str, body: dict[str, Any]) -> tuple[Receipt, Entry]:
    chain = Chain(KEYS.chain, KEYS.signer(), None)
    entry = chain.append(kind, body, receipt_id=uuid7(1), now_ms=START_MS)
    line = parse_line(encode_line(entry))
    return line.receipt, line.entry


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


def valid_ocsf() -> Draft202012Validator:
    """Of class 6003, as version 1.6.0 of the schema has it; nothing that it does not have."""
    schema = OcsfJsonSchemaEmbedded(get_ocsf_schema(version="1.6.0"))
    name = schema.lookup_class_name_from_uid(class_uid=6003)
    return Draft202012Validator(schema.get_class_schema(class_name=name, profiles=[]))


OCSF = valid_ocsf()


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_receipt_is_valid_ocsf(kind: str) -> None:
    """By the schema that OCSF publishes, whatever of what receipts have is there."""
    whole = {
        "call": uuid7(9),
        "principal": "device/1",
        "tool": "run_shell",
        "reason": "NO_PERMIT",
        "message": "said",
        "origin": "ipv4:192.0.2.7:5000",
        "answer": "reject",
    }
    for body in ({}, whole, *({name: value} for name, value in whole.items())):
        OCSF.validate(json.loads(ocsf_line(*receipted(kind, body))))


@given(message=NASTY, principal=NASTY, tool=NASTY, origin=NASTY)
def test_nothing_in_a_receipt_makes_it_another_event(
    message: str, principal: str, tool: str, origin: str
) -> None:
    """What callers choose stays a value of a field of its type."""
    body = {"message": message, "principal": principal, "tool": tool, "origin": origin}
    OCSF.validate(json.loads(ocsf_line(*receipted("call.received", body))))


def test_the_validator_refuses_what_is_no_event() -> None:
    """Each of what the class requires has to be there, and nothing else."""
    event = json.loads(ocsf_line(*receipted("call.received", {})))
    for name in ("activity_id", "actor", "api", "metadata", "severity_id", "src_endpoint", "time"):
        assert not OCSF.is_valid({key: value for key, value in event.items() if key != name})
    assert not OCSF.is_valid({**event, "extra": 1})
    assert not OCSF.is_valid({**event, "class_uid": 6004})


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

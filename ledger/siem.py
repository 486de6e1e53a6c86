"""Receipts as security tools read them: CEF and OCSF, one line each.

Trusted to give each receipt one line that its reader cannot take for two, whatever is in it. These
lines carry the receipt's digest and nothing that verifies by itself: keep the export for that.
Raises nothing for a receipt that `ledger.receipt` accepted.

CEF: header fields with backslash and pipe escaped, extension values with backslash, equals sign and
line ends. OCSF: class API Activity (6003) of version 1.6.0; what has no place there is `unmapped`.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from ledger.chain import Entry
from ledger.receipt import Receipt, parse_time

_PRODUCT: Final = "Stockade"
_OCSF: Final = "1.6.0"
_CATEGORY, _CLASS, _OTHER = 6, 6003, 99
_FAILED: Final = re.compile(
    r".*[.](denied|rejected|refused|expired|failed|timed_out|killed|interrupted|damaged|void)"
)
_DONE: Final = re.compile(r"call[.](permitted|succeeded)|.*[.](put|applied|paired|enrolled|added)")
_ALARMING: Final = re.compile(r".*[.](refused|damaged|void|rollback_accepted|file_absent)")
_ORIGIN: Final = re.compile(r"ipv[46]:(?:\[([0-9a-f:.]+)\]|([0-9.]+)):([0-9]{1,5})")


def cef_line(receipt: Receipt, entry: Entry) -> str:
    """The receipt in the Common Event Format, version 0."""
    body, (host, port) = receipt.body, _origin(receipt.body)
    severity = 7 if _ALARMING.fullmatch(receipt.kind) else 5 if _failed(receipt) else 2
    header = ("CEF:0", _PRODUCT, "stockade", "1", receipt.kind, receipt.kind, str(severity))
    fields = {
        "rt": parse_time(receipt.time),
        "externalId": receipt.receipt_id,
        "act": receipt.kind,
        "outcome": {1: "success", 2: "failure"}.get(_status(receipt), ""),
        "suser": body.get("principal"),
        "reason": body.get("reason"),
        "msg": body.get("message"),
        "src": host,
        "spt": port,
        "cn1Label": "sequence",
        "cn1": receipt.sequence,
        **_labelled(
            {
                "call": body.get("call"),
                "tool": body.get("tool"),
                "digest": entry.digest.hex(),
                "chain": receipt.chain,
                "policy": body.get("policy_digest"),
                "tier": body.get("tier"),
            }
        ),
    }
    extension = " ".join(
        f"{name}={_extension(value)}" for name, value in fields.items() if value not in (None, "")
    )
    return "|".join((*map(_header, header), extension))


def ocsf_line(receipt: Receipt, entry: Entry) -> str:
    """The receipt as an OCSF event."""
    body, (host, port) = receipt.body, _origin(receipt.body)
    principal = body.get("principal")
    event: dict[str, Any] = {
        "activity_id": _OTHER,
        "activity_name": receipt.kind,
        "actor": {"user": {"uid": principal}} if principal else {"app_name": "stockaded"},
        "api": {"operation": body.get("tool") or receipt.kind},
        "category_uid": _CATEGORY,
        "class_uid": _CLASS,
        "message": body.get("message") or receipt.kind,
        "metadata": {
            "correlation_uid": body.get("call"),
            "event_code": receipt.kind,
            "log_name": receipt.chain,
            "original_time": receipt.time,
            "product": {"name": _PRODUCT, "vendor_name": _PRODUCT},
            "sequence": receipt.sequence,
            "uid": receipt.receipt_id,
            "version": _OCSF,
        },
        "severity_id": 4 if _ALARMING.fullmatch(receipt.kind) else 3 if _failed(receipt) else 1,
        "src_endpoint": {"ip": host, "port": port} if host else {"name": "stockaded"},
        "status_code": body.get("reason"),
        "status_id": _status(receipt),
        "time": parse_time(receipt.time),
        "type_uid": _CLASS * 100 + _OTHER,
        "unmapped": {"body": body, "digest": entry.digest.hex(), "prev": receipt.prev.hex()},
    }
    # ASCII: no reader takes U+2028 or the like for the end of a line.
    return json.dumps(_without_nothing(event), separators=(",", ":"), ensure_ascii=True)


def _failed(receipt: Receipt) -> bool:
    return _FAILED.fullmatch(receipt.kind) is not None


def _status(receipt: Receipt) -> int:
    """OCSF: 1 success, 2 failure, 0 neither."""
    if _failed(receipt) or receipt.body.get("answer") == "reject":
        return 2
    return 1 if _DONE.fullmatch(receipt.kind) else 0


def _origin(body: Mapping[str, object]) -> tuple[str, int | None]:
    found = _ORIGIN.fullmatch(str(body.get("origin", "")))
    return ("", None) if found is None else (found[1] or found[2], int(found[3]))


def _labelled(values: Mapping[str, object]) -> dict[str, object]:
    """CEF's custom strings: cs1 to cs6, each with its label."""
    fields: dict[str, object] = {}
    for number, (label, value) in enumerate(values.items(), 1):
        if value:
            fields |= {f"cs{number}Label": label, f"cs{number}": value}
    return fields


def _without_nothing(event: dict[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in event.items() if value is not None}
    kept["metadata"] = {k: v for k, v in event["metadata"].items() if v is not None}
    return kept


def _header(text: str) -> str:
    return _one_line(text.replace("\\", "\\\\").replace("|", "\\|"))


def _extension(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return _one_line(text.replace("\\", "\\\\").replace("=", "\\="))


def _one_line(text: str) -> str:
    """Line ends as CEF has them, other control characters as spaces."""
    text = text.replace("\r", "\\r").replace("\n", "\\n")
    return "".join(one if one.isprintable() else " " for one in text)

"""The daemon's messages as JSON for programs: one form for every command's `--json`.

Field names are those of the protocol. Times are RFC 3339, enumerations their lower-case names
without the prefix, whole numbers are numbers, unset optional fields are null. Documents that are
JSON themselves (statements, receipts, schemas) are nested; digests and signatures are hex; other
bytes are base64. The member of a oneof is flattened, its name under "event". ASCII only, so that no
terminal obeys it. Raises nothing.
"""

import base64
import json
import sys
from collections.abc import Callable, Mapping
from typing import Any

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp


def emit(value: object) -> None:
    """One JSON document on one line of standard output, at once."""
    content = plain(value) if isinstance(value, Message) else value
    sys.stdout.write(json.dumps(content, ensure_ascii=True) + "\n")
    sys.stdout.flush()


def plain(message: Message) -> dict[str, Any]:
    """A message as plain values."""
    fields: dict[str, Any] = {}
    for field in message.DESCRIPTOR.fields:
        inside_oneof = field.containing_oneof
        if inside_oneof is not None and len(inside_oneof.fields) > 1:
            if message.HasField(field.name):
                fields["event"] = field.name
                fields.update(_value(field, getattr(message, field.name)))
            continue
        if field.has_presence and not message.HasField(field.name):
            fields[field.name] = None
        elif field.is_repeated:
            fields[field.name] = [_value(field, item) for item in getattr(message, field.name)]
        else:
            fields[field.name] = _value(field, getattr(message, field.name))
    return fields


def _enum_name(enum: Any, number: int) -> str:
    """CALL_STATE_TIMED_OUT of CallState as "timed_out"."""
    value = enum.values_by_number.get(number)
    if value is None:
        return str(number)
    prefix = "".join("_" + c if c.isupper() else c for c in enum.name).strip("_").upper() + "_"
    return str(value.name).removeprefix(prefix).lower()


def _value(field: Any, value: Any) -> Any:  # a descriptor; two classes of them share no base
    if isinstance(value, Timestamp):
        return value.ToJsonString() if value.ByteSize() else None
    if isinstance(value, Message):
        return plain(value)
    if field.enum_type is not None:
        return _enum_name(field.enum_type, value)
    if isinstance(value, bytes):
        return _BYTES.get(field.full_name.removeprefix("stockade.v1."), _base64)(value)
    return value


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode()


def _document(value: bytes) -> Any:
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return _base64(value)


_BYTES: Mapping[str, Callable[[bytes], Any]] = {
    "Approval.statement": _document,
    "Lease.terms": _document,
    "ExplainPolicyResponse.arguments": _document,
    "Explanation.entities": _document,
    "Explanation.risk_inputs": _document,
    "GetPolicyResponse.entities": _document,
    "PolicyQuestion.context": _document,
    "Receipt.canonical": _document,
    "Receipt.digest": bytes.hex,
    "Receipt.signature": bytes.hex,
    "Tool.input_schema": _document,
}

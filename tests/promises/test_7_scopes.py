"""Promise 7, whose a secret is and how large it may be: at a daemon, whatever policy grants."""

import hashlib
import json
from collections.abc import Iterator

import pytest

from stockade.client import Client
from stockade.errors import StockadeError
from stockade.v1 import call_pb2
from tests.promises.acting import ALONE, apply, python_tool, run
from tests.running import finished, local_device, output

GRANT = 'permit (principal, action == Action::"use_secret", resource);'
LENGTH = "import os\nprint(len(os.environb[b'IT']))\n"
DENIED = call_pb2.CALL_STATE_DENIED


def wants(reference: str) -> str:
    return f'[[secrets]]\nreference = "{reference}"\nenv = "IT"\n'


@pytest.fixture(scope="module", autouse=True)
def _granted(owner: Client) -> Iterator[None]:
    """Every secret, to everybody, for every tool."""
    apply(owner, ALONE + GRANT)
    yield
    apply(owner, "")


def test_a_devices_secret_is_its_alone(owner: Client, caller: Client) -> None:
    """Another device is refused it by the same tool, before anything starts."""
    reference = f"secret://device/{local_device(owner).device_id}/own"
    owner.put_secret(reference, b"twelve-bytes")
    python_tool(owner, "of_a_device", LENGTH, rest=wants(reference))
    assert output(run(owner, "of_a_device")) == b"12\n"
    events = run(caller, "of_a_device")
    end = finished(events)
    assert (end.state, end.reason) == (DENIED, "SECRET_OUT_OF_SCOPE")
    assert not any(event.HasField("started") for event in events)


def test_a_tools_secret_is_its_alone(owner: Client) -> None:
    """Another tool that names it is refused."""
    reference = "secret://tool/of_a_tool/own"
    owner.put_secret(reference, b"twelve-bytes")
    python_tool(owner, "of_a_tool", LENGTH, rest=wants(reference))
    python_tool(owner, "of_another", LENGTH, rest=wants(reference))
    assert output(run(owner, "of_a_tool")) == b"12\n"
    end = finished(run(owner, "of_another"))
    assert (end.state, end.reason) == (DENIED, "SECRET_OUT_OF_SCOPE")


def test_the_largest_value_reaches_a_tool_whole(owner: Client) -> None:
    """65,536 bytes as a variable and as a file; 65,537 are refused, and leave what there was."""
    value = bytes(1 + number % 255 for number in range(65_536))
    reference = "secret://global/largest"
    owner.put_secret(reference, value)
    with pytest.raises(StockadeError) as refused:
        owner.put_secret(reference, value + b"x")
    assert refused.value.reason == "VALUE_TOO_LARGE"
    rest = wants(reference) + f'[[secrets]]\nreference = "{reference}"\nfile = "it"\n'
    code = (
        "import hashlib, os\nfile = open('/run/secrets/it', 'rb').read()\n"
        "for it in (os.environb[b'IT'], file):\n    print(hashlib.sha256(it).hexdigest()[::-1])\n"
    )
    python_tool(owner, "takes_much", code, rest=rest)
    digest = hashlib.sha256(value).hexdigest()[::-1].encode()
    assert output(run(owner, "takes_much")) == digest + b"\n" + digest + b"\n"


def test_a_value_as_json_writes_it_is_redacted(owner: Client) -> None:
    """With quotes, a backslash, a tab, a newline and a letter that JSON may write as an escape."""
    value = 'j"s\\on\tTt\n\u00e9-Kk73'
    owner.put_secret("secret://global/as_json", value.encode())
    code = (
        "import json, os\nit = os.environ['IT']\n"
        "print(json.dumps({'a': it}))\nprint(json.dumps([it], ensure_ascii=False))\n"
    )
    python_tool(owner, "speaks_json", code, rest=wants("secret://global/as_json"))
    events = run(owner, "speaks_json")
    assert output(events) == b'{"a": "[redacted:as_json]"}\n["[redacted:as_json]"]\n'
    assert "Kk73" not in json.dumps(str(events))
    assert finished(events).redactions == 2

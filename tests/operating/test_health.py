"""The daemon says of itself that it does not serve, while it does not; and that it does again."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from grpc_health.v1 import health_pb2

from stockade.client import Client
from stockade.errors import Unavailable
from tests.attacks.test_disk import small as small
from tests.daemon.store.test_faults import fill
from tests.promises.acting import ALONE, apply, entries, export, run, until
from tests.running import CONFIG, RunningDaemon, finished, running

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


def checked(client: Client, service: str = "") -> int:
    """What a health check is told."""
    check: Any = client._connection._switch.unary_unary(
        "/grpc.health.v1.Health/Check",
        request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
        response_deserializer=health_pb2.HealthCheckResponse.FromString,
    )
    request = health_pb2.HealthCheckRequest(service=service)
    answer: health_pb2.HealthCheckResponse = client._connection.ask(check, request)
    return int(answer.status)


@contextmanager
def requiring(*tiers: str) -> Iterator[RunningDaemon]:
    listed = ", ".join(f'"{tier}"' for tier in tiers)
    with running(f"{CONFIG}[sandbox]\nrequired_tiers = [{listed}]\n") as daemon:
        yield daemon


def test_a_ledger_that_cannot_be_written_is_not_served_on(small: RunningDaemon) -> None:
    """A full disk: not serving, with the reason, everywhere; with room again it mends by itself."""
    ballast = small.home.data / "ballast"
    small.start()
    with small.client() as client:
        apply(client, ALONE)
        assert (checked(client), client.status().health) == (SERVING, "ok")
        fill(ballast)
        with pytest.raises(Unavailable, match="STORE_FULL"):
            run(client, "run_shell", command="true")

        def is_said_everywhere() -> bool:
            # The daemon lets go of some room, and is well again as soon as a receipt finds it.
            fill(ballast)
            with suppress(Unavailable):
                run(client, "run_shell", command="true")
            found = small.cli("doctor", "--json").lines()
            bad = {one["what"] for one in found if one.get("ok") is False}
            return (
                checked(client) == checked(client, "stockade.v1.ToolService") == NOT_SERVING
                and client.status().health.startswith("STORE_FULL: ")
                and "DOES NOT SERVE: STORE_FULL" in small.cli("status").out
                and {"health", "disk"} <= bad
            )

        assert until(is_said_everywhere)
        ballast.unlink()
        # Nobody writes anything meanwhile: it finds out by itself, and records that.
        assert until(lambda: checked(client) == SERVING)
        assert client.status().health == "ok"
        recovered = [one for one in entries(export(client)) if one["kind"] == "store.recovered"]
        # Where the disk takes longer than it is waited for, that is tried, and recorded, again.
        assert {one["body"]["reason"] for one in recovered} == {"STORE_FULL"}
        assert finished(run(client, "run_shell", command="true")).reason == "SUCCEEDED"


def test_a_required_tier_that_does_not_work_is_not_served_without() -> None:
    """The operator requires gVisor and there is none: not serving, named; process calls go on."""
    with requiring("process", "gvisor") as daemon, daemon.client() as client:
        apply(client, ALONE)
        assert until(lambda: client.status().health.startswith("TIER_UNAVAILABLE: the gvisor"))
        assert checked(client) == NOT_SERVING
        assert finished(run(client, "run_shell", command="true")).reason == "SUCCEEDED"


def test_no_tier_is_required_that_is_not_named() -> None:
    """Without any, it serves whatever works."""
    with requiring() as daemon, daemon.client() as client:
        assert (checked(client), client.status().health) == (SERVING, "ok")


@pytest.mark.parametrize("value", ['["vm"]', '"process"', "[1]"])
def test_an_unknown_tier_cannot_be_required(value: str) -> None:
    """A typo must not become a requirement that is never met, or none."""
    with (
        pytest.raises(AssertionError, match="required_tiers"),
        running(f"{CONFIG}[sandbox]\nrequired_tiers = {value}\n"),
    ):
        pass

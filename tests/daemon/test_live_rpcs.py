"""Whoever cuts RPCs can wait until their clients were told, and does not wait for ever."""

from dataclasses import replace

import anyio

from daemon.identity.devices import device_revoked
from daemon.principal import Principal
from daemon.rpc.live_rpcs import LiveRpcs
from tests.daemon.judging import device

ONE, OTHER = device("a"), device("b")


def of_one(principal: Principal) -> bool:
    return principal.device_id == ONE.device_id


def test_a_cut_is_waited_for_until_its_clients_were_told() -> None:
    """That an RPC ended is not yet it, and another's RPC is not waited for."""

    async def main() -> None:
        live, waited = LiveRpcs(8), anyio.Event()

        async def wait() -> None:
            await live.left(of_one)
            waited.set()

        async with anyio.create_task_group() as group:
            live.hold(OTHER)
            rpc = live.hold(ONE)
            assert live.cut(of_one, device_revoked()) == 1
            group.start_soon(wait)
            with rpc.scope:
                await anyio.sleep_forever()
            await anyio.wait_all_tasks_blocked()
            assert not waited.is_set()
            live.release(rpc)
            await anyio.wait_all_tasks_blocked()
            assert waited.is_set()

    anyio.run(main)


def test_whoever_is_cut_by_its_own_rpc_is_not_waited_for_without_end() -> None:
    """A device that revokes itself asks by an RPC that is one of those that end."""

    async def main() -> None:
        live = LiveRpcs(8)
        live.hold(ONE)
        with anyio.fail_after(60):
            await live.left(of_one)

    anyio.run(main)


def test_what_is_served_is_known_by_its_connection() -> None:
    """From when it is let in until its client was told the end."""

    async def main() -> None:
        live = LiveRpcs(8)
        first, second = (live.hold(replace(ONE, origin=f"ipv4:192.0.2.1:{n}")) for n in (1, 2))
        assert live.origins == {"ipv4:192.0.2.1:1", "ipv4:192.0.2.1:2"}
        live.release(first)
        assert live.origins == {second.principal.origin}

    anyio.run(main)

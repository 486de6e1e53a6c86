"""Calls and the people who are asked about them, put together from their parts.

Trusted to give all of them the same board, the same clock and the same world.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from anyio.abc import TaskGroup

from daemon.calls.answers import Answers
from daemon.calls.aside import Aside
from daemon.calls.board import Board
from daemon.calls.conductor import Conductor
from daemon.calls.engine import Calls
from daemon.calls.escalation import Escalation
from daemon.calls.judge import may_approve
from daemon.calls.live import LiveCall
from daemon.calls.revival import Revival
from daemon.calls.room import Room
from daemon.calls.settlement import Settling
from daemon.calls.signatures import Signatures
from daemon.calls.timing import Timings
from daemon.calls.unsure import Unsure
from daemon.calls.upheld import Upheld
from daemon.contents.keeping import Keeping
from daemon.leases.book import LeaseBook
from daemon.leases.granting import Granting
from daemon.leases.keeping import LeaseKeeper
from daemon.parts import Parts
from daemon.permission import Permission
from daemon.principal import Principal
from daemon.recovery import Recovery

# So many devices are asked about when a caller is told who may approve; policy decides in the end.
MAX_APPROVERS_TOLD = 32


@dataclass(frozen=True, slots=True)
class Asking:
    """See the module."""

    board: Board
    calls: Calls
    aside: Aside
    answers: Answers
    recovery: Recovery
    leases: LeaseKeeper
    escalation: Escalation


def asking(parts: Parts, permission: Permission, group: TaskGroup) -> Asking:
    """All of it."""
    base, config, board = parts.base, parts.base.config, Board()
    keys = base.ledger_keys
    revival = Revival(
        worlds=parts.worlds,
        devices=parts.devices,
        reader=base.reader,
        keys=keys,
        keep_bytes=config.calls.retain_output_kib * 1024,
    )
    signatures = Signatures(lambda: base.authorities.bundle, base.estate.trust_domain)
    book = LeaseBook(parts.devices, signatures, base.clock)
    room = Room(config.calls.max_open)
    aside = Aside(revival, base.reader, base.writer, base.clock, board.changed, room)
    conductor = Conductor(
        config=config,
        writer=base.writer,
        vault=parts.vault.keeper,
        workspaces=parts.workspaces,
        egress=parts.egress,
        sandboxes=parts.tiers.sandboxes,
        clock=base.clock,
        who_may_approve=lambda live: _who_may_approve(parts, live),
        changed=board.changed,
        upheld=Upheld(parts.worlds, parts.devices, book, base.clock),
        judge_again=lambda live, by_leases: calls.judge_again(live, by_leases),
        lease_taken=book.taken,
        keeping=Keeping(
            config.ledger.contents,
            base.reader,
            parts.vault.keeper,
            config.ledger.output_kib * 1024,
        ),
    )
    calls = Calls(
        config=config,
        worlds=parts.worlds,
        vault=parts.vault.keeper,
        conductor=conductor,
        aside=aside,
        room=room,
        leases=book,
        clock=base.clock,
        group=group,
        until_examined=parts.tiers.until_examined,
        timing=Timings(parts.metrics, parts.traces),
    )
    keeper = LeaseKeeper(
        book=book,
        devices=parts.devices,
        reader=base.reader,
        writer=base.writer,
        clock=base.clock,
        keys=keys,
        cancel=calls.cancel_leased,
    )
    granting = Granting(parts.worlds, base.clock, signatures)
    answers = Answers(
        calls=calls,
        settling=Settling(parts.worlds, parts.devices, base.clock, signatures, keys),
        permission=permission,
        reader=base.reader,
        writer=base.writer,
        changed=board.changed,
        unsure=Unsure(base.reader, base.estate.chain_id, group, book.put),
        lease=granting.check,
        leased=book.put,
        until_examined=parts.tiers.until_examined,
    )
    head = base.writer.head
    recovery = Recovery(
        parts.worlds, parts.devices, base.reader, base.writer, base.clock, aside, keeper, head
    )
    escalation = Escalation(
        calls=calls,
        reader=base.reader,
        writer=base.writer,
        clock=base.clock,
        after_seconds=config.approvals.escalate_after_seconds,
        who_may_approve=lambda live: _who_may_approve(parts, live),
        changed=board.changed,
    )
    return Asking(board, calls, aside, answers, recovery, keeper, escalation)


def _who_may_approve(parts: Parts, live: LiveCall) -> list[str]:
    if live.candidate is None:
        return []
    world, now = parts.worlds.current, parts.base.clock.now()
    return [
        principal.device_name
        for principal in islice(_devices(parts), MAX_APPROVERS_TOLD)
        if str(principal) != str(live.principal)
        and may_approve(
            world, live.candidate, live.verdict, now, principal, live.shown.created_ms
        ).allowed
    ]


def _devices(parts: Parts) -> Iterator[Principal]:
    for device in parts.devices.all:
        if device.active:
            principal = parts.devices.as_principal(str(device.row.device_id), "")
            if principal is not None:
                yield principal

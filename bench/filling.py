"""A long ledger as the daemon would have written it: chained and signed, a batch at a time."""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Final

from sqlalchemy import Engine
from uuid_utils.compat import uuid7

from daemon.clock import Clock
from daemon.store import receipts
from daemon.store.engine import writing
from daemon.store.ids import CallId
from daemon.store.receipts import ReceiptRow
from ledger.chain import Chain, Signer

CHAIN: Final = "bench"
PRINCIPALS: Final = 50
KINDS: Final = ("call.received", "call.permitted", "call.started", "call.ended")
_STEP: Final = 20_000


def body_of(call_id: str, number: int) -> dict[str, object]:
    """What one of a call's receipts says."""
    return {
        "call": call_id,
        "principal": f"device/dev-{number % PRINCIPALS:016d}",
        "tool": "run_shell",
        "tool_digest": "ab" * 32,
        "arguments_digest": "cd" * 32,
        "origin": "ipv4:127.0.0.1:50000",
        "detach": False,
    }


def fill(engine: Engine, signer: Signer, length: int) -> None:
    """Append so many receipts to an empty ledger."""
    chain, now_ms = Chain(CHAIN, signer, None), Clock().now_ms
    made = _rows(chain, now_ms, length)
    with writing(engine).connect() as connection:
        while True:
            before = chain.head
            rows, head = list(islice(made, _STEP)), chain.head
            if not rows or head is None:
                return
            with connection.begin():
                receipts.add(connection, CHAIN, rows, after=before, to=head)


def _rows(chain: Chain, now_ms: Callable[[], int], length: int) -> Iterator[ReceiptRow]:
    call_id = ""
    for number in range(length):
        if number % len(KINDS) == 0:
            call_id = str(uuid7())
        body = body_of(call_id, number // len(KINDS))
        kind = KINDS[number % len(KINDS)]
        entry = chain.append(kind, body, receipt_id=str(uuid7()), now_ms=now_ms())
        yield ReceiptRow(CHAIN, entry, CallId(call_id), str(body["principal"]))

"""Kill -9, over and over: what was acknowledged is there, and the chain holds."""

import random
import subprocess
import sys
import time
from pathlib import Path

from sqlalchemy import text

from daemon.store import receipts
from daemon.store.engine import open_engine
from tests.daemon.store.specimen import CHAIN, verified

ROUNDS = 20
CHILD = [sys.executable, "-m", "tests.daemon.store.crash_child"]


def killed(path: Path, run: int, after: float) -> dict[int, str]:
    """Start a writer, kill it, and return what it had acknowledged."""
    with subprocess.Popen([*CHILD, str(path), str(run)], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        first = child.stdout.readline()
        time.sleep(after)
        child.kill()
        rest = child.stdout.read()
    lines = (first + rest).decode().split("\n")[:-1]
    return {int(sequence): name for sequence, name in (line.split(" ") for line in lines)}


def test_no_acknowledged_receipt_is_lost_to_a_kill(path: Path) -> None:
    """Killed at any moment, the daemon loses nothing it has answered for, and forks nothing."""
    moments = random.Random(20)  # noqa: S311 - the same moments in every run
    acknowledged: dict[int, str] = {}
    for run in range(ROUNDS):
        new = killed(path, run, moments.uniform(0, 0.1))
        assert not acknowledged.keys() & new.keys(), "a sequence number was used twice"
        acknowledged |= new
    engine = open_engine(path)
    with engine.connect() as connection:
        stored = {
            row.entry.sequence: str(row.call_id) for row in receipts.stream(connection, CHAIN)
        }
        rows = set(connection.execute(text("SELECT key FROM meta WHERE value = '1'")).scalars())
        assert receipts.head(connection, CHAIN) is not None
    assert len(acknowledged) >= ROUNDS
    assert acknowledged.items() <= stored.items()
    assert set(stored.values()) == rows, "an operation was stored in half"
    assert verified(engine).count == len(stored)
    engine.dispose()

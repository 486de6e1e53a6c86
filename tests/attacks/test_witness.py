"""Another Stockade as a witness: it countersigns what only adds, and remembers what it saw."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from ledger.lineage import parse_lineage
from stockade.client import Client
from stockade.errors import StockadeError
from tests.attacks.test_rolled_back import replace_database, work
from tests.running import CONFIG, RunningDaemon, make_directory, remove_directory, running


@dataclass
class Pair:
    """A ledger, and a daemon that is its witness; both run."""

    own: RunningDaemon
    witness: RunningDaemon

    def countersign(self, name: str = "cosigned") -> tuple[int, str]:
        answer = self.own.cli(
            *("ledger", "countersign", str(self.own.root / name)),
            *("--witness", str(self.witness.root), "--key", str(self.own.home.ledger_keys)),
            *("--witness-key", str(self.witness.home.ledger_keys)),
        )
        return answer.status, answer.out + answer.err


@pytest.fixture
def pair() -> Iterator[Pair]:
    with running() as own:
        keys = own.home.ledger_keys
        witness = RunningDaemon(make_directory(), CONFIG + f'[ledger]\nwitness_for = ["{keys}"]\n')
        try:
            yield Pair(own, witness.start())
        finally:
            witness.stop()
            remove_directory(witness.root)


def test_a_witness_countersigns_what_only_adds(pair: Pair) -> None:
    """Again and again; the export verifies by it, with the witness's keys as well."""
    work(pair.own)
    assert pair.countersign() == pair.countersign()
    work(pair.own)
    status, said = pair.countersign()
    assert (status, "countersigned by" in said) == (0, True)
    exported = pair.own.root / "export"
    assert pair.own.cli("ledger", "export", str(exported)).status == 0
    verify = (
        *("ledger", "verify", str(exported), "--key", str(pair.own.home.ledger_keys)),
        *("--checkpoint", str(pair.own.root / "cosigned"), "--witness"),
    )
    assert pair.own.cli(*verify, str(pair.witness.home.ledger_keys)).status == 0
    # Another's word is not the witness's.
    answer = pair.own.cli(*verify, str(pair.own.home.ledger_keys))
    assert (answer.status, "SIGNATURES" in answer.err) == (1, True)
    tail = pair.witness.cli("ledger", "tail", "--kind", "ledger.countersigned")
    assert tail.out.count("ledger.countersigned") == 3


def test_a_witness_follows_keys_that_were_rotated(pair: Pair) -> None:
    """Those of the ledger and its own, by the first ones; the ones out of use sign nothing more."""
    work(pair.own)
    first = pair.own.root / "first.pub"
    first.write_bytes(pair.own.home.ledger_keys.read_bytes())
    assert pair.countersign()[0] == 0
    with pair.own.client() as client:
        client.rotate_ledger_keys()
    with pair.witness.client() as client:
        client.rotate_ledger_keys()
    assert pair.countersign()[0] == 0
    pair.witness.restart()
    exported = pair.own.root / "export"
    assert pair.own.cli("ledger", "export", str(exported)).status == 0
    answer = pair.own.cli(
        *("ledger", "verify", str(exported), "--key", str(first)),
        *("--checkpoint", str(pair.own.root / "cosigned")),
        *("--witness", str(pair.witness.home.ledger_keys)),
    )
    assert answer.status == 0, answer.err
    # Without being told of the rotation, the witness knows it; of another one it knows nothing.
    chain = parse_lineage(first.read_bytes()).chain
    work(pair.own)
    with Client.open(pair.own.home) as own, Client.open(pair.witness.home) as there:
        seen = there.countersign_checkpoint(chain).size
        newer = own.checkpoint_since(seen)
        assert there.countersign_checkpoint(
            chain, newer.checkpoint, seen, newer.consistency
        ).cosignature
        with pytest.raises(StockadeError) as refused:
            there.countersign_checkpoint(
                chain, b"", 0, [], pair.witness.home.ledger_keys.read_bytes()
            )
        assert refused.value.reason == "OTHER_KEYS"


def test_a_witness_does_not_countersign_another_history(pair: Pair) -> None:
    """Shorter than what it saw, or another: refused, also after the witness was restarted."""
    work(pair.own)
    pair.own.stop()
    copy = pair.own.root / "copy.db"
    shutil.copy(pair.own.home.data / "stockade.db", copy)
    pair.own.start()
    work(pair.own)
    assert pair.countersign()[0] == 0
    pair.own.stop()
    replace_database(pair.own, copy)
    pair.own.start()
    pair.witness.restart()
    status, said = pair.countersign("never")
    assert (status != 0, "ROLLED_BACK" in said) == (True, True)
    for _ in range(3):
        work(pair.own)
    status, said = pair.countersign("never")
    assert (status != 0, "FORKED" in said) == (True, True)
    assert not (pair.own.root / "never").exists()


def test_a_witness_is_one_for_named_ledgers_alone(pair: Pair) -> None:
    """Nor for a note with one signature, nor with a proof that is none."""
    work(pair.own)
    chain = pair.own.home.ledger_keys.read_text().partition("+")[0].partition("/")[2]
    with Client.open(pair.own.home) as own, Client.open(pair.witness.home) as there:
        with pytest.raises(StockadeError) as unknown:
            there.countersign_checkpoint("another")
        assert unknown.value.reason == "NO_SUCH_LEDGER"
        first = own.checkpoint_since(0)
        stripped = b"".join(first.checkpoint.splitlines(keepends=True)[:-1])
        with pytest.raises(StockadeError) as refused:
            there.countersign_checkpoint(chain, stripped)
        assert refused.value.reason == "SIGNATURES"
        assert there.countersign_checkpoint(chain, first.checkpoint).cosignature
        size = there.countersign_checkpoint(chain).size
        assert size > 0
        work(pair.own)
        newer = own.checkpoint_since(size)
        with pytest.raises(StockadeError) as unproved:
            there.countersign_checkpoint(chain, newer.checkpoint, size, [bytes(32)])
        assert unproved.value.reason == "FORKED"
        # A proof from elsewhere is no error: the witness says where it stands, and signs nothing.
        answer = there.countersign_checkpoint(chain, newer.checkpoint, 0, [])
        assert (answer.size, answer.cosignature) == (size, b"")


def test_keys_of_a_ledger_that_are_none_keep_the_witness_from_starting() -> None:
    """A typo must not mean that nobody is witness."""
    witness = RunningDaemon(make_directory(), CONFIG + '[ledger]\nwitness_for = ["/none.pub"]\n')
    try:
        assert "WITNESS_KEYS_UNUSABLE" in witness.init().stderr
    finally:
        remove_directory(witness.root)

"""The offline verifier: every way to change a ledger is named, at the first bad entry."""

import tracemalloc
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import verify as verify_module
from ledger.chain import Chain, Entry
from ledger.checkpoint import Checkpoint
from ledger.errors import BadEntry, Fault
from ledger.export import MAX_LINE
from ledger.merkle import EMPTY_ROOT
from ledger.receipt import Receipt, digest_of, format_time, message_of
from ledger.verify import Verification, verify

from .specimen import (
    KEYS,
    OTHER_KEYS,
    PUBLIC,
    START_MS,
    STOLEN_NAME,
    extend,
    fork,
    ledger,
    lines_of,
    root_of,
    uuid7,
)

ENTRIES = ledger(8)
LINES = lines_of(ENTRIES)
CHECKPOINT = Checkpoint("alpha", 8, root_of(ENTRIES))
PLACES = range(8)
PAIRS = [(one, two) for one in PLACES for two in PLACES if one < two]


def fault(lines: list[bytes], checkpoint: Checkpoint | None = None) -> tuple[Fault, int, int]:
    """What is wrong, on which line, with which entry."""
    with pytest.raises(BadEntry) as caught:
        verify(lines, PUBLIC, checkpoint)
    return Fault(caught.value.code), caught.value.line, caught.value.sequence


def resigned(**changes: object) -> Entry:
    """Entry 9 as a daemon gone wrong would sign it: the key is right, a header field is not."""
    last = ENTRIES[-1]
    header: dict[str, object] = {
        "chain": "alpha",
        "sequence": 9,
        "receipt_id": uuid7(9),
        "time": last.time,
        "kind": "call.ended",
        "prev": last.digest,
        "body": {},
        **changes,
    }
    receipt = Receipt(**header)  # type: ignore[arg-type]
    canonical = receipt.canonical()
    digest = digest_of(canonical)
    signature = KEYS.signer().sign(message_of(digest))
    return Entry(
        receipt.sequence, uuid7(9), receipt.kind, receipt.time, canonical, digest, signature
    )


def test_an_untouched_ledger_verifies() -> None:
    """Count, head and root are those of the ledger; `covered` is what the checkpoint reaches."""
    result = verify(LINES, PUBLIC, CHECKPOINT)
    assert (result.count, result.covered, result.root) == (8, 8, CHECKPOINT.root)
    assert result.head is not None
    assert (result.head.sequence, result.head.digest) == (8, ENTRIES[-1].digest)
    assert verify(iter(LINES), PUBLIC).covered == 0
    older = Checkpoint("alpha", 5, root_of(ENTRIES[:5]))
    assert verify(LINES, PUBLIC, older).covered == 5


def test_an_empty_ledger_verifies() -> None:
    """No entries is a ledger, unless a checkpoint says that there were some."""
    result = verify([], PUBLIC, Checkpoint("alpha", 0, EMPTY_ROOT))
    assert (result.count, result.head, result.root) == (0, None, EMPTY_ROOT)
    assert fault([], CHECKPOINT) == (Fault.TRUNCATED, 0, 1)


@pytest.mark.parametrize("at", PLACES[:-1])
def test_every_deletion_is_named(at: int) -> None:
    """An entry taken out is MISSING, by its number."""
    assert fault(LINES[:at] + LINES[at + 1 :]) == (Fault.MISSING, at + 1, at + 1)


@pytest.mark.parametrize(("start", "end"), [pair for pair in PAIRS if pair[1] < 7])
def test_a_missing_stretch_is_named_by_its_first(start: int, end: int) -> None:
    """A stretch taken out is named by the first entry that is gone."""
    assert fault(LINES[:start] + LINES[end:]) == (Fault.MISSING, start + 1, start + 1)


@pytest.mark.parametrize("kept", PLACES)
def test_a_cut_tail_needs_the_checkpoint(kept: int) -> None:
    """Without a checkpoint a shorter ledger is a ledger; with it the cut is TRUNCATED."""
    assert verify(LINES[:kept], PUBLIC).count == kept
    assert fault(LINES[:kept], CHECKPOINT) == (Fault.TRUNCATED, kept, kept + 1)


def test_what_goes_on_from_where_it_was_shorter_is_rolled_back() -> None:
    """A witness saw eight entries before the sixth of this history was made; else it was cut."""
    forked = lines_of(fork(ENTRIES, 4, 2))
    late = START_MS // 1000 + 5
    for seen, word in ((late - 1, Fault.ROLLED_BACK), (late, Fault.TRUNCATED)):
        verification = Verification(PUBLIC, (CHECKPOINT,), {8: seen})
        verification.read(forked)
        with pytest.raises(BadEntry) as found:
            verification.end()
        assert (found.value.code, found.value.sequence) == (word, 7)


@pytest.mark.parametrize(("one", "two"), PAIRS)
def test_every_swap_is_named(one: int, two: int) -> None:
    """Two entries that changed places are REORDERED at the first place."""
    lines = list(LINES)
    lines[one], lines[two] = lines[two], lines[one]
    assert fault(lines) == (Fault.REORDERED, one + 1, two + 1)


@pytest.mark.parametrize(("one", "two"), PAIRS)
def test_every_move_is_named(one: int, two: int) -> None:
    """An entry moved back or forth is REORDERED where the order first breaks."""
    forth = LINES[:one] + LINES[one + 1 : two + 1] + [LINES[one]] + LINES[two + 1 :]
    back = [*LINES[:one], LINES[two], *LINES[one:two], *LINES[two + 1 :]]
    assert fault(forth) == (Fault.REORDERED, one + 1, one + 2)
    assert fault(back) == (Fault.REORDERED, one + 1, two + 1)


@pytest.mark.parametrize("at", PLACES)
@pytest.mark.parametrize("which", PLACES)
def test_every_repetition_is_named(which: int, at: int) -> None:
    """An entry repeated after itself is a DUPLICATE; put before itself, it is out of order."""
    lines = [*LINES[: at + 1], LINES[which], *LINES[at + 1 :]]
    if which <= at:
        assert fault(lines) == (Fault.DUPLICATE, at + 2, which + 1)
    elif which > at + 1:
        assert fault(lines) == (Fault.REORDERED, at + 2, which + 1)
    else:  # in its place; what is repeated is the one that follows
        assert fault(lines) == (Fault.DUPLICATE, at + 3, which + 1)


def test_an_entry_long_past_is_inserted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond what is remembered, an old number is still refused: INSERTED."""
    monkeypatch.setattr(verify_module, "_REMEMBERED", 3)
    assert fault([*LINES, LINES[4]]) == (Fault.INSERTED, 9, 5)
    assert fault([*LINES, LINES[5]]) == (Fault.DUPLICATE, 9, 6)


@pytest.mark.parametrize("at", PLACES)
def test_an_entry_of_another_chain_is_named(at: int) -> None:
    """An intact entry of another chain, put in or put in place of ours, is OTHER_CHAIN."""
    foreign = lines_of(ledger(8, OTHER_KEYS))
    assert fault([*LINES[:at], foreign[at], *LINES[at:]]) == (Fault.OTHER_CHAIN, at + 1, at + 1)
    assert fault(LINES[:at] + foreign[at:]) == (Fault.OTHER_CHAIN, at + 1, at + 1)


@pytest.mark.parametrize("at", PLACES)
def test_other_keys_under_this_name_are_named(at: int) -> None:
    """A whole chain of the same name by another key is a BAD_SIGNATURE from where it starts."""
    forged = lines_of(ledger(8, STOLEN_NAME))
    assert fault(LINES[:at] + forged[at:]) == (Fault.BAD_SIGNATURE, at + 1, at + 1)


@pytest.mark.parametrize("at", range(1, 8))
@pytest.mark.parametrize("cut", range(1, 8))
def test_a_splice_of_two_histories_is_named(at: int, cut: int) -> None:
    """The daemon was set back to entry `at` and went on; joined after `cut`, it is FORKED."""
    forked = lines_of(fork(ENTRIES, at, 8))
    spliced = LINES[:cut] + forked[cut:]
    if cut <= at:
        assert verify(spliced, PUBLIC).count == len(forked)
        # Consistent in itself, and only the checkpoint shows that it is not the history signed.
        assert fault(spliced, CHECKPOINT) == (Fault.FORKED, 8, 8)
    else:
        assert fault(spliced) == (Fault.FORKED, cut + 1, cut + 1)
        assert fault(spliced, CHECKPOINT) == (Fault.FORKED, cut + 1, cut + 1)


@pytest.mark.parametrize("at", range(1, 8))
def test_two_entries_of_one_number_are_a_fork(at: int) -> None:
    """The other history's entry put beside ours: both are signed, one too many."""
    forked = lines_of(fork(ENTRIES, at, 1))
    assert fault([*LINES[: at + 1], forked[at], *LINES[at + 1 :]]) == (
        Fault.FORKED,
        at + 2,
        at + 1,
    )


@pytest.mark.parametrize("size", range(1, 9))
def test_a_root_over_other_entries_is_named(size: int) -> None:
    """Whatever size the checkpoint has, its root must be that of the entries up to there."""
    checkpoint = Checkpoint("alpha", size, root_of(ledger(8, tag="x")[:size]))
    assert fault(LINES, checkpoint) == (Fault.FORKED, size, size)


def test_a_checkpoint_of_another_chain_is_refused() -> None:
    """Before a line is read."""
    assert fault(LINES, Checkpoint("beta", 8, CHECKPOINT.root)) == (Fault.OTHER_CHAIN, 0, 1)


def test_a_clock_that_went_back_is_named() -> None:
    """Even signed, a time before that of the entry before is CLOCK_BACK."""
    early = resigned(time=format_time(START_MS + 6999))
    assert fault([*LINES, *lines_of([early])]) == (Fault.CLOCK_BACK, 9, 9)
    same = resigned(clock_behind_ms=3)
    assert verify([*LINES, *lines_of([same])], PUBLIC).count == 9


def test_a_clock_behind_has_the_time_before_it() -> None:
    """`clock_behind_ms` beside a time of its own is a contradiction."""
    later = resigned(time=format_time(START_MS + 9000), clock_behind_ms=3)
    assert fault([*LINES, *lines_of([later])]) == (Fault.CLOCK_BACK, 9, 9)
    chain = Chain("alpha", KEYS.signer(), None)
    assert chain.head is None
    first = resigned(sequence=1, prev=bytes(32), clock_behind_ms=3)
    assert fault(lines_of([first])) == (Fault.CLOCK_BACK, 1, 1)


def test_a_signed_fork_of_the_previous_digest_is_named() -> None:
    """Even signed, an entry that names another before it is FORKED."""
    assert fault([*LINES, *lines_of([resigned(prev=bytes([1]) * 32)])]) == (Fault.FORKED, 9, 9)


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"", Fault.MALFORMED),
        (b"\n", Fault.MALFORMED),
        (b"{}\n", Fault.MALFORMED),
        (b" " + LINES[3], Fault.NOT_CANONICAL),
        (LINES[3].replace(b'"v":1', b'"v":0'), Fault.VERSION),
        (LINES[3].replace(b'"v":1', b'"v":2'), Fault.VERSION),
        (LINES[3].rstrip(b"\n") + b" " * MAX_LINE, Fault.OVERSIZE),
        (LINES[3] + LINES[4], Fault.MALFORMED),
    ],
)
def test_a_line_that_is_no_entry_is_named(line: bytes, code: Fault) -> None:
    """A line that cannot be read is named by the entry that should stand there."""
    assert fault([*LINES[:3], line, *LINES[4:]]) == (code, 4, 4)


def test_the_last_newline_may_be_missing() -> None:
    """A file whose last newline an editor took is whole; half a line is not."""
    assert verify([*LINES[:-1], LINES[-1].rstrip(b"\n")], PUBLIC, CHECKPOINT).count == 8
    assert fault([*LINES[:-1], LINES[-1][:-10]]) == (Fault.MALFORMED, 8, 8)


def test_nothing_is_read_after_the_first_bad_entry() -> None:
    """Lines are read one by one, and none after a fault that explains itself."""

    def lines() -> Iterator[bytes]:
        yield LINES[0]
        yield LINES[0]
        pytest.fail("read on after the first bad entry")

    with pytest.raises(BadEntry, match="DUPLICATE"):
        verify(lines(), PUBLIC)


def test_looking_for_a_missing_entry_survives_rubbish() -> None:
    """What stands behind a gap may be anything; an unsigned stand-in does not count as found."""
    forged = lines_of(ledger(8, STOLEN_NAME))
    assert fault([LINES[0], LINES[2], b"\xff\n", forged[1]]) == (Fault.MISSING, 2, 2)
    assert fault([LINES[0], LINES[2], b"\xff\n", LINES[1]]) == (Fault.REORDERED, 2, 3)


def test_the_words_of_faults_are_frozen() -> None:
    """Scripts match on these words: none may change or go, and new ones are added on purpose."""
    assert " ".join(Fault) == (
        "MALFORMED OVERSIZE NOT_CANONICAL VERSION EDITED OTHER_CHAIN BAD_SIGNATURE "
        "BAD_ROTATION MISSING REORDERED DUPLICATE INSERTED FORKED CLOCK_BACK TRUNCATED ROLLED_BACK"
    )


def test_memory_does_not_grow_with_the_ledger() -> None:
    """Ten times the entries take no more memory: only a bounded tail of digests is kept."""
    peaks = []
    for count in (500, 5000):
        chain = Chain("alpha", KEYS.signer(), None)
        lines = (lines_of(extend(chain, 1, first=number))[0] for number in range(count))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(verify_module, "_REMEMBERED", 100)
            tracemalloc.start()
            assert verify(lines, PUBLIC).count == count
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
    assert peaks[1] < peaks[0] * 1.5


FORKED = lines_of(fork(ENTRIES, 4, 4))
POOL = [*LINES, *FORKED[4:], *lines_of(ledger(3, OTHER_KEYS)), b"rubbish\n"]


@given(st.lists(st.sampled_from(POOL), max_size=9))
def test_only_a_history_from_its_start_is_a_ledger(lines: list[bytes]) -> None:
    """Of any entries in any order, only the beginning of one history verifies."""
    if lines in (LINES[: len(lines)], FORKED[: len(lines)]):
        assert verify(lines, PUBLIC).count == len(lines)
    else:
        fault(lines)


EDITS: list[Callable[[list[bytes], int], list[bytes]]] = [
    lambda lines, at: lines[:at] + lines[at + 1 :],
    lambda lines, at: [*lines[:at], lines[at], *lines[at:]],
    lambda lines, at: lines[:at] + lines[at + 1 : at + 2] + [lines[at]] + lines[at + 2 :],
    lambda lines, at: [*lines[:at], lines[at].replace(b"builder", b"bu1lder"), *lines[at + 1 :]],
    lambda lines, at: lines[:at],
]


@given(st.lists(st.tuples(st.sampled_from(EDITS), st.integers(0, 7)), min_size=1, max_size=4))
def test_edits_upon_edits_never_verify(edits: list[tuple[Callable[..., list[bytes]], int]]) -> None:
    """Unless several changes undo each other, they never verify against the checkpoint."""
    lines = list(LINES)
    for edit, at in edits:
        if at < len(lines):
            lines = edit(lines, at)
    if lines == LINES:
        assert verify(lines, PUBLIC, CHECKPOINT).count == 8
    else:
        fault(lines, CHECKPOINT)

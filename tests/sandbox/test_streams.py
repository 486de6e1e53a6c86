"""Standard input and output: bytes, bounded, with back-pressure."""

import hashlib
import os
import resource
import time

import anyio
import anyio.to_thread
import pytest

from sandbox import End, LimitName
from sandbox.streams import FEW, SMALL, TOGETHER_SECONDS, Output
from sandbox.tier import Stream
from tests.sandbox.conftest import MIB, ProcessRunner, Runner, limits, make_spec, python, shell
from tests.sandbox.turns import Turns

pytestmark = pytest.mark.anyio


def sha256(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@pytest.mark.parametrize("cap", [1, 1000, 65536, 65537, 200_000])
@pytest.mark.parametrize("over", [0, 1])
async def test_output_cap_exact(run: Runner, cap: int, over: int) -> None:
    """Output of exactly the cap is an ordinary end; one byte more is not, and is not delivered."""
    script = f"import os\ndata = b'x' * {cap + over}\nwhile data: data = data[os.write(1, data):]"
    outcome, sink = await run(python(script, limits=limits(output_bytes=cap)))
    assert sink.out == b"x" * cap
    assert (outcome.stdout_bytes, outcome.stdout_digest) == (cap, sha256(sink.out))
    if over:
        assert (outcome.end, outcome.limit) == (End.KILLED_BY_LIMIT, LimitName.OUTPUT)
    else:
        assert (outcome.end, outcome.exit_code) == (End.EXITED, 0)


async def test_cap_covers_both_streams(run: Runner) -> None:
    """Standard output and standard error share one cap."""
    script = "head -c 600 /dev/zero; head -c 600 /dev/zero >&2; sleep 5"
    outcome, sink = await run(shell(script, limits=limits(output_bytes=1000)))
    assert (outcome.end, outcome.limit) == (End.KILLED_BY_LIMIT, LimitName.OUTPUT)
    assert len(sink.out) + len(sink.err) == 1000


async def test_infinite_output(run: Runner) -> None:
    """A tool that never stops writing is ended by the cap, and not by the clock."""
    outcome, _ = await run(make_spec("/usr/bin/yes", limits=limits(output_bytes=5 * MIB)))
    assert (outcome.end, outcome.limit) == (End.KILLED_BY_LIMIT, LimitName.OUTPUT)
    assert outcome.stdout_bytes == 5 * MIB


async def test_bytes_are_bytes(run: Runner) -> None:
    """Invalid UTF-8, NUL and every other byte arrive unchanged on both streams."""
    script = "import os; b = bytes(range(256)) * 3; os.write(1, b); os.write(2, b[::-1])"
    outcome, sink = await run(python(script))
    every = bytes(range(256)) * 3
    assert (sink.out, sink.err) == (every, every[::-1])
    assert outcome.stdout_digest == sha256(every)
    assert outcome.stderr_digest == sha256(every[::-1])
    assert outcome.stderr_bytes == len(every)


async def test_nothing_written(run: Runner) -> None:
    """A silent tool has the digest of nothing and calls the sink never."""
    outcome, sink = await run(make_spec("/bin/true"))
    assert (sink.out, sink.err) == (b"", b"")
    assert outcome.stdout_digest == outcome.stderr_digest == sha256(b"")


async def test_what_is_written_byte_by_byte_comes_together() -> None:
    """All of it and in order, but in so many chunks as there is time for: each has its price."""
    got, began = list[bytes](), time.monotonic()
    reading, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    async def take(_: Stream, data: bytes) -> None:
        got.append(data)

    def drip() -> None:
        for number in range(3000):
            os.write(writing, bytes([number % 251]))
            time.sleep(0.0001)
        os.close(writing)

    output = Output(MIB, take, lambda: None)
    async with anyio.create_task_group() as group:
        group.start_soon(output.pump, reading, "stdout", lambda: None)
        await anyio.to_thread.run_sync(drip)
    os.close(reading)
    assert b"".join(got) == bytes(number % 251 for number in range(3000))
    assert len(got) <= FEW + 2 + (time.monotonic() - began) / TOGETHER_SECONDS


async def test_a_tool_that_always_has_a_little_more_keeps_nobody_from_a_turn() -> None:
    """However its chunks come: after a few of them it is the others' turn."""
    between, reading, writing = Turns(), *os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    os.write(writing, bytes(SMALL))

    async def take(_: Stream, data: bytes) -> None:
        between.one_more()
        if between.count < 1000:
            os.write(writing, data)
        else:
            os.close(writing)

    async with between.others():
        await Output(MIB, take, lambda: None).pump(reading, "stdout", lambda: None)
    os.close(reading)
    assert between.count == 1000
    assert between.most <= 8


async def test_slow_sink_slows_the_tool(run: Runner) -> None:
    """While the sink is busy nothing is read: the tool waits at a full pipe, memory stays flat."""
    script = """
import os, time
begin = time.monotonic()
for n in range(40):
    data = b'x' * 65536
    while data: data = data[os.write(1, data):]
os.write(2, str(time.monotonic() - begin).encode())
"""
    largest = 0
    slept = 0
    err = b""

    async def slow(stream: Stream, data: bytes) -> None:
        nonlocal largest, slept, err
        if stream == "stderr":
            err += data
            return
        largest = max(largest, len(data))
        if slept < 10:
            slept += 1
            await anyio.sleep(0.05)

    # What a first run loads is no run's memory.
    await run(python("import os; os.write(1, bytes(65536)); os.write(2, bytes(100))"))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    outcome = await run.sandbox.run(python(script, limits=limits(output_bytes=8 * MIB)), slow)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert outcome.stdout_bytes == 40 * 65536
    assert largest <= 65536
    assert float(err) > 0.3
    assert grown < 4096  # KiB


async def test_one_stream_does_not_block_the_other(bwrap: ProcessRunner) -> None:
    """A busy sink for one stream does not hold up the other, where Docker does not join them."""
    order: list[str] = []
    go_on = anyio.Event()

    async def sink(stream: Stream, _data: bytes) -> None:
        if stream == "stdout":
            await go_on.wait()
        else:
            go_on.set()
        order.append(stream)

    await bwrap.sandbox.run(shell("echo out; sleep 0.1; echo err >&2"), sink)
    assert order == ["stderr", "stdout"]


async def test_stuck_sink(run: Runner) -> None:
    """A sink that never returns cannot keep the run open for ever."""
    object.__setattr__(run.settings, "drain_seconds", 0.2)

    async def stuck(_stream: Stream, _data: bytes) -> None:
        await anyio.sleep_forever()

    spec = shell("yes", limits=limits(wall_seconds=2))
    with anyio.fail_after(60):
        outcome = await run.sandbox.run(spec, stuck)
    assert outcome.end is End.TIMED_OUT
    assert "cut short" in outcome.detail


async def test_failing_sink(run: Runner) -> None:
    """An exception of the sink ends the run and reaches the caller as it is."""

    class GoneError(Exception):
        pass

    async def failing(_stream: Stream, _data: bytes) -> None:
        raise GoneError

    with anyio.fail_after(45), pytest.raises(GoneError):  # and not the limit of 60
        await run.sandbox.run(shell("echo x; sleep 1000"), failing)


@pytest.mark.parametrize("size", [0, 1, 65536, 65537, 3 * MIB])
async def test_stdin(run: Runner, size: int) -> None:
    """Standard input of any size arrives whole and then ends."""
    data = bytes(n % 251 for n in range(size))
    _, sink = await run(make_spec("/usr/bin/sha256sum", stdin=data))
    assert sink.text.split()[0] == hashlib.sha256(data).hexdigest()


async def test_stdin_and_stdout_together(run: Runner) -> None:
    """A tool that echoes more than two pipes hold does not deadlock with us."""
    data = bytes(2 * MIB)
    spec = make_spec("/bin/cat", stdin=data, limits=limits(output_bytes=4 * MIB))
    _, sink = await run(spec)
    assert sink.out == data


async def test_stdin_unread(run: Runner) -> None:
    """A tool that closes its input early, or never reads it, ends as it likes."""
    for script in ("exec <&-; sleep 0.2; exit 3", "exit 3", "head -c 1 >/dev/null; exit 3"):
        outcome, _ = await run(shell(script, stdin=bytes(MIB)))
        assert outcome.exit_code == 3


async def test_output_before_the_end_is_delivered(run: Runner) -> None:
    """What was written just before the end is delivered, also when a signal was the end."""
    outcome, sink = await run(shell("head -c 60000 /dev/zero; kill -9 $$"))
    assert outcome.end is End.SIGNALLED
    assert len(sink.out) == 60000


async def test_output_arrives_as_it_is_written(run: Runner) -> None:
    """Output is streamed: the first line comes long before the end."""
    first = anyio.Event()

    async def note(_stream: Stream, _data: bytes) -> None:
        first.set()

    with anyio.fail_after(45):  # and not the limit of 60
        async with anyio.create_task_group() as group:
            group.start_soon(run.sandbox.run, shell("echo a; sleep 1000; echo b"), note)
            await first.wait()
            group.cancel_scope.cancel()

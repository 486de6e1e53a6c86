"""The laws of a call's feed: nothing lost while watched, bounded always, gaps that show."""

import hypothesis.strategies as st
import pytest
from anyio import Event, create_task_group, fail_after, lowlevel, run, wait_all_tasks_blocked
from hypothesis import given, settings

from daemon.calls.feed import Feed
from daemon.errors import Exhausted
from stockade.v1 import call_pb2

DEADLINE = 90
Stream = call_pb2.CallEvent.OutputChunk.Stream

pytestmark = pytest.mark.anyio


def started() -> call_pb2.CallEvent:
    return call_pb2.CallEvent(started=call_pb2.CallEvent.Started(tier="process"))


def ended() -> call_pb2.CallEvent:
    return call_pb2.CallEvent(
        finished=call_pb2.CallEvent.Finished(state=call_pb2.CALL_STATE_SUCCEEDED)
    )


class Writer:
    """Publishes what a tool writes, with the offsets a run gives."""

    def __init__(self, feed: Feed, stream: "Stream.ValueType" = Stream.STREAM_STDOUT) -> None:
        self._feed, self._stream, self.offset = feed, stream, 0

    async def write(self, data: bytes) -> None:
        chunk = call_pb2.CallEvent.OutputChunk(stream=self._stream, data=data, offset=self.offset)
        self.offset += len(data)
        await self._feed.publish_output(call_pb2.CallEvent(output=chunk))


def written(sizes: list[int]) -> list[bytes]:
    """Chunks whose bytes tell where they were: any loss, doubling or swap shows."""
    whole = bytes(n % 251 for n in range(sum(sizes)))
    starts = [sum(sizes[:n]) for n in range(len(sizes))]
    return [whole[start : start + size] for start, size in zip(starts, sizes, strict=True)]


async def read(feed: Feed, pauses: list[int], into: list[call_pb2.CallEvent]) -> None:
    """A watcher of its own speed."""
    turn = 0
    async for events in feed.watch():
        assert not any(event.HasField("output") for event in events[:-1])
        into.extend(events)
        for _ in range(pauses[turn % len(pauses)]):
            await lowlevel.checkpoint()
        turn += 1


def outputs(events: list[call_pb2.CallEvent]) -> list[call_pb2.CallEvent.OutputChunk]:
    return [event.output for event in events if event.HasField("output")]


SIZES = st.lists(st.integers(1, 40), max_size=60)
PAUSES = st.lists(st.integers(0, 5), min_size=1, max_size=5)


@settings(deadline=None)
@given(SIZES, st.integers(1, 100), st.lists(PAUSES, min_size=1, max_size=4))
def test_a_watcher_from_the_beginning_loses_nothing(
    sizes: list[int], keep: int, speeds: list[list[int]]
) -> None:
    """However slow each of several watchers is, each gets every event, once and in order."""

    async def scenario() -> None:
        feed, seen = Feed(keep), [list[call_pb2.CallEvent]() for _ in speeds]
        chunks = written(sizes)
        with fail_after(DEADLINE):
            async with create_task_group() as group:
                for pauses, into in zip(speeds, seen, strict=True):
                    group.start_soon(read, feed, pauses, into)
                await wait_all_tasks_blocked()
                feed.publish(started())
                writer = Writer(feed)
                for chunk in chunks:
                    await writer.write(chunk)
                    assert feed.bytes_kept <= max(keep, max(sizes))
                feed.publish(ended())
                feed.close()
        for events in seen:
            assert events[0] == started()
            assert [chunk.data for chunk in outputs(events)] == chunks
            assert events[-1] == ended()
            assert len(events) == len(chunks) + 2

    run(scenario)


@settings(deadline=None)
@given(SIZES, st.integers(1, 100))
def test_unwatched_it_is_bounded_and_keeps_the_end(sizes: list[int], keep: int) -> None:
    """With nobody watching a tool runs at full speed; the newest output is what is kept."""

    async def scenario() -> None:
        feed, events = Feed(keep), list[call_pb2.CallEvent]()
        writer, chunks = Writer(feed), written(sizes)
        feed.publish(started())
        with fail_after(DEADLINE):
            for chunk in chunks:
                await writer.write(chunk)
                assert feed.bytes_kept <= max(keep, len(chunk))
            feed.publish(ended())
            feed.close()
            await read(feed, [0], events)
        kept = outputs(events)
        assert events[0] == started()
        assert events[-1] == ended()
        assert [chunk.data for chunk in kept] == chunks[len(chunks) - len(kept) :]
        if kept:
            # The gap shows: what is before the first offset is no longer there.
            assert kept[0].offset == sum(sizes) - sum(len(chunk.data) for chunk in kept)
        assert len(kept) == len(chunks) or sum(len(chunk.data) for chunk in kept) > keep - max(
            sizes
        )

    run(scenario)


async def test_a_publisher_waits_for_the_slowest_watcher() -> None:
    """A slow reader slows the tool; the daemon holds no more than it was told to."""
    feed, written_so_far = Feed(100), 0
    writer = Writer(feed)

    async def publish() -> None:
        nonlocal written_so_far
        for _ in range(10):
            await writer.write(b"x" * 50)
            written_so_far += 50

    slow = feed.watch()
    feed.publish(started())
    assert await anext(slow) == [started()]
    with fail_after(DEADLINE):
        async with create_task_group() as group:
            group.start_soon(publish)
            await wait_all_tasks_blocked()
            assert written_so_far == 100
            assert feed.bytes_kept == 100
            await anext(slow)
            await anext(slow)  # asking for the second says that the first has been taken
            await wait_all_tasks_blocked()
            assert written_so_far == 150
            await slow.aclose()
    assert written_so_far == 500


async def test_both_streams_waiting_are_both_let_go_on() -> None:
    """Two publishers that wait at once (stdout and stderr) both wake: neither is forgotten."""
    feed = Feed(10)
    out, err = Writer(feed), Writer(feed, Stream.STREAM_STDERR)
    seen = list[call_pb2.CallEvent]()
    slow = feed.watch()
    feed.publish(started())
    await anext(slow)

    async def publish(writer: Writer) -> None:
        for _ in range(20):
            await writer.write(b"0123456789")

    async def both() -> None:
        async with create_task_group() as group:
            group.start_soon(publish, out)
            group.start_soon(publish, err)
        feed.close()

    with fail_after(DEADLINE):
        async with create_task_group() as group:
            group.start_soon(both)
            await wait_all_tasks_blocked()
            async for events in slow:
                seen.extend(events)
    assert sum(len(chunk.data) for chunk in outputs(seen)) == 400
    for writer_stream in (Stream.STREAM_STDOUT, Stream.STREAM_STDERR):
        offsets = [c.offset for c in outputs(seen) if c.stream == writer_stream]
        assert offsets == list(range(0, 200, 10))


async def test_a_chunk_larger_than_all_that_is_kept_gets_through() -> None:
    """A chunk above the bound waits until everything before it was taken, and is not lost."""
    feed, seen = Feed(10), list[call_pb2.CallEvent]()
    writer = Writer(feed)
    with fail_after(DEADLINE):
        async with create_task_group() as group:
            group.start_soon(read, feed, [3], seen)
            await wait_all_tasks_blocked()
            for size in (5, 1000, 5, 1000):
                await writer.write(b"y" * size)
            feed.close()
    assert [len(chunk.data) for chunk in outputs(seen)] == [5, 1000, 5, 1000]


async def test_a_late_watcher_holds_up_nobody_for_what_is_gone() -> None:
    """Output that was dropped before a watcher came does not count against it."""
    feed, seen = Feed(100), list[call_pb2.CallEvent]()
    writer = Writer(feed)
    for _ in range(50):
        await writer.write(b"z" * 30)
    with fail_after(DEADLINE):
        async with create_task_group() as group:
            group.start_soon(read, feed, [0], seen)
            await wait_all_tasks_blocked()
            for _ in range(50):
                await writer.write(b"z" * 30)
            feed.close()
    chunks = outputs(seen)
    assert chunks[0].offset == 50 * 30 - 90
    assert [chunk.offset for chunk in chunks] == list(range(chunks[0].offset, 3000, 30))


async def test_events_that_are_not_output_are_never_dropped() -> None:
    """Decision, start and end are kept however much was written between them."""
    feed, seen = Feed(10), list[call_pb2.CallEvent]()
    writer = Writer(feed)
    for _ in range(100):
        feed.publish(started())
        await writer.write(b"0123456789")
    feed.publish(ended())
    feed.close()
    with fail_after(DEADLINE):
        await read(feed, [0], seen)
    assert sum(event.HasField("started") for event in seen) == 100
    assert seen[-1] == ended()


async def test_closing_lets_every_watcher_go() -> None:
    """A watcher that waits when the feed closes ends; one that comes later gets what is kept."""
    feed, seen = Feed(10), list[call_pb2.CallEvent]()
    with fail_after(DEADLINE):
        async with create_task_group() as group:
            group.start_soon(read, feed, [0], seen)
            await wait_all_tasks_blocked()
            feed.close()
        assert seen == []
        await read(feed, [0], seen)
    assert seen == []


async def test_what_is_known_at_one_moment_comes_at_once() -> None:
    """A reader gets together what was published since it last looked, up to the first output."""
    feed = Feed(100)
    for event in (started(), started()):
        feed.publish(event)
    await Writer(feed).write(b"x")
    feed.publish(ended())
    feed.close()
    got = [[event.WhichOneof("event") for event in events] async for events in feed.watch()]
    assert got == [["started", "started", "output"], ["finished"]]


async def test_who_only_watches_and_takes_nothing_is_let_go() -> None:
    """The publisher goes on, and the reader is told, both when it is let go and when it asks."""
    feed, told = Feed(100, patience=0.01), list[Exhausted]()
    writer = Writer(feed)
    slow = feed.watch(told.append)
    feed.publish(started())
    assert await anext(slow) == [started()]
    with fail_after(DEADLINE):
        for _ in range(10):
            await writer.write(b"x" * 50)
    assert [fault.code for fault in told] == ["WATCHER_TOO_SLOW"]
    with pytest.raises(Exhausted):
        await anext(slow)


async def test_coming_again_buys_no_more_patience() -> None:
    """However often one comes back: all watchers of a call together hold its tool once."""
    feed, told = Feed(100, patience=0.01), list[Exhausted]()
    writer = Writer(feed)
    with fail_after(DEADLINE):
        for number in range(1, 5):
            again = feed.watch(told.append)
            feed.publish(started())
            await anext(again)
            for _ in range(5):
                await writer.write(b"x" * 50)
            assert len(told) == number
            with fail_after(0):  # there is none left: nothing below waits for a clock
                for _ in range(5):
                    await writer.write(b"x" * 50)
            await again.aclose()


async def test_patience_is_not_spent_on_who_called() -> None:
    """The caller's own stream is waited for however long it takes, beside one that was let go."""
    feed, told = Feed(100, patience=0.01), Event()
    writer, seen = Writer(feed), list[call_pb2.CallEvent]()
    caller, mere = feed.watch(), feed.watch(lambda _: told.set())
    feed.publish(started())
    await anext(caller)
    await anext(mere)

    async def publish() -> None:
        for _ in range(10):
            await writer.write(b"x" * 50)
        feed.close()

    with fail_after(DEADLINE):
        async with create_task_group() as group:
            group.start_soon(publish)
            await told.wait()
            assert feed.bytes_kept == 100
            async for events in caller:
                seen.extend(events)
    assert sum(len(chunk.data) for chunk in outputs(seen)) == 500


async def test_many_small_chunks_take_no_more_memory_than_few_large_ones() -> None:
    """Byte by byte, with somebody who reads or nobody: as few events are kept as bytes allow."""
    feed, seen = Feed(100 * 1024), list[call_pb2.CallEvent]()
    writer = Writer(feed)
    with fail_after(DEADLINE):
        for _ in range(1000):
            await writer.write(b"x")
        assert feed.bytes_kept == 100
        assert feed.bytes_held <= 2 * 100 * 1024
        slow = feed.watch()
        await anext(slow)
        async with create_task_group() as group:
            group.start_soon(writer.write, b"y")
            await wait_all_tasks_blocked()
            assert writer.offset == 1001
            assert feed.bytes_kept == 100  # it waits: what it would push out was not taken
            await anext(slow)
            await wait_all_tasks_blocked()
        feed.close()
        seen = [event async for events in slow for event in events]
    assert [chunk.offset for chunk in outputs(seen)] == list(range(902, 1001))

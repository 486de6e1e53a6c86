"""The events of one call as a stream of the wire has them, to whoever watches it."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from daemon.calls.feed import LetGo
from daemon.calls.live import LiveCall
from daemon.errors import Unavailable
from stockade.v1 import call_pb2


async def watch(
    live: LiveCall, *, together: bool = False, let_go: LetGo | None = None
) -> AsyncGenerator[call_pb2.CallEvent, None]:
    """The events of a call; raises the fault that kept it from an end, if one did.

    With `together`, those of one moment come as the last of them with the others in it. Who leaves
    before the end closes it. With `let_go` the tool does not wait for long: see the feed.
    """
    async with aclosing(live.feed.watch(let_go)) as moments:
        async for events in moments:
            if together:
                yield _joined(events)
            else:
                for event in events:
                    yield event
    if not live.ended:
        raise live.fault or Unavailable(
            "the call was left unfinished",
            code="CALL_UNFINISHED",
            fix="watch it again by its id: `stockade calls watch`",
        )


def _joined(events: list[call_pb2.CallEvent]) -> call_pb2.CallEvent:
    if len(events) == 1:
        return events[0]
    joined = call_pb2.CallEvent()
    joined.CopyFrom(events[-1])  # others may be watching the same event
    joined.earlier.extend(events[:-1])
    return joined

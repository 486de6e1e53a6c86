"""Sandboxes that are started before they are needed. Each is used once and never returns.

What is kept is learned: a profile that was asked for gets one more each time it was asked for in
vain, up to a bound, and loses them when nobody asks any more. Trusted to give a box to one taker
only, to give none that is no longer usable, and to end every box it has not given away when its
owner ends. Knows nothing of what a box is: a tier brings `start`, `usable` and `discard`.

Leaves `take`: what `start` raises, and RuntimeError where the pool ends meanwhile. Leaves `keep`:
cancellation.
"""

import time
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Coroutine, Hashable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import anyio
from anyio.abc import TaskGroup

P = TypeVar("P", bound=Hashable)
B = TypeVar("B")


@dataclass(frozen=True, slots=True)
class PoolSettings:
    """How much is kept ready.

    `per_profile` and `total` bound the boxes that wait, `starts` those being started at once;
    `age_seconds` is how old a box may get, `idle_seconds` how long a profile is remembered that
    nobody asks for. A box that was taken is replaced after `rest_seconds`, and one that was used
    taken down: each costs more than most runs, and neither is to cost the one that is going on.
    `per_profile` 0 keeps nothing ready.
    """

    per_profile: int = 4
    total: int = 16
    starts: int = 1
    age_seconds: float = 300.0
    idle_seconds: float = 120.0
    rest_seconds: float = 0.01
    look_seconds: float = 5.0


@dataclass(slots=True)
class _Waiter(Generic[B]):
    """Somebody who asked while nothing was ready."""

    asker: str = ""
    event: anyio.Event = field(default_factory=anyio.Event)
    box: B | None = None
    error: Exception | None = None
    gone: bool = False


@dataclass(slots=True)
class _Shelf(Generic[B]):
    """The boxes of one profile, oldest first, with the time each was started."""

    asked: float
    rest: float = 0.0
    wanted: int = 0
    starting: int = 0
    boxes: deque[tuple[B, float]] = field(default_factory=deque)
    waiters: deque[_Waiter[B]] = field(default_factory=deque)
    served: dict[str, int] = field(default_factory=dict)  # when, among those who waited

    def next_waiter(self) -> _Waiter[B] | None:
        """Who waits, and was served the longest ago; of the same asker, the first."""
        there = [waiter for waiter in self.waiters if not waiter.gone]
        if not there:
            self.waiters.clear()
            self.served.clear()
            return None
        chosen = min(there, key=lambda waiter: self.served.get(waiter.asker, 0))
        self.waiters = deque(waiter for waiter in there if waiter is not chosen)
        self.served[chosen.asker] = max(self.served.values(), default=0) + 1
        return chosen

    @property
    def waited_for(self) -> int:
        """How many are waiting for a box."""
        return sum(not waiter.gone for waiter in self.waiters)

    @property
    def missing(self) -> int:
        """How many are to be kept and are not there."""
        return max(0, self.wanted - len(self.boxes))


class Pool(Generic[P, B]):
    """See the module. Belongs to one event loop."""

    def __init__(
        self,
        start: Callable[[P], Awaitable[B]],
        usable: Callable[[B], bool],
        discard: Callable[[B], Coroutine[Any, Any, None]],
        settings: PoolSettings,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._start, self._usable, self._discard = start, usable, discard
        self._settings, self._clock = settings, clock
        self._shelves: OrderedDict[P, _Shelf[B]] = OrderedDict()  # last asked for, last
        self._starting = 0
        self._group: TaskGroup | None = None
        # Both are made anew each time they were set, and first by `keep`: they belong to its loop.
        self._wake: anyio.Event | None = None
        self._stocked: anyio.Event | None = None  # set whenever a start has ended, well or not

    @property
    def waiting(self) -> int:
        """How many boxes are ready."""
        return sum(len(shelf.boxes) for shelf in self._shelves.values())

    def holds(self, profile: P) -> bool:
        """Whether there is one; to look is not to ask."""
        return bool((shelf := self._shelves.get(profile)) and shelf.boxes)

    def ready(self, profile: P) -> B | None:
        """A box that is ready now, for the caller alone; None where there is none."""
        shelf = self._ask(profile)
        # What is left of a pool that has ended is being ended.
        while shelf.boxes and self._group is not None:
            box, _ = shelf.boxes.popleft()
            if self._usable(box):
                self._rouse()
                return box
            self.end(box)
        if self._group is not None:
            shelf.wanted = min(shelf.wanted + 1, self._settings.per_profile)
        self._rouse()
        return None

    async def take(self, profile: P, asker: str = "") -> B:
        """A box that is ready now, or else one that is started for the caller, in askers' turn."""
        found = self.ready(profile)
        if found is not None:
            return found
        if self._group is None:
            return await self._start(profile)
        waiter: _Waiter[B] = _Waiter(asker)
        self._shelves[profile].waiters.append(waiter)
        self._rouse()
        try:
            await waiter.event.wait()
        except BaseException:
            waiter.gone = True
            if waiter.box is not None:
                await self._discard_whole(waiter.box)
            raise
        if waiter.error is not None:
            raise waiter.error
        assert waiter.box is not None  # noqa: S101 - its event is set with one of the two
        return waiter.box

    async def stock(self, profile: P) -> bool:
        """Wait until a box is ready; false if none will be."""
        shelf = self._ask(profile)
        while self._group is not None and not shelf.boxes:
            shelf.wanted = max(1, shelf.wanted)
            self._rouse()
            assert self._stocked is not None  # noqa: S101 - the pool is kept
            await self._stocked.wait()
            if not shelf.wanted:
                break
        return bool(shelf.boxes)

    def end(self, box: B) -> None:
        """Ends a box that waited, beside whatever goes on."""
        assert self._group is not None  # noqa: S101 - only a kept pool has boxes that wait
        self._group.start_soon(self._discard_whole, box)

    async def put_away(self, box: B) -> None:
        """Ends a box that was used, in which nothing runs any more.

        If the pool is kept, beside what goes on, and after a rest: whoever used it has an end to
        record and to tell. Else now.
        """
        if self._group is None:
            await self._discard_whole(box)
        else:
            self._group.start_soon(self._retire, box)

    async def keep(self) -> None:
        """Starts, replaces and ends boxes until cancelled; then ends all that are left."""
        self._stocked = anyio.Event()
        try:
            async with anyio.create_task_group() as group:
                self._group = group
                while True:
                    self._wake = anyio.Event()
                    self._tidy()
                    self._begin(group)
                    with anyio.move_on_after(self._until_rested()):
                        await self._wake.wait()
        finally:
            self._group = self._wake = None
            self._stocked.set()
            with anyio.CancelScope(shield=True):
                await self._end_all()

    def _rouse(self) -> None:
        if self._wake is not None:
            self._wake.set()

    def _ask(self, profile: P) -> _Shelf[B]:
        now = self._clock()
        shelf = self._shelves.get(profile)
        if shelf is None:
            shelf = self._shelves[profile] = _Shelf(now)
        shelf.asked = now
        shelf.rest = now + self._settings.rest_seconds
        self._shelves.move_to_end(profile)
        return shelf

    def _tidy(self) -> None:
        """Forgets profiles nobody asks for, ends boxes that are old, dead or too many."""
        now, room = self._clock(), self._settings.total
        for profile, shelf in reversed(list(self._shelves.items())):
            if now - shelf.asked > self._settings.idle_seconds:
                shelf.wanted = 0
            shelf.wanted = min(shelf.wanted, room)
            room -= shelf.wanted
            self._sort_out(shelf, now)
            if not (shelf.wanted or shelf.boxes or shelf.starting or shelf.waiters):
                del self._shelves[profile]

    def _sort_out(self, shelf: _Shelf[B], now: float) -> None:
        kept: deque[tuple[B, float]] = deque()
        for box, born in reversed(shelf.boxes):  # the youngest are kept
            young = now - born <= self._settings.age_seconds
            if young and len(kept) < shelf.wanted and self._usable(box):
                kept.appendleft((box, born))
            else:
                self.end(box)
        shelf.boxes = kept

    def _begin(self, group: TaskGroup) -> None:
        """Starts what is missing, as far as starts may be under way: for those who wait first."""
        now = self._clock()
        for profile, shelf in self._shelves.items():
            self._fill_up(group, profile, shelf, shelf.waited_for)
        for profile, shelf in self._shelves.items():
            if shelf.rest <= now:
                self._fill_up(group, profile, shelf, shelf.waited_for + shelf.missing)

    def _fill_up(self, group: TaskGroup, profile: P, shelf: _Shelf[B], count: int) -> None:
        while self._starting < self._settings.starts and shelf.starting < count:
            shelf.starting += 1
            self._starting += 1
            group.start_soon(self._fill, profile, shelf)

    def _until_rested(self) -> float:
        """How long until a shelf that lacks boxes may be filled, or until the next look."""
        now = self._clock()
        rests = [shelf.rest - now for shelf in self._shelves.values() if shelf.missing]
        return min([self._settings.look_seconds, *(rest for rest in rests if rest > 0)])

    async def _fill(self, profile: P, shelf: _Shelf[B]) -> None:
        try:
            box = await self._start(profile)
        except Exception as error:  # noqa: BLE001 - handed to whoever waits for the box
            self._failed(shelf, error)
        else:
            if not self._put(profile, shelf, box):
                await self._discard_whole(box)
        finally:
            shelf.starting -= 1
            self._starting -= 1
            self._rouse()
            if self._stocked is not None:
                self._stocked.set()
                self._stocked = anyio.Event()

    def _put(self, profile: P, shelf: _Shelf[B], box: B) -> bool:
        """To whoever waits, or on its shelf; false where nobody wants it any more."""
        if self._shelves.get(profile) is not shelf:
            return False  # it was cleared away meanwhile: there nobody would find it, to end it
        if (waiter := shelf.next_waiter()) is not None:
            waiter.box = box
            waiter.event.set()
            return True
        if len(shelf.boxes) < shelf.wanted and self.waiting < self._settings.total:
            shelf.boxes.append((box, self._clock()))
            return True
        return False

    def _failed(self, shelf: _Shelf[B], error: Exception) -> None:
        """Nothing more is kept of what does not start, until it is asked for again."""
        shelf.wanted = 0
        if (waiter := shelf.next_waiter()) is not None:
            waiter.error = error
            waiter.event.set()

    async def _retire(self, box: B) -> None:
        try:
            await anyio.sleep(self._settings.rest_seconds)
        finally:
            await self._discard_whole(box)

    async def _discard_whole(self, box: B) -> None:
        with anyio.CancelScope(shield=True):  # also while the owner ends
            await self._discard(box)

    async def _end_all(self) -> None:
        shelves = list(self._shelves.values())  # somebody may ask meanwhile
        for waiter in (one for shelf in shelves for one in shelf.waiters):
            waiter.error = waiter.error or RuntimeError("the pool has ended")
            waiter.event.set()
        async with anyio.create_task_group() as group:  # one that ends slowly holds up no other
            for shelf in shelves:
                while shelf.boxes:
                    group.start_soon(self._discard, shelf.boxes.popleft()[0])
        self._shelves.clear()

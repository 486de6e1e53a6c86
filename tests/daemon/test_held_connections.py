"""Whose the port's connections are, and which have to go: laws for whatever comes in any order."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from daemon.rpc.held_connections import STRANGER_SECONDS, Bounds, HeldConnections, Holder

BOUNDS = Bounds(of_principal=3, of_source=4, strangers=6, named=8)
DEVICES = "abcd"


def holder(device: str) -> Holder:
    return Holder(f"device/{device}", device, f"device/{device}")


def peer(number: int, source: str = "192.0.2.1") -> str:
    return f"ipv4:{source}:{number}"


def settle(held: HeldConnections, there: dict[str, int], now: float) -> Counter[str]:
    """Looks, and ends what has to go, until nothing has; how many went, by why."""
    gone: Counter[str] = Counter()
    held.found(there, now, now)
    while surplus := list(held.surplus(now)):
        assert len({one.peer for one in surplus}) == len(surplus)
        gone.update(one.why for one in surplus)
        for one in surplus:
            del there[one.peer]
        held.found(there, now, now)
    return gone


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["come", "name", "go", "unknown", "look"]),
        st.integers(0, 30),
        st.sampled_from(DEVICES),
    ),
    max_size=80,
)


@given(STEPS)
def test_the_bounds_hold_whatever_happens(steps: list[tuple[str, int, str]]) -> None:
    """After each look nobody has more than may be, and the counts are those of what is there."""
    held, there, owner, now, socket = HeldConnections(BOUNDS), dict[str, int](), {}, 0.0, 0
    for act, number, device in steps:
        now += 1
        one = peer(number, f"192.0.2.{number % 3}")
        if act == "come" and one not in there:
            socket += 1
            there[one] = socket
        elif act == "name" and one in there:
            owner[one] = device if held.name(one, holder(device), now) else ""
        elif act == "unknown" and one in there:
            held.unknown(one, now)
            owner[one] = ""
        elif act == "go":
            there.pop(one, None)
        elif act == "look":
            settle(held, there, now)
            mine = Counter(owner.get(each, "") for each in there)
            sources = Counter(each.split(":")[1] for each in there if not owner.get(each))
            assert held.strangers == mine[""] <= BOUNDS.strangers
            assert all(count <= BOUNDS.of_source for count in sources.values())
            assert all(held.of(holder(each)) == mine[each] <= 3 for each in DEVICES)
            assert len(held) - held.strangers <= BOUNDS.named
        owner = {each: whose for each, whose in owner.items() if each in there}


def test_who_has_most_loses_first_and_of_it_what_was_used_longest_ago() -> None:
    """Where all together are too many, who has little keeps it."""
    held = HeldConnections(Bounds(of_principal=7, of_source=99, strangers=99, named=8))
    names = [("a", number) for number in range(7)] + [("b", 10), ("c", 11), ("c", 12)]
    for moment, (device, number) in enumerate(names):
        assert held.name(peer(number), holder(device), moment)
    held.used(peer(0), "device/a", 100)
    held.found({peer(number): number + 1 for _, number in names}, 100, 100)
    assert [one.peer for one in held.surplus(100)] == [peer(1), peer(2)]


def test_who_is_being_served_keeps_its_connection_longest() -> None:
    """A watch that began long ago is in use: what is idle goes before it, however new."""
    serving = {peer(0), peer(1)}
    held = HeldConnections(Bounds(7, 99, 99, named=8), lambda: serving)
    there = {peer(number): number + 1 for number in range(10)}
    for number in range(10):
        name = Holder(f"{number % 2}", "a", f"{number % 2}")  # a device, and its agents
        assert held.name(peer(number), name, number)
    held.found(there, 10, 10)
    assert [one.peer for one in held.surplus(10)] == [peer(2), peer(3)]
    serving |= {peer(number) for number in range(10)}
    assert [one.peer for one in held.surplus(10)] == [peer(0), peer(1)]


def test_of_many_who_have_one_each_whoever_is_served_keeps_it() -> None:
    """A watch that began before all others is not the first to be ended when too many come."""
    held = HeldConnections(Bounds(7, 99, 99, named=8), lambda: {peer(0), peer(1)})
    for number in range(10):
        assert held.name(peer(number), holder(str(number)), number)
    held.found({peer(number): number + 1 for number in range(10)}, 10, 10)
    assert [one.peer for one in held.surplus(10)] == [peer(2), peer(3)]


@given(st.lists(st.integers(1, 12), min_size=1, max_size=8), st.integers(1, 20), st.data())
def test_none_loses_one_while_another_has_two_more(
    counts: list[int], named: int, data: st.DataObject
) -> None:
    """However busy some say they are: the busiest hog has no more left than who has lost most."""
    there = {peer(n, f"192.0.2.{d}"): d for d, count in enumerate(counts) for n in range(count)}
    serving = data.draw(st.sets(st.sampled_from(sorted(there))))
    held = HeldConnections(Bounds(12, 99, 99, named=named), lambda: serving)
    for moment, (one, device) in enumerate(there.items()):
        assert held.name(one, holder(str(device)), moment)
    held.found({one: number for number, one in enumerate(there, 1)}, 99, 99)
    gone = [one.peer for one in held.surplus(99)]
    assert len(set(gone)) == len(gone) == max(0, len(there) - named)
    lost = Counter(there[one] for one in gone)
    left = {device: count - lost[device] for device, count in enumerate(counts)}
    assert all(max(left.values()) <= left[device] + 1 for device in lost)


def test_the_oldest_stranger_goes_first() -> None:
    """Who floods does not push out whoever has just come and is about to say a name."""
    held, there = HeldConnections(BOUNDS), dict[str, int]()
    for number in range(5):
        there[peer(number)] = number + 1
        held.found(there, number, number)
    assert [one.peer for one in held.surplus(5)] == [peer(0)]
    assert {one.why for one in held.surplus(5)} == {"STRANGERS"}


def test_a_stranger_has_a_time_which_begins_again_when_it_asks() -> None:
    """Silence ends it; a certificate that names nobody (any more) is an answer each time."""
    held, there = HeldConnections(BOUNDS), {peer(1): 1, peer(2): 2}
    held.found(there, 0, 0)
    held.unknown(peer(2), 10)
    late = STRANGER_SECONDS + 1
    assert [(one.peer, one.why) for one in held.surplus(late)] == [(peer(1), "SILENT")]


def test_another_connection_from_the_same_port_is_another() -> None:
    """It is nobody's until it has said whose it is."""
    held = HeldConnections(BOUNDS)
    assert held.name(peer(1), holder("a"), 0)
    held.found({peer(1): 1}, 1, 1)
    assert held.used(peer(1), "device/a", 1)
    held.found({peer(1): 2}, 2, 2)
    assert not held.used(peer(1), "device/a", 2)
    assert held.of(holder("a")) == 0


def test_what_spoke_while_the_kernel_was_looked_at_is_not_forgotten() -> None:
    """It was not to be seen yet."""
    held = HeldConnections(BOUNDS)
    assert held.name(peer(1), holder("a"), 1.5)
    held.found({}, 1, 2)
    assert held.of(holder("a")) == 1
    held.found({}, 3, 4)
    assert held.of(holder("a")) == 0


@given(st.integers(1, 20_000), st.integers(4, 16_384))
def test_no_share_is_the_whole_port(most: int, wanted: int) -> None:
    """One device with its agents, and all strangers, leave room for others, be it ever so small."""
    bounds = Bounds.within(most, wanted)
    assert bounds.of_principal <= wanted
    if most >= 8:
        assert 2 * bounds.of_principal <= bounds.named
        assert bounds.of_source < bounds.strangers
        assert bounds.named + bounds.strangers <= most * 3 // 4

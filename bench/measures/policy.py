"""One question to the PDP with N policies in force, in process; and putting 10,000 in force.

`policy.whole_set.N` has the engine look at every policy, as it would without our index.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial

from bench.plan import Bench, Measure
from bench.result import Result, timing
from bench.sampling import Step, StepError, interleaved, sample
from policy.arguments import JsonSchema, to_context, translate
from policy.bundle import Bundle
from policy.contexts import CallFacts, call_context
from policy.defaults import load_default_files
from policy.entities import DeviceEntity, ToolEntity
from policy.entity_store import Entities, EntityStore
from policy.pdp import PDP, Question
from policy.risk import Tier
from policy.schema import compose, load_base
from policy.slices import PolicySlice
from policy.values import EntityUid
from stockade.v1 import policy_pb2

SIZES = (10, 100, 1000, 10_000)
PER_FILE = 1000
SCHEMA: JsonSchema = {"type": "object", "properties": {"path": {"type": "string"}}}


class WholeSet(PDP):
    """A PDP that never narrows a question down to the policies that can matter to it."""

    __slots__ = ("_whole",)

    def __init__(self, bundle: Bundle, entities: EntityStore) -> None:
        super().__init__(bundle, entities)
        object.__setattr__(self, "_whole", bundle.slices.whole())

    def _slice(self, question: Question, entities: Entities) -> PolicySlice:  # noqa: ARG002 - that is the point
        whole: PolicySlice = object.__getattribute__(self, "_whole")
        return whole


def policy_files(count: int) -> dict[str, str]:
    """The default policies, filled up to `count` with permits about other devices and tools."""
    files = load_default_files()
    written = sum(text.count("@id(") for text in files.values())
    texts = [
        f'@id("bench-{number}")\npermit (principal == Device::"bench-{number % 997}", '
        f'action == Action::"call", resource == Tool::"bench_{number}")\n'
        f'when {{ context.origin == "10.0.{number % 251}.7" }};\n'
        for number in range(max(0, count - written))
    ]
    for start in range(0, len(texts), PER_FILE):
        files[f"bench-{start}.cedar"] = "".join(texts[start : start + PER_FILE])
    return files


def questions(count: int, bench: Bench) -> Iterator[Result]:
    """Whether an owner may call read_file."""
    bundle = Bundle.build(policy_files(count), compose(load_base(), {"read_file": SCHEMA}))
    tool = ToolEntity("read_file", "ab" * 32, "builtin", Decimal("0.1"), False, False, False)
    store = EntityStore.build([DeviceEntity("me", "me", ("owners",)), tool], bundle.schema)
    facts = CallFacts(
        arguments=to_context("read_file", translate(SCHEMA), {"path": "a.txt"}),
        risk=Decimal("0.25"),
        tier=Tier.PROCESS,
        time=datetime.now(UTC),
        origin="10.0.0.7",
    )
    device, resource = EntityUid("Device", "me"), EntityUid("Tool", "read_file")
    question = Question(device, "call", resource, call_context(facts))

    def decide(pdp: PDP) -> None:
        if not pdp.decide(question).allowed:
            raise StepError("DENIED")

    # Each after one of its own kind that does not count: else the first would be measured with a
    # cache that the other has just filled with ten thousand policies.
    first, second = (partial(decide, pdp(bundle, store)) for pdp in (PDP, WholeSet))
    narrowed, whole = interleaved(
        bench.times(max(100, min(2000, 500_000 // count))),
        3,
        Step(first, before=first),
        Step(second, before=second),
    )
    names = (f"policy.questions.{count}", f"policy.whole_set.{count}")
    yield timing(names[0], "us", narrowed, beside=names[1])
    yield timing(names[1], "us", whole, beside=names[0])


def activate(bench: Bench) -> Iterator[Result]:
    """Sends 10,000 policies to a daemon and waits until they are in force and recorded."""
    daemon = bench.prepared()
    daemon.start()
    files = [
        policy_pb2.PolicyFile(name=name, text=text) for name, text in policy_files(10_000).items()
    ]
    with daemon.client() as client:
        samples = sample(bench.times(5), 0, lambda: client.apply_policy(files))
    daemon.remove()
    yield timing("policy.activate.10000", "s", samples)


MEASURES = (
    *(
        Measure((f"policy.questions.{n}", f"policy.whole_set.{n}"), partial(questions, n))
        for n in SIZES
    ),
    Measure(("policy.activate.10000",), activate),
)

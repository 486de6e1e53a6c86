"""All the questions about one call, with N policies in force and ten thousand entities, in process.

`policy.questions.N` is the whole hearing of a call as the judge holds it: contexts made, three
questions put and answered, one after the other, for a caller whose like was asked about before:
what the engine answered then it is not asked again. `policy.looks.N` is the same where a policy
compares arguments, hour and time with constants; `policy.anew.N` where one, for all questions, puts
them beside what is no constant, so that the engine is asked about it in every call. Path and time
are others in every call.
`policy.first.N` is for devices that never asked before and have policies of their own, so that
nothing is found or compiled yet.
`policy.whole_set.N` puts the same three questions to the engine with every policy, as one would
without the index: policies, entities and schema parsed ahead. `policy.call.N` is all that the judge
does for a call: arguments into Cedar, risk, tier, the hearing, the verdict.

Each size is measured in a process of its own, since a daemon has one policy set.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import cedarpy
import orjson
from uuid_utils.compat import uuid7

from bench import policies
from bench.apart import apart
from bench.plan import Bench, Measure
from bench.result import Result, timing
from bench.sampling import Step, StepError, interleaved, sample
from daemon.calls.hearing import Case, Ruling, hear
from daemon.calls.judge import Candidate, judge
from daemon.config import Config
from daemon.principal import Principal
from daemon.tools.arguments import parse_arguments
from daemon.tools.registry import BUILTIN_TOOLS, load
from daemon.tools.snapshot import SnapshotStore
from daemon.world import build
from identity.names import DeviceId, PrincipalName
from policy.arguments import to_context, translate
from policy.contexts import call_context
from policy.entities import DeviceEntity
from policy.pdp import PDP
from policy.risk import RiskInputs, Tier
from policy.values import EntityUid

SIZES = (10, 100, 1000, 10_000)
CALLER = "dev-" + "a" * 16
ACTIONS = ("call", "run_in_process", "call_unattended")
RISK = RiskInputs(Decimal("0.1"), Decimal(1), network=False, filesystem_write=False,
                  external_apis=False)  # fmt: skip


TRANSLATION = translate(policies.ARGUMENTS)
_calls = count()


def case(number: int) -> Case:
    """A call of a device's that runs without asking anybody. No two have the same arguments."""
    tool = policies.tool(number)
    return Case(
        subjects=(EntityUid("Device", policies.device(number)),),
        tool=tool,
        arguments=to_context(tool, TRANSLATION, {"path": f"{next(_calls)}.txt"}),
        risk=RISK,
        floor=Tier.PROCESS,
        time=datetime.now(UTC),
        maintenance=False,
        origin="10.0.0.7",
    )


def decide(pdp: PDP, number: int) -> None:
    """May it be called, in so weak a tier, and without a person."""
    if hear(pdp, case(number), {}).ruling is not Ruling.PERMIT:
        raise StepError("NOT_PERMITTED")


def questions(size: int, bench: Bench) -> Iterator[Result]:
    """The questions to the decision point, and to the engine with every policy."""
    bundle = policies.bundle(size)
    store = policies.store(bundle)
    pdp, whole = PDP(bundle, store), bundle.slices.whole().handle
    entities, schema = store.handle, bundle.schema.handle

    def without_index(number: int) -> None:
        asked = case(number)
        context = orjson.dumps(call_context(asked.facts(asked.floor)).values_by_name).decode()
        request = {
            "principal": asked.subjects[0].to_json(),
            "resource": {"type": "Tool", "id": asked.tool},
            "context": context,
        }
        for action in ACTIONS:
            request["action"] = {"type": "Action", "id": action}
            if not cedarpy.is_authorized(request, whole, entities, schema).allowed:
                raise StepError("NOT_PERMITTED")

    # Each after one of its own kind that does not count: else the first would be measured with
    # caches that the other has just filled with ten thousand policies.
    first, second = partial(decide, pdp, 0), partial(without_index, 0)
    narrowed, all_of_them = interleaved(
        bench.times(max(100, min(2000, 500_000 // size))),
        3,
        Step(first, before=first),
        Step(second, before=second),
    )
    names = (f"policy.questions.{size}", f"policy.whole_set.{size}")
    yield timing(names[0], "us", narrowed, beside=names[1])
    yield timing(names[1], "us", all_of_them, beside=names[0])
    fresh = count(1)
    strangers = sample(bench.times(2000), 20, lambda: decide(pdp, next(fresh)))
    yield timing(f"policy.first.{size}", "us", strangers)


def fleeting(size: int, bench: Bench) -> Iterator[Result]:
    """The same by policies that look at what is another in every call."""
    looking, beside = (policies.bundle(size, more) for more in (policies.LOOKING, policies.BESIDE))
    store = policies.store(looking)
    steps = [Step(partial(decide, PDP(one, store), 0)) for one in (looking, beside)]
    looks, anew = interleaved(bench.times(2000), 20, *steps)
    names = (f"policy.looks.{size}", f"policy.anew.{size}")
    yield timing(names[0], "us", looks, beside=names[1])
    yield timing(names[1], "us", anew, beside=names[0])


def judged(size: int, bench: Bench) -> Iterator[Result]:
    """A call of a builtin tool, from its parsed arguments to the verdict."""
    devices = [
        DeviceEntity(policies.device(number), "device", ("callers",))
        for number in range(policies.DEVICES)
    ]
    with TemporaryDirectory(prefix="stockade-bench-") as copies:
        registry = load(BUILTIN_TOOLS, None, SnapshotStore(Path(copies), lambda: uuid7().hex))
    devices.append(DeviceEntity(CALLER, "device", ("callers",)))
    world = build(policies.policy_files(size), registry, devices, Config(), {})
    tool = registry.by_name["run_shell"]
    asked = Candidate(_caller(), tool, parse_arguments(b'{"command": "true"}'))
    now = datetime.now(UTC)

    def verdict() -> None:
        if judge(world, asked, now).ruling is Ruling.DENY:
            raise StepError("DENIED")

    yield timing(f"policy.call.{size}", "us", sample(bench.times(2000), 20, verdict))


def _caller() -> Principal:
    return Principal(
        name=PrincipalName("device", DeviceId(CALLER)),
        device_id=CALLER,
        device_name="device",
        groups=frozenset({"callers"}),
        serial="01",
        certificate=b"",
        not_after_ms=2**53,
        key="",
        issuer="",
        origin="10.0.0.7",
    )


MEASURES = (
    *(
        Measure(
            tuple(f"policy.{what}.{size}" for what in ("questions", "whole_set", "first")),
            apart(partial(questions, size)),
        )
        for size in SIZES
    ),
    *(
        Measure((f"policy.looks.{size}", f"policy.anew.{size}"), apart(partial(fleeting, size)))
        for size in SIZES
    ),
    *(Measure((f"policy.call.{size}",), apart(partial(judged, size))) for size in SIZES),
)

"""Administrative acts as questions to policy: the gate's, and those of whoever asks "what if?".

Trusted to ask the same in the same way, whoever asks. Raises nothing.
"""

from collections.abc import Callable
from datetime import datetime

from daemon.world import World
from policy.contexts import administrative_context
from policy.entities import DAEMON, Entity
from policy.pdp import Decision, Question
from policy.values import EntityUid


def may_do(
    world: World,
    subjects: tuple[EntityUid, ...],
    action: str,
    *,
    time: datetime,
    origin: str,
    maintenance: bool | None = None,
    resource: EntityUid = DAEMON,
    entities: tuple[Entity, ...] = (),
    witness: Callable[[Question, Decision], None] = lambda _question, _decision: None,
) -> Decision:
    """Policy's answer about all of the subjects (an agent, and its device): the first no, if any.

    A maintenance of None is the one that there is.
    """
    context = administrative_context(
        world.local(time),
        origin,
        maintenance=world.data.maintenance if maintenance is None else maintenance,
    )
    for subject in subjects:
        question = Question(subject, action, resource, context, entities)
        decision = world.pdp.decide(question)
        witness(question, decision)
        if not decision.allowed:
            break
    return decision

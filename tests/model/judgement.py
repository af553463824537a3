"""What must hold, in every world and at every step."""

from collections.abc import Iterator

from orchestrator.domain.transitions import ENDED_WITHOUT_EXECUTION
from orchestrator.domain.vocabulary import PermitState, Verdict
from tests.model.settings import Lie, Rule, Setting
from tests.model.states import Incident, Kind, Stage, Step, Word, Work, World

DOUBLE = "executed twice"
BESIDE = "sent although a real trade was recorded"
FALSE = "closed as not executed, and executed"
PHANTOM = "EXECUTED, and not executed"
UNSTORED = "a fill was heard and neither stored nor reported"
DROPPED = 'an acceptance was heard after "never seen" and not reported'
UNREPORTED = "an unauthorised trade or an UNKNOWN permit without its incident"
UNPERMITTED = "EXECUTED and its authorised trade do not go together"
CONTRADICTED = 'closed by "never seen" although the engine had accepted it'
TWO_EXITS = "an exit recorded twice"
HALTED = "armed or sent again after a halt"
AFTER_HALT = "an order leaves after a halt"
STUCK = "stuck and unseen"

# an engine that trades unasked, or twice on one key, cannot be kept from it
TRADES_BY_ITSELF = frozenset({Lie.TWICE, Lie.ROGUE})


def broken(before: World, step: Step, setting: Setting) -> Iterator[str]:
    """Yield the names of the properties that this step breaks."""
    yield from _wrong_world(step.world, setting)
    yield from _wrong_order(before, step)
    yield from _wrong_hearing(before, step, setting)


def _wrong_world(world: World, setting: Setting) -> Iterator[str]:
    executions = world.engine.executions + world.engine.elsewhere
    if executions > 1 and not setting.lies & TRADES_BY_ITSELF:
        yield DOUBLE
    if executions and world.state in ENDED_WITHOUT_EXECUTION and setting.is_honest:
        yield FALSE
    if (world.state is PermitState.EXECUTED) != any(trade.authorised for trade in world.trades):
        yield UNPERMITTED
    if world.state is PermitState.EXECUTED and not executions:
        yield PHANTOM
    if _unreported(world):
        yield UNREPORTED
    if world.exits > 1:
        yield TWO_EXITS


def _wrong_order(before: World, step: Step) -> Iterator[str]:
    if _takes_an_order(before, step.world):
        if before.halted:
            yield HALTED
        if before.trades:
            yield BESIDE
    if step.sends and before.halted:
        yield AFTER_HALT


def _wrong_hearing(before: World, step: Step, setting: Setting) -> Iterator[str]:
    """What is said is stored or reported, never dropped; and nothing is concluded against what is on record."""
    world = step.world
    if step.heard is Word.FILLED:
        is_stored = any(trade.ref == step.ref for trade in world.trades)
        if not is_stored and Incident.CONFLICT not in world.incidents:
            yield UNSTORED
    is_contradicted = world.permit is not None and world.permit.never_seen
    if step.heard is Word.ACCEPTED and is_contradicted and Incident.CONFLICT not in world.incidents:
        yield DROPPED
    if step.heard is Word.NOT_FOUND and before.permit and before.permit.accepted:
        ends_here = world.state is PermitState.NOT_EXECUTED and before.state is not world.state
        if ends_here and setting.keeps(Rule.NOT_FOUND_NEEDS_PROOF):
            yield CONTRADICTED


def is_settled_or_seen(world: World) -> bool:
    """Tell whether the permit has ended and nothing is left to apply, or an operator has an open incident before him."""
    if world.incidents:
        return True
    is_applied = all(event.verdict is Verdict.UNMATCHED for event in world.inbox)
    return world.state in (PermitState.EXECUTED, *ENDED_WITHOUT_EXECUTION) and is_applied


def _unreported(world: World) -> bool:
    if world.state is PermitState.UNKNOWN and Incident.UNKNOWN not in world.incidents:
        return True
    return Incident.UNAUTHORISED not in world.incidents and any(not trade.authorised for trade in world.trades)


def _takes_an_order(before: World, after: World) -> bool:
    """Tell whether a worker has just taken up an order or its repetition."""
    if before.workers is after.workers:
        return False
    return sum(map(_is_taken, after.workers)) > sum(map(_is_taken, before.workers))


def _is_taken(work: Work | None) -> bool:
    return work is not None and work.kind is not Kind.QUERY and work.stage is Stage.TAKEN

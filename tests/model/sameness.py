"""Under which key a world is remembered: what can make no difference any more is left out of it.

Each rule says why nothing that happens later can tell the two worlds apart. A test explores without them and compares.
"""

from functools import cache

from orchestrator.domain.transitions import UNSETTLED_PERMITS
from orchestrator.domain.vocabulary import PermitState
from tests.model.settings import Lie, Setting
from tests.model.states import Kind, Lease, Permit, Phase, Stage, Word, Work, World

NO_EFFECT_WHEN_STALE = frozenset({Word.UNREADABLE, Word.NOT_SENT})
Key = tuple[object, ...]


def key_of(world: World, setting: Setting) -> Key:
    """Return the key of a world; workers have no names."""
    if setting.without:  # a variant's broken rule may tell apart what the protocol cannot
        return unnamed(world)
    permit = world.permit and _permit(world.permit, setting.idempotent)
    is_before = world.phase is Phase.BEFORE
    is_settled = permit is not None and permit.state not in UNSETTLED_PERMITS
    first, second = [
        work and _work(work, is_before=is_before, is_settled=is_settled, honours=setting.honours)
        for work in world.workers
    ]
    if first is not None and (second is None or second < first):
        first, second = second, first
    return (
        permit,
        world.phase,
        # only who arms or sends again asks for the halt, and that ends with not_after
        world.halted and is_before and not is_settled,
        first,
        second,
        0 if _is_indifferent(world, setting) else world.orphans,
        *world[5:],
    )


def _is_indifferent(world: World, setting: Setting) -> bool:
    """Tell whether an order that arrives now changes nothing at the engine: it is as good as lost."""
    engine = world.engine
    knows = setting.idempotent and Lie.TWICE not in setting.lies
    return knows and (engine.refused or (engine.refused_retry and bool(engine.executions or engine.pending)))


def unnamed(world: World) -> Key:
    """Return a world as if workers had no names, and nothing else left out."""
    first, second = world.workers
    swap = first is not None and (second is None or second < first)
    return world._replace(workers=(second, first)) if swap else world


@cache
def _permit(permit: Permit, is_idempotent: bool) -> Permit:
    if permit.state not in UNSETTLED_PERMITS:
        return Permit(
            permit.state, never_seen=permit.never_seen
        )  # nobody asks a settled permit for more than that it is settled
    lease, attempts = permit.lease, permit.attempts
    if lease is Lease.OVER and (permit.state is not PermitState.ARMED or permit.accepted):
        lease = Lease.NONE  # only an armed permit without an answer is doubted for its lease
    if not is_idempotent:
        attempts = 0  # asked for only where there may have been a repetition
    return permit._replace(lease=lease, attempts=attempts)


@cache
def _work(work: Work, *, is_before: bool, is_settled: bool, honours: bool) -> Work | None:
    """What was overtaken and is no fact is recorded without effect: its worker is as good as idle."""
    is_stale = not work.fresh or is_settled
    is_late = not (work.may_send and is_before)
    if work.stage is Stage.TAKEN and is_stale and is_late:
        return None  # it sees that it is late, and that it sent nothing matches no row
    if work.stage is Stage.HEARD:
        if work.word is Word.FILLED:
            return Work(Kind.ORDER, Stage.HEARD, PermitState.UNKNOWN, fresh=False, word=Word.FILLED, ref=work.ref)
        if is_stale and not _is_fact(work, honours):
            return None
    work = work._replace(
        knew_accepted=False,
        asked_late=work.asked_late and honours,
        latest=work.latest and work.kind is Kind.ORDER,
        may_send=work.stage is Stage.TAKEN and not is_late,
    )
    return work._replace(fresh=False, held=PermitState.UNKNOWN) if is_stale else work


def _is_fact(work: Work, honours: bool) -> bool:
    match work.word:
        case Word.REJECTED:
            return work.kind is Kind.QUERY or (work.kind is Kind.ORDER and work.latest)
        case Word.NOT_FOUND:
            return honours and work.asked_late
        case Word.ACCEPTED:
            return True
        case _:
            return work.word not in NO_EFFECT_WHEN_STALE

"""The steps of a worker, as built: grant, arm, look at the clock, send, hear, record; and the sweeps."""

from collections.abc import Iterator

from orchestrator.domain.transitions import PERMIT_MOVES, sources
from orchestrator.domain.vocabulary import PermitState, Verdict
from tests.model.facts import (
    MAY_END_UNEXECUTED,
    apply_event,
    close,
    reconsidered,
    settle,
    settle_filled,
    settle_not_executed,
)
from tests.model.settings import Rule, Setting
from tests.model.states import (
    Actor,
    Incident,
    Kind,
    Lease,
    Permit,
    Phase,
    Stage,
    Step,
    Word,
    Work,
    World,
    moved,
    opened,
    stale,
    with_work,
)

MAY_BE_ARMED = frozenset(sources(PERMIT_MOVES, PermitState.ARMED))
MAY_BE_VOID = frozenset(sources(PERMIT_MOVES, PermitState.VOID))
ACTOR = Actor.WORKER


def worker_steps(world: World, setting: Setting) -> Iterator[Step]:
    """Everything that workers do next; each step is one commit, one send or one receipt, with a crash before and after."""
    yield from _grant(world)
    for number, work in enumerate(world.workers):
        name = f"worker {number + 1}"
        if work is None:
            yield from _take_up(world, number, name, setting)
            continue
        yield _crash(world, number, work, name, setting)
        match work.stage:
            case Stage.READ:
                yield from _save(world, number, work, name)
            case Stage.TAKEN:
                yield from _look_at_the_clock(world, number, work, name, setting)
            case Stage.CLEARED:
                yield from _send(world, number, work, name)
            case Stage.SENT:
                yield _give_up_waiting(world, number, work, name, setting)
            case Stage.HEARD:
                yield from _record(world, number, work, name, setting)
    yield from _sweeps(world, setting)
    yield from _inbox(world, setting)


# The grant


def _grant(world: World) -> Iterator[Step]:
    if world.permit is not None:
        return
    world = reconsidered(world, Verdict.WAITING)
    after = world._replace(permit=Permit(PermitState.GRANTED))
    yield Step(ACTOR, "the recommendation is recorded and the permit is GRANTED", after)
    after = world._replace(permit=Permit(PermitState.VOID))
    yield Step(ACTOR, "the recommendation is recorded past its deadline and the permit is VOID", after)


# Taking up


def _take_up(world: World, number: int, name: str, setting: Setting) -> Iterator[Step]:
    permit = world.permit
    if permit is None:
        return
    if permit.state in MAY_BE_ARMED and world.phase is Phase.BEFORE:
        yield from _arm(world, permit, number, name, setting)
    yield from _claim_unsettled(world, permit, number, name, setting)
    if (
        not setting.keeps(Rule.NO_FAILOVER)
        and permit.state is PermitState.UNKNOWN
        and world.phase is Phase.BEFORE
        and not world.engine.elsewhere
    ):
        after = world._replace(engine=world.engine._replace(elsewhere=1))
        yield Step(ACTOR, f"{name} gives the permit to the other engine, which executes", after)


def _arm(world: World, permit: Permit, number: int, name: str, setting: Setting) -> Iterator[Step]:
    """``queue.arm_permits``: one statement that looks at the state, the clock and the halt, committed before sending."""
    if not setting.keeps(Rule.RECORD_BEFORE_CALLING):
        work = Work(Kind.ORDER, Stage.CLEARED, PermitState.GRANTED)
        yield Step(ACTOR, f"{name} takes up the order and records nothing yet", with_work(world, number, work))
        return
    looks_first = not (setting.keeps(Rule.COMPARE_AND_SET) and setting.keeps(Rule.HALT_IN_THE_SAME_STATEMENT))
    if world.halted or _stands_beside_a_trade(world, setting):
        return
    if looks_first:
        work = Work(Kind.ORDER, Stage.READ, permit.state)
        yield Step(
            ACTOR, f"{name} reads that the permit is GRANTED and trading is not halted", with_work(world, number, work)
        )
        if not setting.keeps(Rule.COMPARE_AND_SET):
            return
    yield Step(ACTOR, f"{name} arms the permit and commits", armed(world, number))


def armed(world: World, number: int) -> World:
    """Move to ARMED, with the next attempt, the next fence and a lease."""
    world = moved(world, PermitState.ARMED, lease=Lease.HELD)
    assert world.permit is not None
    permit = world.permit._replace(attempts=min(world.permit.attempts + 1, 2))
    world = world._replace(permit=permit, workers=stale(world.workers, attempt=True))
    return with_work(world, number, Work(Kind.ORDER, Stage.TAKEN, PermitState.ARMED))


def _save(world: World, number: int, work: Work, name: str) -> Iterator[Step]:
    """Save ARMED over whatever is there; only what the database's trigger refuses does not happen."""
    if world.state in MAY_BE_ARMED:
        yield Step(ACTOR, f"{name} saves ARMED", armed(world, number))
    elif world.state is PermitState.ARMED:
        taken = work._replace(stage=Stage.TAKEN, held=PermitState.ARMED)
        yield Step(ACTOR, f"{name} saves ARMED over the other's ARMED", with_work(world, number, taken))
    else:
        yield Step(ACTOR, f"{name} finds that the permit has moved on", with_work(world, number, None))


def _claim_unsettled(world: World, permit: Permit, number: int, name: str, setting: Setting) -> Iterator[Step]:
    """``queue.claim_unsettled``."""
    if permit.lease is Lease.HELD:
        return
    is_unknown = permit.state is PermitState.UNKNOWN
    may_resend = setting.idempotent or not setting.keeps(Rule.RESEND_ONLY_TO_IDEMPOTENT)
    is_allowed = world.phase is Phase.BEFORE and not world.halted and not _stands_beside_a_trade(world, setting)
    resends = may_resend and is_unknown and not permit.accepted and is_allowed
    queries = setting.queryable and (is_unknown or (permit.state is PermitState.ARMED and permit.accepted))
    if not (resends or queries):
        return
    attempts = min(permit.attempts + resends, 2)
    after = world._replace(
        permit=permit._replace(lease=Lease.HELD, attempts=attempts),
        workers=stale(world.workers, attempt=resends),
    )
    work = Work(
        Kind.RESEND if resends else Kind.QUERY,
        Stage.TAKEN if resends else Stage.SENT,
        permit.state,
        knew_accepted=permit.accepted,
        asked_late=world.phase >= Phase.MARGIN
        or (world.phase >= Phase.AFTER and not setting.keeps(Rule.ASKED_AFTER_THE_MARGIN)),
    )
    what = "claims the permit to send it again" if resends else "claims the permit and asks the engine about it"
    yield Step(ACTOR, f"{name} {what}", with_work(after, number, work))


def _stands_beside_a_trade(world: World, setting: Setting) -> bool:
    """Tell whether a real trade of the signal is recorded already, whoever placed it: no order is sent beside it."""
    return bool(world.trades) and setting.keeps(Rule.NO_ORDER_BESIDE_A_TRADE)


# Sending


def _look_at_the_clock(world: World, number: int, work: Work, name: str, setting: Setting) -> Iterator[Step]:
    """``worker._too_late``: sends nothing past not_after, nor when its time since before the arming is over."""
    in_time = world.phase is Phase.BEFORE and work.may_send
    if in_time or not setting.keeps(Rule.LOOK_AT_THE_CLOCK_BEFORE_SENDING):
        cleared = with_work(world, number, work._replace(stage=Stage.CLEARED))
        yield Step(
            ACTOR, f"{name} sees that it is in time" if in_time else f"{name} does not look at the clock", cleared
        )
    held_up = with_work(world, number, work._replace(stage=Stage.HEARD, word=Word.NOT_SENT))
    yield Step(ACTOR, f"{name} was held up and sends nothing", held_up)


def _send(world: World, number: int, work: Work, name: str) -> Iterator[Step]:
    what = "the order" if work.kind is Kind.ORDER else "the order again"
    sent = with_work(world, number, work._replace(stage=Stage.SENT))
    yield Step(ACTOR, f"{name} sends {what}", sent, sends=True)
    refused = with_work(world, number, work._replace(stage=Stage.HEARD, word=Word.NOT_SENT))
    yield Step(ACTOR, f"{name} finds the connection refused", refused)


def _give_up_waiting(world: World, number: int, work: Work, name: str, setting: Setting) -> Step:
    heard = with_work(world, number, work._replace(stage=Stage.HEARD, word=Word.UNREADABLE))
    return Step(ACTOR, f"{name} hears nothing in time; its request may still arrive", _orphaned(heard, work, setting))


def _crash(world: World, number: int, work: Work, name: str, setting: Setting) -> Step:
    where = {
        Stage.READ: "before it commits",
        Stage.TAKEN: "after the commit and before sending",
        Stage.CLEARED: "just before sending",
        Stage.SENT: "while it waits for the answer",
        Stage.HEARD: "before the answer is recorded",
    }[work.stage]
    after = with_work(world, number, None)
    return Step(
        Actor.CRASH, f"{name} is killed {where}", _orphaned(after, work, setting) if work.stage is Stage.SENT else after
    )


def _orphaned(world: World, work: Work, setting: Setting) -> World:
    if work.kind is Kind.QUERY:
        return world
    return world._replace(orphans=min(world.orphans + 1, setting.orphans))


# Recording


def _record(world: World, number: int, work: Work, name: str, setting: Setting) -> Iterator[Step]:
    after = recorded(world, work, setting)
    words = f"{name} records {_said(work)}"
    yield Step(ACTOR, words, with_work(after, number, None), heard=work.word, ref=work.ref)
    again = after.workers[number]
    assert again is not None
    if again != work or after != world:
        # the connection is lost after the commit: the worker does not know, and records it once more
        yield Step(ACTOR, f"{words}, and does not learn that it was committed", after, heard=work.word, ref=work.ref)


def recorded(world: World, work: Work, setting: Setting) -> World:
    """``permits.record_execution_answer``."""
    if (
        not setting.keeps(Rule.RECORD_BEFORE_CALLING)
        and world.state is PermitState.GRANTED
        and work.word is Word.FILLED
    ):
        world = moved(world, PermitState.ARMED)
    match work.word:
        case Word.FILLED:
            return settle_filled(world, work.ref, setting)
        case Word.REJECTED:
            return _refused(world, work, setting)
        case Word.ACCEPTED:
            return _note_accepted(world, work, setting)
        case Word.NOT_FOUND:
            return _not_found(world, work, setting)
        case Word.NOT_SENT if work.kind is Kind.ORDER:
            return _return_to_granted(world, work, setting)
        case _:
            return _nothing_known(world, work, setting)


def _refused(world: World, work: Work, setting: Setting) -> World:
    proves = work.kind is Kind.QUERY or (
        (work.kind is Kind.ORDER or not setting.keeps(Rule.REFUSED_RETRY_PROVES_NOTHING))
        and (work.latest or not setting.keeps(Rule.REFUSED_FIRST_PROVES_NOTHING_AFTER_A_RETRY))
    )
    return settle_not_executed(world, setting) if proves else _put_back(world, work)


def _note_accepted(world: World, work: Work, setting: Setting) -> World:
    permit = world.permit
    assert permit is not None
    if work.fresh and permit.state is work.held:
        return world._replace(permit=permit._replace(accepted=True, lease=Lease.NONE))
    if permit.state is PermitState.UNKNOWN:
        return world._replace(permit=permit._replace(accepted=True))
    if permit.never_seen and setting.keeps(Rule.ACCEPTANCE_AFTER_THE_END_IS_A_CONFLICT):
        return opened(world, Incident.CONFLICT)
    return world


def _not_found(world: World, work: Work, setting: Setting) -> World:
    permit = world.permit
    assert permit is not None
    as_recorded = setting.keeps(Rule.ACCEPTANCE_AS_RECORDED)
    was_accepted = permit.accepted if as_recorded else work.knew_accepted
    judged_late = world.phase >= Phase.MARGIN if not setting.keeps(Rule.JUDGE_BY_ASKING) else work.asked_late
    if not setting.keeps(Rule.NOT_FOUND_NEEDS_PROOF):
        return settle_not_executed(world, setting) if world.state in MAY_END_UNEXECUTED else world
    if setting.honours and judged_late and not was_accepted:
        ends_it = world.state in MAY_END_UNEXECUTED
        world = settle_not_executed(world, setting)
        assert world.permit is not None
        return world._replace(permit=world.permit._replace(never_seen=True)) if ends_it else world
    return _put_back(world, work)


def _return_to_granted(world: World, work: Work, setting: Setting) -> World:
    if world.state is PermitState.ARMED and (work.fresh or not setting.keeps(Rule.FENCE_INTENTS)):
        return moved(world, PermitState.GRANTED, fences=False)
    return world


def _nothing_known(world: World, work: Work, setting: Setting) -> World:
    if work.held is PermitState.UNKNOWN or work.kind is Kind.QUERY:
        return _put_back(world, work)
    if world.state is not PermitState.ARMED or not work.fresh:
        return world
    if not setting.keeps(Rule.TIME_OUT_IS_UNKNOWN):
        return moved(world, PermitState.GRANTED)
    return settle(world, PermitState.UNKNOWN, setting)


def _put_back(world: World, work: Work) -> World:
    permit = world.permit
    assert permit is not None
    if work.fresh and permit.state is work.held:
        return world._replace(permit=permit._replace(lease=Lease.NONE))
    return world


def _said(work: Work) -> str:
    said = {
        Word.FILLED: f"that the engine filled it (reference {work.ref})",
        Word.REJECTED: "that the engine refused",
        Word.ACCEPTED: "that the engine accepted it for later",
        Word.NOT_FOUND: "that the engine never saw it",
        Word.UNREADABLE: "that nothing is known",
        Word.NOT_SENT: "that nothing was sent",
    }[work.word]
    return (
        said + {Kind.ORDER: "", Kind.RESEND: " (asked by the repetition)", Kind.QUERY: " (asked by query)"}[work.kind]
    )


# Sweeps and the inbox


def _sweeps(world: World, setting: Setting) -> Iterator[Step]:
    """``permits.void_expired_permits`` and ``permits.doubt_silent_permits``; one transaction under both locks."""
    permit = world.permit
    if permit is None:
        return
    if permit.state in MAY_BE_VOID and world.phase >= Phase.AFTER:
        yield Step(
            ACTOR, "a sweep ends the permit that was not sent in time: VOID", settle(world, PermitState.VOID, setting)
        )
    if permit.state is not PermitState.ARMED:
        return
    if not permit.accepted and permit.lease is Lease.OVER:
        if setting.keeps(Rule.LOST_LEASE_IS_UNKNOWN):
            after = settle(world, PermitState.UNKNOWN, setting)
            yield Step(ACTOR, "a sweep doubts the permit whose lease ran out: UNKNOWN", after)
        else:
            after = moved(world, PermitState.GRANTED)
            yield Step(ACTOR, "a sweep gives the permit back whose lease ran out: GRANTED", after)
    if permit.accepted and world.phase >= Phase.MARGIN:
        after = settle(world, PermitState.UNKNOWN, setting)
        yield Step(ACTOR, "a sweep doubts what was accepted and never finished: UNKNOWN", after)


def _inbox(world: World, setting: Setting) -> Iterator[Step]:
    for event in world.inbox:
        if event.verdict is not None:
            continue
        yield Step(ACTOR, "a worker applies the exit", apply_event(world, event, setting))
        if not setting.keeps(Rule.EXIT_ONCE):
            # another worker read the event as pending before, and does not look again under the lock
            once = apply_event(world, event, setting)
            trade = next((one for one in once.trades if one.ref == event.ref), None)
            if trade is not None:
                yield Step(ACTOR, "two workers apply the exit, each as if it were alone", close(once, trade))

"""Everything that is not a worker: the engine and its moods, the wire, the clock, and the operator."""

from collections.abc import Iterator

from orchestrator.domain.vocabulary import PermitState
from tests.model.facts import apply_event, settle_filled, settle_not_executed
from tests.model.settings import Lie, Rule, Setting
from tests.model.states import (
    Actor,
    Engine,
    Event,
    Kind,
    Lease,
    Phase,
    Report,
    Stage,
    Step,
    Word,
    Work,
    World,
    halted,
    moved,
    with_work,
)

MOST = 2


def surrounding_steps(world: World, setting: Setting) -> Iterator[Step]:
    """Everything that happens to the workers next; all of it may also never happen."""
    yield from _requests_arrive(world, setting)
    yield from _queries_arrive(world, setting)
    yield from _engine_alone(world, setting)
    yield from _events_arrive(world, setting)
    yield from _time(world, setting)
    yield from _operator(world, setting)
    if world.orphans:
        yield Step(Actor.WIRE, "an order gets lost on the wire", world._replace(orphans=world.orphans - 1))
    if not setting.keeps(Rule.WAIT_FOR_THE_DISK) and world.state is PermitState.ARMED:
        forgotten = moved(world, PermitState.GRANTED)
        yield Step(Actor.WIRE, "the database server dies and forgets that the permit was armed", forgotten)


# Orders at the engine


def _requests_arrive(world: World, setting: Setting) -> Iterator[Step]:
    for number, work in enumerate(world.workers):
        if work is None or work.stage is not Stage.SENT or work.kind is Kind.QUERY:
            continue
        for words, engine, word in _answers(world, setting):
            ref = engine.executions if word is Word.FILLED else 0
            after = with_work(world, number, work._replace(stage=Stage.HEARD, word=word, ref=_ref(setting, ref)))
            yield Step(Actor.ENGINE, f"the engine {words}", after._replace(engine=engine))
    if world.orphans:
        for words, engine, word in _answers(world, setting):
            if word is not Word.UNREADABLE:
                after = world._replace(orphans=world.orphans - 1, engine=engine)
                yield Step(Actor.ENGINE, f"the engine {words}; nobody hears the answer", after)


def _ref(setting: Setting, executions: int) -> int:
    return min(executions, 1) if _deduplicates(setting) else executions


def _deduplicates(setting: Setting) -> bool:
    return setting.idempotent and Lie.TWICE not in setting.lies


def _answers(world: World, setting: Setting) -> Iterator[tuple[str, Engine, Word]]:
    """What the engine may do with an order that arrives now, and what it says; UNREADABLE stands for every silence."""
    engine = world.engine
    is_decided = engine.executions or engine.pending or engine.refused
    if _deduplicates(setting) and is_decided:
        if engine.executions:
            yield "knows the order and says again that it is filled", engine, Word.FILLED
        elif engine.pending:
            yield "knows the order and says that it is pending", engine, Word.ACCEPTED
        retried = engine if engine.refused else engine._replace(refused_retry=True)
        yield "refuses the order", retried, Word.REJECTED
        yield "knows the order and answers nothing readable", engine, Word.UNREADABLE
        return
    yield "fails before it has done anything", engine, Word.UNREADABLE
    refused = engine._replace(refused=True)
    yield "refuses the order", refused, Word.REJECTED
    yield "refuses the order and its answer is lost", refused, Word.UNREADABLE
    if world.phase >= Phase.MARGIN and setting.honours and Lie.LATE not in setting.lies:
        return
    done = engine._replace(executions=min(engine.executions + 1, MOST))
    yield "executes the order", done, Word.FILLED
    yield "executes the order and its answer is lost", done, Word.UNREADABLE
    if Lie.RECANTS in setting.lies:
        yield "executes the order and says that it refused", done._replace(refused=True), Word.REJECTED
    if engine.executions + engine.pending < MOST:
        taken = engine._replace(pending=engine.pending + 1)
        yield "accepts the order for later", taken, Word.ACCEPTED
        yield "accepts the order for later and its answer is lost", taken, Word.UNREADABLE


def _engine_alone(world: World, setting: Setting) -> Iterator[Step]:
    engine = world.engine
    if engine.pending:
        left = engine._replace(pending=engine.pending - 1)
        yield _by_engine(world, "refuses what it had accepted", left._replace(refused=True))
        if not (world.phase >= Phase.MARGIN and setting.honours and Lie.LATE not in setting.lies):
            done = left._replace(executions=min(engine.executions + 1, MOST))
            yield _by_engine(world, "executes what it had accepted", done)
    if setting.exits and engine.executions and not engine.exited:
        yield _by_engine(world, "exits its trade", engine._replace(exited=True))
    if Lie.ROGUE in setting.lies and not engine.executions:
        yield _by_engine(world, "executes without having been told", engine._replace(executions=1))


def _by_engine(world: World, words: str, engine: Engine) -> Step:
    return Step(Actor.ENGINE, f"the engine {words}", world._replace(engine=engine))


# Questions at the engine


def _queries_arrive(world: World, setting: Setting) -> Iterator[Step]:
    for number, work in enumerate(world.workers):
        if work is None or work.stage is not Stage.SENT or work.kind is not Kind.QUERY:
            continue
        for word, words in _what_a_query_finds(world, work, setting):
            heard = work._replace(stage=Stage.HEARD, word=word, ref=int(word is Word.FILLED))
            after = with_work(world, number, heard)
            if word is Word.FILLED and world.engine.exited:
                # the answer brings the exit along; it goes into the inbox like an event
                after = after._replace(inbox=after.inbox | {Event(Report.EXITED, 1)})
            yield Step(Actor.ENGINE, f"the engine is asked and {words}", after)


def _what_a_query_finds(world: World, work: Work, setting: Setting) -> Iterator[tuple[Word, str]]:
    engine = world.engine
    if engine.executions:
        yield Word.FILLED, "says that it is filled"
    elif engine.pending:
        yield Word.ACCEPTED, "says that it is pending"
    elif engine.refused:
        yield Word.REJECTED, "says that it refused"
    # a copy of its books that lags behind is no lie, as long as nobody may conclude anything from it
    may_forget = Lie.FORGETS in setting.lies or not (setting.honours and work.asked_late)
    if may_forget or not (engine.executions or engine.pending):
        yield Word.NOT_FOUND, "says that it never saw it"


# Events


def _events_arrive(world: World, setting: Setting) -> Iterator[Step]:
    """An engine reports what it did, at any time after it, never, or again and again under other message ids.

    A fill or a refusal that waits in the inbox is the same as one that comes later; storing and applying are one step.
    An exit may have to wait for its entry, so that it is stored first and applied by a worker.
    """
    engine = world.engine
    for ref in range(1, engine.executions + 1):
        yield _applied(world, Event(Report.FILLED, ref), setting)
        if Lie.ROGUE in setting.lies:
            yield _applied(world, Event(Report.NAMELESS, ref), setting)
    if world.permit is not None and (engine.refused or engine.refused_retry):
        yield _applied(world, Event(Report.REJECTED), setting)
    if engine.exited and all(one.report is not Report.EXITED for one in world.inbox):
        after = world._replace(inbox=world.inbox | {Event(Report.EXITED, 1)})
        yield Step(Actor.ENGINE, "the engine's event exited is stored in the inbox", after)


def _applied(world: World, event: Event, setting: Setting) -> Step:
    heard = Word.NONE if event.report is Report.REJECTED else Word.FILLED
    about = f" (reference {event.ref})" if event.ref else ""
    words = f"the engine's event {event.report}{about} is stored and applied"
    return Step(Actor.ENGINE, words, apply_event(world, event, setting), heard=heard, ref=event.ref)


# The clock and the operator


def _time(world: World, setting: Setting) -> Iterator[Step]:
    permit = world.permit
    if permit is not None and permit.lease is Lease.HELD:
        workers = tuple(work and work._replace(may_send=work.may_send and not work.fresh) for work in world.workers)
        after = world._replace(permit=permit._replace(lease=Lease.OVER), workers=workers)
        yield Step(Actor.TIME, "the lease runs out", after)
    if permit is None or world.phase is Phase.QUIET:
        return
    passes = Phase(world.phase + 1)
    if passes is Phase.QUIET and setting.bounded and _is_on_its_way(world):
        return
    words = {
        Phase.AFTER: "not_after passes",
        Phase.MARGIN: "the clock margin passes",
        Phase.QUIET: "the quiet period passes",
    }
    yield Step(Actor.TIME, words[passes], world._replace(phase=passes))


def _is_on_its_way(world: World) -> bool:
    return bool(world.orphans) or any(
        work is not None and work.kind is not Kind.QUERY and work.stage in (Stage.CLEARED, Stage.SENT)
        for work in world.workers
    )


def _operator(world: World, setting: Setting) -> Iterator[Step]:
    """An operator halts and lifts the halt, and settles what is UNKNOWN after the quiet period, by the broker's books."""
    if setting.halts:
        if world.halted:
            yield Step(Actor.OPERATOR, "an operator lifts the halt", world._replace(halted=False))
        else:
            words = "an operator halts trading, and it is committed"
            yield Step(Actor.OPERATOR, words, halted(world, waits=setting.halt_waits))
    if world.state is not PermitState.UNKNOWN or world.phase is not Phase.QUIET:
        return
    engine = world.engine
    for ref in range(1, engine.executions + 1):
        after = settle_filled(world, ref, setting)
        yield Step(
            Actor.OPERATOR, f"an operator settles: executed (reference {ref})", after, heard=Word.FILLED, ref=ref
        )
    if not (engine.executions or engine.pending) or Lie.MISTAKEN in setting.lies:
        yield Step(Actor.OPERATOR, "an operator settles: not executed", settle_not_executed(world, setting))

"""What the model knows of the world: one signal's permit, two workers, the wire, one engine, the inbox and the clock.

A world is a hashable tuple. Times are phases, leases and fences are what follows from them: a fence is compared and
never counted, so what a worker holds is ``fresh`` until the fence moves on; likewise ``latest`` until there is another
attempt.
"""

from enum import IntEnum, StrEnum, auto
from typing import NamedTuple

from orchestrator.domain.transitions import PERMIT_MOVES
from orchestrator.domain.vocabulary import PermitState, Verdict


class IllegalMove(Exception):
    """The model was about to make a permit move that the code's table does not know."""


class Phase(IntEnum):
    """The time, as far as the protocol asks for it: around not_after, the clock margin and the quiet period."""

    BEFORE = 0
    AFTER = 1
    MARGIN = 2
    QUIET = 3


class Lease(IntEnum):
    NONE = 0
    HELD = 1
    OVER = 2


class Kind(IntEnum):
    ORDER = 0
    RESEND = 1
    QUERY = 2


class Stage(IntEnum):
    """How far one request of a worker has come; between any two of them it may be paused or die."""

    READ = 0  # naive variants only: looked at the row and did not take it
    TAKEN = 1  # committed in the database
    CLEARED = 2  # looked at the clock for the last time
    SENT = 3  # on the wire, waiting for the answer
    HEARD = 4  # the answer, or its absence, is in hand and not recorded


class Word(IntEnum):
    """What came back for a request."""

    NONE = 0
    FILLED = 1
    REJECTED = 2
    ACCEPTED = 3
    NOT_FOUND = 4
    UNREADABLE = 5  # a time-out, a reset, a 5xx, garbage: nothing is known
    NOT_SENT = 6


class Report(StrEnum):
    """What an engine reports by event. A nameless fill names the experiment and no permit."""

    FILLED = auto()
    NAMELESS = auto()
    REJECTED = auto()
    EXITED = auto()


class Incident(StrEnum):
    """Incidents stay open here, but for UNKNOWN, which the permit's settlement closes."""

    UNKNOWN = auto()
    UNAUTHORISED = auto()
    CONFLICT = auto()
    UNMATCHED = auto()


class Work(NamedTuple):
    """What one worker holds; ``held`` and ``knew_accepted`` are its copy of the row, ``asked_late`` is past the margin.

    ``may_send`` until its own clock says that too much time has passed since before the arming.
    """

    kind: Kind
    stage: Stage
    held: PermitState
    fresh: bool = True
    latest: bool = True
    may_send: bool = True
    knew_accepted: bool = False
    asked_late: bool = False
    word: Word = Word.NONE
    ref: int = 0


class Permit(NamedTuple):
    """``attempts`` stops counting at 2; ``never_seen`` when that is why it ended."""

    state: PermitState
    lease: Lease = Lease.NONE
    accepted: bool = False
    attempts: int = 0
    never_seen: bool = False


class Engine(NamedTuple):
    """What is true at the engine; only it knows. ``elsewhere`` are executions of the other engine."""

    executions: int = 0
    pending: int = 0
    refused: bool = False
    refused_retry: bool = False
    exited: bool = False
    elsewhere: int = 0


class Trade(NamedTuple):
    """A recorded real trade; ``ref`` is the engine's reference, 1 for its first execution."""

    ref: int
    authorised: bool
    closed: bool = False


class Event(NamedTuple):
    """A row of the inbox that is not applied: pending (None), WAITING or UNMATCHED."""

    report: Report
    ref: int = 0
    verdict: Verdict | None = None


class World(NamedTuple):
    """``orphans`` are orders on the wire whose sender no longer listens; ``exits`` counts the lead's outcomes."""

    permit: Permit | None = None
    phase: Phase = Phase.BEFORE
    halted: bool = False
    workers: tuple[Work | None, ...] = (None, None)
    orphans: int = 0
    engine: Engine = Engine()
    inbox: frozenset[Event] = frozenset()
    trades: frozenset[Trade] = frozenset()
    incidents: frozenset[Incident] = frozenset()
    exits: int = 0

    @property
    def state(self) -> PermitState | None:
        return self.permit.state if self.permit else None


class Actor(StrEnum):
    WORKER = auto()
    CRASH = auto()
    TIME = auto()
    ENGINE = auto()
    WIRE = auto()
    OPERATOR = auto()


class Step(NamedTuple):
    """One thing that happens, in words; ``heard`` is the word that it recorded, ``sends`` that an order leaves."""

    actor: Actor
    words: str
    world: World
    heard: Word = Word.NONE
    ref: int = 0
    sends: bool = False


def moved(world: World, target: PermitState, *, lease: Lease = Lease.NONE, fences: bool = True) -> World:
    """Make a permit move by the table of the code; unless told otherwise, the lease ends and the fence moves on.

    :raises IllegalMove: when the table does not know the move.
    """
    permit = world.permit
    if permit is None or target not in PERMIT_MOVES[permit.state]:
        raise IllegalMove(f"{permit and permit.state} -> {target}")
    workers = stale(world.workers) if fences else world.workers
    return world._replace(permit=permit._replace(state=target, lease=lease), workers=workers)


def stale(workers: tuple[Work | None, ...], *, attempt: bool = False) -> tuple[Work | None, ...]:
    """Let the fence move on, and with ``attempt`` the count of attempts: what workers hold is no longer the newest."""
    return tuple(work and work._replace(fresh=False, latest=work.latest and not attempt) for work in workers)


def with_work(world: World, number: int, work: Work | None) -> World:
    return world._replace(workers=(*world.workers[:number], work, *world.workers[number + 1 :]))


def opened(world: World, *incidents: Incident) -> World:
    return world._replace(incidents=world.incidents | set(incidents))


def halted(world: World, *, waits: bool) -> World:
    """Commit a halt. It ``waits`` until no order can begin to leave: what was cleared has left, the rest is too late."""
    if not waits:
        return world._replace(halted=True)
    return world._replace(halted=True, workers=tuple(work and _out_of_the_door(work) for work in world.workers))


def _out_of_the_door(work: Work) -> Work:
    return work._replace(may_send=False, stage=Stage.SENT if work.stage is Stage.CLEARED else work.stage)

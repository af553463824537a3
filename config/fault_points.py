"""The named places on the path of an alert where a test may let a process die, stop, or lose its connection.

Before and after every commit, and around every request to an engine. What FAULT_POINTS asks for is read here.
"""

import re
from dataclasses import dataclass
from enum import Enum

from django.core.exceptions import ImproperlyConfigured
from environ import Env

LONGEST_STOP_SECONDS = 600.0


class Commit(Enum):
    """Every commit on the path of an alert; its two points are ``<label>:before_commit`` and ``<label>:after_commit``."""

    STORE_SIGNAL = ("signal.store", "the web stores an alert as a signal")
    STORE_REJECTION = ("rejection.store", "the web keeps a request that became no signal")
    DRAIN_SPOOL = ("spool.drain", "alerts that waited on disk are stored")
    CLAIM_SIGNALS = ("signal.claim", "a worker takes up new signals")
    RELEASE_SIGNAL = ("signal.release", "a signal that could not be processed is given back")
    PARK_SIGNAL = ("signal.park", "a signal that fails again and again is parked with an incident")
    CREATE_EXPERIMENTS = ("experiment.create", "signals become experiments with context, policy and both calls")
    ADOPT_EXPERIMENT = ("experiment.adopt", "a signal whose experiment exists already is marked processed")
    CLAIM_CALLS = ("call.claim", "a worker takes up calls that are due")
    PUT_BACK_CALL = ("call.put_back", "a call that was accepted or failed is given back, to be made again")
    END_CALL = ("call.end", "a call about a shadow trade ends with the engine's answer")
    FAIL_CALLS = ("call.fail", "calls end without a usable answer")
    RECORD_RECOMMENDATIONS = ("recommendation.record", "answers are recorded with trades and permits (T3)")
    ARM_PERMITS = ("permit.arm", "permits are armed, before the order leaves (T4)")
    CLAIM_UNSETTLED = ("permit.claim", "a worker takes up permits to ask about or to send again")
    PUT_BACK_PERMIT = ("permit.put_back", "a permit that is still not known is given back, to be asked about later")
    RETURN_PERMIT = ("permit.return", "an order that cannot have left returns its permit to GRANTED")
    SETTLE_FILLED = ("permit.fill", "a fill is recorded with its real trade (T5)")
    SETTLE_NOT_EXECUTED = ("permit.not_executed", "an engine that was asked about its open trade denies it")
    JUDGE_REFUSAL = ("permit.refuse", "a refusal is judged and recorded (T5)")
    JUDGE_NOT_FOUND = ("permit.not_found", "a not found is judged, after not_after, as the proof that it may be")
    NOTE_ACCEPTED = ("permit.accept", "an engine has accepted an order and will report later (T5)")
    NOTE_LATE_ACCEPTANCE = ("permit.accept_late", "an acceptance that another worker did not wait for is kept")
    DOUBT_PERMIT = ("permit.doubt", "an order without a usable answer becomes UNKNOWN with an incident (T5)")
    VOID_PERMITS = ("permit.void", "permits that nobody sent before not_after end")
    DOUBT_SILENT = ("permit.doubt_silent", "permits whose worker or engine went silent become UNKNOWN")
    STORE_EVENT = ("event.store", "the web stores what an engine reports")
    APPLY_ANSWERS = ("event.apply_answers", "recommendations that were reported are recorded (T3)")
    APPLY_EXECUTION = ("event.apply_execution", "a fill or a refusal that was reported is recorded (T5)")
    CLOSE_EVENT = ("event.give_up", "an event that cannot be applied is kept with an incident")
    CLAIM_EXITS = ("exit.claim", "a worker takes up open trades to ask for their exits")
    APPLY_EXITS = ("exit.apply", "exits are applied: outcomes, and the followers with their lead")
    SETTLE_FOLLOWERS = ("exit.followers", "followers that waited for a price are closed")
    COUNT_SUMS = ("sums.count", "changed days and pairs are counted into the sums that reports read")
    SETTLE_INCIDENT = ("incident.settle", "an operator settles an incident")
    OPEN_INCIDENT = ("incident.open", "an incident is opened by itself")
    FIRST_REVISION = ("policy.first", "the revision that the defaults or another APP_MODE make")
    SAVE_REVISION = ("policy.save", "the panel is saved, or trading is halted")

    @property
    def label(self) -> str:
        return self.value[0]

    @property
    def sentence(self) -> str:
        return self.value[1]


EXCHANGES = {
    "health": "the probe of an engine",
    "recommend": "the question for a recommendation",
    "recommendation": "asking again after an accepted question",
    "execute": "the order",
    "execution": "asking what became of an order",
    "open_shadow_trade": "telling an engine of its shadow trade",
    "close_shadow_trade": "telling an engine of its shadow trade's exit",
}
COMMIT_MOMENTS = ("before_commit", "after_commit")
EXCHANGE_MOMENTS = ("before_send", "after_send", "after_receive")
POINTS = tuple(f"{commit.label}:{moment}" for commit in Commit for moment in COMMIT_MOMENTS) + tuple(
    f"{exchange}:{moment}" for exchange in EXCHANGES for moment in EXCHANGE_MOMENTS
)

_ONE = re.compile(
    r"(?P<point>[^=\s]+)\s*=\s*(?P<action>kill|drop|stop\s+(?P<seconds>\d+(\.\d+)?)\s*s)\s*(@\s*(?P<nth>[1-9]\d{0,8}))?"
)


class Action(Enum):
    """What becomes of the process: SIGKILL, a stop of the whole process, or the loss of the connection in use."""

    KILL = "kill"
    STOP = "stop"
    DROP = "drop"


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens at a point, once, on the ``nth`` pass of this process; ``seconds`` is how long a stop lasts."""

    action: Action
    nth: int = 1
    seconds: float = 0.0


def parse_faults(text: str) -> dict[str, Fault]:
    """Read ``permit.arm:after_commit=kill; execute:after_send=drop@2; event.store:before_commit=stop 3s``.

    :raises ImproperlyConfigured: naming what was found and what is accepted.
    """
    found: dict[str, Fault] = {}
    for entry in filter(None, (part.strip() for part in text.split(";"))):
        match = _ONE.fullmatch(entry)
        if match is None:
            raise ImproperlyConfigured(
                f"FAULT_POINTS says {entry!r}. Accepted: point=kill, point=drop or point=stop 3s, each with @2 behind it for "
                "the second pass, separated by semicolons."
            )
        point, seconds = match["point"], float(match["seconds"] or 0)
        if point not in POINTS:
            raise ImproperlyConfigured(f"FAULT_POINTS names the point {point!r}. Accepted: {', '.join(POINTS)}.")
        if point in found:
            raise ImproperlyConfigured(f"FAULT_POINTS names the point {point!r} twice. Accepted: one action a point.")
        action = Action(match["action"].split()[0])
        if action is Action.STOP and not 0 < seconds <= LONGEST_STOP_SECONDS:
            raise ImproperlyConfigured(
                f"FAULT_POINTS stops for {seconds:g} s. Accepted: above 0, at most {LONGEST_STOP_SECONDS:g} s."
            )
        found[point] = Fault(action, nth=int(match["nth"] or 1), seconds=seconds)
    return found


def read_faults(env: Env, *, app_mode: str, debug: bool) -> dict[str, Fault]:
    """Read FAULT_POINTS, which is for tests alone: only where no real money is and DEBUG is on.

    :raises ImproperlyConfigured: where it does not belong, or when it cannot be read.
    """
    text = str(env.str("FAULT_POINTS", default="")).strip()
    if text and (app_mode == "LIVE" or not debug):
        where = "APP_MODE is LIVE" if app_mode == "LIVE" else "DEBUG is not on"
        raise ImproperlyConfigured(
            f"FAULT_POINTS is set and {where}: it kills processes and drops connections. Accepted: unset, or APP_MODE=PAPER "
            "with DEBUG=true, on a machine for tests."
        )
    return parse_faults(text)

"""The invariants: they hold for consistent rows, and each finds the row that was falsified behind the database's back."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from io import StringIO

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection
from django.utils import timezone

from orchestrator.models import Experiment, ShadowTrade
from outcomes.counting import count_changes
from outcomes.invariant_rules import RULES
from outcomes.invariants import MOST_SHOWN, SIGNAL_HASHES, Violation, check_invariants, violations
from outcomes.models import RealTradeOutcome
from tests.factories import (
    make_event,
    make_exit_sync,
    make_experiment,
    make_heartbeat,
    make_incident,
    make_outcome,
    make_permit,
    make_recommendation,
    make_shadow_trade,
    make_signal,
    make_terms,
    make_trade,
)
from tests.falsification import copied, falsify


def make_real_story() -> Experiment:
    """Engine A traded and left; its twin and the shadow of B left with it."""
    experiment = make_experiment(execution_mode="AUTO")
    for engine in "AB":
        make_recommendation(experiment, engine)
    followers = [make_shadow_trade(experiment, engine) for engine in "AB"]
    lead = make_trade(experiment)
    make_outcome(lead)
    for follower in followers:
        make_outcome(follower)
    make_exit_sync(lead)
    return experiment


def make_shadow_story() -> Experiment:
    """Nobody traded; the shadow of the variant led, the other one went short and left at a loss."""
    experiment = make_experiment(execution_mode="SHADOW_ONLY")
    lead_engine = experiment.variant
    follower_engine = "B" if lead_engine == "A" else "A"
    make_recommendation(experiment, lead_engine)
    make_recommendation(experiment, follower_engine, terms=make_terms(side="SELL", instrument={"type": "stock"}))
    lead = make_shadow_trade(experiment, lead_engine)
    follower = make_shadow_trade(
        experiment, follower_engine, terms=make_terms(side="SELL", instrument={"type": "stock"})
    )
    make_outcome(lead)
    make_outcome(follower)
    make_exit_sync(lead)
    return experiment


def make_doubtful_story() -> Experiment:
    """Engine B was told to trade and nobody knows whether it did; engine A traded without being asked."""
    experiment = make_experiment(execution_mode="ENGINE_B_PRIMARY")
    make_recommendation(experiment, "A", action="PASS")
    make_recommendation(experiment, "B")
    make_shadow_trade(experiment, "B")
    permit = make_permit(experiment, state="UNKNOWN")
    make_incident(kind="UNKNOWN_EXECUTION", subject=str(permit.pk), experiment=experiment, permit=permit)
    rogue = make_trade(experiment, authorised=False, engine="A")
    make_incident(kind="UNAUTHORISED_EXECUTION", subject=f"A:{rogue.external_id}", experiment=experiment)
    event = make_event("B", verdict="UNMATCHED")
    make_incident(kind="UNMATCHED_EVENT", subject=f"event:{event.pk}")
    return experiment


def make_split_story() -> Experiment:
    """The executed engine passed; the other one's shadow left, and a late one of the executed engine never came."""
    experiment = make_experiment(execution_mode="SPLIT_CAPITAL", split_percentage=30)
    executed = experiment.policy.executed_engine
    make_recommendation(experiment, executed, action="PASS")
    other = "B" if executed == "A" else "A"
    make_recommendation(experiment, other)
    lead = make_shadow_trade(experiment, other)
    make_outcome(lead)
    make_exit_sync(lead, state="NOT_APPLICABLE")
    return experiment


def make_blocked_story() -> Experiment:
    """The real trade left, its twin too; the other engine's contract has no price yet, and an operator was asked."""
    experiment = make_experiment(execution_mode="ENGINE_A_PRIMARY")
    for engine in "AB":
        make_recommendation(experiment, engine)
    twin, follower = (make_shadow_trade(experiment, engine) for engine in "AB")
    lead = make_trade(experiment)
    make_outcome(lead)
    make_outcome(twin)
    make_exit_sync(lead, state="BLOCKED")
    make_incident(kind="MISSING_EXIT_PRICE", subject=str(follower.pk), experiment=experiment)
    return experiment


def make_late_story() -> Experiment:
    """The shadow of B would have been entered after the real trade had left."""
    experiment = make_experiment(execution_mode="ENGINE_A_PRIMARY")
    late = experiment.created_at + timedelta(hours=2)
    make_recommendation(experiment, "A")
    make_recommendation(experiment, "B", received_at=late)
    twin = make_shadow_trade(experiment, "A")
    make_shadow_trade(experiment, "B", entry_time=late, status="VOID")
    lead = make_trade(experiment)
    make_outcome(lead)
    make_outcome(twin)
    make_exit_sync(lead)
    return experiment


STORIES: dict[str, Callable[[], Experiment]] = {
    "real": make_real_story,
    "shadow": make_shadow_story,
    "doubtful": make_doubtful_story,
    "split": make_split_story,
    "blocked": make_blocked_story,
    "late": make_late_story,
}


@pytest.fixture
def stories(db: None) -> dict[str, str]:
    """Write every story, an unprocessed and a parked signal; return what a query may refer to."""
    experiments = {name: make() for name, make in STORIES.items()}
    ids = {name: str(experiment.pk) for name, experiment in experiments.items()}
    ids |= {f"{name}_signal": str(experiment.signal_id) for name, experiment in experiments.items()}
    parked = make_signal(parked_at=timezone.now(), last_error="it cannot be read")
    make_incident(kind="POISON_SIGNAL", subject=str(parked.pk))
    count_changes()
    return ids | {"waiting_signal": str(make_signal().pk), "parked_signal": str(parked.pk)}


A_PAIR = "a signal has at most one experiment and one context, an experiment at most one policy"
ASSIGNED = "assignment_hash, variant and experiment_id recompute"
DISTRIBUTED = "context_hash recomputes, and the context is its signal's"
ASKED = "both engines are asked, with the hash of the context"
PROCESSED = "a processed signal has its experiment, its context and its policy"
MODES = "a policy's mode agrees with its engines"
VERSIONS = "a policy version leads to the revision that it was decided under"
SHOWN = "the panel shows the newest revision"
PERMITTED = "a permit is the policy's engine's, and there is none under SHADOW_ONLY"
ONE_PERMIT = "an experiment has at most one permit, and its id recomputes"
EXECUTED = "a permit is EXECUTED exactly when its real trade is recorded"
ONE_TRADE = "an experiment has at most one authorised real trade, and it is its permit's"
ANSWERED = "an ANSWERED call has its recommendation, and a recommendation its call"
FOLLOWED = "every OPEN has its shadow trade or twin on its own terms, and nothing else has one"
OPEN_PERMIT = "every OPEN of the executed engine has its permit, and only it"
ONE_OUTCOME = "every closed trade has exactly one outcome, and no other trade has one"
RECOMPUTED = "an outcome is its trade's, and its P&L recomputes"
LEAD = "every closed experiment has the record of its lead's exit, equal to the lead's outcome"
TOGETHER = "a closed follower left with its lead: same time, same market conditions"
FOLLOWER = "a follower of a closed lead is closed, void, or waits for a price"
BLOCKED = "an exit that waits for a price has an open follower, and BLOCKED means that an operator was asked"
VOID = "a VOID follower would have been entered after its lead had left"
SUMS = "the daily sums are the sums of the outcomes"
DAYS = "the sums of days are those of the outcomes"
SLICES = "the sums of slices add up to the whole"
PAIRS = "every experiment is a pair with the results of its trades"
PAIR_SUMS = "the sums of pairs are those of the pairs"
BEGUN = "every experiment that was counted is in the sums of its day"

# which invariant finds it, the tables whose guards are taken away, and the falsification
FALSIFIED: list[tuple[str, str, str]] = [
    (SIGNAL_HASHES, "signals", "UPDATE signals SET direction = 'short' WHERE signal_id = %(real_signal)s"),
    (SIGNAL_HASHES, "signals", "UPDATE signals SET raw_body = 'nonsense' WHERE signal_id = %(waiting_signal)s"),
    (SIGNAL_HASHES, "signals", "UPDATE signals SET raw_payload = '{}' WHERE signal_id = %(real_signal)s"),
    (PROCESSED, "signals", "UPDATE signals SET experiment_id = gen_random_uuid() WHERE signal_id = %(real_signal)s"),
    (PROCESSED, "signals", "UPDATE signals SET processed = TRUE WHERE signal_id = %(waiting_signal)s"),
    (PROCESSED, "market_contexts", "DELETE FROM market_contexts WHERE signal_id = %(split_signal)s"),
    (PROCESSED, "execution_policies", "DELETE FROM execution_policies WHERE experiment_id = %(split)s"),
    (A_PAIR, "experiments", copied("experiments", "experiment_id", "experiment_id = %(real)s")),
    (A_PAIR, "market_contexts", copied("market_contexts", "id", "signal_id = %(real_signal)s")),
    (A_PAIR, "execution_policies", copied("execution_policies", "id", "experiment_id = %(real)s")),
    (
        "an experiment belongs to a processed signal",
        "signals",
        "UPDATE signals SET processed = FALSE WHERE signal_id = %(real_signal)s",
    ),
    ("a parked signal has its incident", "incidents", "DELETE FROM incidents WHERE kind = 'POISON_SIGNAL'"),
    (
        ASSIGNED,
        "experiments",
        "UPDATE experiments SET assignment_hash = repeat('a', 64) WHERE experiment_id = %(real)s",
    ),
    (
        ASSIGNED,
        "experiments",
        "UPDATE experiments SET variant = CASE variant WHEN 'A' THEN 'B' ELSE 'A' END WHERE experiment_id = %(real)s",
    ),
    (ASSIGNED, "signals", "UPDATE signals SET signal_hash = repeat('b', 64) WHERE signal_id = %(real_signal)s"),
    (
        ASSIGNED,
        "experiments",
        "UPDATE experiments SET experiment_id = gen_random_uuid() WHERE experiment_id = %(real)s",
    ),
    (
        DISTRIBUTED,
        "market_contexts",
        "UPDATE market_contexts SET engine_input = engine_input || ' ' WHERE signal_id = %(real_signal)s",
    ),
    (DISTRIBUTED, "market_contexts", "UPDATE market_contexts SET symbol = 'QQQ' WHERE signal_id = %(real_signal)s"),
    (
        DISTRIBUTED,
        "market_contexts",
        "UPDATE market_contexts SET timestamp = timestamp + interval '1 us' WHERE signal_id = %(real_signal)s",
    ),
    (
        DISTRIBUTED,
        "market_contexts",
        "UPDATE market_contexts SET engine_input = 'x', context_hash = encode(sha256('x'), 'hex')"
        " WHERE signal_id = %(real_signal)s",
    ),
    (
        ASKED,
        "engine_calls",
        "UPDATE engine_calls SET input_hash = repeat('c', 64) WHERE experiment_id = %(real)s AND engine = 'B'",
    ),
    (
        ASKED,
        "engine_calls",
        "UPDATE engine_calls SET input_hash = NULL WHERE experiment_id = %(real)s AND engine = 'B'",
    ),
    (
        ASKED,
        "engine_calls recommendations",
        "DELETE FROM engine_calls WHERE experiment_id = %(real)s AND engine = 'B'",
    ),
    (ASKED, "engine_calls", copied("engine_calls", "id", "experiment_id = %(real)s AND engine = 'A'")),
    (MODES, "execution_policies", "UPDATE execution_policies SET shadow_engine = 'A' WHERE experiment_id = %(real)s"),
    (
        MODES,
        "execution_policies",
        "UPDATE execution_policies SET executed_engine = 'A' WHERE experiment_id = %(shadow)s",
    ),
    (
        MODES,
        "execution_policies",
        "UPDATE execution_policies SET execution_mode = 'ENGINE_B_PRIMARY' WHERE experiment_id = %(real)s",
    ),
    (
        "under SPLIT_CAPITAL the variant executes",
        "execution_policies",
        "UPDATE execution_policies SET executed_engine = shadow_engine, shadow_engine = executed_engine"
        " WHERE experiment_id = %(split)s",
    ),
    (
        VERSIONS,
        "execution_policies experiments",
        "UPDATE execution_policies SET policy_version = 'v1.0-r99' WHERE experiment_id = %(real)s",
    ),
    (VERSIONS, "experiments", "UPDATE experiments SET policy_version = 'v1.0-r2' WHERE experiment_id = %(real)s"),
    (VERSIONS, "experiments", "UPDATE experiments SET split_percentage = 51 WHERE experiment_id = %(real)s"),
    (VERSIONS, "policy_revisions", "DELETE FROM policy_revisions WHERE number = 1"),
    ("revisions are numbered without a gap", "policy_revisions", "DELETE FROM policy_revisions WHERE number = 2"),
    (SHOWN, "policy_revisions", "UPDATE policy_revisions SET split_percentage = 51"),
    (SHOWN, "policy_revisions", "UPDATE policy_revisions SET trading_halted = NOT trading_halted"),
    (SHOWN, "constance_constance", "DELETE FROM constance_constance WHERE key = 'EXECUTION_MODE'"),
    (SHOWN, "constance_constance", "UPDATE constance_constance SET value = 'not json' WHERE key = 'EXECUTION_MODE'"),
    (
        PERMITTED,
        "execution_permits real_trades",
        "UPDATE execution_permits SET engine = 'B' WHERE experiment_id = %(real)s",
    ),
    (
        PERMITTED,
        "execution_permits",
        copied("execution_permits", "permit_id", "experiment_id = %(real)s", experiment_id="%(shadow)s"),
    ),
    (ONE_PERMIT, "execution_permits", copied("execution_permits", "permit_id", "experiment_id = %(real)s")),
    (
        ONE_PERMIT,
        "execution_permits real_trades incidents",
        "UPDATE execution_permits SET permit_id = gen_random_uuid() WHERE experiment_id = %(real)s",
    ),
    (EXECUTED, "execution_permits", "UPDATE execution_permits SET state = 'UNKNOWN' WHERE experiment_id = %(real)s"),
    (
        EXECUTED,
        "execution_permits",
        "UPDATE execution_permits SET state = 'EXECUTED' WHERE experiment_id = %(doubtful)s",
    ),
    (EXECUTED, "real_trades real_trade_outcomes", "DELETE FROM real_trades WHERE experiment_id = %(real)s"),
    (
        ONE_TRADE,
        "real_trades",
        copied("real_trades", "trade_id", "experiment_id = %(real)s", external_id="'another'"),
    ),
    (ONE_TRADE, "real_trades", "UPDATE real_trades SET engine = 'B' WHERE experiment_id = %(real)s"),
    (ONE_TRADE, "real_trades", "UPDATE real_trades SET authorised = TRUE WHERE experiment_id = %(doubtful)s"),
    (
        "an unauthorised real trade has its incident",
        "incidents",
        "DELETE FROM incidents WHERE kind = 'UNAUTHORISED_EXECUTION'",
    ),
    (
        "an UNKNOWN permit has an open incident",
        "incidents",
        "UPDATE incidents SET resolved_at = now(), resolved_by = 'ann' WHERE kind = 'UNKNOWN_EXECUTION'",
    ),
    (
        "an UNMATCHED event has an incident, open until an operator settled it",
        "incidents",
        "DELETE FROM incidents WHERE kind = 'UNMATCHED_EVENT'",
    ),
    (ANSWERED, "recommendations", "DELETE FROM recommendations WHERE experiment_id = %(doubtful)s AND engine = 'A'"),
    (
        ANSWERED,
        "engine_calls",
        "UPDATE engine_calls SET state = 'FAILED' WHERE experiment_id = %(doubtful)s AND engine = 'A'",
    ),
    (
        ANSWERED,
        "recommendations",
        "UPDATE recommendations SET experiment_id = %(real)s WHERE experiment_id = %(doubtful)s AND engine = 'A'",
    ),
    (
        FOLLOWED,
        "shadow_trades shadow_trade_outcomes",
        "DELETE FROM shadow_trades WHERE experiment_id = %(real)s AND engine = 'B'",
    ),
    (FOLLOWED, "recommendations", "DELETE FROM recommendations WHERE experiment_id = %(real)s AND engine = 'B'"),
    (FOLLOWED, "shadow_trades", "UPDATE shadow_trades SET purpose = 'SHADOW' WHERE experiment_id = %(real)s"),
    (
        FOLLOWED,
        "shadow_trades",
        "UPDATE shadow_trades SET terms = terms || '{\"quantity\":\"3\"}' WHERE experiment_id = %(real)s AND engine = 'B'",
    ),
    (OPEN_PERMIT, "execution_permits", "DELETE FROM execution_permits WHERE experiment_id = %(doubtful)s"),
    (
        OPEN_PERMIT,
        "recommendations",
        "UPDATE recommendations SET action = 'PASS' WHERE experiment_id = %(doubtful)s AND engine = 'B'",
    ),
    (ONE_OUTCOME, "real_trade_outcomes", "DELETE FROM real_trade_outcomes WHERE experiment_id = %(real)s"),
    (ONE_OUTCOME, "shadow_trades", "UPDATE shadow_trades SET status = 'OPEN' WHERE experiment_id = %(shadow)s"),
    (
        ONE_OUTCOME,
        "shadow_trade_outcomes",
        copied("shadow_trade_outcomes", "outcome_id", "experiment_id = %(real)s AND engine = 'B'"),
    ),
    (ONE_OUTCOME, "real_trades", "DELETE FROM real_trades WHERE experiment_id = %(real)s"),
    (RECOMPUTED, "real_trade_outcomes", "UPDATE real_trade_outcomes SET pnl = pnl + 0.00000001"),
    (RECOMPUTED, "shadow_trade_outcomes", "UPDATE shadow_trade_outcomes SET exit_price = exit_price + 1"),
    (RECOMPUTED, "real_trade_outcomes", "UPDATE real_trade_outcomes SET pnl = 'NaN'"),
    (
        RECOMPUTED,
        "real_trade_outcomes",
        "UPDATE real_trade_outcomes SET quantity = 1, pnl = (exit_price - entry_price) * multiplier - fees",
    ),
    (
        RECOMPUTED,
        "shadow_trade_outcomes",
        "UPDATE shadow_trade_outcomes SET multiplier = 1, pnl = (exit_price - entry_price) * quantity WHERE side = 'BUY'",
    ),
    (
        RECOMPUTED,
        "shadow_trade_outcomes",
        "UPDATE shadow_trade_outcomes SET side = 'BUY', pnl = -pnl WHERE side = 'SELL'",
    ),
    (RECOMPUTED, "shadow_trade_outcomes", "UPDATE shadow_trade_outcomes SET fees = 1, pnl = pnl - 1"),
    (
        RECOMPUTED,
        "real_trade_outcomes",
        "UPDATE real_trade_outcomes SET exit_time = entry_time - interval '1 second'",
    ),
    (LEAD, "exit_syncs", "DELETE FROM exit_syncs WHERE experiment_id = %(real)s"),
    (LEAD, "exit_syncs", "UPDATE exit_syncs SET exit_price = exit_price + 1 WHERE experiment_id = %(shadow)s"),
    (LEAD, "exit_syncs", "UPDATE exit_syncs SET lead_trade_id = gen_random_uuid() WHERE experiment_id = %(shadow)s"),
    (LEAD, "exit_syncs", "UPDATE exit_syncs SET lead_is_real = NOT lead_is_real WHERE experiment_id = %(shadow)s"),
    (
        "the real trade leads where there is one",
        "exit_syncs",
        "UPDATE exit_syncs SET lead_is_real = FALSE, lead_trade_id ="
        " (SELECT trade_id FROM shadow_trades WHERE experiment_id = %(real)s AND engine = 'A')"
        " WHERE experiment_id = %(real)s",
    ),
    (
        TOGETHER,
        "shadow_trade_outcomes",
        "UPDATE shadow_trade_outcomes SET exit_time = exit_time + interval '1 us' WHERE experiment_id = %(real)s"
        " AND engine = 'B'",
    ),
    (
        TOGETHER,
        "shadow_trade_outcomes",
        "UPDATE shadow_trade_outcomes SET market_conditions = '{}' WHERE experiment_id = %(real)s AND engine = 'B'",
    ),
    (FOLLOWER, "exit_syncs", "UPDATE exit_syncs SET state = 'DONE' WHERE experiment_id = %(blocked)s"),
    (BLOCKED, "incidents", "DELETE FROM incidents WHERE kind = 'MISSING_EXIT_PRICE'"),
    (BLOCKED, "exit_syncs", "UPDATE exit_syncs SET state = 'PENDING' WHERE experiment_id = %(real)s"),
    (
        VOID,
        "shadow_trades",
        "UPDATE shadow_trades SET entry_time = entry_time - interval '90 minutes' WHERE experiment_id = %(late)s"
        " AND engine = 'B'",
    ),
    (SUMS, "daily_results", "UPDATE daily_results SET total_pnl = total_pnl + 1 WHERE kind = 'real'"),
    (SUMS, "daily_results", "UPDATE daily_results SET wins = wins + 1 WHERE kind = 'shadow'"),
    (SUMS, "daily_results", "DELETE FROM daily_results WHERE kind = 'twin'"),
    (SUMS, "daily_results", "UPDATE daily_results SET kind = 'twin' WHERE kind = 'real'"),
    (DAYS, "daily_trades", "UPDATE daily_trades SET total_pnl = total_pnl + 1 WHERE kind = 'real'"),
    (DAYS, "daily_trades", "DELETE FROM daily_trades WHERE kind = 'twin'"),
    (
        SLICES,
        "daily_trades",
        "UPDATE daily_trades SET fourths = fourths + 1 WHERE id = (SELECT min(id::text)::uuid FROM daily_trades)",
    ),
    (PAIRS, "pairs", "UPDATE pairs SET a_pnl = a_pnl + 1 WHERE experiment_id = %(real)s"),
    (PAIRS, "pairs", "DELETE FROM pairs WHERE experiment_id = %(late)s"),
    (PAIR_SUMS, "daily_pairs", "UPDATE daily_pairs SET difference = difference + 1"),
    (PAIR_SUMS, "pairs", "DELETE FROM pairs WHERE experiment_id = %(shadow)s"),
    (BEGUN, "daily_experiments", "UPDATE daily_experiments SET variant_a = variant_a + 1"),
]
TIMED = {rule.name for rule in RULES if "%(grace)s" in rule.query}


def found(name: str) -> Violation | None:
    return next((violation for violation in violations() if violation.invariant == name), None)


@pytest.mark.requirement("6.1", "property-17", "property-18")
def test_consistent_rows_break_nothing(stories: dict[str, str]) -> None:
    assert violations() == []


@pytest.mark.django_db
def test_an_empty_database_breaks_nothing() -> None:
    assert violations() == []


@pytest.mark.requirement("property-4", "property-12", "property-13", "property-14", "property-15", "property-17", "3.5")
@pytest.mark.parametrize(
    ("name", "tables", "statement"),
    [pytest.param(*case, id=f"{n}: {case[0][:50]}") for n, case in enumerate(FALSIFIED)],
)
def test_a_falsified_row_is_found(stories: dict[str, str], name: str, tables: str, statement: str) -> None:
    falsify(statement, stories, tables=tables)
    violation = found(name)
    assert violation is not None
    assert violation.count >= len(violation.rows) >= 1


def test_every_rule_is_tried() -> None:
    names = {name for name, _, _ in FALSIFIED}
    assert {rule.name for rule in RULES} - names <= TIMED
    assert names <= {SIGNAL_HASHES, *(rule.name for rule in RULES)}
    assert len({rule.name for rule in RULES}) == len(RULES)


@pytest.mark.django_db
class TestWaiting:
    """What is due must be taken up within the lease plus the longest back-off, while a worker is alive."""

    LONG_AGO = timedelta(minutes=10)

    @pytest.fixture(autouse=True)
    def now(self) -> datetime:
        return datetime.now(UTC)

    def broken(self) -> set[str]:
        return {violation.invariant for violation in violations()}

    def alive(self, now: datetime) -> None:
        make_heartbeat(started_at=now - timedelta(hours=1), beat_at=now)

    def test_a_signal_that_was_passed_over_is_found(self, now: datetime) -> None:
        make_signal(received_at=now - self.LONG_AGO)
        assert self.broken() == set()
        make_heartbeat(started_at=now - timedelta(hours=2), beat_at=now - timedelta(hours=1))
        make_heartbeat(started_at=now - timedelta(seconds=20), beat_at=now)
        assert self.broken() == set()
        self.alive(now)
        assert self.broken() == {"no signal that is due was passed over"}

    def test_a_signal_that_is_held_or_waits_for_its_next_attempt_is_not(self, now: datetime) -> None:
        self.alive(now)
        make_signal(received_at=now - self.LONG_AGO, lock_expires_at=now + timedelta(seconds=30))
        make_signal(received_at=now - self.LONG_AGO, next_attempt_at=now - timedelta(seconds=5))
        assert self.broken() == set()

    def test_a_long_queue_that_is_being_worked_off_is_no_violation(self, now: datetime) -> None:
        self.alive(now)
        make_signal(received_at=now - self.LONG_AGO)
        older = make_experiment(signal=make_signal(received_at=now - 2 * self.LONG_AGO), age=1200.0)
        assert older.signal.received_at < now - self.LONG_AGO
        assert "no signal that is due was passed over" not in self.broken()
        make_experiment(signal=make_signal(received_at=now - timedelta(seconds=30)))
        assert "no signal that is due was passed over" in self.broken()

    def test_a_call_beyond_its_deadline_is_found(self, now: datetime) -> None:
        make_experiment(signal=make_signal(received_at=now - self.LONG_AGO))
        assert "no engine call was left lying" not in self.broken()
        self.alive(now)
        assert "no engine call was left lying" in self.broken()

    def test_a_call_that_nobody_makes_is_found_unless_its_engine_is_busy(self, now: datetime) -> None:
        self.alive(now)
        with connection.cursor() as cursor:
            make_experiment(signal=make_signal(received_at=now - self.LONG_AGO))
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            cursor.execute("ALTER TABLE engine_calls DISABLE TRIGGER USER")
            cursor.execute("UPDATE engine_calls SET deadline_at = now() + interval '1 hour'")
            assert found("no engine call was left lying").count == 2  # type: ignore[union-attr]
            cursor.execute("UPDATE engine_calls SET lease_expires_at = now() + interval '9 s' WHERE engine = 'B'")
            assert found("no engine call was left lying").count == 1  # type: ignore[union-attr]

    @pytest.mark.parametrize("state", ["GRANTED", "ARMED"])
    def test_a_permit_that_nobody_settles_is_found(self, now: datetime, state: str) -> None:
        experiment = make_experiment(signal=make_signal(received_at=now - self.LONG_AGO))
        for engine in "AB":
            make_recommendation(experiment, engine, action="OPEN" if engine == "A" else "PASS")
        make_shadow_trade(experiment, "A")
        make_permit(experiment, state=state, lease_expires_at=now - self.LONG_AGO if state == "ARMED" else None)
        assert self.broken() == set()
        self.alive(now)
        assert self.broken() == {
            "no permit was left lying: sent or void by not_after, known or UNKNOWN after it was sent"
        }

    def test_an_event_that_nobody_applies_is_found(self, now: datetime) -> None:
        make_event("A", received_at=now - self.LONG_AGO)
        make_event("B", received_at=now)
        assert self.broken() == set()
        self.alive(now)
        assert found("no event was left lying").count == 1  # type: ignore[union-attr]

    def test_a_follower_that_came_late_is_left_to_the_next_sweep_for_a_while(self, now: datetime) -> None:
        experiment = make_late_story()
        follower = ShadowTrade.objects.filter(experiment=experiment, engine="B")
        with connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            cursor.execute("ALTER TABLE shadow_trades DISABLE TRIGGER USER")
            cursor.execute("ALTER TABLE exit_syncs DISABLE TRIGGER USER")
            cursor.execute("UPDATE exit_syncs SET created_at = now() - interval '1 hour'")
        follower.update(status="OPEN", created_at=now)
        assert self.broken() == set()
        follower.update(created_at=now - self.LONG_AGO)
        assert self.broken() == {FOLLOWER}


class TestTheCommand:
    def said(self) -> str:
        out = StringIO()
        call_command("verify_invariants", stdout=out)
        return out.getvalue()

    def test_it_names_every_invariant_and_the_absence_of_workers(self, stories: dict[str, str]) -> None:
        said = self.said()
        assert all(f"ok      {rule.name}\n" in said for rule in RULES)
        assert f"{len(RULES) + 1} invariants hold, 0 violations" in said
        assert "no worker is running" in said
        make_heartbeat()
        assert "no worker is running" not in self.said()

    def test_it_shows_the_rows_and_fails(self, stories: dict[str, str]) -> None:
        falsify(
            "UPDATE real_trade_outcomes SET pnl = 12.5 WHERE experiment_id = %(real)s",
            stories,
            tables="real_trade_outcomes",
        )
        out = StringIO()
        with pytest.raises(CommandError, match=rf"^2 of {len(RULES) + 1} invariants do not hold\.$"):
            call_command("verify_invariants", stdout=out)
        assert f"BROKEN  {RECOMPUTED}: 1 rows" in out.getvalue()
        assert f"experiment_id={stories['real']}  pnl=12.50000000  recomputed=138.70000000" in out.getvalue()

    def test_many_rows_are_counted_and_the_first_are_shown(self, db: None) -> None:
        for _ in range(MOST_SHOWN + 5):
            make_signal(parked_at=timezone.now())
        violation = found("a parked signal has its incident")
        assert violation is not None
        assert (violation.count, len(violation.rows)) == (MOST_SHOWN + 5, MOST_SHOWN)


@pytest.mark.django_db(transaction=True)
def test_the_proof_sees_one_moment_and_changes_nothing() -> None:
    """Outside a transaction of the caller the proof makes its own, which is read-only."""
    make_signal(parked_at=timezone.now())
    results = check_invariants()
    assert next(results) == (SIGNAL_HASHES, None)
    with connection.cursor() as cursor:
        cursor.execute("SHOW transaction_read_only")
        assert cursor.fetchone()[0] == "on"
        cursor.execute("SHOW transaction_isolation")
        assert cursor.fetchone()[0] == "repeatable read"
    assert [violation.count for _, violation in results if violation] == [1]


def test_money_recomputes_to_eight_places(stories: dict[str, str]) -> None:
    outcome = RealTradeOutcome.objects.get(experiment_id=stories["real"])
    assert outcome.pnl == (Decimal("5.10") - Decimal("4.40")) * 2 * 100 - Decimal("1.30")

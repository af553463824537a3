"""What PostgreSQL itself holds: raw SQL that no code of ours would write tries to break each guarantee, and fails."""

from collections.abc import Iterable
from decimal import Decimal
from itertools import product
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import DatabaseError, connection, transaction
from django.db.models import Model
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from config.keys import new_key
from orchestrator.domain.transitions import CALL_MOVES, PERMIT_MOVES, SYNC_MOVES, TRADE_MOVES
from orchestrator.domain.vocabulary import CallState, Engine, ExecutionMode, PermitState, SyncState, TradeStatus
from orchestrator.models import (
    EngineCall,
    EngineEvent,
    ExecutionPermit,
    ExecutionPolicy,
    Experiment,
    Incident,
    MarketContext,
    MarketQuote,
    PolicyRevision,
    RealTrade,
    Recommendation,
    ShadowTrade,
)
from outcomes.models import ExitSync, RealTradeOutcome, ShadowTradeOutcome
from tests.factories import (
    make_event,
    make_exit_sync,
    make_experiment,
    make_incident,
    make_outcome,
    make_permit,
    make_quote,
    make_recommendation,
    make_rejected_alert,
    make_shadow_trade,
    make_signal,
    make_trade,
)
from webhooks.models import RejectedAlert, Signal

pytestmark = pytest.mark.django_db

# every table, with the columns that may change; None: no row of it may change or go
MAY_CHANGE: dict[type[Model], set[str] | None] = {
    MarketContext: None,
    MarketQuote: None,
    PolicyRevision: None,
    Experiment: None,
    ExecutionPolicy: None,
    Recommendation: None,
    RealTradeOutcome: None,
    ShadowTradeOutcome: None,
    Signal: {
        "processed", "processed_at", "experiment_id", "processing_lock", "lock_expires_at", "attempts",
        "next_attempt_at", "last_error", "parked_at",
    },
    RejectedAlert: {"replayed_signal_id"},
    EngineCall: {
        "state", "attempts", "lease", "lease_expires_at", "fence", "next_attempt_at", "error", "latency", "response",
        "sent_at", "answered_at",
    },
    EngineEvent: {"applied_at", "verdict", "detail"},
    ExecutionPermit: {
        "state", "attempts", "lease", "lease_expires_at", "fence", "next_attempt_at", "armed_at", "accepted_at",
        "may_send_until", "resolved_at", "resolved_by", "detail",
    },
    RealTrade: {"status"},
    ShadowTrade: {"status", "own_exit_price", "own_exit_time", "own_exit_reason"},
    ExitSync: {"state", "attempts"},
    Incident: {"resolved_at", "resolved_by", "resolution"},
}  # fmt: skip

# another value of the same type, whatever the value is
ANOTHER = {
    "uuid": "gen_random_uuid()",
    "boolean": "NOT COALESCE({0}, FALSE)",
    "jsonb": """COALESCE({0}, '{{}}'::jsonb) || '{{"changed": 1}}'""",
    "timestamp with time zone": "COALESCE({0}, now()) + interval '1 hour'",
    "double precision": "COALESCE({0}, 0) + 1",
}
ANOTHER |= dict.fromkeys(["integer", "smallint", "bigint", "numeric"], "COALESCE({0}, 0) + 1")
ANOTHER |= dict.fromkeys(["text", "character varying"], "left(COALESCE({0}, '') || 'x', 1) || 'y'")


def fixed_columns() -> Iterable[Any]:
    for model, free in MAY_CHANGE.items():
        table = model._meta.db_table
        yield pytest.param(table, None, id=f"{table} DELETE")
        for field in model._meta.local_fields + [
            field for parent in model._meta.parents for field in parent._meta.local_fields
        ]:
            if free is None or field.column not in free:
                yield pytest.param(table, field.column, id=f"{table} {field.column}")


def run(statement: str, parameters: Any = None) -> int:
    """Run one statement as it stands, constraints checked at once; return how many rows it touched."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute(statement, parameters)
        return int(cursor.rowcount)


def refused(statement: str, parameters: Any = None, *, match: str | None = None) -> None:
    with pytest.raises(DatabaseError, match=match):
        run(statement, parameters)


def copy(table: str, key: str, where: str, **changes: str) -> str:
    """Return one statement that inserts a row again with other values."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT column_name FROM information_schema.columns WHERE table_name = %s", [table])
        columns = [name for (name,) in cursor.fetchall()]
    changed = {key: "gen_random_uuid()"} | changes
    values = ", ".join(changed.get(column, f'"{column}"') for column in columns)
    names = ", ".join(f'"{column}"' for column in columns)
    return f"INSERT INTO {table} ({names}) SELECT {values} FROM {table} WHERE {where}"


@pytest.fixture
def experiment() -> Experiment:
    """An experiment in which everything has happened: at least one row of every table belongs to it."""
    experiment = make_experiment(execution_mode="ENGINE_A_PRIMARY")
    for engine in "AB":
        make_recommendation(experiment, engine)
        make_shadow_trade(experiment, engine)
    lead = make_trade(experiment)
    make_outcome(lead)
    for follower in ShadowTrade.objects.filter(experiment=experiment):
        make_outcome(follower)
    make_exit_sync(lead)
    make_event("A", experiment=experiment)
    make_incident(experiment=experiment)
    make_quote()
    make_rejected_alert()
    return experiment


@pytest.mark.requirement("1.4", "7.5", "property-4", "property-9", "property-17")
@pytest.mark.parametrize(("table", "column"), list(fixed_columns()))
def test_what_was_recorded_cannot_be_changed_or_deleted(experiment: Experiment, table: str, column: str | None) -> None:
    if column is None:
        refused(f"DELETE FROM {table}", match="pgtrigger: Cannot (update or )?delete rows")
        return
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT data_type FROM information_schema.columns WHERE table_name = %s AND column_name = %s",
            [table, column],
        )
        another = ANOTHER[cursor.fetchone()[0]].format(f'"{column}"')
    refused(f'UPDATE {table} SET "{column}" = {another}', match="pgtrigger: Cannot update (or delete )?rows")


def test_every_table_is_either_guarded_or_known_to_change() -> None:
    guarded = {model._meta.db_table for model in MAY_CHANGE}
    with connection.cursor() as cursor:
        tables = {
            table
            for table in connection.introspection.table_names(cursor)
            if not table.startswith(("django_", "auth_", "authtoken_", "constance_"))
        }
    # state that is kept up to date: what is true now, not what happened
    assert tables - guarded == {
        "alert_sources",
        "changed_days",
        "changed_pairs",
        "daily_experiments",
        "daily_pairs",
        "daily_results",
        "daily_trades",
        "database_identities",
        "engine_health",
        "engine_proofs",
        "engine_trials",
        "incident_notifications",
        "pairs",
        "report_slices",
        "worker_heartbeats",
    }


# one experiment per signal

INSERT_EXPERIMENT = (
    "INSERT INTO experiments (experiment_id, signal_id, variant, assignment_hash, split_percentage, policy_version)"
    " VALUES (%s, %s, %s, %s, %s, 'v1.0-r1')"
)


@pytest.mark.requirement("2.1", "10.1", "property-6")
def test_a_signal_has_one_experiment_one_context_and_one_policy(experiment: Experiment) -> None:
    for table, key, where in [
        ("experiments", "experiment_id", "experiment_id = %s"),
        ("market_contexts", "id", "signal_id = (SELECT signal_id FROM experiments WHERE experiment_id = %s)"),
        ("execution_policies", "id", "experiment_id = %s"),
    ]:
        refused(copy(table, key, where), [experiment.pk], match="unique")


@pytest.mark.requirement("10.1", "property-6")
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    key=st.uuids(),
    variant=st.sampled_from(["A", "B"]),
    hashed=st.binary(min_size=32, max_size=32).map(bytes.hex),
    split=st.integers(min_value=0, max_value=100),
)
def test_no_other_experiment_fits_beside_the_first(
    experiment: Experiment, key: UUID, variant: str, hashed: str, split: int
) -> None:
    refused(INSERT_EXPERIMENT, [key, experiment.signal_id, variant, hashed, split], match="unique")
    assert Experiment.objects.filter(signal_id=experiment.signal_id).count() == 1


@pytest.mark.requirement("2.4", "property-9")
@pytest.mark.parametrize(
    ("variant", "hashed", "split"),
    [
        ("C", "0" * 64, 50),
        ("", "0" * 64, 50),
        (None, "0" * 64, 50),
        ("A", "0" * 63, 50),
        ("A", "G" * 64, 50),
        ("A", "A" * 64, 50),
        ("A", None, 50),
        ("A", "0" * 64, -1),
        ("A", "0" * 64, 101),
        ("A", "0" * 64, None),
    ],
)
def test_an_experiment_holds_sensible_values(variant: str | None, hashed: str | None, split: int | None) -> None:
    signal = make_signal()
    refused(INSERT_EXPERIMENT, [new_key(), signal.pk, variant, hashed, split])
    assert run(INSERT_EXPERIMENT, [new_key(), signal.pk, "A", "0" * 64, 50]) == 1


def test_an_experiment_needs_its_signal() -> None:
    refused(INSERT_EXPERIMENT, [new_key(), new_key(), "A", "0" * 64, 50], match="foreign key")


@pytest.mark.requirement("property-4")
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    column=st.sampled_from(["symbol", "exchange", "direction", "timeframe", "signal_hash", "raw_body", "source"]),
    value=st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=10),
)
def test_nothing_of_an_alert_ever_changes(experiment: Experiment, column: str, value: str) -> None:
    before: dict[str, Any] = dict(Signal.objects.filter(pk=experiment.signal_id).values().get())
    if value != before[column]:
        refused(f"UPDATE signals SET {column} = %s WHERE signal_id = %s", [value, experiment.signal_id])
    assert Signal.objects.filter(pk=experiment.signal_id).values().get() == before


# the context

INSERT_CONTEXT = (
    "INSERT INTO market_contexts (id, signal_id, timestamp, symbol, current_price, bid, ask, volume, indicators,"
    " provenance, engine_input, context_hash, distributed_at)"
    " VALUES (gen_random_uuid(), %(signal)s, now(), 'SPY', %(price)s, NULL, NULL, %(volume)s, '{}', '{}',"
    " %(input)s, encode(sha256(convert_to(%(hashed)s, 'UTF8')), 'hex'), now())"
)


@pytest.mark.requirement("1.5", "property-2", "property-5")
@pytest.mark.parametrize(
    "broken",
    [
        {"hashed": "other"},
        {"input": "changed"},
        {"price": "NaN"},
        {"price": "Infinity"},
        {"price": "-0.01"},
        {"price": "1000000000000"},
        {"volume": -1},
    ],
)
def test_a_context_carries_the_hash_of_its_bytes_and_finite_prices(broken: dict[str, Any]) -> None:
    row = {"signal": make_signal().pk, "price": "589.12", "volume": None, "input": "ü", "hashed": "ü"}
    refused(INSERT_CONTEXT, row | broken)
    assert run(INSERT_CONTEXT, row) == 1


# mode and engines

AGREEING = {
    ("SHADOW_ONLY", None, "BOTH"),
    ("ENGINE_A_PRIMARY", "A", "B"),
    ("ENGINE_B_PRIMARY", "B", "A"),
    ("SPLIT_CAPITAL", "A", "B"),
    ("SPLIT_CAPITAL", "B", "A"),
}
INSERT_POLICY = (
    "INSERT INTO execution_policies (id, experiment_id, execution_mode, executed_engine, shadow_engine, reason,"
    " reason_code, policy_version, inputs)"
    " VALUES (gen_random_uuid(), %s, %s, %s, %s, '', 'CONFIGURED', 'v1.0-r1', '{}')"
)


def forget_policy() -> None:
    """Delete all policies, with the triggers off and the references to them gone, and put the guards back."""
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("ALTER TABLE execution_permits DROP CONSTRAINT permit_is_for_the_engine_that_the_policy_names")
        cursor.execute("ALTER TABLE execution_policies DISABLE TRIGGER USER")
        cursor.execute("DELETE FROM execution_policies")
        cursor.execute("ALTER TABLE execution_policies ENABLE TRIGGER USER")


@pytest.mark.requirement("3.4", "3.5", "3.6", "property-10", "property-11", "property-12")
def test_only_modes_that_agree_with_their_engines_can_be_stored(experiment: Experiment) -> None:
    forget_policy()
    modes = [*ExecutionMode, "AUTO", ""]
    engines = ["A", "B", "BOTH", "", None]
    stored = set()
    for combination in product(modes, engines, engines):
        try:
            with transaction.atomic():
                run(INSERT_POLICY, [experiment.pk, *combination])
                stored.add(tuple(str(word) if word is not None else None for word in combination))
                transaction.set_rollback(True)
        except DatabaseError:
            continue
    assert stored == AGREEING


# permits

INSERT_PERMIT = (
    "INSERT INTO execution_permits (permit_id, experiment_id, engine, state, not_after, attempts, lease, fence,"
    " next_attempt_at, armed_at, resolved_by, detail)"
    " VALUES (%s, %s, %s, %s, now(), 0, '', 0, now(), %s, '', '')"
)


@pytest.mark.requirement("3.2", "3.5", "property-10", "property-12")
@pytest.mark.parametrize(
    ("mode", "executed"), [("ENGINE_A_PRIMARY", "A"), ("ENGINE_B_PRIMARY", "B"), ("SPLIT_CAPITAL", None)]
)
def test_only_the_engine_that_the_policy_names_can_have_a_permit(mode: str, executed: str | None) -> None:
    experiment = make_experiment(execution_mode=mode)
    executed = executed or experiment.variant
    other = "B" if executed == "A" else "A"
    refused(INSERT_PERMIT, [new_key(), experiment.pk, other, "GRANTED", None], match="policy_names")
    assert run(INSERT_PERMIT, [new_key(), experiment.pk, executed, "GRANTED", None]) == 1
    for engine in "AB":
        refused(INSERT_PERMIT, [new_key(), experiment.pk, engine, "GRANTED", None])
    assert ExecutionPermit.objects.filter(experiment=experiment).count() == 1


@pytest.mark.requirement("3.4", "property-11")
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    engine=st.sampled_from(["A", "B", "BOTH", ""]),
    state=st.sampled_from(PermitState),
    key=st.uuids(),
    authorised=st.booleans(),
)
def test_under_shadow_only_no_permit_and_no_authorised_trade_can_be_stored(
    shadow_only: Experiment, engine: str, state: str, key: UUID, authorised: bool
) -> None:
    refused(INSERT_PERMIT, [key, shadow_only.pk, engine, state, "2026-03-02T14:30:00Z"])
    refused(INSERT_TRADE, trade_of(shadow_only, key=key, permit=key, engine=engine, authorised=authorised))
    refused(INSERT_TRADE, trade_of(shadow_only, key=key, permit=None, engine=engine, authorised=True))
    assert not ExecutionPermit.objects.filter(experiment=shadow_only).exists()
    assert not RealTrade.objects.filter(experiment=shadow_only).exists()


@pytest.fixture
def shadow_only() -> Experiment:
    return make_experiment(execution_mode="SHADOW_ONLY")


def test_a_permit_needs_a_policy(experiment: Experiment) -> None:
    signal = make_signal()
    key = new_key()
    run(INSERT_EXPERIMENT, [key, signal.pk, "A", "0" * 64, 50])
    refused(INSERT_PERMIT, [new_key(), key, "A", "GRANTED", None], match="policy_names")


@pytest.mark.parametrize("state", ["ARMED", "EXECUTED", "UNKNOWN"])
def test_a_permit_that_was_never_armed_cannot_have_been_sent(state: str) -> None:
    experiment = make_experiment(execution_mode="ENGINE_A_PRIMARY")
    refused(INSERT_PERMIT, [new_key(), experiment.pk, "A", state, None], match="armed_before")
    refused(INSERT_PERMIT, [new_key(), experiment.pk, "A", "SENT", None], match="state_is_known")


# moves


@pytest.mark.parametrize(("source", "target"), list(product(PermitState, PermitState)))
def test_permits_move_as_the_table_says(source: PermitState, target: PermitState) -> None:
    permit = make_permit(make_experiment(), state=source, armed_at="2026-03-02T14:30:00Z")
    statement = "UPDATE execution_permits SET state = %s WHERE permit_id = %s"
    legal = target in PERMIT_MOVES[source] or source is target
    check_move(statement, [target, permit.pk], legal=legal)


@pytest.mark.parametrize(("source", "target"), list(product(CallState, CallState)))
def test_calls_move_as_the_table_says(source: CallState, target: CallState) -> None:
    experiment = make_experiment()
    call = EngineCall.objects.create(
        experiment=experiment,
        engine="A",
        kind="SHADOW_TRADE",
        state=source,
        next_attempt_at=experiment.created_at,
        deadline_at=experiment.created_at,
    )
    legal = target in CALL_MOVES[source] or source is target
    check_move("UPDATE engine_calls SET state = %s WHERE id = %s", [target, call.pk], legal=legal)


@pytest.mark.parametrize(("source", "target"), list(product(TradeStatus, TradeStatus)))
@pytest.mark.parametrize("table", ["real_trades", "shadow_trades"])
def test_trades_move_as_the_table_says(table: str, source: TradeStatus, target: TradeStatus) -> None:
    experiment = make_experiment()
    trade: RealTrade | ShadowTrade = (
        make_trade(experiment, status=source)
        if table == "real_trades"
        else make_shadow_trade(experiment, "B", status=source)
    )
    legal = target in TRADE_MOVES[source] or source is target
    check_move(f"UPDATE {table} SET status = %s WHERE trade_id = %s", [target, trade.pk], legal=legal)


@pytest.mark.parametrize(("source", "target"), list(product(SyncState, SyncState)))
def test_exit_syncs_move_as_the_table_says(source: SyncState, target: SyncState) -> None:
    lead = make_trade(make_experiment())
    make_outcome(lead)
    sync = make_exit_sync(lead, state=source)
    legal = target in SYNC_MOVES[source] or source is target
    check_move("UPDATE exit_syncs SET state = %s WHERE id = %s", [target, sync.pk], legal=legal)


@pytest.mark.parametrize("verdict", ["APPLIED", "DUPLICATE", "CONFLICT"])
def test_a_verdict_is_final(verdict: str) -> None:
    event = make_event("A", verdict=verdict)
    for another in ("APPLIED", "WAITING", None):
        refused("UPDATE engine_events SET verdict = %s WHERE id = %s", [another, event.pk], match="pgtrigger")


@pytest.mark.parametrize("verdict", ["WAITING", "UNMATCHED"])
def test_an_event_that_waits_or_matched_nothing_may_be_looked_at_again(verdict: str) -> None:
    event = make_event("A", verdict=verdict)
    assert run("UPDATE engine_events SET verdict = NULL WHERE id = %s", [event.pk]) == 1
    assert run("UPDATE engine_events SET verdict = 'APPLIED', applied_at = now() WHERE id = %s", [event.pk]) == 1


def check_move(statement: str, parameters: list[Any], *, legal: bool) -> None:
    if legal:
        assert run(statement, parameters) == 1
    else:
        refused(statement, parameters, match="pgtrigger: Invalid transition")


# real trades

INSERT_TRADE = (
    "INSERT INTO real_trades (trade_id, experiment_id, permit_id, engine, authorised, terms, entry_price, entry_time,"
    " quantity, fees, external_id, status)"
    " VALUES (%(key)s, %(experiment)s, %(permit)s, %(engine)s, %(authorised)s, '{}', %(entry_price)s, now(),"
    " %(quantity)s, %(fees)s, %(external_id)s, 'OPEN')"
)


def trade_of(experiment: Experiment, **overrides: Any) -> dict[str, Any]:
    return {
        "key": new_key(),
        "experiment": experiment.pk,
        "permit": None,
        "engine": "A",
        "authorised": False,
        "entry_price": "4.35",
        "quantity": "2",
        "fees": "0",
        "external_id": str(uuid4()),
    } | overrides


@pytest.mark.requirement("3.5", "property-12")
def test_an_experiment_has_one_authorised_trade(experiment: Experiment) -> None:
    permit = ExecutionPermit.objects.get(experiment=experiment)
    for engine, key in product("AB", [permit.pk, None, new_key()]):
        refused(INSERT_TRADE, trade_of(experiment, permit=key, engine=engine, authorised=True))
    refused(INSERT_TRADE, trade_of(experiment, permit=permit.pk, authorised=False), match=r"unique|permitted")
    assert run(INSERT_TRADE, trade_of(experiment)) == 1
    assert RealTrade.objects.filter(experiment=experiment, authorised=True).count() == 1


@pytest.mark.requirement("3.5", "property-12")
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    mode=st.sampled_from(ExecutionMode),
    split=st.integers(min_value=0, max_value=100),
    attempts=st.lists(st.tuples(st.sampled_from(Engine), st.booleans()), min_size=2, max_size=6),
)
def test_whatever_is_tried_at_most_one_engine_executes(
    db: None, mode: str, split: int, attempts: list[tuple[Engine, bool]]
) -> None:
    with transaction.atomic():
        experiment = make_experiment(execution_mode=mode, split_percentage=split)
        for engine, with_new_permit in attempts:
            key = new_key() if with_new_permit else ExecutionPermit.objects.filter(experiment=experiment).first()
            key = key.pk if isinstance(key, ExecutionPermit) else key
            for statement, parameters in [
                (INSERT_PERMIT, [key, experiment.pk, engine, "ARMED", "2026-03-02T14:30:00Z"]),
                (INSERT_TRADE, trade_of(experiment, permit=key, engine=engine, authorised=True)),
            ]:
                try:
                    run(statement, parameters)
                except DatabaseError:
                    continue
        executed = set(RealTrade.objects.filter(experiment=experiment).values_list("engine", flat=True))
        assert executed <= {experiment.policy.executed_engine}
        assert RealTrade.objects.filter(experiment=experiment).count() <= 1
        transaction.set_rollback(True)


@pytest.mark.requirement("3.5", "property-12")
def test_a_trade_is_of_the_experiment_and_engine_of_its_permit() -> None:
    experiment, other = (make_experiment(execution_mode="ENGINE_A_PRIMARY") for _ in range(2))
    permit = make_permit(experiment, state="ARMED")
    permitted = {"permit": permit.pk, "authorised": True}
    refused(INSERT_TRADE, trade_of(experiment, engine="B", **permitted), match="of_its_permit")
    refused(INSERT_TRADE, trade_of(other, **permitted), match="of_its_permit")
    assert run(INSERT_TRADE, trade_of(experiment, **permitted)) == 1


@pytest.mark.parametrize(
    "broken",
    [
        {"entry_price": "NaN"},
        {"entry_price": "-1"},
        {"entry_price": None},
        {"quantity": "NaN"},
        {"quantity": "-2"},
        {"quantity": "Infinity"},
        {"fees": "NaN"},
        {"fees": "-Infinity"},
        {"engine": "C"},
    ],
)
def test_a_trade_has_finite_money(broken: dict[str, Any]) -> None:
    experiment = make_experiment()
    refused(INSERT_TRADE, trade_of(experiment) | broken)
    assert run(INSERT_TRADE, trade_of(experiment, fees="-0.25")) == 1


def test_an_engines_reference_is_one_trade(experiment: Experiment) -> None:
    assert run(INSERT_TRADE, trade_of(experiment, external_id="order-x")) == 1
    refused(INSERT_TRADE, trade_of(make_experiment(), external_id="order-x"), match="unique")
    assert run(INSERT_TRADE, trade_of(make_experiment(), external_id="order-x", engine="B")) == 1


# shadow trades


@pytest.mark.requirement("4.4", "property-16")
@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({}, "unique"),
        ({"engine": "'C'"}, "engine_is_known"),
        ({"engine": "NULL"}, "null"),
        ({"experiment_id": "NULL"}, "null"),
        ({"experiment_id": "gen_random_uuid()"}, "foreign key"),
        ({"purpose": "'REAL'"}, "purpose_is_known"),
        ({"purpose": "NULL"}, "null"),
        ({"entry_price": "'NaN'"}, "entry_is_finite"),
        ({"quantity": "-1"}, "entry_is_finite"),
        ({"own_exit_price": "'NaN'"}, "own_exit_is_finite"),
    ],
)
def test_a_shadow_trade_is_marked_with_its_own_engine_and_experiment(changes: dict[str, str], why: str) -> None:
    experiment = make_experiment()
    trade = make_shadow_trade(experiment, "B")
    if changes:
        changes = {"experiment_id": f"'{make_experiment().pk}'"} | changes
    refused(copy("shadow_trades", "trade_id", "trade_id = %s", **changes), [trade.pk], match=why)


@pytest.mark.requirement("4.4", "property-16")
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    purpose=st.text(st.characters(codec="ascii", exclude_characters="\x00"), max_size=8),
    engine=st.sampled_from(["A", "B", "BOTH", "", "a", "C"]),
)
def test_nothing_but_a_shadow_or_a_twin_of_a_or_b_is_stored(shadow_only: Experiment, purpose: str, engine: str) -> None:
    statement = (
        "INSERT INTO shadow_trades (trade_id, experiment_id, engine, purpose, terms, entry_price, entry_time, quantity,"
        " status) VALUES (gen_random_uuid(), %s, %s, %s, '{}', 1, now(), 1, 'OPEN')"
    )
    if purpose not in ("SHADOW", "TWIN") or engine not in ("A", "B"):
        refused(statement, [shadow_only.pk, engine, purpose], match="is_known")
    with transaction.atomic():
        assert run(statement, [shadow_only.pk, "B", "SHADOW"]) == 1
        transaction.set_rollback(True)


@pytest.mark.requirement("4.5")
def test_an_own_exit_is_set_once() -> None:
    trade = make_shadow_trade(make_experiment(), "B")
    statement = (
        "UPDATE shadow_trades SET own_exit_price = %s, own_exit_time = %s, own_exit_reason = %s WHERE trade_id = %s"
    )
    once = ["5.10", "2026-03-02T15:30:00Z", "target"]
    assert run(statement, [*once, trade.pk]) == 1
    assert run(statement, [*once, trade.pk]) == 1
    for position, another in enumerate(["5.11", "2026-03-02T15:30:01Z", "stop"]):
        refused(statement, [*once[:position], another, *once[position + 1 :], trade.pk], match="pgtrigger")
        refused(statement, [*once[:position], None, *once[position + 1 :], trade.pk], match="pgtrigger")


# outcomes


def an_outcome_of(kind: str, **overrides: Any) -> tuple[str, dict[str, Any]]:
    """Return an INSERT for the outcome of a new closed trade, correct but for ``overrides``."""
    experiment = make_experiment()
    trade: RealTrade | ShadowTrade = make_trade(experiment) if kind == "real" else make_shadow_trade(experiment, "B")
    row = {
        "trade": trade.pk,
        "experiment": experiment.pk,
        "engine": trade.engine,
        "side": "BUY",
        "entry_price": Decimal("4.35"),
        "exit_price": Decimal("5.10"),
        "quantity": Decimal(2),
        "multiplier": Decimal(100),
        "fees": Decimal("1.30"),
        "pnl": Decimal("148.70"),
        "entry_time": "2026-03-02T14:30:00Z",
        "exit_time": "2026-03-02T15:30:00Z",
    }
    statement = (
        f"INSERT INTO {kind}_trade_outcomes (outcome_id, trade_id, experiment_id, engine, side, entry_price, exit_price,"
        " quantity, multiplier, fees, pnl, exit_reason, entry_time, exit_time, market_conditions)"
        " VALUES (gen_random_uuid(), %(trade)s, %(experiment)s, %(engine)s, %(side)s, %(entry_price)s, %(exit_price)s,"
        " %(quantity)s, %(multiplier)s, %(fees)s, %(pnl)s, 'target', %(entry_time)s, %(exit_time)s, '{}')"
    )
    return statement, row | overrides


@pytest.mark.requirement("5.1", "5.2", "property-17")
@pytest.mark.parametrize("kind", ["real", "shadow"])
@pytest.mark.parametrize(
    "broken",
    [
        {"pnl": Decimal("148.70000001")},
        {"pnl": Decimal("-148.70")},
        {"side": "SELL"},
        {"side": "HOLD"},
        {"fees": Decimal(0)},
        {"multiplier": Decimal(1)},
        {"pnl": "NaN"},
        {"exit_price": "NaN", "pnl": "NaN"},
        {"fees": "NaN", "pnl": "NaN"},
        {"quantity": Decimal(-2), "pnl": Decimal("-151.30")},
        {"exit_price": Decimal(-1), "pnl": Decimal("-1071.30")},
        {"pnl": None},
        {"exit_price": None},
        {"exit_time": "2026-03-02T14:29:59.999999Z"},
        {"engine": "C"},
        {"trade": UUID(int=0)},
    ],
)
def test_an_outcome_obeys_its_formula(kind: str, broken: dict[str, Any]) -> None:
    refused(*an_outcome_of(kind, **broken))


@pytest.mark.requirement("5.1", "property-17")
@pytest.mark.parametrize("kind", ["real", "shadow"])
def test_a_trade_has_one_outcome(kind: str) -> None:
    statement, row = an_outcome_of(kind, exit_time="2026-03-02T14:30:00Z")
    assert run(statement, row) == 1
    refused(statement, row, match="unique")


@pytest.mark.requirement("5.1", "property-17")
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    amounts=st.fixed_dictionaries(
        {
            "entry_price": st.decimals(0, 5000, places=4),
            "exit_price": st.decimals(0, 5000, places=4),
            "quantity": st.decimals("0.01", 500, places=2),
            "multiplier": st.sampled_from([Decimal(1), Decimal(10), Decimal(100)]),
            "fees": st.decimals(-5, 50, places=2),
        }
    ),
    side=st.sampled_from(["BUY", "SELL"]),
    off=st.sampled_from([Decimal("0.00000001"), Decimal("-0.00000001"), Decimal(1)]),
)
def test_only_the_right_pnl_fits(db: None, amounts: dict[str, Decimal], side: str, off: Decimal) -> None:
    gross = (amounts["exit_price"] - amounts["entry_price"]) * amounts["quantity"] * amounts["multiplier"]
    pnl = gross * (1 if side == "BUY" else -1) - amounts["fees"]
    with transaction.atomic():
        statement, row = an_outcome_of("shadow", **amounts, side=side, pnl=pnl)
        refused(statement, row | {"pnl": pnl + off}, match="pnl_is_the_formula")
        assert run(statement, row) == 1
        transaction.set_rollback(True)


# unique facts


@pytest.mark.parametrize(
    ("table", "key", "why"),
    [
        ("engine_calls", "id", "one_call_of_a_kind"),
        ("recommendations", "id", "unique"),
        ("engine_events", "id", "one_event_per_engine_and_message"),
        ("incidents", "id", "one_open_incident"),
        ("exit_syncs", "id", "unique"),
        ("policy_revisions", "id", "unique"),
        ("market_quotes", "id", "one_quote_per_symbol"),
        ("daily_results", "id", "one_result_per_engine"),
    ],
)
def test_a_fact_is_stored_once(experiment: Experiment, table: str, key: str, why: str) -> None:
    refused(copy(table, key, "TRUE"), match=why)


def test_a_settled_trouble_may_come_back(experiment: Experiment) -> None:
    incident = Incident.objects.get(experiment=experiment)
    assert run("UPDATE incidents SET resolved_at = now(), resolved_by = 'ann' WHERE id = %s", [incident.pk]) == 1
    assert run(copy("incidents", "id", "TRUE", resolved_at="NULL")) == 1
    refused(copy("incidents", "id", "resolved_at IS NULL"), match="one_open_incident")


@pytest.mark.parametrize(
    "changes",
    [
        {"number": "0"},
        {"number": "-1"},
        {"execution_mode": "'LIVE'"},
        {"app_mode": "'DEMO'"},
        {"split_percentage": "101"},
        {"split_percentage": "-1"},
        {"max_signal_age_seconds": "-1"},
        {"trading_halted": "NULL"},
    ],
)
@pytest.mark.requirement("12.5")
def test_a_revision_is_sensible(experiment: Experiment, changes: dict[str, str]) -> None:
    refused(copy("policy_revisions", "id", "number = 1", **({"number": "2"} | changes)))
    assert run(copy("policy_revisions", "id", "number = 1", number="2")) == 1


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"action": "'HOLD'"}, "open_has_terms"),
        ({"action": "'PASS'"}, "open_has_terms"),
        ({"terms": "NULL"}, "open_has_terms"),
        ({"engine": "'C'"}, "engine_is_known"),
    ],
)
def test_an_open_has_terms_and_a_pass_has_none(experiment: Experiment, changes: dict[str, str], why: str) -> None:
    other = make_experiment()
    call = EngineCall.objects.get(experiment=other, engine="A")
    ids = {"experiment_id": f"'{other.pk}'", "call_id": f"'{call.pk}'"}
    one = "engine = 'A' AND experiment_id = %s"
    refused(copy("recommendations", "id", one, **ids, **changes), [experiment.pk], match=why)
    assert run(copy("recommendations", "id", one, **ids), [experiment.pk]) == 1

"""What PostgreSQL itself holds about signals, whoever writes: each test tries to break it by raw SQL."""

import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction

from config.keys import new_key
from webhooks.canonical import sha256_hex
from webhooks.models import AlertSource, RejectedAlert, Signal
from webhooks.services import create_source

pytestmark = pytest.mark.django_db

AT = datetime(2026, 3, 2, 14, 30, tzinfo=UTC)
ALERT_COLUMNS = {
    "signal_id": str(UUID(int=1)),
    "source": "other",
    "symbol": "QQQ",
    "exchange": "AMEX",
    "direction": "short",
    "timeframe": "1D",
    "timestamp": "2020-01-01T00:00:00Z",
    "timestamp_origin": "received",
    "signal_hash": "f" * 64,
    "raw_payload": '{"a": 2}',
    "raw_body": "{}",
    "notes": '["other"]',
    "received_at": "2020-01-01T00:00:00Z",
}
PROCESSING_COLUMNS: dict[str, Any] = {
    "processing_lock": str(UUID(int=2)),
    "lock_expires_at": AT,
    "attempts": 3,
    "next_attempt_at": AT,
    "last_error": "went wrong",
    "parked_at": AT,
}


def stored_signal(**overrides: Any) -> Signal:
    fields: dict[str, Any] = {
        "source": "default",
        "symbol": "SPY",
        "direction": "long",
        "timeframe": "5",
        "timestamp": AT,
        "timestamp_origin": "payload",
        "signal_hash": sha256_hex(str(new_key())),
        "raw_payload": {"a": 1},
        "raw_body": '{"a": 1}',
    }
    return Signal.objects.create(**(fields | overrides))


def run(sql: str, *values: Any) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(sql, values)


@pytest.mark.requirement("1.4", "property-4")
@pytest.mark.parametrize("column", ALERT_COLUMNS)
def test_no_alert_column_of_a_signal_can_be_changed(column: str) -> None:
    signal = stored_signal()
    with pytest.raises(DatabaseError, match="Cannot update rows from signals table"):
        run(f'UPDATE signals SET "{column}" = %s WHERE signal_id = %s', ALERT_COLUMNS[column], signal.pk)
    before = {name: getattr(signal, name) for name in ALERT_COLUMNS if name != "received_at"}
    signal.refresh_from_db()
    assert {name: getattr(signal, name) for name in before} == before


@pytest.mark.requirement("1.4", "property-4")
def test_every_column_of_a_signal_is_either_immutable_or_about_its_processing() -> None:
    processing = {*PROCESSING_COLUMNS, "processed", "processed_at", "experiment_id"}
    assert {field.column for field in Signal._meta.fields} == set(ALERT_COLUMNS) | processing


@pytest.mark.parametrize("column", PROCESSING_COLUMNS)
def test_the_processing_columns_move(column: str) -> None:
    signal = stored_signal()
    run(f'UPDATE signals SET "{column}" = %s WHERE signal_id = %s', PROCESSING_COLUMNS[column], signal.pk)


@pytest.mark.requirement("property-4")
def test_no_signal_can_be_deleted() -> None:
    signal = stored_signal()
    with pytest.raises(DatabaseError, match="Cannot delete rows from signals table"):
        run("DELETE FROM signals WHERE signal_id = %s", signal.pk)


@pytest.mark.requirement("property-23", "10.1")
def test_a_hash_is_stored_once() -> None:
    signal = stored_signal()
    with pytest.raises(IntegrityError, match="signal_hash_is_unique"), transaction.atomic():
        stored_signal(signal_hash=signal.signal_hash)


@pytest.mark.parametrize(
    ("overrides", "constraint"),
    [
        ({"direction": "flat"}, "signal_is_long_or_short"),
        ({"direction": "LONG"}, "signal_is_long_or_short"),
        ({"signal_hash": "F" * 64}, "signal_hash_is_64_hex_digits"),
        ({"signal_hash": "f" * 63}, "signal_hash_is_64_hex_digits"),
        ({"symbol": ""}, "signal_has_a_symbol"),
        ({"timeframe": ""}, "signal_has_a_timeframe"),
        ({"timestamp_origin": "guessed"}, "signal_time_has_a_known_origin"),
        ({"processed": True}, "signal_is_processed_with_its_experiment"),
        ({"processed": True, "processed_at": AT}, "signal_is_processed_with_its_experiment"),
        ({"processed": True, "experiment_id": UUID(int=3)}, "signal_is_processed_with_its_experiment"),
        ({"processed_at": AT, "experiment_id": UUID(int=3)}, "signal_is_processed_with_its_experiment"),
        ({"attempts": -1}, "signals_attempts_check"),
    ],
)
def test_what_makes_no_sense_is_not_stored(overrides: dict[str, Any], constraint: str) -> None:
    with pytest.raises(IntegrityError, match=constraint), transaction.atomic():
        stored_signal(**overrides)


@pytest.mark.parametrize("column", ["symbol", "timeframe"])
def test_a_text_longer_than_its_column_is_not_stored(column: str) -> None:
    with pytest.raises(DatabaseError, match="too long"), transaction.atomic():
        stored_signal(**{column: "A" * 65})


def test_a_processed_signal_carries_its_time_and_experiment() -> None:
    signal = stored_signal(processed=True, processed_at=AT, experiment_id=UUID(int=3))
    assert Signal.objects.processed().get() == signal
    assert not Signal.objects.claimable().exists()


@pytest.mark.parametrize(
    ("overrides", "claimable"),
    [
        ({}, True),
        ({"processing_lock": UUID(int=1), "lock_expires_at": datetime(2999, 1, 1, tzinfo=UTC)}, False),
        ({"processing_lock": UUID(int=1), "lock_expires_at": AT}, True),
        ({"next_attempt_at": datetime(2999, 1, 1, tzinfo=UTC)}, False),
        ({"next_attempt_at": AT}, True),
        ({"parked_at": AT}, False),
    ],
)
def test_a_signal_is_claimable_when_it_is_due_and_nobody_holds_it(overrides: dict[str, Any], claimable: bool) -> None:
    stored_signal(**overrides)
    assert Signal.objects.claimable().exists() == claimable


def test_the_oldest_signal_is_claimed_first() -> None:
    late = stored_signal(received_at=datetime(2026, 3, 2, 14, 32, tzinfo=UTC))
    early = stored_signal(received_at=datetime(2026, 3, 2, 14, 31, tzinfo=UTC))
    assert list(Signal.objects.claimable()) == [early, late]


def test_claiming_uses_its_partial_index() -> None:
    stored_signal()
    with connection.cursor() as cursor:
        # whatever the planner makes of a table with one row: only an index in the right order does without these
        cursor.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off; SET LOCAL enable_sort = off")
        query, values = Signal.objects.claimable()[:100].query.sql_with_params()
        cursor.execute(f"EXPLAIN {query}", values)
        plan = "\n".join(row[0] for row in cursor.fetchall())
    assert "signals_claimable" in plan
    assert "Sort" not in plan


@pytest.mark.parametrize("column", ["source", "code", "body", "content_type", "errors", "received_at"])
def test_a_rejected_alert_stays_as_it_came(column: str) -> None:
    kept = RejectedAlert.objects.create(source="default", code="not_json", body="x", errors=[])
    value: Any = {"errors": json.dumps([1]), "received_at": AT}.get(column, "other")
    with pytest.raises(DatabaseError, match="Cannot update rows from rejected_alerts table"):
        run(f'UPDATE rejected_alerts SET "{column}" = %s WHERE id = %s', value, kept.pk)
    with pytest.raises(DatabaseError, match="Cannot delete rows from rejected_alerts table"):
        run("DELETE FROM rejected_alerts WHERE id = %s", kept.pk)
    kept.replayed_signal = stored_signal()
    kept.save(update_fields=["replayed_signal"])


def test_a_token_is_never_stored_in_the_clear() -> None:
    source = create_source("default", "hook-TOKEN_0123456789")
    assert source.token_sha256 == sha256_hex("hook-TOKEN_0123456789")
    with pytest.raises(IntegrityError, match="alert_source_token_is_hashed"):
        run("UPDATE alert_sources SET token_sha256 = 'hook-TOKEN_0123456789' WHERE id = %s", source.pk)
    with pytest.raises(IntegrityError, match="alert_source_name_is_unique"), transaction.atomic():
        AlertSource.objects.create(name="default", token_sha256="a" * 64)
    with pytest.raises(IntegrityError, match="alert_source_token_is_unique"), transaction.atomic():
        AlertSource.objects.create(name="other", token_sha256=source.token_sha256)

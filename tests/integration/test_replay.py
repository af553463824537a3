"""Replay: what the worker stored recomputes to the letter, and a single changed value is found and shown."""

import json
from datetime import timedelta
from decimal import Decimal
from io import StringIO
from typing import Any
from uuid import uuid4

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection, transaction

from orchestrator import replay as replay_module
from orchestrator.experiments import create_experiments
from orchestrator.models import Experiment
from orchestrator.queue import claim_signals
from orchestrator.replay import replay
from orchestrator.revisions import record_revision
from tests.factories import (
    make_experiment,
    make_health,
    make_permit,
    make_quote,
    make_recommendation,
    make_shadow_trade,
    make_signal,
)
from tests.falsification import falsify

BODIES = [
    json.dumps({"ticker": "SPY", "action": "buy", "close": 589.12}),
    '{"close":589.123456789012345,"rsi":0.1,"atr":1e-9,"volume":12345678901}',
    '{"close":1e22,"big":123456789012345678901234567890,"nothing":null,"flag":true,"list":[1,2.50,{"a":"b"}]}',
    '{"price":"589.10","bid":589,"ask":590.00,"note":"Größe 中文 \\u00e9 \\ud83d\\ude00 \\" \\\\ /"}',
    '[{"close":5e-324,"rsi":-0.0,"z":0,"a":1.0}]',
    '{"close":100,"volume":0.5,"deep":{"er":{"still":[[],{}]}}}',
]


def told(*arguments: str) -> str:
    out = StringIO()
    call_command("replay_experiments", *arguments, stdout=out)
    return out.getvalue()


def process_all() -> None:
    create_experiments(claim_signals(limit=100, lease_seconds=30))


@pytest.mark.django_db
class TestWhatTheWorkerStored:
    @pytest.mark.requirement("6.1", "6.4", "property-7", "property-8", "property-21")
    def test_every_kind_of_alert_recomputes(self) -> None:
        for engine in "AB":
            make_health(engine)
        for number, body in enumerate(BODIES):
            signal = make_signal(raw_body=body, symbol=f"S{number}")
            make_quote(
                symbol=signal.symbol,
                quoted_at=signal.timestamp - timedelta(seconds=10),
                indicators={"iv": "0.213000000001", "rsi": 99},
            )
        process_all()
        assert Experiment.objects.count() == len(BODIES)
        assert list(replay()) == []

    @pytest.mark.requirement("6.1", "6.5", "property-21")
    @pytest.mark.parametrize("mode", ["AUTO", "SHADOW_ONLY", "ENGINE_A_PRIMARY", "ENGINE_B_PRIMARY", "SPLIT_CAPITAL"])
    @pytest.mark.parametrize("down", ["", "A", "B"])
    def test_every_mode_recomputes(self, mode: str, down: str) -> None:
        for engine in "AB":
            make_health(engine, ok=engine != down)
        for split in (0, 37, 100):
            record_revision({"EXECUTION_MODE": mode, "SPLIT_PERCENTAGE": split}, changed_by="ann")
            make_signal()
            process_all()
        assert told() == "3 experiments, 0 differences\n"

    @pytest.mark.requirement("6.1", "6.2", "10.3")
    def test_processing_the_same_signal_again_gives_the_same_records(self) -> None:
        for engine in "AB":
            make_health(engine)
        record_revision({"EXECUTION_MODE": "SPLIT_CAPITAL", "SPLIT_PERCENTAGE": 50}, changed_by="ann")
        make_signal()
        seen = []
        for _ in range(2):
            with transaction.atomic():
                process_all()
                experiment = Experiment.objects.select_related("signal__context", "policy").get()
                seen.append(
                    (
                        experiment.experiment_id,
                        experiment.variant,
                        experiment.assignment_hash,
                        experiment.signal.context.engine_input,
                        experiment.policy.execution_mode,
                        experiment.policy.executed_engine,
                        experiment.policy.reason,
                    )
                )
                transaction.set_rollback(True)
        assert seen[0] == seen[1]


FALSIFIED: list[tuple[str, str, set[str]]] = [
    ("signals", "UPDATE signals SET signal_hash = repeat('a', 64)", {"signal_hash", "engine_input"}),
    ("signals", "UPDATE signals SET direction = 'short'", {"signal_hash", "assignment_hash"}),
    ("signals", "UPDATE signals SET source = 'other'", {"signal_hash", "experiment_id"}),
    ("signals", "UPDATE signals SET timestamp = timestamp + interval '1 us'", {"market_contexts.timestamp"}),
    ("signals", "UPDATE signals SET raw_body = replace(raw_body, '589.12', '589.13')", {"raw_payload", "signal_hash"}),
    ("signals", "UPDATE signals SET raw_body = 'not an alert {'", {"raw_payload", "signal_hash", "assignment_hash"}),
    ("signals", "UPDATE signals SET raw_payload = '{\"close\": 1}'", {"raw_payload"}),
    ("signals", "UPDATE signals SET experiment_id = gen_random_uuid()", {"signals.experiment_id"}),
    ("experiments", "UPDATE experiments SET assignment_hash = repeat('b', 64)", {"assignment_hash"}),
    ("experiments", "UPDATE experiments SET variant = CASE variant WHEN 'A' THEN 'B' ELSE 'A' END", {"variant"}),
    ("experiments", "UPDATE experiments SET split_percentage = 51", {"split_percentage"}),
    ("experiments", "UPDATE experiments SET policy_version = 'v1.0-r9'", {"policy_version"}),
    ("market_contexts", "UPDATE market_contexts SET engine_input = engine_input || ' '", {"engine_input"}),
    ("market_contexts", "UPDATE market_contexts SET context_hash = repeat('c', 64)", {"context_hash"}),
    ("market_contexts", "UPDATE market_contexts SET current_price = current_price + 0.00000001", {"engine_input"}),
    ("market_contexts", "UPDATE market_contexts SET volume = 1", {"engine_input"}),
    ("market_contexts", "UPDATE market_contexts SET indicators = '{}'", {"engine_input", "context_hash"}),
    ("market_contexts", "UPDATE market_contexts SET symbol = 'QQQ'", {"market_contexts.symbol"}),
    ("market_contexts", "DELETE FROM market_contexts", {"market_context"}),
    (
        "engine_calls",
        "UPDATE engine_calls SET input_hash = repeat('d', 64) WHERE engine = 'B'",
        {"engine_calls.input_hash"},
    ),
    ("engine_calls", "DELETE FROM engine_calls WHERE engine = 'A'", {"engine_calls.input_hash"}),
    ("execution_policies", "UPDATE execution_policies SET executed_engine = 'B', shadow_engine = 'A'", {"decision"}),
    ("execution_policies", "UPDATE execution_policies SET execution_mode = 'SPLIT_CAPITAL'", {"decision"}),
    ("execution_policies", "UPDATE execution_policies SET reason_code = 'CONFIGURED'", {"decision"}),
    ("execution_policies", "UPDATE execution_policies SET reason = 'because'", {"decision"}),
    ("execution_policies", "UPDATE execution_policies SET policy_version = 'v1.0-r9'", {"policy_version"}),
    ("execution_policies", "UPDATE execution_policies SET inputs = '{}'", {"decision", "inputs.revision"}),
    ("execution_policies", "UPDATE execution_policies SET inputs = '[1]'", {"decision", "inputs.variant"}),
    (
        "execution_policies",
        "UPDATE execution_policies SET inputs = jsonb_set(inputs, '{availability,A,ok}', 'false')",
        {"decision"},
    ),
    (
        "execution_policies",
        "UPDATE execution_policies SET inputs = jsonb_set(inputs, '{signal_age_seconds}', '301')",
        {"decision"},
    ),
    (
        "execution_policies",
        "UPDATE execution_policies SET inputs = jsonb_set(inputs, '{revision,changed_by}', '\"mallory\"')",
        {"inputs.revision"},
    ),
    (
        "execution_policies",
        "UPDATE execution_policies SET inputs = jsonb_set(inputs, '{revision,number}', '7')",
        {"inputs.revision", "policy_version"},
    ),
    ("execution_policies", "DELETE FROM execution_policies", {"execution_policy"}),
    ("policy_revisions", "UPDATE policy_revisions SET trading_halted = TRUE", {"inputs.revision"}),
    ("execution_permits", "UPDATE execution_permits SET permit_id = gen_random_uuid()", {"permit_id"}),
]


@pytest.mark.django_db
class TestWhatWasFalsified:
    @pytest.fixture
    def experiment(self) -> Experiment:
        experiment = make_experiment(market={"bid": Decimal("589.11"), "ask": Decimal("589.13")})
        make_recommendation(experiment, "A")
        make_shadow_trade(experiment, "A")
        make_permit(experiment)
        assert list(replay()) == []
        return experiment

    @pytest.mark.requirement("6.1", "property-4", "property-7")
    @pytest.mark.parametrize(
        ("table", "statement", "expected"), [pytest.param(*case, id=case[1][:70]) for case in FALSIFIED]
    )
    def test_a_falsified_row_is_found(
        self, experiment: Experiment, table: str, statement: str, expected: set[str]
    ) -> None:
        falsify(statement, {}, tables=table)
        found = list(replay())
        assert expected <= {difference.what for difference in found}
        for difference in found:
            assert difference.experiment_id == experiment.pk
            assert difference.stored != difference.recomputed

    def test_only_what_was_changed_is_named(self, experiment: Experiment) -> None:
        falsify("UPDATE market_contexts SET context_hash = repeat('c', 64)", {}, tables="market_contexts")
        [difference] = replay()
        assert (difference.what, difference.stored) == ("context_hash", "c" * 64)

    def test_the_command_shows_where_a_long_text_differs(self, experiment: Experiment) -> None:
        falsify(
            'UPDATE market_contexts SET engine_input = replace(engine_input, \'"rsi":"55.5"\', \'"rsi":"99.9"\')',
            {},
            tables="market_contexts",
        )
        out = StringIO()
        with pytest.raises(CommandError, match=r"^1 experiments, 1 differences\.$"):
            call_command("replay_experiments", stdout=out)
        heading, stored, recomputed = out.getvalue().splitlines()
        assert heading == f"experiment {experiment.pk}: engine_input"
        assert stored.startswith("  stored:     …")
        assert '"rsi":"99.9"' in stored
        assert '"rsi":"55.5"' in recomputed
        assert max(len(stored), len(recomputed)) < 200


@pytest.mark.django_db
class TestWhichExperiments:
    def test_all_some_or_those_since(self) -> None:
        first, second, third = (make_experiment() for _ in range(3))
        assert told() == "3 experiments, 0 differences\n"
        assert told(str(first.pk), str(third.pk).upper()) == "2 experiments, 0 differences\n"
        assert told("--since", second.created_at.isoformat()) == "2 experiments, 0 differences\n"
        assert told("--since", second.created_at.strftime("%Y-%m-%dT%H:%M:%S.%f")) == "2 experiments, 0 differences\n"
        assert told("--since", "2000-01-01") == "3 experiments, 0 differences\n"
        assert told("--since", "2999-01-01") == "0 experiments, 0 differences\n"
        assert told(str(first.pk), "--since", second.created_at.isoformat()) == "0 experiments, 0 differences\n"

    @pytest.mark.parametrize(
        ("arguments", "sentence"),
        [
            (["everything"], r"'everything' is not the id of an experiment\. Accepted: a UUID such as"),
            (["0192f0a0"], "is not the id of an experiment"),
            ([str(uuid4())], r"^There is no experiment [0-9a-f-]{36}\.$"),
            ([str(uuid4()) for _ in range(7)], r"and 2 more\.$"),
            (["--since", "yesterday"], r"--since is 'yesterday'\. Accepted: an ISO 8601 time"),
            (["--since", ""], "Accepted: an ISO 8601 time"),
            (["--since", "2026-13-01"], "Accepted: an ISO 8601 time"),
            (["--since", "0001-01-01T00:00:00+14:00"], "Accepted: an ISO 8601 time"),
        ],
    )
    def test_a_senseless_argument_gets_a_sentence(self, arguments: list[str], sentence: str) -> None:
        with pytest.raises(CommandError, match=sentence):
            told(*arguments)

    def test_the_number_of_queries_grows_with_the_batches_only(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for _ in range(6):
            make_experiment()
        counts: dict[int, int] = {}
        for batch in (2, 100):
            monkeypatch.setattr(replay_module, "BATCH", batch)
            counter = _Counter()
            with connection.execute_wrapper(counter):
                assert list(replay()) == []
            counts[batch] = counter.count
        assert counts[100] <= 3
        assert counts[2] <= counts[100] + 4


class _Counter:
    def __init__(self) -> None:
        self.count = 0

    def __call__(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        self.count += 1
        return execute(sql, params, many, context)

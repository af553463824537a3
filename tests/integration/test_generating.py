"""The generator: the same rows for the same seed, counted as if they had happened, and only into an empty database."""

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection

from outcomes import queries
from outcomes.filters import ReportFilters
from outcomes.generating import Loaded, generate_outcomes
from outcomes.invariant_rules.outcomes import OUTCOMES
from outcomes.invariant_rules.permits import PERMITS
from outcomes.invariant_rules.summaries import SUMMARIES
from outcomes.invariant_rules.trades import TRADES
from outcomes.invariants import violations
from outcomes.models import RealTradeOutcome, ShadowTradeOutcome
from outcomes.summaries import rebuild_summaries
from tests.factories import make_signal

pytestmark = pytest.mark.django_db


def test_generated_outcomes_are_counted_as_if_they_had_happened() -> None:
    loaded = generate_outcomes(600, days=12, seed="x")
    assert 598 <= loaded.outcomes <= 600
    assert RealTradeOutcome.objects.count() + ShadowTradeOutcome.objects.count() == loaded.outcomes
    days = queries.trade_days(ReportFilters())
    assert sum(day.sums.trades for kind in days.values() for day in kind) == loaded.outcomes
    assert {day.day.weekday() for kind in days.values() for day in kind} <= set(range(5))
    assert sum(day.pairs for day in queries.pair_days(ReportFilters())) == loaded.experiments
    assert all(queries.execution_costs(ReportFilters())[engine] for engine in "AB")
    assert queries.own_exit_pair_days(ReportFilters())
    assert rebuild_summaries() == []
    broken = {violation.invariant for violation in violations()}
    assert broken.isdisjoint(rule.name for rule in (*OUTCOMES, *SUMMARIES, *TRADES, *PERMITS))


def test_the_same_seed_makes_the_same_rows() -> None:
    def totals() -> tuple[Loaded, int]:
        loaded = generate_outcomes(200, days=5, seed="same")
        with connection.cursor() as cursor:
            cursor.execute("SELECT sum(hashtext(outcome_id::text || pnl::text)) FROM shadow_trade_outcomes")
            found: int = cursor.fetchone()[0]
            cursor.execute("SET LOCAL session_replication_role = replica")
            for table in ("signals", "experiments", "execution_policies", "policy_revisions", "engine_calls", "pairs",
                          "recommendations", "shadow_trades", "real_trades", "execution_permits", "exit_syncs",
                          "shadow_trade_outcomes", "real_trade_outcomes"):  # fmt: skip
                cursor.execute(f"DELETE FROM {table}")
            cursor.execute("SET LOCAL session_replication_role = origin")
        return loaded, found

    assert totals() == totals()


def test_a_database_in_use_is_refused_and_so_is_another_name() -> None:
    name = str(connection.settings_dict["NAME"])
    with pytest.raises(CommandError, match="the database in use is"):
        call_command("generate_outcomes", "100", "--into", "production")
    make_signal()
    with pytest.raises(CommandError, match="holds signals"):
        call_command("generate_outcomes", "100", "--into", name)


def test_it_refuses_to_stand_beside_real_money(settings: object) -> None:
    settings.APP_MODE = "LIVE"  # type: ignore[attr-defined]
    with pytest.raises(CommandError, match="APP_MODE is LIVE"):
        call_command("generate_outcomes", "100", "--into", str(connection.settings_dict["NAME"]))

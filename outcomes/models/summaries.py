"""What reports read instead of trades: sums of days, the pairs, and what has changed since they were last counted.

All of it follows from the outcomes and can be made again from them (``manage.py rebuild_summaries``).
"""

from typing import Any, ClassVar

from django.db import models

from config.keys import new_key
from orchestrator.domain.vocabulary import Action, Engine, ExecutionMode
from orchestrator.models.experiments import Experiment
from orchestrator.models.rules import one_of, word_field
from outcomes.domain.vocabulary import Basis, PairState

KINDS = [("real", "real"), ("shadow", "shadow"), ("twin", "twin")]


def sum_field(places: int = 8) -> "models.DecimalField[Any, Any]":
    """Return a column for exact sums: 68 digits before the point, more than any count of numeric(20,8) amounts needs."""
    return models.DecimalField(max_digits=68 + places, decimal_places=places)


def result_field(**options: Any) -> "models.DecimalField[Any, Any]":
    """Return a column for what a trade would have come to; wider than money, because nothing has refused it yet."""
    return models.DecimalField(max_digits=60, decimal_places=8, **options)


class DailyResult(models.Model):
    """Sums of one day's closed trades of one engine and kind, kept in the transaction that records an outcome."""

    id = models.UUIDField(primary_key=True, default=new_key, editable=False)
    engine = word_field(Engine)
    kind = models.CharField(max_length=6, choices=[("real", "real"), ("shadow", "shadow"), ("twin", "twin")])
    day = models.DateField()
    trades = models.PositiveIntegerField()
    wins = models.PositiveIntegerField()
    losses = models.PositiveIntegerField()
    total_pnl = models.DecimalField(max_digits=30, decimal_places=8)

    class Meta:
        db_table = "daily_results"
        constraints: ClassVar[list[Any]] = [
            models.UniqueConstraint(fields=["engine", "kind", "day"], name="one_result_per_engine_kind_and_day"),
            one_of("daily_result_engine_is_known", "engine", Engine),
        ]

    def __str__(self) -> str:
        return f"{self.engine} {self.kind} {self.day}"


class ReportSlice(models.Model):
    """What reports can be filtered by; an empty word stands for any. With all four empty it is the whole."""

    id = models.UUIDField(primary_key=True, default=new_key, editable=False)
    symbol = models.CharField(max_length=64)
    timeframe = models.CharField(max_length=16)
    mode = models.CharField(max_length=32, choices=[("", "all"), *((mode.value, mode.value) for mode in ExecutionMode)])
    policy_version = models.CharField(max_length=32)

    class Meta:
        db_table = "report_slices"
        constraints: ClassVar[list[Any]] = [
            models.UniqueConstraint(
                fields=["symbol", "timeframe", "mode", "policy_version"], name="one_slice_of_a_kind"
            )
        ]

    def __str__(self) -> str:
        return " ".join(filter(None, (self.symbol, self.timeframe, self.mode, self.policy_version))) or "everything"


class DailyTrades(models.Model):
    """One day's closed trades of one engine, kind and slice: sums of powers, and the curve of the cumulated P&L."""

    id = models.UUIDField(primary_key=True, default=new_key, editable=False)
    slice = models.ForeignKey(ReportSlice, on_delete=models.PROTECT, related_name="+")
    engine = word_field(Engine)
    kind = models.CharField(max_length=6, choices=KINDS)
    day = models.DateField()
    trades = models.PositiveIntegerField()
    wins = models.PositiveIntegerField()
    losses = models.PositiveIntegerField()
    total_pnl = sum_field()
    squares = sum_field(16)
    cubes = sum_field(24)
    fourths = sum_field(32)
    gross_profit = sum_field()
    gross_loss = sum_field()
    downside_squares = sum_field(16)
    lowest = sum_field()
    highest = sum_field()
    peak = sum_field()
    trough = sum_field()
    drawdown = sum_field()

    class Meta:
        db_table = "daily_trades"
        verbose_name_plural = "daily trades"
        constraints: ClassVar[list[Any]] = [
            # in this order it serves the reports: the days of a slice
            models.UniqueConstraint(
                fields=["slice", "day", "engine", "kind"], name="one_sum_per_slice_day_engine_and_kind"
            ),
            one_of("daily_trades_engine_is_known", "engine", Engine),
        ]
        indexes: ClassVar[list[Any]] = [
            # serves the count: a day that has changed is summed again as a whole
            models.Index(fields=["day"], name="daily_trades_by_day"),
        ]

    def __str__(self) -> str:
        return f"{self.engine} {self.kind} {self.day}"


class Pair(models.Model):
    """What both engines made of one experiment, as far as it is known: the row behind the comparison.

    ``a_`` and ``b_`` are shadow trades or twins, so both are filled by the same rules. ``own_`` is at each engine's own
    exit. ``capital`` is what was at risk, null when it is not known. ``real_pnl`` is the executed engine's real trade.
    """

    experiment = models.OneToOneField(Experiment, on_delete=models.PROTECT, primary_key=True, related_name="pair")
    slice = models.ForeignKey(ReportSlice, on_delete=models.PROTECT, related_name="+", db_index=False)
    created_at = models.DateTimeField()
    variant = word_field(Engine)
    share = models.PositiveSmallIntegerField(help_text="the percentage of signals that engine A was to get")
    executed_engine = word_field(Engine, null=True)
    state = word_field(PairState)
    a_action = word_field(Action, null=True)
    b_action = word_field(Action, null=True)
    completed_at = models.DateTimeField(null=True)
    a_pnl = result_field(null=True)
    b_pnl = result_field(null=True)
    a_capital = result_field(null=True)
    b_capital = result_field(null=True)
    own_completed_at = models.DateTimeField(null=True)
    own_a_pnl = result_field(null=True)
    own_b_pnl = result_field(null=True)
    executed_at = models.DateTimeField(null=True, help_text="when both the real trade and its twin had closed")
    real_pnl = result_field(null=True)

    class Meta:
        db_table = "pairs"
        constraints: ClassVar[list[Any]] = [
            one_of("pair_state_is_known", "state", PairState),
            models.CheckConstraint(
                name="a_complete_pair_has_both_results",
                condition=~models.Q(state="COMPLETE")
                | models.Q(completed_at__isnull=False, a_pnl__isnull=False, b_pnl__isnull=False),
            ),
        ]
        indexes: ClassVar[list[Any]] = [
            # the three serve reports that begin or end within a day, and lists of pairs in the order of completion
            models.Index(fields=["completed_at", "experiment"], name="pairs_by_completion"),
            models.Index(
                fields=["own_completed_at"],
                name="pairs_by_own_exits",
                condition=models.Q(own_completed_at__isnull=False),
            ),
            models.Index(
                fields=["executed_at"], name="pairs_by_execution", condition=models.Q(executed_at__isnull=False)
            ),
            models.Index(fields=["created_at"], name="pairs_by_creation"),
            # serves the age of the oldest open pair
            models.Index(fields=["created_at"], name="pairs_open", condition=models.Q(state="OPEN")),
        ]

    def __str__(self) -> str:
        return f"{self.experiment_id} {self.state}"


class DailyPairs(models.Model):
    """One day's complete pairs of one slice on one basis; a day is the UTC date on which the second side was known."""

    id = models.UUIDField(primary_key=True, default=new_key, editable=False)
    slice = models.ForeignKey(ReportSlice, on_delete=models.PROTECT, related_name="+")
    basis = word_field(Basis)
    day = models.DateField()
    pairs = models.IntegerField()
    difference = sum_field()
    pairs_in_r = models.IntegerField()
    difference_in_r = sum_field(12)
    only_a = models.IntegerField()
    only_b = models.IntegerField()
    passed_a = models.IntegerField()
    passed_b = models.IntegerField()
    passed_both = models.IntegerField()

    class Meta:
        db_table = "daily_pairs"
        verbose_name_plural = "daily pairs"
        constraints: ClassVar[list[Any]] = [
            models.UniqueConstraint(fields=["slice", "basis", "day"], name="one_sum_per_slice_basis_and_day"),
            one_of("daily_pairs_basis_is_known", "basis", Basis),
        ]

    def __str__(self) -> str:
        return f"{self.basis} {self.day}"


class DailyExperiments(models.Model):
    """One day's new experiments of one slice: to which variant they went, what became of them, who passed in which role."""

    id = models.UUIDField(primary_key=True, default=new_key, editable=False)
    slice = models.ForeignKey(ReportSlice, on_delete=models.PROTECT, related_name="+")
    share = models.PositiveSmallIntegerField()
    day = models.DateField()
    variant_a = models.IntegerField()
    variant_b = models.IntegerField()
    open = models.IntegerField()
    void = models.IntegerField()
    no_answer = models.IntegerField()
    a_executing_answers = models.IntegerField()
    a_executing_passes = models.IntegerField()
    a_shadow_answers = models.IntegerField()
    a_shadow_passes = models.IntegerField()
    b_executing_answers = models.IntegerField()
    b_executing_passes = models.IntegerField()
    b_shadow_answers = models.IntegerField()
    b_shadow_passes = models.IntegerField()

    class Meta:
        db_table = "daily_experiments"
        verbose_name_plural = "daily experiments"
        constraints: ClassVar[list[Any]] = [
            models.UniqueConstraint(fields=["slice", "day", "share"], name="one_sum_per_slice_day_and_share")
        ]

    def __str__(self) -> str:
        return f"{self.day}"


class ChangedDay(models.Model):
    """A day on which a trade closed since it was last summed; written by a trigger, taken away by the count."""

    id = models.BigAutoField(primary_key=True)
    day = models.DateField()

    class Meta:
        db_table = "changed_days"

    def __str__(self) -> str:
        return f"{self.day}"


class ChangedPair(models.Model):
    """An experiment whose pair has changed since it was last counted; written by triggers, taken away by the count.

    There is no foreign key and nothing is unique: a trade that closes must never wait for another one.
    """

    id = models.BigAutoField(primary_key=True)
    experiment_id = models.UUIDField()

    class Meta:
        db_table = "changed_pairs"

    def __str__(self) -> str:
        return str(self.experiment_id)

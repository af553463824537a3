"""Closed trades with their P&L, and how the followers of a trade exit with it."""

from typing import Any, ClassVar

from django.db import models
from django.db.models import Case, F, Func, Value, When

from config.keys import new_key
from orchestrator.domain.transitions import SYNC_MOVES
from orchestrator.domain.vocabulary import Engine, SyncState
from orchestrator.models.experiments import Experiment
from orchestrator.models.rules import amounts, created_at_field, immutable, kept, money_field, moves, one_of, word_field
from orchestrator.models.trades import RealTrade, ShadowTrade


def _pnl_formula() -> Func:
    """(exit − entry) × quantity × multiplier × (+1 BUY, −1 SELL) − fees, to eight places."""
    sign = Case(When(side="BUY", then=Value(1)), default=Value(-1))
    gross = (F("exit_price") - F("entry_price")) * F("quantity") * F("multiplier") * sign
    return Func(
        gross - F("fees"), Value(8), function="round", output_field=models.DecimalField(max_digits=20, decimal_places=8)
    )


class Outcome(models.Model):
    """The columns that real and shadow outcomes share; they are two tables and are never added together."""

    outcome_id = models.UUIDField(primary_key=True, default=new_key, editable=False)
    experiment = models.ForeignKey(Experiment, on_delete=models.PROTECT, related_name="%(class)ss")
    engine = word_field(Engine)
    side = models.CharField(max_length=4, choices=[("BUY", "BUY"), ("SELL", "SELL")])
    entry_price = money_field()
    exit_price = money_field()
    quantity = money_field()
    multiplier = money_field()
    fees = money_field()
    pnl = money_field()
    exit_reason = models.CharField(max_length=200)
    entry_time = models.DateTimeField()
    exit_time = models.DateTimeField()
    market_conditions = models.JSONField()
    recorded_at = created_at_field()

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"{self.engine} {self.pnl:+}"


def _outcome_rules(kind: str) -> list[models.CheckConstraint]:
    return [
        one_of(f"{kind}_outcome_engine_is_known", "engine", Engine),
        models.CheckConstraint(name=f"{kind}_outcome_side_is_known", condition=models.Q(side__in=["BUY", "SELL"])),
        models.CheckConstraint(
            name=f"{kind}_outcome_exits_after_entry", condition=models.Q(exit_time__gte=F("entry_time"))
        ),
        models.CheckConstraint(name=f"{kind}_outcome_pnl_is_the_formula", condition=models.Q(pnl=_pnl_formula())),
        amounts(f"{kind}_outcome_prices_are_finite", "entry_price", "exit_price", "quantity", "multiplier"),
        amounts(f"{kind}_outcome_money_is_finite", "fees", "pnl", lowest=None),
    ]


class RealTradeOutcome(Outcome):
    """A real trade that has closed, with its P&L."""

    trade = models.OneToOneField(RealTrade, on_delete=models.PROTECT, related_name="outcome")

    class Meta(Outcome.Meta):
        abstract = False
        db_table = "real_trade_outcomes"
        constraints: ClassVar[list[Any]] = _outcome_rules("real")
        triggers: ClassVar[list[Any]] = immutable("real_outcomes")
        indexes: ClassVar[list[Any]] = [
            # serves the reports: outcomes in the order of closing
            models.Index(fields=["exit_time", "outcome_id"], name="real_outcomes_by_exit"),
        ]


class ShadowTradeOutcome(Outcome):
    """A shadow trade or a twin that has closed, with the P&L that it would have made."""

    trade = models.OneToOneField(ShadowTrade, on_delete=models.PROTECT, related_name="outcome")

    class Meta(Outcome.Meta):
        abstract = False
        db_table = "shadow_trade_outcomes"
        constraints: ClassVar[list[Any]] = _outcome_rules("shadow")
        triggers: ClassVar[list[Any]] = immutable("shadow_outcomes")
        indexes: ClassVar[list[Any]] = [
            # serves the reports: outcomes in the order of closing
            models.Index(fields=["exit_time", "outcome_id"], name="shadow_outcomes_by_exit"),
        ]


class ExitSync(models.Model):
    """How far the followers of a closed lead have come; written in the transaction that closes the lead."""

    id = models.UUIDField(primary_key=True, default=new_key, editable=False)
    experiment = models.OneToOneField(Experiment, on_delete=models.PROTECT, related_name="exit_sync")
    lead_trade_id = models.UUIDField(unique=True, help_text="a real or a shadow trade")
    lead_engine = word_field(Engine)
    lead_is_real = models.BooleanField()
    state = word_field(SyncState)
    attempts = models.PositiveIntegerField(default=0)
    exit_price = money_field()
    exit_time = models.DateTimeField()
    exit_reason = models.CharField(max_length=200)
    market_conditions = models.JSONField()
    created_at = created_at_field()

    class Meta:
        db_table = "exit_syncs"
        constraints: ClassVar[list[Any]] = [
            one_of("sync_state_is_known", "state", SyncState),
            one_of("sync_engine_is_known", "lead_engine", Engine),
        ]
        indexes: ClassVar[list[Any]] = [
            # serves the sweep over followers that still wait for a price
            models.Index(fields=["created_at"], name="syncs_pending", condition=models.Q(state="PENDING")),
        ]
        triggers: ClassVar[list[Any]] = [
            *kept("syncs", except_for=["state", "attempts"]),
            moves("syncs", "state", SYNC_MOVES),
        ]

    def __str__(self) -> str:
        return f"{self.lead_engine} {self.state}"

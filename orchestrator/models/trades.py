"""Trades: the real one, and those that are followed as shadows."""

from typing import Any, ClassVar

import pgtrigger
from django.db import models

from config.keys import new_key
from orchestrator.domain.transitions import TRADE_MOVES
from orchestrator.domain.vocabulary import Engine, Purpose, TradeStatus
from orchestrator.models.experiments import Experiment
from orchestrator.models.permits import ExecutionPermit
from orchestrator.models.rules import amounts, created_at_field, kept, money_field, moves, one_of, word_field


class RealTrade(models.Model):
    """A trade that an engine placed with real money, authorised by a permit or not."""

    trade_id = models.UUIDField(primary_key=True, default=new_key, editable=False)
    experiment = models.ForeignKey(Experiment, on_delete=models.PROTECT, related_name="real_trades")
    permit = models.OneToOneField(ExecutionPermit, on_delete=models.PROTECT, related_name="trade", null=True)
    engine = word_field(Engine)
    authorised = models.BooleanField()
    terms = models.JSONField()
    entry_price = money_field()
    entry_time = models.DateTimeField()
    quantity = money_field()
    fees = money_field(default=0)
    external_id = models.CharField(max_length=200)
    status = word_field(TradeStatus, default=TradeStatus.OPEN)
    created_at = created_at_field()

    class Meta:
        db_table = "real_trades"
        constraints: ClassVar[list[Any]] = [
            models.UniqueConstraint(
                fields=["experiment"],
                name="one_authorised_trade_per_experiment",
                condition=models.Q(authorised=True),
            ),
            models.CheckConstraint(
                name="authorised_means_permitted",
                condition=models.Q(authorised=True, permit__isnull=False)
                | models.Q(authorised=False, permit__isnull=True),
            ),
            models.UniqueConstraint(fields=["engine", "external_id"], name="one_trade_per_engine_reference"),
            one_of("real_trade_engine_is_known", "engine", Engine),
            one_of("real_trade_status_is_known", "status", TradeStatus),
            amounts("real_trade_entry_is_finite", "entry_price", "quantity"),
            amounts("real_trade_fees_are_finite", "fees", lowest=None),
        ]
        indexes: ClassVar[list[Any]] = [
            # serves the sweep over open trades: expiry, exits that never arrived, followers to settle
            models.Index(fields=["experiment"], name="real_trades_open", condition=models.Q(status="OPEN")),
        ]
        triggers: ClassVar[list[Any]] = [
            *kept("real_trades", except_for=["status"]),
            moves("real_trades", "status", TRADE_MOVES),
        ]

    def __str__(self) -> str:
        return f"{self.engine} {self.external_id} {self.status}"


class ShadowTrade(models.Model):
    """A simulated trade: of the engine that may not execute, or the twin beside a real one."""

    trade_id = models.UUIDField(primary_key=True, default=new_key, editable=False)
    experiment = models.ForeignKey(Experiment, on_delete=models.PROTECT, related_name="shadow_trades")
    engine = word_field(Engine)
    purpose = word_field(Purpose)
    terms = models.JSONField()
    entry_price = money_field()
    entry_time = models.DateTimeField()
    quantity = money_field()
    status = word_field(TradeStatus, default=TradeStatus.OPEN)
    own_exit_price = money_field(null=True)
    own_exit_time = models.DateTimeField(null=True)
    own_exit_reason = models.CharField(max_length=200, null=True)  # noqa: DJ001 - not reported is not an empty reason
    created_at = created_at_field()

    class Meta:
        db_table = "shadow_trades"
        constraints: ClassVar[list[Any]] = [
            models.UniqueConstraint(fields=["experiment", "engine"], name="one_shadow_trade_per_engine"),
            one_of("shadow_trade_engine_is_known", "engine", Engine),
            one_of("shadow_trade_purpose_is_known", "purpose", Purpose),
            one_of("shadow_trade_status_is_known", "status", TradeStatus),
            amounts("shadow_trade_entry_is_finite", "entry_price", "quantity"),
            amounts("shadow_trade_own_exit_is_finite", "own_exit_price"),
        ]
        indexes: ClassVar[list[Any]] = [
            # serves the sweep over open trades: expiry and followers to settle
            models.Index(fields=["experiment"], name="shadow_trades_open", condition=models.Q(status="OPEN")),
        ]
        triggers: ClassVar[list[Any]] = [
            *kept("shadow_trades", except_for=["status", "own_exit_price", "own_exit_time", "own_exit_reason"]),
            moves("shadow_trades", "status", TRADE_MOVES),
            pgtrigger.Protect(
                name="shadow_trades_own_exit_is_set_once",
                operation=pgtrigger.Update,
                condition=pgtrigger.Q(old__own_exit_time__isnull=False)
                & (
                    pgtrigger.Q(old__own_exit_time__df=pgtrigger.F("new__own_exit_time"))
                    | pgtrigger.Q(old__own_exit_price__df=pgtrigger.F("new__own_exit_price"))
                    | pgtrigger.Q(old__own_exit_reason__df=pgtrigger.F("new__own_exit_reason"))
                ),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.engine} {self.purpose} {self.status}"

"""Telling an engine of its shadow trade and of that trade's exit: outbox rows, sent like any other call."""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings

from orchestrator.domain.amounts import decimal_string
from orchestrator.domain.moments import moment_string
from orchestrator.domain.recommendation import execution_body
from orchestrator.domain.vocabulary import CallKind
from orchestrator.models import EngineCall, Recommendation, ShadowTrade
from webhooks.canonical import canonical


def tell_engines(trades: Sequence[ShadowTrade], *, at: datetime) -> None:
    """Queue ``POST /shadow-trades`` for trades whose engine shall follow them and report their exit."""
    if not trades:
        return
    raws = {
        (answer.experiment_id, answer.engine): answer.raw
        for answer in Recommendation.objects.filter(experiment_id__in=[trade.experiment_id for trade in trades])
    }
    _queue(
        [
            (
                trade,
                CallKind.SHADOW_TRADE,
                execution_body(raws[trade.experiment_id, trade.engine], envelope=_opened(trade)),
            )
            for trade in trades
        ],
        at=at,
    )


def tell_exit(
    trade: ShadowTrade, *, exit_time: datetime, exit_reason: str, market_conditions: Any, at: datetime
) -> None:
    """Queue ``POST /shadow-trades/<trade_id>/exit``: its lead closed it."""
    body = json.dumps(
        {
            "experiment_id": str(trade.experiment_id),
            "exit_time": moment_string(exit_time),
            "exit_reason": exit_reason,
            "market_conditions": market_conditions,
        }
    )
    _queue([(trade, CallKind.SHADOW_EXIT, body)], at=at)


def _opened(trade: ShadowTrade) -> str:
    return canonical(
        {
            "trade_id": str(trade.trade_id),
            "experiment_id": str(trade.experiment_id),
            "entry_price": decimal_string(trade.entry_price),
            "entry_time": moment_string(trade.entry_time),
            "quantity": decimal_string(trade.quantity),
        }
    )


def _queue(told: Sequence[tuple[ShadowTrade, CallKind, str]], *, at: datetime) -> None:
    EngineCall.objects.bulk_create(
        [
            EngineCall(
                experiment_id=trade.experiment_id,
                engine=trade.engine,
                kind=kind.value,
                request=body,
                next_attempt_at=at,
                deadline_at=at + timedelta(seconds=settings.RECOMMENDATION_DEADLINE_SECONDS),
                created_at=at,
            )
            for trade, kind, body in told
        ],
        ignore_conflicts=True,
    )

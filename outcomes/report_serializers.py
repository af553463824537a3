"""How the reports are described to those who read the API: every member with its type. They are written by ``reports``."""

from typing import Any

from rest_framework import serializers

from orchestrator.domain.vocabulary import Engine
from outcomes.domain.performance import KINDS, performance
from outcomes.domain.verdict import VerdictCode
from outcomes.serializers import MoneyField

COUNTS = frozenset({"trades", "wins", "losses", "scratches", "passes", "answers"})
MONEY = frozenset({"average_pnl", "total_pnl", "max_drawdown"})
NEVER_NULL = COUNTS | {"total_pnl", "max_drawdown"}


def _all_of(name: str, members: dict[str, serializers.Field[Any, Any, Any, Any]]) -> type[serializers.Serializer[Any]]:
    """Return a serializer with these members, a component of its own in the description."""
    return type(name, (serializers.Serializer,), members)


def _ends(child: serializers.Field[Any, Any, Any, Any]) -> serializers.ListField:
    return serializers.ListField(child=child, min_length=2, max_length=2, allow_null=True, help_text="low, high; 95 %")


def _figure(name: str) -> serializers.Field[Any, Any, Any, Any]:
    if name.endswith("_interval"):
        return _ends(MoneyField() if name.removesuffix("_interval") in MONEY else serializers.FloatField())
    if name in COUNTS:
        return serializers.IntegerField()
    if name in MONEY:
        return MoneyField(allow_null=name not in NEVER_NULL)
    return serializers.FloatField(allow_null=True)


class FiltersSerializer(serializers.Serializer[Any]):
    symbol = serializers.CharField(allow_null=True)
    timeframe = serializers.CharField(allow_null=True)
    mode = serializers.CharField(allow_null=True)
    policy_version = serializers.CharField(allow_null=True)
    to = serializers.DateTimeField(allow_null=True)

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        return {"from": serializers.DateTimeField(allow_null=True), **super().get_fields()}  # a keyword of Python


class WhySerializer(serializers.Serializer[Any]):
    """Why a figure is undefined: a word for programs, a sentence for people."""

    code = serializers.CharField()
    reason = serializers.CharField()


_FIGURES = _all_of(
    "PerformanceFigures",
    {
        **{name: _figure(name) for name in performance(()).figures},
        "undefined": serializers.DictField(child=WhySerializer(), help_text="by the name of the figure that is null"),
    },
)
_KINDS = _all_of("PerformanceOfEngine", {kind: _FIGURES() for kind in KINDS})


class PerformanceReportSerializer(serializers.Serializer[Any]):
    """Performance per engine and kind: real, shadow and twin are never added together."""

    filters = FiltersSerializer()
    engines = _all_of("PerformanceOfEngines", {engine.value: _KINDS() for engine in Engine})()
    method = serializers.DictField(help_text="risk-free rate, days per year, and the source of every figure")


class _EstimateSerializer(serializers.Serializer[Any]):
    clusters = serializers.IntegerField()
    days = serializers.IntegerField()
    pairs = serializers.IntegerField()
    p_value = serializers.FloatField(allow_null=True)
    first_clear = serializers.DateField(allow_null=True)
    clear_since = serializers.DateField(allow_null=True)
    code = serializers.CharField(allow_null=True)
    reason = serializers.CharField(allow_null=True)


class EstimateInRSerializer(_EstimateSerializer):
    """The mean difference per signal, A minus B, in units of the capital at risk."""

    mean = serializers.FloatField(allow_null=True)
    standard_error = serializers.FloatField(allow_null=True)
    interval = _ends(serializers.FloatField())


class EstimateInCurrencySerializer(_EstimateSerializer):
    """The mean difference per signal, A minus B, in currency."""

    mean = MoneyField(allow_null=True)
    standard_error = MoneyField(allow_null=True)
    interval = _ends(MoneyField())


class DifferenceSerializer(serializers.Serializer[Any]):
    R = EstimateInRSerializer()
    currency = EstimateInCurrencySerializer()


class OwnExitsSerializer(DifferenceSerializer):
    note = serializers.CharField()


class VerdictSerializer(serializers.Serializer[Any]):
    code = serializers.ChoiceField(choices=[code.value for code in VerdictCode])
    sentence = serializers.CharField()
    days_needed = serializers.IntegerField()
    pairs_needed = serializers.IntegerField()
    needed = serializers.DictField()


class PairCountsSerializer(serializers.Serializer[Any]):
    total = serializers.IntegerField()
    complete = serializers.IntegerField()
    complete_without_r = serializers.IntegerField()
    passes = _all_of(
        "PassCounts", {name: serializers.IntegerField() for name in (*(engine.value for engine in Engine), "both")}
    )()
    open = serializers.IntegerField()
    oldest_open_seconds = serializers.FloatField(allow_null=True)
    not_comparable = _all_of("NotComparable", {name: serializers.IntegerField() for name in ("void", "no_answer")})()


class WinsMoreOftenSerializer(serializers.Serializer[Any]):
    engine = serializers.ChoiceField(choices=[engine.value for engine in Engine], allow_null=True)
    only_a_won = serializers.IntegerField()
    only_b_won = serializers.IntegerField()
    e_value = serializers.FloatField()
    p_value = serializers.FloatField()
    note = serializers.CharField()


class ExecutionCostSerializer(serializers.Serializer[Any]):
    """Real trades minus their own twins, per engine."""

    separable = serializers.BooleanField()
    sentence = serializers.CharField()
    engines = _all_of("ExecutionCostOfEngines", {engine.value: DifferenceSerializer() for engine in Engine})()


class _MomentSerializer(serializers.Serializer[Any]):
    day = serializers.DateField()
    pairs = serializers.IntegerField()
    enough = serializers.BooleanField(help_text="whether there were days and pairs enough for a verdict")


class MomentInRSerializer(_MomentSerializer):
    """The comparison as it stood after a day (or week); low and high are null while the interval is unbounded."""

    mean = serializers.FloatField()
    low = serializers.FloatField(allow_null=True)
    high = serializers.FloatField(allow_null=True)


class MomentInCurrencySerializer(_MomentSerializer):
    """The comparison as it stood after a day (or week); low and high are null while the interval is unbounded."""

    mean = MoneyField()
    low = MoneyField(allow_null=True)
    high = MoneyField(allow_null=True)


class OverTimeSerializer(serializers.Serializer[Any]):
    R = MomentInRSerializer(many=True)
    currency = MomentInCurrencySerializer(many=True)


class ComparisonReportSerializer(serializers.Serializer[Any]):
    """Is one engine better, and how sure is that? Pairs on one fill basis, A minus B, valid however often one looks."""

    filters = FiltersSerializer()
    verdict = VerdictSerializer()
    caveats = serializers.ListField(child=serializers.CharField())
    pairs = PairCountsSerializer()
    difference = DifferenceSerializer()
    own_exits = OwnExitsSerializer()
    autocorrelation = serializers.DictField(
        help_text="lag 1 of the sums of days, and when weeks are the honest clusters"
    )
    wins_more_often = WinsMoreOftenSerializer()
    assignment = serializers.DictField(help_text="whether variants came in the shares that the policies gave")
    execution_cost = ExecutionCostSerializer()
    calibration = serializers.DictField(help_text="how often the verdict was wrong in simulations", allow_null=True)
    method = serializers.DictField(help_text="the rules of the series, and the source of every figure")
    over_time = _all_of("ComparisonOverTime", {name: OverTimeSerializer() for name in ("difference", "own_exits")})()

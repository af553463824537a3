"""The form fields of the panel; what each accepts is decided in one place, for the page and for the command line."""

from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from orchestrator.domain.operator_settings import (
    LARGEST_AGE_SECONDS,
    LARGEST_SPLIT,
    SMALLEST_AGE_SECONDS,
    SMALLEST_SPLIT,
    SenselessSetting,
    read_setting,
)


class ExecutionModeField(forms.ChoiceField):
    def to_python(self, value: Any) -> Any:
        return _read("EXECUTION_MODE", value)


class SplitPercentageField(forms.IntegerField):
    def __init__(self, **options: Any) -> None:
        super().__init__(min_value=SMALLEST_SPLIT, max_value=LARGEST_SPLIT, **options)

    def to_python(self, value: Any) -> Any:
        return _read("SPLIT_PERCENTAGE", value)


class MaxSignalAgeField(forms.IntegerField):
    def __init__(self, **options: Any) -> None:
        super().__init__(min_value=SMALLEST_AGE_SECONDS, max_value=LARGEST_AGE_SECONDS, **options)

    def to_python(self, value: Any) -> Any:
        return _read("MAX_SIGNAL_AGE_SECONDS", value)


class TradingHaltedField(forms.BooleanField):
    """Unlike Django's own field, which reads every word but "false" and "0" as a yes."""

    def to_python(self, value: Any) -> Any:
        return _read("TRADING_HALTED", value)


def _read(key: str, value: Any) -> Any:
    if value is None or value == "":  # "required" has its own sentence
        return None
    try:
        return read_setting(key, value)
    except SenselessSetting as refusal:
        raise ValidationError(str(refusal)) from None

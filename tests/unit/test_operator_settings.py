"""The settings that operators edit: what is accepted, what is refused, and that a refusal is a helpful sentence."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.panel import CONSTANCE_FIELDS, CONSTANCE_GROUPS, CONSTANCE_KEYS
from orchestrator.domain.operator_settings import READERS, SenselessSetting, read_setting, read_settings

SENSELESS: dict[str, list[Any]] = {
    "SPLIT_PERCENTAGE": [
        "0.5", 0.5, 50.0, Decimal(50), True, False, "1e2", "50%", "-1", -1, "101", 101, "", " ", None, "fifty", "\u0665\u0660", "5_0",
        "0x10", "+5", "1 0", [50], {"a": 1}, 10**5000, "9" * 5000, "nan", float("nan"), float("inf"), "5\x000", b"50",
    ],
    "MAX_SIGNAL_AGE_SECONDS": ["0", 0, -300, "86401", "5m", "300.0", 300.5, None, "", True, "1e3", "∞"],
    "TRADING_HALTED": ["maybe", "", None, 2, 1, 0, 0.0, "truee", "fasle", [True], "nein"],
    "EXECUTION_MODE": [
        "auto", "", None, "LIVE", "ENGINE_C_PRIMARY", "SHADOW", 1, True, ["AUTO"], "AUTO,SHADOW_ONLY", "control",
    ],
}  # fmt: skip
ACCEPTED = [
    ("SPLIT_PERCENTAGE", "0", 0),
    ("SPLIT_PERCENTAGE", 100, 100),
    ("SPLIT_PERCENTAGE", " 50 ", 50),
    ("MAX_SIGNAL_AGE_SECONDS", "1", 1),
    ("MAX_SIGNAL_AGE_SECONDS", 86_400, 86_400),
    ("TRADING_HALTED", "true", True),
    ("TRADING_HALTED", "True", True),
    ("TRADING_HALTED", "off", False),
    ("TRADING_HALTED", "0", False),
    ("TRADING_HALTED", False, False),
    *(("EXECUTION_MODE", mode, mode) for mode in
      ("AUTO", "SHADOW_ONLY", "ENGINE_A_PRIMARY", "ENGINE_B_PRIMARY", "SPLIT_CAPITAL")),
]  # fmt: skip


@pytest.mark.requirement("12.5")
@pytest.mark.parametrize(
    ("key", "value"),
    [
        pytest.param(key, value, id=f"{key}-{number}")
        for key, values in SENSELESS.items()
        for number, value in enumerate(values)
    ],
)
def test_a_senseless_value_is_refused_with_a_sentence(key: str, value: Any) -> None:
    with pytest.raises(SenselessSetting) as refusal:
        read_setting(key, value)
    sentence = str(refusal.value)
    assert sentence.startswith(f"{key} is ")
    assert "Accepted: " in sentence
    assert sentence.endswith(".")
    assert len(sentence) < 300


@pytest.mark.requirement("12.3", "12.5")
@pytest.mark.parametrize(("key", "value", "read"), ACCEPTED)
def test_a_sensible_value_is_read(key: str, value: Any, read: Any) -> None:
    found = read_setting(key, value)
    assert found == read
    assert type(found) is type(read)


@pytest.mark.requirement("12.5")
def test_an_unknown_key_is_refused_with_the_known_ones() -> None:
    with pytest.raises(
        SenselessSetting, match=r"SPLIT is not a setting of the panel\. Accepted: EXECUTION_MODE, SPLIT_"
    ):
        read_settings({"EXECUTION_MODE": "AUTO", "SPLIT": 50})


@pytest.mark.requirement("12.4")
@given(split=st.integers(min_value=0, max_value=100))
def test_every_whole_percentage_is_accepted_as_number_and_as_text(split: int) -> None:
    assert read_setting("SPLIT_PERCENTAGE", split) == read_setting("SPLIT_PERCENTAGE", str(split)) == split


@pytest.mark.requirement("12.5")
@given(value=st.one_of(st.text(), st.floats(), st.binary(), st.integers(), st.none(), st.lists(st.integers())))
def test_whatever_comes_is_read_in_range_or_refused(value: Any) -> None:
    for key in READERS:
        try:
            found = read_setting(key, value)
        except SenselessSetting:
            continue
        assert read_setting(key, found) == found
        assert read_setting(key, str(found)) == found


@pytest.mark.requirement("12.5")
def test_the_defaults_are_sensible_safe_and_explained() -> None:
    assert list(CONSTANCE_KEYS) == list(READERS) == [key for _, keys in CONSTANCE_GROUPS for key in keys]
    defaults = {key: options[0] for key, options in CONSTANCE_KEYS.items()}
    assert read_settings(defaults) == defaults
    assert defaults == {
        "EXECUTION_MODE": "AUTO",
        "SPLIT_PERCENTAGE": 50,
        "TRADING_HALTED": False,
        "MAX_SIGNAL_AGE_SECONDS": 300,
    }
    for _, explanation, field in CONSTANCE_KEYS.values():
        assert "signals" in explanation or "signal " in explanation
        assert field in CONSTANCE_FIELDS

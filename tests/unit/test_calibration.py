"""The calibration in small: equal engines rarely raise an alarm, and what is on record is about this code."""

from dataclasses import replace

import numpy as np
import pytest

from outcomes.calibration import calibration
from outcomes.domain.confidence_sequence import half_width
from outcomes.domain.series import BY_DAY
from tests.calibration import looks, measuring, page
from tests.calibration.__main__ import main
from tests.calibration.looks import Disagreement, check_agreement
from tests.calibration.measuring import LIMIT, Rate, all_day_rate, counting_rates, rate
from tests.calibration.scenarios import NULLS, Scenario, shifted

SMALL = {"paths": 400, "days": 150, "seed": 7}
HELD = [scenario for scenario in NULLS if scenario.held]


@pytest.mark.parametrize("scenario", HELD, ids=lambda scenario: scenario.name)
def test_looking_every_day_at_equal_engines_rarely_alarms(scenario: Scenario) -> None:
    found = rate(scenario, **SMALL)
    assert found.ours <= LIMIT
    assert found.naive > LIMIT


def test_looking_after_every_pair_is_fine_too() -> None:
    assert all_day_rate(**SMALL).ours <= LIMIT


def test_the_counting_tests_rarely_alarm() -> None:
    assert page.failures(list(counting_rates(**SMALL))) == []


def test_a_scenario_above_the_limit_is_a_failure() -> None:
    assert page.failures([Rate("too bold", "", 0.061, 0.3, held=True)])
    assert page.failures([Rate("apart", "", 0.9, 0.9, held=False)]) == []


def test_the_command_fails_when_a_promise_is_broken(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--paths", "200", "--days", "60"]
    assert main(arguments) == 0
    (blow_up,) = (scenario for scenario in NULLS if scenario.name == "rare blow-up")
    monkeypatch.setattr(measuring, "NULLS", (replace(blow_up, held=True),))
    assert main([*arguments, "--write"]) == 1
    assert "FAILED: rare blow-up raises" in capsys.readouterr().out


def test_a_simulation_of_another_formula_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    sums, numbers = shifted(0.3)(np.random.default_rng(1), 3, 300)
    check_agreement(sums, numbers, BY_DAY, paths=3)
    monkeypatch.setattr(looks, "half_width", lambda error, **how: 0.9 * (half_width(error, **how) or 0) or None)
    with pytest.raises(Disagreement):
        check_agreement(sums, numbers, BY_DAY, paths=3)


def test_what_is_on_record_is_about_the_code_as_it_is() -> None:
    record = page.record_on_disk()
    assert record["fingerprint"] == page.fingerprint(), "the measured code has changed: make calibrate ARGS=--write"
    assert record["held"]
    assert record["worst"]["rate"] <= LIMIT
    assert calibration()["worst"] == record["worst"]


def test_a_scenario_run_again_gives_the_recorded_rate() -> None:
    record = page.record_on_disk()
    found = rate(NULLS[0], paths=record["paths"], days=record["days"], seed=record["seed"])
    (kept,) = (entry for entry in record["rates"] if entry["name"] == NULLS[0].name)
    # Another processor may round a path to the other side of the bound.
    assert (found.ours, found.naive) == pytest.approx((kept["ours"], kept["naive"]), abs=0.0005)


def test_the_page_shows_what_is_on_record() -> None:
    text = page.PAGE.read_text(encoding="utf-8")
    record = page.record_on_disk()
    for entry in record["rates"]:
        assert (
            f"| {entry['name']} | {entry['told']} | {page.percent(entry['ours'])} | {page.percent(entry['naive'])} |"
            in text
        )

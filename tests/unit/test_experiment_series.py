"""The rules of a series come from the environment."""

from pytest_django import Settings

from outcomes.domain.series import BY_DAY, BY_WEEK
from outcomes.experiment_series import current_series


def test_without_settings_it_is_by_day_with_a_tenth_of_r() -> None:
    assert current_series() == BY_DAY
    assert (BY_DAY.alpha, BY_DAY.horizon, BY_DAY.fewest_clusters, BY_DAY.fewest_pairs) == (0.05, 100, 20, 30)
    assert BY_DAY.smallest_difference == 0.1


def test_by_week_the_horizon_is_the_same_hundred_days(settings: Settings) -> None:
    settings.COMPARISON_CLUSTER = "WEEK"
    assert current_series() == BY_WEEK
    assert BY_WEEK.horizon_days == BY_DAY.horizon_days == 100


def test_the_smallest_difference_worth_knowing_can_be_set(settings: Settings) -> None:
    settings.COMPARISON_SMALLEST_DIFFERENCE = 0.25
    assert current_series().smallest_difference == 0.25

"""The rules of the experiment series that runs, as the environment sets them."""

from dataclasses import replace

from django.conf import settings

from outcomes.domain.series import SERIES, Cluster, Series


def current_series() -> Series:
    """Return the rules of the comparison; they change when a new series starts, never for one that has been looked at."""
    series = SERIES[Cluster(settings.COMPARISON_CLUSTER)]
    return replace(series, smallest_difference=settings.COMPARISON_SMALLEST_DIFFERENCE)

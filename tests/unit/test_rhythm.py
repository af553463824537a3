"""When a silence is unusual, and when it is only night."""

from datetime import UTC, datetime, timedelta

from orchestrator.domain.rhythm import silence

NOW = datetime(2026, 3, 4, 16, 0, tzinfo=UTC)


def every(minutes: float, *, count: int, until: datetime) -> list[datetime]:
    return [until - timedelta(minutes=minutes * number) for number in range(count)][::-1]


def test_a_young_source_is_held_against_its_longest_pause() -> None:
    arrivals = every(10, count=20, until=NOW - timedelta(minutes=31))
    found = silence(arrivals, in_earlier_weeks=[], now=NOW)
    assert found is not None
    assert found.since == arrivals[-1]
    assert "10 min" in found.why
    assert silence(arrivals, in_earlier_weeks=[], now=arrivals[-1] + timedelta(minutes=30)) is None


def test_a_source_that_is_hardly_known_is_not_judged() -> None:
    assert silence(every(1, count=19, until=NOW - timedelta(days=2)), in_earlier_weeks=[], now=NOW) is None
    assert silence([], in_earlier_weeks=[], now=NOW) is None


def test_a_short_silence_is_never_unusual() -> None:
    arrivals = every(0.1, count=200, until=NOW - timedelta(minutes=14))
    assert silence(arrivals, in_earlier_weeks=[50], now=NOW) is None


def test_a_known_source_is_compared_with_the_same_hours_of_earlier_weeks() -> None:
    arrivals = every(5, count=200, until=NOW - timedelta(hours=2))
    assert silence(arrivals, in_earlier_weeks=[24, 20], now=NOW) is not None
    assert silence(arrivals, in_earlier_weeks=[24, 19], now=NOW) is None
    night = silence(arrivals, in_earlier_weeks=[0, 0], now=NOW)
    assert night is None, "it is silent at this time of the week, always"


def test_a_silence_longer_than_a_week_is_held_against_the_pauses() -> None:
    arrivals = every(60 * 24, count=30, until=NOW - timedelta(days=8))
    assert silence(arrivals, in_earlier_weeks=[], now=NOW) is not None

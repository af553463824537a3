"""Points in time: written in one form, read from ISO 8601 with a zone."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.moments import UnreadableMoment, moment_string, read_moment
from webhooks.canonical import utc_text

ZONES = st.builds(
    timezone,
    st.timedeltas(timedelta(hours=-14), timedelta(hours=14)).map(
        lambda d: timedelta(minutes=d // timedelta(minutes=1))
    ),
)
MOMENTS = st.datetimes(datetime(2, 1, 1), datetime(9998, 1, 1), timezones=ZONES)  # noqa: DTZ001 - the zone is drawn


@given(MOMENTS)
def test_a_moment_is_written_in_one_form_and_read_back(moment: datetime) -> None:
    written = moment_string(moment)
    assert len(written) == 27
    assert read_moment(written, name="t") == moment
    assert read_moment(moment.isoformat(), name="t") == moment
    assert written == utc_text(moment)


def test_a_year_before_1000_is_padded() -> None:
    assert moment_string(datetime(33, 4, 3, tzinfo=UTC)) == "0033-04-03T00:00:00.000000Z"


@pytest.mark.parametrize(
    "value",
    [
        None,
        0,
        1.5,
        "",
        "now",
        "2026-03-02",
        "2026-03-02T14:30:00",
        "2026-13-01T00:00:00Z",
        "0001-01-01T00:00:00+14:00",
        [],
    ],
)
def test_what_is_no_moment_is_refused_with_what_is_accepted(value: Any) -> None:
    with pytest.raises(UnreadableMoment, match=r"exit_time is .*accepted is an ISO 8601 time with a zone"):
        read_moment(value, name="exit_time")

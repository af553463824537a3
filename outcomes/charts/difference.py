"""PURE: the mean difference over time with its band, the zero line and the days on which it is too early for a verdict."""

from collections.abc import Sequence

from outcomes.charts.scales import FAR, Axis, Days, axis, days
from outcomes.charts.shapes import (
    MOST_POINTS,
    Chart,
    Mark,
    Shape,
    amount,
    band,
    box,
    counted,
    level,
    line,
    some_of,
    table,
    upright,
    with_minus,
)
from outcomes.domain.comparison import Moment
from outcomes.domain.series import Cluster

ROOM_FOR_WORDS = 30.0  # percent of the width, so that it is enough on a phone
WHOLE = 100.0
TITLE = "Mean difference over time"


def difference_chart(moments: Sequence[Moment], *, unit: str, cluster: Cluster = Cluster.DAY) -> Chart:
    """Return the chart of the comparison as it stood after each ``cluster`` (in order); above 0 is in favour of A."""
    if not moments:
        return Chart(TITLE, f"No pair with a result in {unit} is complete in this choice.")
    across = days(moments[0].day, moments[-1].day)
    drawn = _drawn(moments)
    up = axis(_worth_showing(moments))
    end = _end_of_early(moments, across)
    early = Mark(0, "too early") if end >= ROOM_FOR_WORDS else Mark(end, "← too early") if end else None
    now = moments[-1]
    return Chart(
        TITLE,
        _told(now, len(moments), unit, cluster),
        across="day (UTC)",
        up=f"{unit} per signal, A minus B (above 0 A earned more)",
        x_ticks=across.ticks,
        y_ticks=up.ticks,
        over=[early] if early else [],
        shapes=[
            Shape(box(0, end, bottom=0, top=100), "o-zone"),
            Shape(_band(drawn, across, up), "o-band"),
            Shape(upright(end) if 0 < end < WHOLE else "", "o-edge"),
            Shape(level(up.place(0)), "o-zero"),
            Shape(_line(drawn, across, up), "o-stroke o-line"),
        ],
        ends=[Mark(100 - up.place(now.mean), "mean", "o-words")],
        table=table(
            ["day", "pairs", "mean", "at least", "at most", "enough for a verdict"],
            [
                [
                    moment.day.isoformat(),
                    f"{moment.pairs:,}",
                    _cell(moment.mean),
                    _cell(moment.low),
                    _cell(moment.high),
                    "yes" if moment.enough else "no",
                ]
                for moment in moments
            ],
        ),
    )


def _drawn(moments: Sequence[Moment]) -> list[Moment]:
    """Return the moments that are drawn; the first that had enough is always one of them."""
    some = some_of(moments, MOST_POINTS - 1)
    first = next((moment for moment in moments if moment.enough), None)
    if first is None or first in some:
        return some
    return sorted([*some, first], key=lambda moment: moment.clusters)


def _worth_showing(moments: Sequence[Moment]) -> list[float]:
    """Return what the axis must hold: 0, and means and bands since there is enough; before, the means and the newest band.

    The first days' bands are many times as wide as what is to be read, and are cut off at the frame.
    """
    enough = [moment for moment in moments if moment.enough]
    if not enough:
        means = [moment.mean for moment in moments]
        reach = 2 * max(map(abs, means)) or 1.0
        ends = [end for end in (moments[-1].low, moments[-1].high) if end is not None and abs(end) <= 2 * reach]
        return [0.0, *means, *ends]
    ends = [end for moment in enough for end in (moment.low, moment.high) if end is not None]
    return [0.0, *(moment.mean for moment in enough), *ends]


def _band(moments: Sequence[Moment], across: Days, up: Axis) -> str:
    """Return the band; where it is unbounded it reaches far beyond both ends. One moment alone is drawn as a short stretch."""
    places = [across.place(moment.day) for moment in moments]
    upper = [FAR if moment.high is None else up.beyond(moment.high) for moment in moments]
    lower = [-FAR if moment.low is None else up.beyond(moment.low) for moment in moments]
    if len(moments) == 1:
        places, upper, lower = [places[0] - 2, places[0] + 2], upper * 2, lower * 2
    return band(list(zip(places, upper, strict=True)), list(zip(places, lower, strict=True)))


def _line(moments: Sequence[Moment], across: Days, up: Axis) -> str:
    points = [(across.place(moment.day), up.beyond(moment.mean)) for moment in moments]
    if len(points) == 1:
        ((x, y),) = points
        points = [(x - 2, y), (x + 2, y)]
    return line(points)


def _end_of_early(moments: Sequence[Moment], across: Days) -> float:
    """Return up to where it was too early, in percent from the left."""
    if moments[0].enough:
        return 0.0
    return next((across.place(moment.day) for moment in moments if moment.enough), WHOLE)


def _told(now: Moment, clusters: int, unit: str, cluster: Cluster) -> str:
    known = (
        f"with 95 % confidence it is between {amount(now.low)} and {amount(now.high)} {unit}"
        if now.low is not None and now.high is not None
        else "its interval is still unbounded"
    )
    early = "" if now.enough else ", too early for a verdict"
    told = f"After {counted(now.pairs, 'pair')} up to {now.day} the mean difference is {amount(now.mean)} {unit} per signal; {known}{early}."
    if clusters == 1:
        return told
    return f"{told} The band is the interval as it stood after each of {clusters:,} {cluster.noun}s; it may be read after every one."


def _cell(value: float | None) -> str:
    return "unbounded" if value is None else with_minus(f"{value:+.4f}")

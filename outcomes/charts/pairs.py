"""PURE: how single pairs are spread: a histogram of A minus B, and each pair's A against its B, in R."""

from collections import Counter
from collections.abc import Sequence
from math import ceil, floor

from outcomes.charts.scales import ALMOST, MOST_TICKS, Axis, axis, counts, round_step
from outcomes.charts.shapes import (
    Chart,
    Mark,
    Shape,
    Table,
    amount,
    box,
    counted,
    dots,
    level,
    line,
    table,
    upright,
    with_minus,
)

HISTOGRAM, SCATTER = "Differences of single pairs", "A against B, pair by pair"
MOST_BINS = 41
CELLS = 100  # of the scatter, on each side
BEYOND = 0.005  # the share at each end that does not decide how far the axis reaches
LEAST_FOR_BEYOND = 200
# A larger dot is more pairs: up to how many.
SIZES = ((1, "o-dots-1"), (5, "o-dots-2"), (20, "o-dots-3"), (None, "o-dots-4"))

Pair = tuple[float, float]  # the results of A and B, in R


def histogram(pairs: Sequence[Pair]) -> Chart:
    """Return how many pairs there are per stretch of A minus B; the middle bin is around 0, the last ones hold all beyond."""
    if not pairs:
        return Chart(HISTOGRAM, "No pair with a result in R is complete in this choice.")
    differences = [a - b for a, b in pairs]
    reach = max(map(abs, _ends(differences))) or 1.0
    width = round_step(reach * 2 * MOST_TICKS / (MOST_BINS - 1))  # so that half of the bins reach far enough
    most = max(1, ceil(reach / width - ALMOST))
    found = Counter(max(-most, min(most, floor(difference / width + 0.5))) for difference in differences)
    bins = range(-most, most + 1)
    across = _exactly((-most - 0.5) * width, (most + 0.5) * width)
    up = counts(max(found.values()))
    ahead = sum(difference > 0 for difference in differences)
    behind = sum(difference < 0 for difference in differences)
    mean = sum(differences) / len(differences)
    return Chart(
        HISTOGRAM,
        f"Of {counted(len(pairs), 'pair')} A earned more in {ahead:,}, B in {behind:,}, and {len(pairs) - ahead - behind:,} were level; "
        + f"their mean difference is {amount(mean)} R (dashed). "
        + f"The middle bar is everything within {width / 2:g} R of 0, the first and the last hold everything beyond.",
        across="A minus B, in R",
        up="pairs",
        x_ticks=across.ticks,
        y_ticks=up.ticks,
        shapes=[
            *(
                Shape("".join(_bar(place, found[place], width, across, up) for place in places), look)
                for look, places in (
                    ("o-fill-B", range(-most, 0)),
                    ("o-fill-level", range(1)),
                    ("o-fill-A", range(1, most + 1)),
                )
            ),
            Shape(upright(across.place(mean)), "o-stroke o-line o-dashed"),
        ],
        over=[Mark(0, "← B earned more", "o-words-B"), Mark(100, "A earned more →", "o-words-A o-to-the-left")],
        table=table(
            ["A minus B, in R", "pairs"],
            [[_stretch(place, width, most), f"{found[place]:,}"] for place in bins if found[place]],
        ),
    )


def scatter(pairs: Sequence[Pair]) -> Chart:
    """Return each pair's A (across) against its B (up) on equal axes; pairs that fall together make a larger dot."""
    if not pairs:
        return Chart(SCATTER, "No pair with a result in R is complete in this choice.")
    both = axis(_ends([result for pair in pairs for result in pair]))
    found = Counter((round(both.place(a) * CELLS / 100), round(both.place(b) * CELLS / 100)) for a, b in pairs)
    beyond = sum(not (both.holds(a) and both.holds(b)) for a, b in pairs)
    return Chart(
        SCATTER,
        f"{counted(len(pairs), 'pair')}; below the diagonal A earned more, above it B. A larger dot is more pairs (1, to 5, to 20, over 20)."
        + (f" {counted(beyond, 'pair')} beyond the frame, drawn on it." if beyond else ""),
        across="A, in R",
        up="B, in R",
        x_ticks=both.ticks,
        y_ticks=both.ticks,
        look="o-square",
        shapes=[
            Shape(level(both.place(0)), "o-zero"),
            Shape(upright(both.place(0)), "o-zero"),
            Shape(line([(0, 0), (100, 100)]), "o-diagonal"),
            *(Shape(dots(_of_size(found, size)), f"o-dots {look}") for size, (_, look) in enumerate(SIZES)),
        ],
        over=[Mark(0, "↖ B earned more", "o-words-B"), Mark(100, "A earned more ↘", "o-words-A o-to-the-left")],
        table=_quarters(pairs),
    )


def _ends(values: Sequence[float]) -> list[float]:
    """Return the ends of what an axis shows, 0 among it: of many values without the few at the ends."""
    ordered = sorted([*values, 0.0])
    beyond = int(len(ordered) * BEYOND) if len(ordered) >= LEAST_FOR_BEYOND else 0
    return [min(0.0, ordered[beyond]), max(0.0, ordered[-1 - beyond])]


def _exactly(low: float, high: float) -> Axis:
    return axis([low, high], margin=0.0)


def _bar(place: int, number: int, width: float, across: Axis, up: Axis) -> str:
    left, right = across.place((place - 0.46) * width), across.place((place + 0.46) * width)
    return box(left, right, bottom=0, top=up.place(number)) if number else ""


def _stretch(place: int, width: float, most: int) -> str:
    low, high = (with_minus(f"{end * width:+.3g}") for end in (place - 0.5, place + 0.5))
    if place == -most:
        return f"below {high}"
    return f"{low} and above" if place == most else f"{low} to {high}"


def _of_size(found: Counter[tuple[int, int]], size: int) -> list[tuple[float, float]]:
    least = 0 if size == 0 else SIZES[size - 1][0] or 0
    most = SIZES[size][0]
    return [
        (100 * x / CELLS, 100 * y / CELLS)
        for (x, y), number in sorted(found.items())
        if number > least and (most is None or number <= most)
    ]


def _quarters(pairs: Sequence[Pair]) -> Table:
    def counted(of_a: int, of_b: int) -> str:
        return f"{sum((a > 0) - (a < 0) == of_a and (b > 0) - (b < 0) == of_b for a, b in pairs):,}"

    return Table(
        ["", "B gained", "B at 0", "B lost"],
        [
            [f"A {word}", *(counted(of_a, of_b) for of_b in (1, 0, -1))]
            for word, of_a in (("gained", 1), ("at 0", 0), ("lost", -1))
        ],
    )

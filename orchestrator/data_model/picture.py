"""The picture of the data model: boxes in columns by what they depend on, lines in the gaps between them.

A table stands right of every table that it refers to. All lines to one table share one trunk and one colour; they run
only between the columns and above the boxes, so that none is hidden.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape

from orchestrator.data_model.tables import Column, Table

BOX, ROW, HEADER, GAP, MARGIN, LANE = 296, 18, 28, 26, 24, 11
FONT = "ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace"
APP_COLOURS = {"webhooks": "#0f766e", "orchestrator": "#1d4ed8", "outcomes": "#7e22ce"}
LINE_COLOURS = ("#b45309", "#1d4ed8", "#be123c", "#0f766e", "#7e22ce", "#4d7c0f", "#0e7490", "#a21caf")


@dataclass(slots=True)
class Box:
    """Where a table stands; ``column`` counts from the left, ``top`` and ``left`` in pixels."""

    table: Table
    column: int
    left: float = 0
    top: float = 0

    @property
    def height(self) -> float:
        return HEADER + ROW * len(self.table.columns)

    def row_middle(self, name: str) -> float:
        place = next(number for number, column in enumerate(self.table.columns) if column.name == name)
        return self.top + HEADER + ROW * (place + 0.5)

    @property
    def key_middle(self) -> float:
        return self.row_middle(next(column.name for column in self.table.columns if column.primary))


@dataclass(slots=True)
class Trunk:
    """All lines to one table: its colour, and the lane it has in each gap (left of a column) and above the boxes."""

    target: Box
    colour: str
    ends: list[tuple[Box, Column]] = field(default_factory=list)
    lanes: dict[int, float] = field(default_factory=dict)
    above: float = 0

    @property
    def gaps(self) -> list[int]:
        """The gaps that it runs down in: one left of every column that refers to its table, one right of that table."""
        return sorted({box.column for box, _ in self.ends} | {self.target.column + 1})

    @property
    def is_long(self) -> bool:
        return len(self.gaps) > 1


def draw_picture(tables: Sequence[Table]) -> str:
    """Return the picture as SVG."""
    boxes = _arrange(tables)
    trunks = _trunks(boxes)
    width, height = _place(boxes, trunks)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" '
        f'height="{height:g}" font-family="{FONT}" font-size="11">',
        "<title>Data model</title>",
        f'<rect width="{width:g}" height="{height:g}" fill="#ffffff"/>',
        *_legend(),
        *(line for trunk in trunks for line in _lines(trunk)),
        *(line for box in boxes.values() for line in _box(box)),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _arrange(tables: Sequence[Table]) -> dict[str, Box]:
    """Give every table its column: one further right than the furthest table it refers to."""
    known = {table.name: table for table in tables}
    columns: dict[str, int] = {}

    def column_of(name: str) -> int:
        if name not in columns:
            targets = [target for target in known[name].references if target in known]
            columns[name] = 1 + max((column_of(target) for target in targets), default=-1)
        return columns[name]

    referred = {target for table in tables for target in table.references}
    boxes = {table.name: Box(table, column_of(table.name)) for table in tables}
    # tables with lines stand above those without
    order = sorted(boxes, key=lambda name: (boxes[name].column, not (known[name].references or name in referred)))
    return {name: boxes[name] for name in order}


def _trunks(boxes: Mapping[str, Box]) -> list[Trunk]:
    trunks: dict[str, Trunk] = {}
    for box in boxes.values():
        for column in box.table.columns:
            if column.references in boxes and column.references != box.table.name:
                colour = LINE_COLOURS[len(trunks) % len(LINE_COLOURS)]
                trunk = trunks.setdefault(column.references, Trunk(boxes[column.references], colour))
                trunk.ends.append((box, column))
    return list(trunks.values())


def _place(boxes: Mapping[str, Box], trunks: Sequence[Trunk]) -> tuple[float, float]:
    """Give boxes and lanes their places; return the width and height of the picture."""
    top = MARGIN + 30.0
    for trunk in trunks:
        if trunk.is_long:
            trunk.above, top = top, top + LANE
    top += GAP
    left, bottom = float(MARGIN), top
    for number in range(1 + max(box.column for box in boxes.values())):
        for trunk in trunks:
            if number in trunk.gaps:
                left += LANE
                trunk.lanes[number] = left
        left += GAP if number else 0
        y = top
        for box in boxes.values():
            if box.column == number:
                box.left, box.top = left, y
                y += box.height + GAP
        bottom = max(bottom, y)
        left += BOX + GAP
    return left - GAP + MARGIN, bottom - GAP + MARGIN


def _lines(trunk: Trunk) -> list[str]:
    paths = [path for gap in trunk.gaps for path in _lines_in_gap(trunk, gap)]
    if trunk.is_long:
        first, last = (trunk.lanes[gap] for gap in (trunk.gaps[0], trunk.gaps[-1]))
        paths.append(f"M{first:g} {trunk.above:g}H{last:g}")
    start = trunk.target
    right = start.left + BOX
    paths.append(f"M{right:g} {start.key_middle:g}H{trunk.lanes[start.column + 1]:g}")
    ends = [mark for box, column in trunk.ends for mark in _end(box, column)]
    return [
        f'<g fill="none" stroke="{trunk.colour}" stroke-width="1.4">',
        f'<path d="{"".join(paths)}"/>',
        f'<path d="{"".join(ends)}"/>',
        f'<circle cx="{right + 4:g}" cy="{start.key_middle:g}" r="3" fill="{trunk.colour}"/>',
        "</g>",
    ]


def _lines_in_gap(trunk: Trunk, gap: int) -> list[str]:
    """Return the upright part of a trunk in one gap, and its branches to the boxes right of it."""
    lane = trunk.lanes[gap]
    branches = [(box.row_middle(column.name), box.left) for box, column in trunk.ends if box.column == gap]
    heights = [height for height, _ in branches]
    if trunk.is_long:
        heights.append(trunk.above)
    if gap == trunk.target.column + 1:
        heights.append(trunk.target.key_middle)
    return [
        f"M{lane:g} {min(heights):g}V{max(heights):g}",
        *(f"M{lane:g} {height:g}H{left:g}" for height, left in branches),
    ]


def _end(box: Box, column: Column) -> list[str]:
    """Return a fork where many rows may refer to one, a bar where at most one may."""
    x, y = box.left, box.row_middle(column.name)
    if column.unique:
        return [f"M{x - 6:g} {y - 5:g}V{y + 5:g}"]
    return [f"M{x - 9:g} {y:g}L{x:g} {y - 5:g}M{x - 9:g} {y:g}L{x:g} {y + 5:g}"]


def _box(box: Box) -> list[str]:
    colour = APP_COLOURS[box.table.app]
    x, y = box.left, box.top
    lines = [
        "<g>",
        f"<title>{escape(box.table.about)}</title>",
        f'<rect x="{x:g}" y="{y:g}" width="{BOX}" height="{box.height:g}" rx="4" fill="#ffffff" stroke="{colour}"/>',
        f'<path d="M{x:g} {y + HEADER:g}v{4 - HEADER}a4 4 0 0 1 4-4h{BOX - 8}a4 4 0 0 1 4 4v{HEADER - 4}z" fill="{colour}"/>',
        f'<text x="{x + 10:g}" y="{y + 18:g}" fill="#ffffff" font-size="13" font-weight="700">{box.table.name}</text>',
    ]
    for number, column in enumerate(box.table.columns):
        lines += _row(column, x, y + HEADER + ROW * number, shaded=bool(number % 2))
    return [*lines, "</g>"]


def _row(column: Column, x: float, y: float, *, shaded: bool) -> list[str]:
    weight = ' font-weight="700" text-decoration="underline"' if column.primary else ""
    colour = "#0f172a" if column.primary or column.references else "#334155"
    mark = "?" if column.null else ""
    lines = [
        f'<text x="{x + 10:g}" y="{y + 13:g}" fill="{colour}"{weight}>{column.name}{mark}</text>',
        f'<text x="{x + BOX - 10:g}" y="{y + 13:g}" fill="#64748b" text-anchor="end">{escape(column.type)}</text>',
    ]
    if shaded:
        lines.insert(0, f'<rect x="{x + 1:g}" y="{y:g}" width="{BOX - 2}" height="{ROW}" fill="#f1f5f9"/>')
    return lines


def _legend() -> list[str]:
    lines, x = [], float(MARGIN)
    for app, colour in APP_COLOURS.items():
        lines += [
            f'<rect x="{x:g}" y="{MARGIN}" width="12" height="12" rx="3" fill="{colour}"/>',
            f'<text x="{x + 18:g}" y="{MARGIN + 10}" fill="#0f172a" font-size="12">{app}</text>',
        ]
        x += 40 + 8 * len(app)
    return lines

"""The published table: rows are points, columns configurations, and a cell says what became of the alert.

It is generated into ``docs/fault-points.md`` and read back from there, so that the test compares with what is published.
"""

from collections.abc import Mapping
from pathlib import Path

from config.fault_points import POINTS, Action
from tests.fault_matrix.configurations import CONFIGURATIONS, Configuration, reaches

PAGE = Path(__file__).resolve().parents[2] / "docs" / "fault-points.md"
BEGIN, END = "<!-- the matrix -->", "<!-- end of the matrix -->"
NOT_REACHED = "–"
NOT_RUN = frozenset({"?"})  # nobody has looked yet
EITHER, NEXT_ACTION = " or ", " / "
HEADINGS = {
    "none": "none",
    "queryable": "query&shy;able",
    "idempotent": "idem&shy;potent",
    "honours": "honours",
    "all": "all",
}

# A probe that is cut off is that of engine A, without which nothing is traded, or that of B; both are out at once.
TIME_DECIDES = {("health", Action.DROP): frozenset({"E", "S"})}

Cell = tuple[str, str]  # point, configuration
Outcomes = dict[Cell, dict[Action, frozenset[str]]]


def render(found: Outcomes) -> str:
    """Return the table; where the three actions come to the same, the cell says it once."""
    columns = " | ".join(f"{HEADINGS[one.capabilities]}{' later' if one.later else ''}" for one in CONFIGURATIONS)
    lines = [f"| point | {columns} |", "|---" * (len(CONFIGURATIONS) + 1) + "|"]
    for point in POINTS:
        cells = " | ".join(_cell(_known(found, point, one)) for one in CONFIGURATIONS)
        lines.append(f"| `{point}` | {cells} |")
    return "\n".join(lines)


def publish(found: Outcomes, page: Path = PAGE) -> None:
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{BEGIN}\n\n{render(found)}\n\n{how_many(found)}\n\n{END}{after}", encoding="utf-8")


def how_many(found: Outcomes) -> str:
    """Return how many cells have been looked at, and how many there are, in a sentence for each action."""
    cells = [(point, one) for point in POINTS for one in CONFIGURATIONS if reaches(one, point)]
    counts, are_all_run = [], True
    for action in Action:
        run = sum(_known(found, *cell).get(action, NOT_RUN) != NOT_RUN for cell in cells)
        counts.append(f"{action.value} {run} of {len(cells)}")
        are_all_run &= run == len(cells)
    return f"Cells that were run: {', '.join(counts)}{'' if are_all_run else '; ? was not run yet'}."


def published(page: Path = PAGE) -> Outcomes:
    """Return what the page says may become of each cell, for each action."""
    _, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    table, _, _ = rest.partition(END)
    found: Outcomes = {}
    for line in [line for line in table.splitlines() if line.startswith("| `")]:
        point, *cells = (part.strip() for part in line.strip("|").split("|"))
        for configuration, cell in zip(CONFIGURATIONS, cells, strict=True):
            found[point.strip("`"), configuration.name] = _read(cell)
    return found


def _known(found: Outcomes, point: str, configuration: Configuration) -> Mapping[Action, frozenset[str]]:
    """Return what is known of a cell; that it is not reached is known of each, and tried of some."""
    if not reaches(configuration, point):
        return dict.fromkeys(Action, frozenset({NOT_REACHED}))
    return found.get((point, configuration.name), {})


def _cell(outcomes: Mapping[Action, frozenset[str]]) -> str:
    texts = [EITHER.join(sorted(outcomes.get(action, NOT_RUN))) for action in Action]
    return texts[0] if len(set(texts)) == 1 else NEXT_ACTION.join(texts)


def _read(cell: str) -> dict[Action, frozenset[str]]:
    texts = cell.split(NEXT_ACTION)
    if len(texts) == 1:
        texts *= len(Action)
    return {action: frozenset(text.split(EITHER)) for action, text in zip(Action, texts, strict=True)}

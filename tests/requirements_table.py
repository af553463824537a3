"""The numbers of the specification, 61 acceptance criteria and 33 properties, and the table of the tests that prove them."""

from collections.abc import Iterator, Mapping, Sequence

# requirement: how many acceptance criteria it has
CRITERIA_OF = {1: 5, 2: 5, 3: 6, 4: 5, 5: 5, 6: 5, 7: 5, 8: 5, 9: 5, 10: 5, 11: 5, 12: 5}
CRITERIA = tuple(
    f"{requirement}.{number}" for requirement, most in CRITERIA_OF.items() for number in range(1, most + 1)
)
PROPERTIES = tuple(f"property-{number}" for number in range(1, 34))
KNOWN = frozenset((*CRITERIA, *PROPERTIES))
A_LINE = 11


def uncovered(proofs: Mapping[str, int]) -> list[str]:
    """Return the numbers that no test proves, in the order of the specification."""
    return [number for number in (*PROPERTIES, *CRITERIA) if not proofs.get(number)]


def table_lines(proofs: Mapping[str, int]) -> Iterator[str]:
    """Yield the table: under each number how many passed tests prove it."""
    yield from _rows("properties", [(name.removeprefix("property-"), proofs.get(name, 0)) for name in PROPERTIES])
    yield from _rows("criteria", [(name, proofs.get(name, 0)) for name in CRITERIA])


def _rows(title: str, counted: Sequence[tuple[str, int]]) -> Iterator[str]:
    for start in range(0, len(counted), A_LINE):
        row = counted[start : start + A_LINE]
        yield f"{title if not start else '':<12}" + "".join(f"{name:>6}" for name, _ in row)
        yield f"{'tests':>12}" + "".join(f"{count or 'NONE':>6}" for _, count in row)

"""What an operator says when settling an incident: read field by field, each refused with a sentence of its own."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TypeVar

from orchestrator.domain.amounts import UnreadableAmount, read_amount, read_fees
from orchestrator.domain.execution import LONGEST_REFERENCE, Fill

SHORTEST_REASON = 5
LONGEST_REASON = 1000

Value = TypeVar("Value")


class UnusableInput(ValueError):
    """What the operator said cannot be recorded; ``problems`` has a sentence per field."""

    def __init__(self, problems: Mapping[str, str]) -> None:
        super().__init__(" ".join(problems.values()))
        self.problems = dict(problems)


class Reader:
    """Reads the fields one after the other and remembers every problem, so that all are told at once.

    :param given: the fields as they were typed.
    """

    def __init__(self, given: Mapping[str, str]) -> None:
        self._given = given
        self._problems: dict[str, str] = {}

    def done(self) -> None:
        """Raise what was found.

        :raises UnusableInput: with a sentence per field.
        """
        if self._problems:
            raise UnusableInput(self._problems)

    def amount(self, name: str, label: str, *, above: bool = False) -> Decimal:
        """Return a finite amount of at least 0, or ``above`` it."""
        return self._read(name, lambda typed: read_amount(typed, name=label, above=above), Decimal(0))

    def fees(self, name: str, label: str) -> Decimal:
        """Return fees, 0 when nothing was typed, negative for a rebate."""
        return self._read(name, lambda typed: read_fees(typed or None, name=label), Decimal(0))

    def text(self, name: str, label: str, *, shortest: int = 1, longest: int) -> str:
        """Return a text of ``shortest`` to ``longest`` characters."""

        def read(typed: str) -> str:
            if not shortest <= len(typed) <= longest or "\x00" in typed:
                raise ValueError(
                    f"{label} is {'missing' if not typed else f'{len(typed)} characters long'}; "
                    f"accepted is a text of {shortest} to {longest} characters"
                )
            return typed

        return self._read(name, read, "")

    def moment(self, name: str, label: str, *, earliest: datetime, because: str, latest: datetime) -> datetime:
        """Return a time, taken as UTC when it names no zone, from ``earliest`` (``because`` of what) to ``latest``."""

        def read(typed: str) -> datetime:
            try:
                told = datetime.fromisoformat(typed)
                told = told.replace(tzinfo=UTC) if told.tzinfo is None else told.astimezone(UTC)
            except (ValueError, OverflowError):
                raise ValueError(
                    f"{label} is {typed[:60]!r}; accepted is a time in UTC such as 2026-03-02T14:30:00"
                ) from None
            if told < earliest:
                raise ValueError(f"{label} is {_written(told)}, before {because} at {_written(earliest)}")
            if told > latest:
                raise ValueError(f"{label} is {_written(told)}, in the future: it is {_written(latest)} now")
            return told

        return self._read(name, read, earliest)

    def _read(self, name: str, read: Callable[[str], Value], fallback: Value) -> Value:
        try:
            return read(str(self._given.get(name) or "").strip())
        except (ValueError, UnreadableAmount) as error:
            sentence = str(error).replace(" is ''; accepted", " is missing; accepted")
            self._problems[name] = f"{sentence[0].upper()}{sentence[1:]}."
            return fallback


def read_reason(given: Mapping[str, str]) -> str:
    """Return why the operator settles the incident in this way.

    :raises UnusableInput: when it is missing or too long.
    """
    reader = Reader(given)
    reason = reader.text("reason", "the reason", shortest=SHORTEST_REASON, longest=LONGEST_REASON)
    reader.done()
    return reason


def read_fill_told(given: Mapping[str, str], *, received_at: datetime, margin: timedelta, at: datetime) -> Fill:
    """Return the fill that an operator found at the broker.

    :param received_at: when the signal came; nothing can have been executed before, but for what clocks differ by (``margin``).
    :raises UnusableInput: with a sentence per field.
    """
    reader = Reader(given)
    fill = Fill(
        external_id=reader.text("reference", "the reference", longest=LONGEST_REFERENCE),
        entry_price=reader.amount("price", "the price"),
        entry_time=reader.moment(
            "time", "the time", earliest=received_at - margin, because="the signal was received", latest=at
        ),
        quantity=reader.amount("quantity", "the quantity", above=True),
        fees=reader.fees("fees", "the fees"),
    )
    reader.done()
    return fill


def _written(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"

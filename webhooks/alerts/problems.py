"""What is wrong with an alert, in words that let its author correct it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

LONGEST_FOUND = 200


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that kept an alert from becoming a signal.

    ``field`` is one of the four fields or ``body``; ``found`` the value as JSON text, shortened, or None when there was
    none; ``path`` where it was found.
    """

    field: str
    code: str
    message: str
    accepted: str
    example: str
    found: str | None = None
    path: str | None = None

    def as_json(self) -> dict[str, str | None]:
        """Return the entry of this problem in an ``application/problem+json`` answer."""
        return {
            "field": self.field,
            "code": self.code,
            "message": self.message,
            "found": self.found,
            "path": self.path,
            "accepted": self.accepted,
            "example": self.example,
        }


class UnreadableAlert(ValueError):
    """The alert cannot be read; ``problems`` say why, at least one."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__(" ".join(problem.message for problem in problems))


class Unreadable(ValueError):
    """One value cannot be read as what it should be; ``path`` and ``found`` when the one who raises it knows them."""

    def __init__(self, code: str, message: str, *, path: str | None = None, found: str | None = None) -> None:
        self.code = code
        self.path = path
        self.found = found
        super().__init__(message)


def shown(value: object) -> str:
    """Return a value as JSON text for a message: at most 200 characters, safe to store and print."""
    text = json.dumps(value, default=str)
    return text if len(text) <= LONGEST_FOUND else f"{text[:LONGEST_FOUND]}…"

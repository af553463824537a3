"""Columns and actions of the intake's tables in the admin, with their types kept."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from unfold.decorators import action, display

Shown = TypeVar("Shown", bound=Callable[..., Any])


def column(
    description: str, *, ordering: str | None = None, label: dict[str, str] | None = None
) -> Callable[[Shown], Shown]:
    """Make a method a column of a list; with ``label`` its values are coloured."""
    decorated: Callable[[Shown], Shown] = display(description=description, ordering=ordering, label=label)
    return decorated


def act(description: str, *, permissions: Sequence[str], url_path: str | None = None) -> Callable[[Shown], Shown]:
    """Make a method an action: of a list, or with ``url_path`` of one row's page."""
    decorated: Callable[[Shown], Shown] = action(
        description=description, permissions=list(permissions), **({"url_path": url_path} if url_path else {})
    )
    return decorated

"""The tables as the models define them: columns, references, constraints and triggers."""

from dataclasses import dataclass
from typing import Any

from django.apps import apps
from django.db import connection, models

APPS = ("webhooks", "orchestrator", "outcomes")
SHORT_TYPES = {"timestamp with time zone": "timestamptz", "double precision": "float8"}


@dataclass(frozen=True, slots=True)
class Column:
    """``references`` is the table that a foreign key leads to, empty without one; ``unique`` means at most one row each."""

    name: str
    type: str
    null: bool
    primary: bool
    unique: bool
    references: str
    help: str


@dataclass(frozen=True, slots=True)
class Table:
    name: str
    app: str
    about: str
    columns: tuple[Column, ...]
    constraints: tuple[str, ...]
    triggers: tuple[str, ...]

    @property
    def references(self) -> frozenset[str]:
        """The other tables that this one leads to."""
        return frozenset(column.references for column in self.columns if column.references) - {self.name}


def read_tables() -> tuple[Table, ...]:
    """Return the tables of the project, by app and name."""
    found = [model for app in APPS for model in apps.get_app_config(app).get_models()]
    return tuple(sorted((_table(model) for model in found), key=lambda table: (APPS.index(table.app), table.name)))


def _table(model: type[models.Model]) -> Table:
    options = model._meta  # noqa: SLF001 - Django documents it
    return Table(
        name=options.db_table,
        app=options.app_label,
        about=_first_sentence(model),
        columns=tuple(_column(field) for field in options.concrete_fields),
        constraints=tuple(sorted(constraint.name for constraint in options.constraints)),
        triggers=tuple(sorted(str(trigger.name) for trigger in getattr(options, "triggers", ()))),
    )


def _column(field: "models.Field[Any, Any]") -> Column:
    kind = field.db_type(connection) or ""
    target = field.related_model if field.is_relation else None
    return Column(
        name=str(field.column),
        type=SHORT_TYPES.get(kind, kind).replace(", ", ","),
        null=field.null,
        primary=field.primary_key,
        unique=field.unique and not field.primary_key,
        references=target._meta.db_table if isinstance(target, type) else "",  # noqa: SLF001 - Django documents it
        help=str(field.help_text),
    )


def _first_sentence(model: type[models.Model]) -> str:
    """Return what a model says it is; Django writes ``Name(field, …)`` where it says nothing."""
    text = " ".join((model.__doc__ or "").split())
    return "" if text.startswith(f"{model.__name__}(") else text

"""Old code runs beside a new schema during a deploy: every migration after the first only adds."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import migrations, models
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.base import Operation
from django.db.models.fields import NOT_PROVIDED

APPS = ("webhooks", "orchestrator", "outcomes")
ADDING = (
    migrations.CreateModel,
    migrations.AddIndex,
    migrations.RemoveIndex,
    migrations.AlterModelOptions,
    migrations.AlterModelManagers,
)
# What has been looked at by a person: (app, migration) → why old code can live with it.
READ_BY_A_PERSON = {
    ("orchestrator", "0002_permit_references"): "foreign keys that hold what the code of 0001 does anyway",
    (
        "webhooks",
        "0003_sources_rotate_restrict_and_hide",
    ): "constraints on new columns, which old code leaves at their defaults",
    ("outcomes", "0003_what_changed"): "triggers that note in tables of their own what any code writes",
}


def operations() -> Iterator[tuple[str, str, Operation]]:
    """Return every operation after the first migration of each app, with the app and the migration's name."""
    for (app, name), migration in sorted(MigrationLoader(None).disk_migrations.items()):
        if app in APPS and not name.startswith("0001_"):
            for operation in migration.operations:
                yield app, name, operation


def why_not(operation: Operation) -> str:
    """Return why old code could not live with an operation, empty when it can."""
    if isinstance(operation, ADDING) or type(operation).__module__.startswith("pgtrigger."):
        return ""
    if isinstance(operation, migrations.AddField):
        return "" if _may_be_left_out(operation.field) else "a new column that old code does not fill"
    if isinstance(operation, migrations.AlterField):
        return "" if operation.field.null or _only_words_change(operation) else "a column that may have been narrowed"
    if isinstance(operation, migrations.AddConstraint | migrations.RemoveConstraint):
        return ""  # judged as a pair by the test of constraints
    if isinstance(operation, migrations.SeparateDatabaseAndState):
        return next((found for inner in operation.database_operations if (found := why_not(inner))), "")
    return f"{type(operation).__name__} is not known to be additive"


def _may_be_left_out(field: Any) -> bool:
    """Tell whether a row can be inserted by code that does not know the column."""
    return bool(field.null) or field.db_default is not NOT_PROVIDED or getattr(field, "many_to_many", False)


def _only_words_change(operation: migrations.AlterField) -> bool:
    """Tell whether the column stays what it is: a longer list of choices makes no difference to the database."""
    return isinstance(operation.field, models.CharField) and bool(operation.field.choices)


def test_every_migration_only_adds() -> None:
    refused = [
        f"{app} {name}: {operation.describe()} ({reason})"
        for app, name, operation in operations()
        if (app, name) not in READ_BY_A_PERSON and (reason := why_not(operation))
    ]
    assert refused == []


def test_a_new_constraint_on_an_old_table_takes_the_place_of_one_of_the_same_name() -> None:
    """A list of known words grows by putting a wider constraint in the place of the old one; nothing else is added."""
    made: set[tuple[str, str, str]] = set()
    removed: set[tuple[str, str, str]] = set()
    added = []
    for app, name, operation in operations():
        if isinstance(operation, migrations.CreateModel):
            made.add((app, name, operation.name_lower))
        elif isinstance(operation, migrations.RemoveConstraint):
            removed.add((app, name, operation.deconstruct()[2]["name"]))
        elif isinstance(operation, migrations.AddConstraint):
            constraint = operation.deconstruct()[2]["constraint"]
            added.append((app, name, operation.model_name_lower, constraint.name))
    alone = [
        one
        for one in added
        if one[:3] not in made and (one[0], one[1], one[3]) not in removed and one[:2] not in READ_BY_A_PERSON
    ]
    assert alone == []


@pytest.mark.parametrize(
    "operation",
    [
        migrations.RemoveField("signal", "source"),
        migrations.RenameField("signal", "source", "origin"),
        migrations.DeleteModel("Signal"),
        migrations.RenameModel("Signal", "Alert"),
        migrations.AlterModelTable("signal", "alerts"),
        migrations.AddField("signal", "colour", models.CharField(max_length=9)),
        migrations.AddField("signal", "colour", models.CharField(max_length=9, default="red")),
        migrations.AlterField("signal", "source", models.CharField(max_length=1)),
        migrations.RunSQL("DROP TABLE signals"),
    ],
    ids=lambda operation: operation.describe(),
)
def test_what_old_code_could_not_live_with_is_found(operation: Operation) -> None:
    assert why_not(operation)


@pytest.mark.parametrize(
    "operation",
    [
        migrations.AddField("signal", "colour", models.CharField(max_length=9, null=True)),
        migrations.AddField("signal", "colour", models.CharField(max_length=9, db_default="red")),
        migrations.CreateModel("Colour", [("id", models.UUIDField(primary_key=True))]),
    ],
    ids=lambda operation: operation.describe(),
)
def test_what_adds_is_let_through(operation: Operation) -> None:
    assert why_not(operation) == ""

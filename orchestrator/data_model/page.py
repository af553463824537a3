"""The page of the data model: a Mermaid diagram, and a table of columns for every table."""

import re
from collections.abc import Sequence

from orchestrator.data_model.tables import Column, Table

HEAD = """# Data model

Made by `manage.py data_model` from the models; `manage.py data_model --check` fails when it is out of date.

![The tables and what they refer to](data-model.svg)

A box is a table. Key columns are underlined; `?` marks a column that may be null. A line leads from a foreign key to the
row that it refers to; it ends in a fork where many rows may refer to one, and in a bar where at most one may.

Two references of several columns are made by a migration: a permit's `(experiment_id, engine)` leads to
`execution_policies (experiment_id, executed_engine)`, so that only the engine that the policy names can get one, and a real
trade's `(permit_id, experiment_id, engine)` to `execution_permits`.
"""


def draw_page(tables: Sequence[Table]) -> str:
    """Return the page as Markdown."""
    return "\n".join([HEAD, _diagram(tables), *(_section(table) for table in tables)])


def _diagram(tables: Sequence[Table]) -> str:
    lines = ["## Diagram", "", "```mermaid", "erDiagram"]
    for table in tables:
        lines += [
            f"    {column.references} {_many(column)} {table.name} : {column.name}"
            for column in table.columns
            if column.references
        ]
    for table in tables:
        lines.append(f"    {table.name} {{")
        lines += [f"        {_word(column.type)} {column.name}{_key(column)}" for column in table.columns]
        lines.append("    }")
    return "\n".join([*lines, "```", ""])


def _section(table: Table) -> str:
    lines = [f"## {table.name}", "", f"{table.about} (`{table.app}`)".strip(), ""]
    lines += ["| column | type | null | refers to | |", "|---|---|---|---|---|"]
    lines += [
        f"| {_name(column)} | {column.type} | {'yes' if column.null else ''} | {column.references} | {_cell(column)} |"
        for column in table.columns
    ]
    if table.constraints:
        lines += ["", "Constraints: " + ", ".join(f"`{name}`" for name in table.constraints) + "."]
    if table.triggers:
        lines += ["", "Triggers: " + ", ".join(f"`{name}`" for name in table.triggers) + "."]
    return "\n".join([*lines, ""])


def _many(column: Column) -> str:
    """Return Mermaid's sign between the table referred to and this one."""
    left = "|o" if column.null else "||"
    return f"{left}--o|" if column.unique else f"{left}--o{{"


def _key(column: Column) -> str:
    keys = [name for name, holds in (("PK", column.primary), ("FK", column.references), ("UK", column.unique)) if holds]
    return f" {', '.join(keys)}" if keys else ""


def _name(column: Column) -> str:
    return f"**{column.name}**" if column.primary else column.name


def _cell(column: Column) -> str:
    notes = ["unique"] if column.unique else []
    return "; ".join([*notes, column.help.replace("|", "\\|").replace("\n", " ")]).strip("; ")


def _word(kind: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", kind).strip("_")

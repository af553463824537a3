"""The page and the picture of the data model: complete, up to date, and legible."""

from io import StringIO
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from django.core.management import CommandError, call_command

from orchestrator.data_model import picture
from orchestrator.data_model.page import draw_page
from orchestrator.data_model.picture import draw_picture
from orchestrator.data_model.tables import Table, read_tables

TABLES = read_tables()


def boxes() -> dict[str, picture.Box]:
    arranged = picture._arrange(TABLES)
    picture._place(arranged, picture._trunks(arranged))
    return arranged


def test_the_page_and_the_picture_in_the_repository_are_up_to_date() -> None:
    call_command("data_model", check=True, stdout=StringIO())


def test_a_page_that_is_out_of_date_is_refused_and_a_second_run_mends_it(tmp_path: Path) -> None:
    call_command("data_model", folder=tmp_path, stdout=StringIO())
    call_command("data_model", folder=tmp_path, check=True, stdout=StringIO())
    (tmp_path / "data-model.md").write_text("another model")
    with pytest.raises(CommandError, match=r"data-model\.md .* out of date"):
        call_command("data_model", folder=tmp_path, check=True, stdout=StringIO())
    call_command("data_model", folder=tmp_path, stdout=StringIO())
    call_command("data_model", folder=tmp_path, check=True, stdout=StringIO())


def test_a_missing_picture_is_out_of_date(tmp_path: Path) -> None:
    with pytest.raises(CommandError):
        call_command("data_model", folder=tmp_path, check=True)


def test_every_table_and_column_is_on_the_page_and_in_the_picture() -> None:
    page, shown = draw_page(TABLES), set(ET.fromstring(draw_picture(TABLES)).itertext())  # noqa: S314 - our own
    for table in TABLES:
        assert f"\n## {table.name}\n" in page
        assert table.name in shown
        for column in table.columns:
            assert f"| {column.name} |" in page or f"| **{column.name}** |" in page
            assert column.name in shown or f"{column.name}?" in shown


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_every_table_says_what_it_is(table: Table) -> None:
    assert table.about.endswith("."), table.name


def test_a_table_stands_right_of_every_table_that_it_refers_to() -> None:
    arranged = boxes()
    for box in arranged.values():
        for target in box.table.references:
            assert arranged[target].left + picture.BOX < box.left


def test_no_two_boxes_overlap() -> None:
    for column in range(10):
        stack = sorted((box for box in boxes().values() if box.column == column), key=lambda box: box.top)
        assert all(upper.top + upper.height < lower.top for upper, lower in pairwise(stack))


def test_no_line_runs_behind_a_box_and_no_two_tables_share_a_lane() -> None:
    arranged = picture._arrange(TABLES)
    trunks = picture._trunks(arranged)
    picture._place(arranged, trunks)
    lanes = [lane for trunk in trunks for lane in trunk.lanes.values()]
    assert len(lanes) == len(set(lanes))
    for lane in lanes:
        assert not any(box.left <= lane <= box.left + picture.BOX for box in arranged.values())
    highest = min(box.top for box in arranged.values())
    assert all(trunk.above < highest for trunk in trunks if trunk.is_long)

"""Writes the page and the picture of the data model; with ``--check`` it only says whether they are up to date."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from orchestrator.data_model.page import draw_page
from orchestrator.data_model.picture import draw_picture
from orchestrator.data_model.tables import read_tables


class Command(BaseCommand):
    help = "Writes docs/data-model.md and docs/data-model.svg from the models."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--check", action="store_true", help="write nothing; fail when the files are out of date")
        parser.add_argument("--folder", type=Path, default=settings.BASE_DIR / "docs", help="default: docs")

    def handle(self, *, check: bool, folder: Path, **options: Any) -> None:
        tables = read_tables()
        files = {"data-model.md": draw_page(tables), "data-model.svg": draw_picture(tables)}
        stale = [name for name, text in files.items() if _read(folder / name) != text]
        if check and stale:
            raise CommandError(f"{' and '.join(stale)} in {folder.name}: out of date. Run: manage.py data_model")
        if check:
            self.stdout.write("The data model's page and picture are up to date.")
            return
        folder.mkdir(parents=True, exist_ok=True)
        for name in stale:
            (folder / name).write_text(files[name], encoding="utf-8")
            self.stdout.write(f"wrote {folder.name}/{name}")


def _read(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None

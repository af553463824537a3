"""manage.py constance …: constance's own command, which goes through the panel's backend; every refusal is a sentence."""

from typing import Any

from constance.management.commands.constance import Command as ConstanceCommand
from django.core.management.base import CommandError

from config.panel import CONSTANCE_KEYS


class Command(ConstanceCommand):  # type: ignore[misc]  # constance has no types
    def handle(
        self, command: str | None, key: str | None = None, value: Any = None, *args: Any, **options: Any
    ) -> None:
        if key is not None and key not in CONSTANCE_KEYS:
            raise CommandError(f"{key[:60]} is not a setting of the panel. Accepted: {', '.join(CONSTANCE_KEYS)}.")
        if command is None:
            raise CommandError("Say what to do: list, get KEY, or set KEY VALUE.")
        super().handle(command, key, value, *args, **options)

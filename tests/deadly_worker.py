"""A worker's process that some signals kill: ``python -m tests.deadly_worker`` takes what ``run_orchestrator`` takes.

It ends without a word, as with ``kill -9``, when it makes the context of a signal of the symbol ``DEADLY``; and with
``ENGINE_B_URL=python:tests.deadly_worker:DeadlyEngine`` when it asks engine B about a signal of the symbol ``ASKED``.
"""

import os
import sys
from collections.abc import Sequence
from typing import Any

import django

from tests.python_engines import PlainEngine

IN_ITS_CONTEXT, WHEN_ASKED = "DEADLY", "ASKED"
EXIT_CODE = 9


class DeadlyEngine(PlainEngine):
    def recommend(self, body: bytes) -> dict[str, Any]:
        if f'"symbol":"{WHEN_ASKED}"'.encode() in body:
            os._exit(EXIT_CODE)
        return super().recommend(body)


def main(arguments: Sequence[str]) -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()
    from django.core.management import call_command  # noqa: PLC0415 - not before the settings are there

    from orchestrator import experiments  # noqa: PLC0415

    build_contexts = experiments.build_contexts  # type: ignore[attr-defined] # it is imported there, not exported

    def deadly(signals: Any, **how: Any) -> Any:
        if any(signal.symbol == IN_ITS_CONTEXT for signal in signals):
            os._exit(EXIT_CODE)
        return build_contexts(signals, **how)

    experiments.build_contexts = deadly  # type: ignore[attr-defined]
    call_command("run_orchestrator", *arguments)


if __name__ == "__main__":
    main(sys.argv[1:])

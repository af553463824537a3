"""The referee decides nothing that belongs to an engine: what the orchestrator's own code may not even import."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CHANCE = {"random", "secrets"}
MAY_MAKE_TOKENS = {"webhooks/sources.py", "orchestrator/engine_check.py"}  # of a source; of a made-up secret
NETWORK = {"httpx2", "httpx", "requests", "aiohttp", "urllib3", "http.client", "urllib.request", "websockets", "ftplib"}
MODELS = {"openai", "anthropic", "google.generativeai", "langchain", "litellm", "transformers", "torch", "sklearn"}
MARKETS = {"yfinance", "ccxt", "talib", "pandas_ta", "pandas", "numpy", "scipy", "alpaca", "ib_insync", "QuantLib"}
# Only these speak with anybody: the client of the engines, what tells operators of incidents, and the sender of sample
# alerts, which is a client itself.
MAY_SPEAK = {"orchestrator/engines/http.py", "orchestrator/notifications.py", "webhooks/sending.py"}


def own_files() -> Iterator[Path]:
    """Yield the code that processes signals; the reference engines are no part of it, nor is what starts processes."""
    for app in ("webhooks", "orchestrator", "outcomes"):
        for path in sorted((ROOT / app).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            if not name.startswith(("orchestrator/engines/reference/", "orchestrator/samples/")):
                yield path


def imported(path: Path) -> set[str]:
    """Return every module that a file imports, with all its parents."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return {".".join(name.split(".")[:depth]) for name in names for depth in range(1, name.count(".") + 2)}


FILES = list(own_files())


@pytest.mark.requirement("6.2", "6.3", "7.1")
def test_nothing_is_left_to_chance_asked_of_a_language_model_or_fetched_from_a_market() -> None:
    assert len(FILES) > 60
    for path in FILES:
        name = path.relative_to(ROOT).as_posix()
        chance = {"random"} if name in MAY_MAKE_TOKENS else CHANCE
        found = imported(path) & (chance | MODELS | MARKETS)
        assert not found, f"{name} imports {', '.join(sorted(found))}"


@pytest.mark.requirement("6.3", "7.1", "8.4")
def test_only_engines_and_operators_are_spoken_with() -> None:
    speaking = {path.relative_to(ROOT).as_posix() for path in FILES if imported(path) & NETWORK}
    assert speaking == MAY_SPEAK


@pytest.mark.requirement("6.3", "7.1", "7.3")
def test_what_turns_a_signal_into_an_experiment_cannot_reach_an_engine() -> None:
    for name in ("experiments", "contexts", "policies", "batches", "queue", "recommendations", "shadow_trades"):
        modules = imported(ROOT / "orchestrator" / f"{name}.py")
        assert not {"orchestrator.engines", "orchestrator.dispatch", "orchestrator.worker"} & modules, name


@pytest.mark.requirement("7.1", "7.2", "7.3")
def test_no_rule_of_an_engine_is_known_outside_the_reference_engines() -> None:
    for path in FILES:
        reference = {name for name in imported(path) if name.startswith("orchestrator.engines.reference.")}
        is_command = "management/commands" in path.as_posix()
        assert not reference or is_command, f"{path.relative_to(ROOT)} imports {', '.join(sorted(reference))}"

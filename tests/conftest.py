"""What all tests share: engines on loopback, log lines as they are printed, and the table of proven requirements."""

import json
import logging
from collections import Counter
from collections.abc import Iterator
from itertools import count
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import connection
from django.test import override_settings
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from structlog.stdlib import ProcessorFormatter

from config.database import current_url
from tests.engine_server import EngineServer
from tests.requirements_table import KNOWN, table_lines, uncovered
from webhooks import keeping, lines, notifications

hypothesis_settings.register_profile(
    "house", max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
hypothesis_settings.load_profile("house")

_tests = count()

PROOFS = pytest.StashKey[Counter[str]]()
NUMBERS = pytest.StashKey[dict[str, set[str]]]()
IS_WHOLE = pytest.StashKey[bool]()


# Requirements: which are proven by the tests that passed


def pytest_configure(config: pytest.Config) -> None:
    config.stash[PROOFS] = Counter()
    config.stash[NUMBERS] = {}
    config.stash[IS_WHOLE] = _asks_for_everything(config)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        numbers = {str(number) for mark in item.iter_markers("requirement") for number in mark.args}
        if unknown := numbers - KNOWN:
            raise pytest.UsageError(f"{item.nodeid} names requirements that do not exist: {', '.join(sorted(unknown))}")
        config.stash[NUMBERS][item.nodeid] = numbers


def pytest_deselected(items: list[pytest.Item]) -> None:
    if items:
        items[0].config.stash[IS_WHOLE] = False


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Any:
    report = yield
    if report.when == "call" and report.passed and not hasattr(report, "wasxfail"):
        item.config.stash[PROOFS].update(item.config.stash[NUMBERS].get(item.nodeid, ()))
    return report


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a run of everything that leaves a requirement unproven."""
    if session.shouldstop or session.shouldfail or session.config.option.collectonly:
        session.config.stash[IS_WHOLE] = False
    is_whole, proofs = session.config.stash[IS_WHOLE], session.config.stash[PROOFS]
    if is_whole and session.exitstatus == pytest.ExitCode.OK and uncovered(proofs):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the table; pytest's own closing line follows it."""
    if not config.stash[IS_WHOLE]:
        return
    proofs = config.stash[PROOFS]
    terminalreporter.section("requirements and the tests that prove them")
    for line in table_lines(proofs):
        terminalreporter.write_line(line, red="NONE" in line)
    if missing := uncovered(proofs):
        terminalreporter.write_line(f"FAILED: no passed test proves {', '.join(missing)}", red=True)
        terminalreporter.stats["requirements without a test"] = [SimpleNamespace(number=number) for number in missing]


def _asks_for_everything(config: pytest.Config) -> bool:
    """Tell whether neither paths nor options narrow the run down."""
    everything = {config.rootpath, *(config.rootpath / path for path in config.getini("testpaths"))}
    paths = {(config.invocation_params.dir / path).resolve() for path in config.args}
    narrowed = ("keyword", "markexpr", "deselect", "ignore", "ignore_glob", "lf", "stepwise")
    return paths <= everything and not any(config.getoption(option, None) for option in narrowed)


# Engines


@pytest.fixture(scope="session")
def django_db_modify_db_settings() -> None:
    """Give the one process of the tests room for the connections of all threads that they start and cut off."""
    connection.settings_dict["OPTIONS"]["pool"]["max_size"] = 120


@pytest.fixture
def engine_a() -> Iterator[EngineServer]:
    with EngineServer("A") as engine:
        yield engine


@pytest.fixture
def engine_b() -> Iterator[EngineServer]:
    with EngineServer("B") as engine:
        yield engine


@pytest.fixture
def engines(engine_a: EngineServer, engine_b: EngineServer) -> Iterator[dict[str, EngineServer]]:
    """Both engines, running and configured."""
    with override_settings(ENGINES={"A": engine_a.settings(), "B": engine_b.settings()}):
        yield {"A": engine_a, "B": engine_b}


# Logs


class LogLines(list[dict[str, Any]]):
    """Every line that was logged, read back from what is printed."""

    def of(self, event: str) -> list[dict[str, Any]]:
        return [line for line in self if line.get("event") == event]


@pytest.fixture
def log_lines() -> Iterator[LogLines]:
    lines = LogLines()

    class Reader(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(json.loads(self.format(record)))

    reader, root = Reader(), logging.getLogger()
    reader.setFormatter(next(one.formatter for one in root.handlers if isinstance(one.formatter, ProcessorFormatter)))
    root.addHandler(reader)
    yield lines
    root.removeHandler(reader)


# The database


@pytest.fixture(autouse=True)
def _the_intake_of_one_test(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Give each test a spool of its own, and close the connections of its intake: they would keep the database from going."""
    with override_settings(SPOOL_DIR=tmp_path_factory.getbasetemp() / "spools" / str(next(_tests))):
        yield
    notifications.stop()
    keeping.keeper.stop()
    lines.close()


@pytest.fixture
def database_url(transactional_db: None) -> str:
    """The address of the test database, for processes of their own."""
    connection.ensure_connection()
    return current_url(connection.settings_dict)

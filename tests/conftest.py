"""What all tests share: engines on loopback, log lines as they are printed, and the table of proven requirements."""

import json
import logging
from collections import Counter
from collections.abc import Iterator
from itertools import count
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.test import TransactionTestCase, override_settings
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from pytest_django.plugin import DjangoDbBlocker
from structlog.stdlib import ProcessorFormatter

from config.database import current_url
from tests.emptying import quick_way
from tests.engine_server import EngineServer
from tests.requirements_table import KNOWN, table_lines, uncovered
from tests.waiting import eventually
from webhooks import keeping, lines, notifications

hypothesis_settings.register_profile(
    "house", max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
hypothesis_settings.load_profile("house")

_tests = count()

IS_WHOLE = pytest.StashKey[bool]()
LONGEST = ("acceptance", "model")  # their folders
# Properties of a test's report, which reach the process that prints: a number that it proves, a line to print at the end.
PROVES, TOLD = "requirement", "told"


# Requirements: which are proven by the tests that passed


def pytest_configure(config: pytest.Config) -> None:
    config.stash[IS_WHOLE] = not hasattr(config, "workerinput") and _asks_for_everything(config)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Have the reports carry the numbers: where several processes run the tests, nothing else reaches the one that counts.

    Such processes begin with the longest tests, so that none of them runs on alone at the end.
    """
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: item.path.parent.name not in LONGEST)
    for item in items:
        numbers = {str(number) for mark in item.iter_markers("requirement") for number in mark.args}
        if unknown := numbers - KNOWN:
            raise pytest.UsageError(f"{item.nodeid} names requirements that do not exist: {', '.join(sorted(unknown))}")
        item.user_properties.extend((PROVES, number) for number in sorted(numbers))


def pytest_deselected(items: list[pytest.Item]) -> None:
    if items:
        items[0].config.stash[IS_WHOLE] = False


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a run of everything that leaves a requirement unproven."""
    config = session.config
    terminal = config.pluginmanager.get_plugin("terminalreporter")
    is_cut_short = session.exitstatus not in {pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED}
    if terminal is None or is_cut_short or session.shouldstop or session.shouldfail or config.option.collectonly:
        config.stash[IS_WHOLE] = False
    elif config.stash[IS_WHOLE] and session.exitstatus == pytest.ExitCode.OK and uncovered(_proofs(terminal)):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print what tests tell and the table; pytest's own closing line follows it."""
    if told := sorted(str(line) for line in _properties(terminalreporter, TOLD)):
        terminalreporter.section("explored")
        for line in told:
            terminalreporter.write_line(line)
    if not config.stash[IS_WHOLE]:
        return
    proofs = _proofs(terminalreporter)
    terminalreporter.section("requirements and the tests that prove them")
    for line in table_lines(proofs):
        terminalreporter.write_line(line, red="NONE" in line)
    if missing := uncovered(proofs):
        terminalreporter.write_line(f"FAILED: no passed test proves {', '.join(missing)}", red=True)
        terminalreporter.stats["requirements without a test"] = [SimpleNamespace(number=number) for number in missing]


def _proofs(terminal: pytest.TerminalReporter) -> Counter[str]:
    """Count for each number the tests that passed, as the terminal shows them."""
    return Counter(str(number) for number in _properties(terminal, PROVES))


def _properties(terminal: pytest.TerminalReporter, wanted: str) -> list[object]:
    reports = terminal.stats.get("passed", [])
    return [value for report in reports for name, value in report.user_properties if name == wanted]


def _asks_for_everything(config: pytest.Config) -> bool:
    """Tell whether neither paths nor options narrow the run down."""
    everything = {config.rootpath, *(config.rootpath / path for path in config.getini("testpaths"))}
    paths = {(config.invocation_params.dir / path).resolve() for path in config.args}
    narrowed = ("keyword", "markexpr", "deselect", "ignore", "ignore_glob", "lf", "stepwise")
    return paths <= everything and not any(config.getoption(option, None) for option in narrowed)


# Engines


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


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings_parallel_suffix: None) -> None:
    """Give this process of the tests room for the connections of all threads that it starts and cuts off.

    What it no longer needs it gives back soon: several such processes may share the server.
    """
    connection.settings_dict["OPTIONS"]["pool"] |= {"max_size": 120, "max_idle": 1.0}


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """Have the one test database of this process, and a quick way to empty it."""
    with django_db_blocker.unblock():
        empty = quick_way(TransactionTestCase._fixture_teardown)  # type: ignore[attr-defined]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TransactionTestCase, "_fixture_teardown", empty)
        yield


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
    eventually(_is_connected)  # the test before may have cut all connections
    return current_url(connection.settings_dict)


def _is_connected() -> bool:
    try:
        connection.ensure_connection()
    except OperationalError:
        return False
    return True

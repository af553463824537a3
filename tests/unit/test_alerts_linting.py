"""The linter: what a message would be read as on charts that differ, what breaks there, and how to write it better."""

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhooks.alerts import SourceRules
from webhooks.alerts.linting import Lint, Outcome, lint
from webhooks.message_templates import INDICATOR_ALERT, STRATEGY_ALERT

NOW = datetime(2026, 3, 2, 14, 31, tzinfo=UTC)
ROOT = Path(__file__).parents[2]
STRICT = SourceRules()
LENIENT = SourceRules(default_timeframe="5", accept_missing_timestamp=True)


def linted(text: str, *, rules: SourceRules = STRICT) -> Lint:
    return lint(text, rules=rules, received_at=NOW)


def codes(found: Lint) -> list[str]:
    return [warning.code for warning in found.warnings]


@pytest.mark.parametrize("template", [STRATEGY_ALERT, INDICATOR_ALERT])
def test_our_own_templates_have_nothing_to_mend(template: str) -> None:
    found = linted(template)
    assert found.is_template
    assert found.is_accepted
    assert found.warnings == ()
    assert found.corrected is None


def test_a_strategy_is_tried_with_entries_exits_and_a_reversal_on_charts_that_differ() -> None:
    readings = linted(STRATEGY_ALERT).readings
    assert [reading.outcome for reading in readings] == [
        Outcome.SIGNAL, Outcome.EXIT, Outcome.SIGNAL, Outcome.SIGNAL, Outcome.EXIT, Outcome.SIGNAL,
    ]  # fmt: skip
    read = [{one.name: one.value for one in reading.fields} for reading in readings]
    assert [one["timeframe"] for one in read if "timeframe" in one] == ["15", "60", "1W", "1M"]
    assert [one["symbol"] for one in read if "symbol" in one] == ["AAPL", "MNQ1!", "BTCUSDT.P", "005930"]
    assert [one["direction"] for one in read] == ["long", "exit", "short", "short", "exit", "long"]


def test_every_field_says_where_it_was_read_from() -> None:
    (reading,) = linted('{"order": {"side": "buy"}, "ticker": "NASDAQ:AAPL"}', rules=LENIENT).readings
    assert {one.name: (one.value, one.path) for one in reading.fields} == {
        "symbol": ("AAPL", "ticker"),
        "exchange": ("NASDAQ", "ticker"),
        "direction": ("long", "order.side"),
        "timeframe": ("5", None),
        "timestamp": ("the time of receipt", None),
    }


@pytest.mark.parametrize(
    ("template", "code"),
    [
        ('{"ticker": "{{ticker}}", "action": "buy", "interval": {{interval}}, "time": "{{timenow}}"}', "unquoted_placeholder"),
        ('{"ticker": {{ticker}}, "action": "buy", "interval": "{{interval}}", "time": "{{timenow}}"}', "unquoted_placeholder"),
        ('{"ticker": "{{ticker}}", "action": "buy", "interval": "{{interval}}", "time": "{{timenow}}", "rsi": {{plot_0}}}',
         "unquoted_placeholder"),
        ('{"ticker": "{{ticker}}", "action": "buy", "interval": "{{interval}}", "time": "{{timenow}}", "rsi": {{plot("RSI")}}}',
         "unquoted_placeholder"),
        ('{"ticker": "{{ticker}}", "action": "{{strategy.order.action}}", "interval": "{{interval}}", "time": "{{timenow}}"}',
         "exit_read_as_entry"),
        ('{"ticker": "{{ticker}}", "action": "buy", "interval": "{{interval}}"}', "no_time"),
        ('{"ticker": "{{ticker}}", "action": "buy", "interval": "{{interval}}", "time": "{{time}}"}', "bar_time"),
        ('{"ticker": "{{ticker}}", "action": "buy", "time": "{{timenow}}"}', "no_timeframe"),
        ("buy {{ticker}}", "no_time"),
        ("buy {{ticker}}", "not_strict_json"),
        ("{'ticker': '{{ticker}}', 'action': 'buy', 'interval': '{{interval}}', 'time': '{{timenow}}',}", "not_strict_json"),
        ("{{strategy.order.action}} {{ticker}}", "exit_read_as_entry"),
        ("Bot: order {{strategy.order.action}} @ {{strategy.order.contracts}} filled on {{ticker}}. "
         "New strategy position is {{strategy.position_size}}", "no_timeframe"),
    ],
)  # fmt: skip
def test_what_breaks_elsewhere_is_said_and_mended(template: str, code: str) -> None:
    found = linted(template, rules=LENIENT)
    assert code in codes(found)
    assert found.corrected is not None
    again = linted(found.corrected)
    assert again.is_accepted
    assert again.warnings == ()
    assert again.corrected is None


@pytest.mark.parametrize("code", ["secret_in_message", "free_text", "unknown_placeholder"])
def test_what_we_cannot_mend_is_said(code: str) -> None:
    template = STRATEGY_ALERT.replace(
        "{", '{"passphrase": "hunter2", "comment": "{{strategy.order.comment}}", "x": "{{strategy.title}}", ', 1
    )
    found = linted(template)
    assert code in codes(found)
    assert "hunter2" not in "".join(reading.body for reading in found.readings)


def test_a_template_that_lacks_a_field_is_refused_with_one_that_has_it() -> None:
    found = linted('{"action": "{{strategy.order.action}}"}')
    assert not found.is_accepted
    assert {problem.field for reading in found.readings for problem in reading.problems} == {
        "symbol", "timeframe", "timestamp",
    }  # fmt: skip
    assert json.loads(found.corrected or "") == {
        "action": "{{strategy.order.action}}",
        "ticker": "{{exchange}}:{{ticker}}",
        "interval": "{{interval}}",
        "time": "{{timenow}}",
        "market_position": "{{strategy.market_position}}",
        "prev_market_position": "{{strategy.prev_market_position}}",
    }


def test_a_body_is_read_as_it_is_and_written_as_json() -> None:
    found = linted("{'ticker': SPY, 'action': buy, 'interval': 1D, 'time': 1772461800}")
    assert not found.is_template
    assert [reading.outcome for reading in found.readings] == [Outcome.SIGNAL]
    assert codes(found) == ["not_strict_json"]
    assert json.loads(found.corrected or "") == {"ticker": "SPY", "action": "buy", "interval": "1D", "time": 1772461800}


def test_a_contradiction_is_said() -> None:
    assert "contradiction" in codes(linted('{"ticker": "SPY", "action": "buy", "direction": "short"}', rules=LENIENT))


@given(
    st.text(max_size=60)
    | st.lists(
        st.sampled_from(['{"a":', "{{ticker}}", "{{plot_0}}", "{{", "}}", '"', "action=", "buy", ",", "\n", "{{strategy.order.action}}"]),
        max_size=12,
    ).map("".join)
)  # fmt: skip
def test_no_text_whatever_makes_it_fail(text: str) -> None:
    found = linted(text)
    assert found.readings
    assert found.is_accepted == all(reading.outcome is not Outcome.REFUSED for reading in found.readings)


def run(text: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", "lint_alert", "-", *arguments],
        input=text, capture_output=True, text=True, cwd=ROOT, check=False,
    )  # fmt: skip


def test_the_command_says_it_in_words_and_exits_with_1_when_it_would_be_refused() -> None:
    refused = run('{"ticker": "{{ticker}}", "action": "maybe", "interval": "{{interval}}", "time": "{{timenow}}"}')
    assert refused.returncode == 1
    assert "neither long nor short" in refused.stdout
    assert refused.stderr == "CommandError: It would be refused.\n"
    accepted = run('{"ticker": "{{ticker}}", "action": "buy", "interval": {{interval}}, "time": "{{timenow}}"}')
    assert accepted.returncode == 0
    assert '"interval": "{{interval}}"' in accepted.stdout


def test_the_command_says_it_in_json() -> None:
    found = json.loads(run("buy SPY", "--json", "--default-timeframe", "1h", "--accept-missing-timestamp").stdout)
    assert found["is_accepted"] is True
    assert {one["name"]: one["value"] for one in found["readings"][0]["fields"]} == {
        "symbol": "SPY",
        "direction": "long",
        "timeframe": "60",
        "timestamp": "the time of receipt",
    }

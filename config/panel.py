"""The panel's keys: what operators switch while the service runs, with the default and the explanation of each.

The defaults are the safe ones: with real money AUTO executes nothing, and an old signal is never traded.
What each key accepts stands in ``orchestrator/domain/operator_settings.py``.
"""

from collections import OrderedDict
from typing import Any

EXECUTION_MODES = ("AUTO", "SHADOW_ONLY", "ENGINE_A_PRIMARY", "ENGINE_B_PRIMARY", "SPLIT_CAPITAL")

# key: (default, help text, the field of CONSTANCE_FIELDS); ordered, else constance sorts them by name
CONSTANCE_KEYS: "OrderedDict[str, tuple[Any, str, str]]" = OrderedDict(
    EXECUTION_MODE=(
        "AUTO",
        "Who may place real trades for the signals that are processed from now on.\n"
        "AUTO: engine A on paper; nobody with real money (APP_MODE=LIVE) until you choose a mode.\n"
        "SHADOW_ONLY: nobody; both engines are followed as shadow trades.\n"
        "ENGINE_A_PRIMARY or ENGINE_B_PRIMARY: that engine trades, the other is its shadow.\n"
        "SPLIT_CAPITAL: each signal is traded by one of them, shared out by SPLIT_PERCENTAGE.\n"
        "When engine A or the engine that would trade is unavailable, nobody trades, whatever is chosen here. "
        "The workers use a change with their next batch; earlier experiments keep their policy.",
        "execution_mode",
    ),
    SPLIT_PERCENTAGE=(
        50,
        "Percent of the signals that are assigned to engine A, a whole number from 0 (all to B) to 100 (all to A); "
        "the others go to engine B. Under SPLIT_CAPITAL the assigned engine trades; in every mode the assignment is "
        "recorded. It counts for signals that are processed after the save.",
        "split_percentage",
    ),
    TRADING_HALTED=(
        False,
        "The emergency stop. While it is on, new signals are followed as shadow trades only, and permits that were "
        "granted before but not sent yet are not sent. It does not close trades that are already open, and a request "
        "that has left cannot be called back.",
        "trading_halted",
    ),
    MAX_SIGNAL_AGE_SECONDS=(
        300,
        "A signal that was received more than this many seconds before its decision is not traded, only followed as "
        "shadow trades; for example after the workers were stopped for a while. A whole number from 1 to 86400 "
        "(one day), for signals that are processed after the save.",
        "max_signal_age_seconds",
    ),
)

CONSTANCE_FIELDS: dict[str, list[Any]] = {
    "execution_mode": [
        "orchestrator.panel.fields.ExecutionModeField",
        {"widget": "unfold.widgets.UnfoldAdminSelectWidget", "choices": [(mode, mode) for mode in EXECUTION_MODES]},
    ],
    "split_percentage": [
        "orchestrator.panel.fields.SplitPercentageField",
        {"widget": "unfold.widgets.UnfoldAdminIntegerFieldWidget"},
    ],
    "trading_halted": [
        "orchestrator.panel.fields.TradingHaltedField",
        {"widget": "unfold.widgets.UnfoldBooleanSwitchWidget", "required": False},
    ],
    "max_signal_age_seconds": [
        "orchestrator.panel.fields.MaxSignalAgeField",
        {"widget": "unfold.widgets.UnfoldAdminIntegerFieldWidget"},
    ],
}

# a tuple of pairs keeps its order
CONSTANCE_GROUPS = (
    ("Who trades", ("EXECUTION_MODE", "SPLIT_PERCENTAGE")),
    ("Safety", ("TRADING_HALTED", "MAX_SIGNAL_AGE_SECONDS")),
)

"""How each commit and each request is reached: what leads there, and in which process."""

from collections.abc import Callable
from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Now

from config.fault_points import EXCHANGES, Action, Commit
from orchestrator.models import EngineCall, ExecutionPermit, Incident
from orchestrator.revisions import current_revision, record_revision
from orchestrator.settlement import AlreadySettled, settle
from outcomes.models import ChangedDay, ChangedPair, ExitSync
from tests.fault_matrix.group import Cell
from webhooks.models import RejectedAlert, Signal

SHORT_WINDOW_SECONDS = 1.5
Way = Callable[[Cell], None]


def plainly(manner: str = "") -> Way:
    """An alert, and the worker that takes it up."""

    def go(cell: Cell) -> None:
        cell.alert(manner)
        cell.work()

    return go


def executed(cell: Cell, manner: str = "") -> None:
    cell.alert(manner)
    cell.heal()
    assert cell.trade is not None, f"{cell}: it was not executed before"


def _store_signal(cell: Cell) -> None:
    cell.send(cell.alert_request)


def _store_rejection(cell: Cell) -> None:
    """What is no alert is answered 400 and kept; what a sender then says better is an alert like any other."""
    cell.send(cell.senseless_request, answers=range(400, 401))
    assert RejectedAlert.objects.filter(body__contains=f'"{cell.symbol}"').exists(), f"{cell}: it was not kept"
    cell.alert()


def _drain_spool(cell: Cell) -> None:
    with cell.group.without_web():  # it would drain as well
        cell.alert_in_an_outage()
        cell.work(until=lambda: cell.signal is not None)


def _release_signal(cell: Cell) -> None:
    cell.refuses("market_contexts", is_on=True)
    cell.alert()
    cell.work(until=lambda: _has_failed(cell))
    cell.refuses("market_contexts", is_on=False)


def _has_failed(cell: Cell) -> bool:
    return cell.signal is not None and cell.signal.last_error != ""


def _park_signal(cell: Cell) -> None:
    cell.refuses("market_contexts", is_on=True)
    cell.alert()
    Signal.objects.filter(symbol=cell.symbol).update(attempts=settings.MAX_SIGNAL_ATTEMPTS)
    cell.work()


def _adopt_experiment(cell: Cell) -> None:
    executed(cell)
    Signal.objects.filter(symbol=cell.symbol).update(processed=False, processed_at=None, experiment_id=None)
    cell.work()


def _ask_about_execution(cell: Cell) -> None:
    """Where it can be asked it is, and else sent again."""
    cell.alert("executes and fails")
    cell.work()


def _return_permit(cell: Cell) -> None:
    _hold_the_answer(cell)
    cell.work(until=lambda: _is_back(cell), is_down=True)


def _hold_the_answer(cell: Cell) -> None:
    cell.alert("holds its answer")
    cell.heal(lambda: _is_only_waiting(cell))
    cell.report_recommendation()


def _tell_shadow_trade(cell: Cell) -> None:
    """Engine B is told of its shadow trade while engine A still thinks, so that no order is on its way meanwhile."""
    cell.alert("holds its answer")
    cell.work(until=lambda: _is_only_waiting(cell))
    cell.heal(lambda: _is_only_waiting(cell))
    cell.report_recommendation()


def _is_only_waiting(cell: Cell) -> bool:
    """Tell whether nothing happens any more but that engine A is waited for."""
    told = EngineCall.objects.filter(
        experiment__signal__symbol=cell.symbol, kind="SHADOW_TRADE", engine="B", state="ANSWERED"
    )
    return told.exists() and _calls(cell, "ACCEPTED").filter(engine="A").exists()


def _calls(cell: Cell, *states: str) -> QuerySet[EngineCall]:
    return EngineCall.objects.filter(experiment__signal__symbol=cell.symbol, state__in=states)


def _is_back(cell: Cell) -> bool:
    permit = cell.permit  # the healthy worker may have sent it again by now
    return permit is not None and permit.state in ("GRANTED", "EXECUTED") and permit.attempts > 0


def _void_permit(cell: Cell) -> None:
    _hold_the_answer(cell)
    # a short window, and nobody is there: what could not be sent has not left
    cell.work(
        until=lambda: _is_back(cell), point="policy.first:after_commit", is_down=True, window=SHORT_WINDOW_SECONDS
    )
    cell.wait_for_not_after()
    cell.work()


def _doubt_silent(cell: Cell) -> None:
    cell.alert()
    cell.work(point="execute:before_send", action=Action.KILL)
    cell.work(leases=True)


def _accept(cell: Cell) -> None:
    """The fill is reported only when the acceptance was noted, or was lost."""
    cell.alert("reports when told")
    cell.work(until=lambda: _is_accepted(cell))
    if cell.configuration.later:
        cell.release()


def _is_accepted(cell: Cell) -> bool:
    permit = cell.permit
    return permit is not None and (permit.accepted_at is not None or permit.state not in ("GRANTED", "ARMED"))


def _accept_late(cell: Cell) -> None:
    cell.alert("accepts late")
    passed: list[bool] = []

    def doubt_then_release() -> None:
        permit = cell.permit
        if permit is None or passed or not cell.group.executions(permit.pk):
            return
        ExecutionPermit.objects.filter(pk=permit.pk, state="ARMED").update(lease_expires_at=Now())
        if permit.state != "ARMED":
            passed.append(True)
            cell.release()

    cell.work(hurries=False, meanwhile=doubt_then_release)


def _refuse(cell: Cell) -> None:
    """A refusal that was lost: an engine that can be asked says it again, but only after not_after it is not sent again."""
    cell.alert("refuses the order")
    cell.work(window=SHORT_WINDOW_SECONDS)
    cell.heal()
    if cell.permit is not None and cell.permit.state == "UNKNOWN":
        cell.wait_for_not_after()


def _not_found(cell: Cell) -> None:
    _lose_the_order(cell)
    cell.work()


def _lose_the_order(cell: Cell) -> None:
    """An order that got lost, doubted, and past its not_after."""
    cell.alert("loses the order")
    cell.heal(
        lambda: cell.permit is not None and cell.permit.state == "UNKNOWN", window=SHORT_WINDOW_SECONDS, leases=False
    )
    cell.wait_for_not_after()


def _store_event(cell: Cell) -> None:
    executed(cell)
    cell.send(cell.exit_request)


def _give_up_event(cell: Cell) -> None:
    executed(cell)
    cell.refuses("real_trade_outcomes", is_on=True)
    cell.report_exit()
    cell.work()
    cell.heal()
    cell.refuses("real_trade_outcomes", is_on=False)
    assert cell.incidents("CONFLICTING_EVENT") == 1, f"{cell}: nobody is told of the exit that could not be applied"


def _ask_for_exit(manner: str) -> Way:
    def is_over(cell: Cell) -> bool:
        if not cell.configuration.can("queryable"):
            return cell.has_worked()
        return _is_closed(cell) if manner == "has exited" else cell.incidents("CONFLICTING_EVENT") == 1

    def go(cell: Cell) -> None:
        executed(cell, manner)
        _be_due(cell)
        cell.work(until=lambda: is_over(cell), meanwhile=lambda: _be_due(cell))
        cell.heal(lambda: is_over(cell), meanwhile=lambda: _be_due(cell))

    return go


def _be_due(cell: Cell) -> None:
    """Let the time pass after which an open trade is asked about again, unless somebody has just taken it up."""
    with transaction.atomic():
        mine = ExecutionPermit.objects.select_for_update(skip_locked=True)
        for permit in mine.filter(experiment__signal__symbol=cell.symbol):
            ExecutionPermit.objects.filter(pk=permit.pk).update(next_attempt_at=Now() - timedelta(days=1))


def _is_closed(cell: Cell) -> bool:
    trade = cell.trade
    return trade is not None and trade.status == "CLOSED" and cell.is_at_rest()


def _apply_exit(cell: Cell) -> None:
    executed(cell)
    cell.report_exit()
    cell.work()
    cell.heal(lambda: _is_closed(cell))


def _count_sums(cell: Cell) -> None:
    executed(cell)
    cell.report_exit()
    cell.work(until=lambda: _is_closed(cell) and _is_counted())
    cell.heal(lambda: _is_closed(cell) and _is_counted())


def _is_counted() -> bool:
    return not ChangedDay.objects.exists() and not ChangedPair.objects.exists()


def _price_followers(cell: Cell) -> None:
    executed(cell, "another contract")
    cell.report_exit()
    cell.work(until=lambda: _has_left(cell))
    cell.heal(lambda: _has_left(cell))


def _has_left(cell: Cell) -> bool:
    return ExitSync.objects.filter(experiment__signal__symbol=cell.symbol, state="DONE").exists() and cell.is_at_rest()


def _settle_incident(cell: Cell) -> None:
    _lose_the_order(cell)
    permit = cell.permit
    assert permit is not None
    [incident] = Incident.objects.unresolved().filter(permit=permit)

    def say() -> None:
        settle(incident.pk, "not-executed", given={"reason": "the broker's list does not have it"}, by="operator")

    def say_again() -> None:
        try:
            say()
        except AlreadySettled:
            return

    cell.operate(say, say_again)


def _open_incident(cell: Cell) -> None:
    """The shadow trade of engine B has expired when it is recorded; engine A answers after that was reported."""
    cell.alert("expired")
    cell.work(until=lambda: _is_reported(cell))
    cell.heal(lambda: _is_reported(cell) and _calls(cell, "ACCEPTED").filter(engine="A").exists())
    cell.report_recommendation()


def _is_reported(cell: Cell) -> bool:
    return cell.incidents("EXPIRED_OPEN_TRADE") == 1


def _first_revision(cell: Cell) -> None:
    def start_in_another_mode() -> None:
        settings.APP_MODE = "LIVE"
        current_revision()

    cell.operate(start_in_another_mode, lambda: current_revision() and None)
    cell.alert()


def _save_revision(cell: Cell) -> None:
    def halt() -> None:
        record_revision({"TRADING_HALTED": True}, changed_by="operator")

    cell.operate(halt, halt)
    cell.alert()
    cell.heal()
    record_revision({"TRADING_HALTED": False}, changed_by="operator")


WAYS: dict[str, Way] = {
    **{commit.label: plainly() for commit in Commit},
    **{exchange: plainly() for exchange in EXCHANGES},
    "signal.store": _store_signal,
    "rejection.store": _store_rejection,
    "spool.drain": _drain_spool,
    "signal.release": _release_signal,
    "signal.park": _park_signal,
    "experiment.adopt": _adopt_experiment,
    "call.put_back": plainly("fails once"),
    "call.end": _tell_shadow_trade,
    "call.fail": plainly("refuses a question"),
    "recommendation.record": plainly("wants to be asked"),
    "permit.claim": _ask_about_execution,
    "permit.put_back": plainly("loses the order twice"),
    "permit.return": _return_permit,
    "permit.fill": plainly("wants to be asked"),
    "permit.not_executed": _ask_for_exit("denies its trade"),
    "permit.refuse": _refuse,
    "permit.not_found": _not_found,
    "permit.accept": _accept,
    "permit.accept_late": _accept_late,
    "permit.doubt": plainly("executes and fails"),
    "permit.void": _void_permit,
    "permit.doubt_silent": _doubt_silent,
    "event.store": _store_event,
    "event.give_up": _give_up_event,
    "exit.claim": _ask_for_exit("has exited"),
    "exit.apply": _apply_exit,
    "exit.followers": _price_followers,
    "sums.count": _count_sums,
    "incident.settle": _settle_incident,
    "incident.open": _open_incident,
    "policy.first": _first_revision,
    "policy.save": _save_revision,
    "recommendation": plainly("wants to be asked"),
    "execution": _ask_for_exit("has exited"),
    "open_shadow_trade": _tell_shadow_trade,
    "close_shadow_trade": _price_followers,
}

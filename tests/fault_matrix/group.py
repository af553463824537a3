"""One column at work: a database, two engines with ledgers, a web process and a healthy worker, each a process.

A cell is one alert, or what follows from it, led through one point in a process that is killed, stopped or cut off
there; the healthy worker, or the sender that tries again, makes of it what it can, and the ledger is asked what happened.
"""

import json
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from django.conf import settings
from django.db import connection

from config.environment import EngineSettings
from config.fault_points import Action, Fault
from orchestrator.models import (
    EngineCall,
    EngineEvent,
    ExecutionPermit,
    ExecutionPolicy,
    Incident,
    RealTrade,
    WorkerHeartbeat,
)
from tests.engine_server import SECRETS, TERMS
from tests.fault_matrix.configurations import Configuration
from tests.fault_matrix.engine import MatrixEngine, exit_now, serve, signed_event
from tests.fault_matrix.processes import (
    HIT,
    NOT_HIT,
    Child,
    address,
    listen,
    make_worker,
    serve_web,
    was_hit,
    work_until_told,
)
from webhooks.models import Signal
from webhooks.sources import create_source, known_sources, read_all_sources

TOKEN = "token-of-the-matrix"
ENGINE_TIMEOUT_SECONDS = 10.0
# A worker sends an order within half a lease of arming it; one that shall be stopped for longer gets a short lease.
LEASE_SECONDS, SHORT_LEASE_SECONDS = 30.0, 1.2
STOP_SECONDS = 60.0  # ended early, when the others have had their turn
OTHERS_TURN_SECONDS = LOST_LEASE_SECONDS = 0.8  # more than half of SHORT_LEASE_SECONDS
PATIENCE_SECONDS = 40.0
SENDING_SECONDS = 0.5
PAUSE_SECONDS = 0.03


class OutOfTime(Exception):
    """The machine was too slow for the way to the point, or the way is wrong: that is known when it is tried again."""


class GroupLost(Exception):
    """A process that all cells share is gone or hangs."""


class Group:
    """The processes of one column; used as a context, at whose end all of them are gone."""

    def __init__(self, configuration: Configuration, folder: Path) -> None:
        self.configuration = configuration
        self.ledger = folder / f"ledger of A, {configuration.name}.jsonl"
        self._cells = 0
        self._children: list[Child] = []
        web, ends = listen(), {name: listen() for name in "AB"}
        self.web_url = address(web)
        self.engine_urls = {name: address(end) for name, end in ends.items()}
        self._set_up(folder)
        for name, end in ends.items():
            self._start_engine(name, end, folder / f"ledger of {name}, {configuration.name}.jsonl")
        self._web = self._start(lambda: serve_web(web))
        self._healer, theirs = socket.socketpair()
        self._start(lambda: _heal_when_told(theirs))
        theirs.close()
        self._healer.settimeout(PATIENCE_SECONDS)
        self._answers = self._healer.makefile("rb")
        for end in (web, *ends.values()):
            end.close()
        create_source("matrix", TOKEN)
        with connection.cursor() as cursor:  # as every web process does now and then
            known_sources.replace(read_all_sources(cursor), folder=settings.SPOOL_DIR)
        _be_able_to_refuse()

    def close(self) -> None:
        for child in self._children:
            child.kill()

    def next_cell(self, point: str, action: Action) -> "Cell":
        self._cells += 1
        return Cell(self, f"M{self._cells}", point, action)

    def executions(self, permit_id: object) -> int:
        """Return how often engine A has executed a permit, by its own ledger."""
        lines = self.ledger.read_text().splitlines()
        return sum(json.loads(line)["permit_id"] == str(permit_id) for line in lines)

    def heal(self, *, window: float | None = None) -> None:
        """Let the healthy worker do everything that is due.

        :param window: seconds from a permit's grant to its not_after, when it shall be short.
        """
        self.begin_to_heal(window=window)
        self.finish_to_heal()

    def begin_to_heal(self, *, window: float | None = None) -> None:
        self._healer.sendall(json.dumps({"window": window}).encode() + b"\n")

    def finish_to_heal(self) -> None:
        """Wait for the healthy worker.

        :raises GroupLost: when it does not come back; nothing that follows would mean anything.
        """
        try:
            failed = json.loads(self._answers.readline())
        except (OSError, ValueError) as error:
            raise GroupLost(f"the healthy worker did not come back: {error}") from error
        assert failed == [], f"steps of the healthy worker failed: {failed}"

    @contextmanager
    def without_web(self) -> Iterator[None]:
        """Let the healthy web process stand still."""
        os.kill(self._web.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self._web.pid, signal.SIGCONT)

    def is_idle(self) -> bool:
        """Tell whether no event of an engine is on its way."""
        return all(_status(Request(f"{url}/idle")) == 200 for url in self.engine_urls.values())  # noqa: S310 - loopback

    def _set_up(self, folder: Path) -> None:
        settings.SPOOL_DIR = folder / f"spool, {self.configuration.name}"
        settings.LEASE_SECONDS = LEASE_SECONDS
        settings.CLOCK_MARGIN_SECONDS = settings.QUIET_PERIOD_SECONDS = 0.2
        settings.EXIT_POLL_SECONDS = 30  # and a thirtieth between looks
        settings.ENGINES = {name: self.engine_settings(name) for name in "AB"}

    def engine_settings(self, name: str, *, is_down: bool = False) -> EngineSettings:
        return EngineSettings(
            name=name,
            url="http://127.0.0.1:1" if is_down else self.engine_urls[name],  # nobody listens there
            secrets=(SECRETS[name],),
            timeout_seconds=ENGINE_TIMEOUT_SECONDS,
            concurrency=16,
            **{can: self.configuration.can(can) for can in ("idempotent", "queryable", "honours_not_after")},
        )

    def _start(self, work: Callable[[], int]) -> Child:
        self._children.append(Child(work))
        return self._children[-1]

    def _start_engine(self, name: str, end: socket.socket, ledger: Path) -> None:
        def be_an_engine() -> int:
            serve(MatrixEngine(name, self.configuration, ledger=ledger, orchestrator=self.web_url), end)
            return 0

        self._start(be_an_engine)


class Cell:
    """One alert and the point at which a process of its way is killed, stopped or cut off.

    ``symbol`` names the alert's row; rows that are looked up through it are this cell's own.
    """

    def __init__(self, group: Group, symbol: str, point: str, action: Action) -> None:
        self.group, self.symbol, self.point, self.action = group, symbol, point, action
        self.configuration = group.configuration
        self.hit = False
        self.manner = ""
        self._exit: dict[str, Any] = {}
        self._worker = 0
        self._struck: list[Child] = []

    # what is known of it

    @property
    def signal(self) -> Signal | None:
        return Signal.objects.filter(symbol=self.symbol).first()

    @property
    def permit(self) -> ExecutionPermit | None:
        return ExecutionPermit.objects.filter(experiment__signal__symbol=self.symbol).first()

    @property
    def trade(self) -> RealTrade | None:
        return RealTrade.objects.filter(experiment__signal__symbol=self.symbol).first()

    def has_worked(self) -> bool:
        """Tell whether the last worker has looked around once, for whatever may be due."""
        return WorkerHeartbeat.objects.filter(name__endswith=f":{self._worker}").exists()

    def incidents(self, kind: str) -> int:
        return Incident.objects.unresolved().filter(experiment__signal__symbol=self.symbol, kind=kind).count()

    def is_at_rest(self) -> bool:
        """Tell whether nothing more is going to happen to it by itself."""
        alert = self.signal
        if alert is None or not (alert.processed or alert.parked_at):
            return False
        mine = {"experiment__signal__symbol": self.symbol}
        if EngineCall.objects.filter(**mine, state__in=["PENDING", "SENT", "ACCEPTED"]).exists():
            return False
        if not self.group.is_idle() or EngineEvent.objects.filter(**mine, verdict=None).exists():
            return False
        permit = self.permit
        if permit is None:
            return True
        if permit.state == "UNKNOWN":
            return self._is_given_up(permit)
        return permit.state not in ("GRANTED", "ARMED")

    def _is_given_up(self, permit: ExecutionPermit) -> bool:
        """Tell whether a doubted order is no longer sent again, and its engine, if it can be, has been asked."""
        if self.configuration.can("idempotent") and permit.not_after > datetime.now(UTC):
            return False
        # each arming counts in both, the doubt and each question in the fence alone
        was_asked = permit.fence > permit.attempts + 1 and not permit.lease
        return was_asked or not self.configuration.can("queryable")

    # what is done with it

    def alert(self, manner: str = "") -> None:
        """Send the alert to the healthy web process."""
        self.manner = manner
        assert _status(self.alert_request(self.group.web_url)) == 200

    def alert_request(self, url: str) -> Request:
        said = {
            "ticker": self.symbol,
            "action": "buy",
            "interval": "5",
            "close": 589.12,
            "time": "2026-03-02T14:30:00Z",
            "manner": self.manner,
        }
        headers = {"Content-Type": "application/json"}
        address_of = f"{url}/webhooks/tradingview/{TOKEN}/"
        return Request(address_of, data=json.dumps(said).encode(), headers=headers)  # noqa: S310 - loopback

    def alert_in_an_outage(self) -> None:
        """Send the alert to a web process that is cut off from the database: it waits on the disk then."""
        end = listen()
        cut_off = Child(lambda: serve_web(end, without_database=True))
        assert _status(self.alert_request(address(end))) == 200
        end.close()
        cut_off.kill()
        assert self.signal is None

    def senseless_request(self, url: str) -> Request:
        request = self.alert_request(url)
        request.data = json.dumps({"ticker": self.symbol, "action": "hold"}).encode()
        return request

    def exit_request(self, url: str) -> Request:
        trade = self.trade
        assert trade is not None
        self._exit = self._exit or exit_now()  # the same however often it is sent
        data = {**self._exit, "experiment_id": str(trade.experiment_id), "trade": {"external_id": trade.external_id}}
        return signed_event("A", f"{url}/api/v1/engines/A/events/", "trade.exited", data)

    def report_exit(self) -> None:
        assert _status(self.exit_request(self.group.web_url)) == 202

    def release(self) -> None:
        """Let go what engine A holds back until it is told."""
        permit = self.permit
        assert permit is not None
        url = f"{self.group.engine_urls['A']}/release/{permit.experiment_id}"
        assert _status(Request(url, data=b"")) == 200  # noqa: S310 - loopback

    def report_recommendation(self) -> None:
        """Have the answer come that engine A has held back."""
        call = EngineCall.objects.get(experiment__signal__symbol=self.symbol, engine="A", kind="RECOMMENDATION")
        data = {
            "experiment_id": str(call.experiment_id),
            "input_hash": call.input_hash,
            "recommendation": dict(TERMS),
            "reason": "the trend is up",
        }
        url = f"{self.group.web_url}/api/v1/engines/A/events/"
        assert _status(signed_event("A", url, "recommendation.completed", data)) == 202

    def heal(
        self,
        until: Callable[[], object] | None = None,
        *,
        window: float | None = None,
        leases: bool = True,
        meanwhile: Callable[[], None] = lambda: None,
    ) -> None:
        """Let the healthy worker work, and time pass for it, until it is so, or until nothing more happens."""

        def once_more() -> None:
            meanwhile()
            let_time_pass(self.symbol, leases=leases)
            self.group.heal(window=window)

        _eventually(until or self.is_at_rest, once_more, self)

    def work(
        self,
        until: Callable[[], object] | None = None,
        *,
        point: str = "",
        action: Action | None = None,
        is_down: bool = False,
        window: float | None = None,
        leases: bool = False,
        hurries: bool = True,
        meanwhile: Callable[[], None] = lambda: None,
    ) -> None:
        """Start a worker that is killed, stopped or cut off at the point, and see it through that.

        :param until: when to end it, if it still lives.
        :param is_down: whether engine A cannot be reached by this worker.
        :param hurries: whether its waits are over at once; ``leases``: also what somebody holds.
        """
        point, action = point or self.point, action or self.action

        def be_a_worker() -> int:
            settings.ENGINES = {"A": self.group.engine_settings("A", is_down=is_down), "B": settings.ENGINES["B"]}
            if window is not None:
                settings.EXECUTION_WINDOW_SECONDS = window
            if action is Action.STOP:
                settings.LEASE_SECONDS = SHORT_LEASE_SECONDS
            return work_until_told(point)

        child = self._start(be_a_worker, point, action)
        self._worker = child.pid
        is_over, began = until or self.is_at_rest, time.monotonic()
        give_up, lease_ends = began + PATIENCE_SECONDS, began + LOST_LEASE_SECONDS
        while child.look() is None and not is_over():
            if child.is_stopped():
                self._others_turn(child)
            meanwhile()
            if hurries:
                # what a worker that was cut off does not know that it holds, it waits for like everybody else
                is_lost = time.monotonic() > lease_ends
                let_time_pass(self.symbol, leases=leases or is_lost)
                lease_ends += LOST_LEASE_SECONDS * is_lost
            self._go_on(give_up)
            time.sleep(PAUSE_SECONDS)
        if child.is_stopped():
            self._others_turn(child)
        child.ask_to_end()
        while child.look() is None and time.monotonic() < give_up:  # it may be on its way to a stop
            if child.is_stopped():
                self._others_turn(child)
            time.sleep(PAUSE_SECONDS)
        self._note(child, action)

    def _go_on(self, give_up: float) -> None:
        if time.monotonic() > give_up:
            raise OutOfTime(f"{self}: the worker neither hit the point nor came to an end")

    def send(self, request_to: Callable[[str], Request], *, answers: range = range(200, 300)) -> None:
        """Send a request to a web process that is killed, stopped or cut off at the point, and again until it is taken."""
        end = listen()
        child = self._start(lambda: serve_web(end, self.point), self.point, self.action)
        faulty = address(end)
        end.close()
        _status(request_to(faulty), seconds=PATIENCE_SECONDS if self.action is not Action.STOP else SENDING_SECONDS)
        if self.action is Action.STOP:
            _eventually(child.is_stopped, lambda: None, self)
            self._others_turn(child, lambda: _status(request_to(self.group.web_url), seconds=SENDING_SECONDS))
        _eventually(lambda: _status(request_to(self.group.web_url)) in answers, lambda: None, self)
        child.ask_to_end()
        child.wait()
        self._note(child, self.action)

    def operate(self, act: Callable[[], object], again: Callable[[], object]) -> None:
        """Have an operator's process do something; when that is killed or cut off, do it again in another."""

        def be_an_operator() -> int:
            try:
                act()
            finally:
                code = was_hit(self.point)
            return code

        child = self._start(be_an_operator, self.point, self.action)
        give_up = time.monotonic() + PATIENCE_SECONDS
        while child.look() is None and time.monotonic() < give_up:
            if child.is_stopped():
                self._others_turn(child)
            time.sleep(PAUSE_SECONDS)
        self.hit = child.wait() != NOT_HIT
        assert child.ended != NOT_HIT, f"{self}: the operator did not pass the point"
        other = Child(lambda: 0 if again() is not False else 1)
        assert other.wait() == 0, f"{self}: it could not be done again"

    def refuses(self, table: str, *, is_on: bool) -> None:
        """Let the database refuse this cell's row of a table, or take it again."""
        with connection.cursor() as cursor:
            if is_on:
                cursor.execute("INSERT INTO refused_rows VALUES (%s, %s)", [table, self.symbol])
            else:
                cursor.execute("DELETE FROM refused_rows WHERE symbol = %s", [self.symbol])

    def wait_for_not_after(self) -> None:
        permit = self.permit
        assert permit is not None
        until = permit.not_after + timedelta(seconds=0.3)
        time.sleep(max(0.0, (until - datetime.now(UTC)).total_seconds()))

    # what became of it

    def outcome(self) -> str:
        """Return what became of it, after asking the ledger, in a word of ``table.WORDS``.

        :raises AssertionError: when that is nothing that may become of an alert.
        """
        alert, permit = self.signal, self.permit
        assert alert is not None, f"{self}: the alert is lost"
        if alert.parked_at:
            assert Incident.objects.unresolved().filter(kind="POISON_SIGNAL", subject=str(alert.pk)).exists()
            return "P"
        policy = ExecutionPolicy.objects.get(experiment__signal=alert)
        if permit is None:
            assert policy.executed_engine is None, f"{self}: its engine never got a permit"
            return "S"
        executed = self.group.executions(permit.pk)
        trades = RealTrade.objects.filter(experiment__signal=alert).count()
        assert executed <= 1, f"{self}: executed {executed} times"
        assert trades == (permit.state == "EXECUTED"), f"{self}: {permit.state} with {trades} trades"
        assert self.incidents("UNKNOWN_EXECUTION") == (permit.state == "UNKNOWN"), f"{self}: the incident is wrong"
        if permit.state == "EXECUTED":
            assert executed == 1, f"{self}: a phantom"
            return "E"
        if permit.state == "UNKNOWN":
            return f"U{executed}"
        assert permit.state in ("NOT_EXECUTED", "VOID"), f"{self}: stuck as {permit.state}"
        assert executed == 0, f"{self}: closed as {permit.state}, but it was executed"
        return str(permit.state)[0]

    def leave(self) -> None:
        """Let what stays unknown, and the open trade, rest, so that no later cell's worker comes upon them."""
        for child in self._struck:
            child.kill()
        ExecutionPermit.objects.filter(experiment__signal__symbol=self.symbol).update(
            next_attempt_at=datetime.now(UTC) + timedelta(days=1)
        )

    def __str__(self) -> str:
        return f"{self.point} {self.action.value} ({self.configuration.name}, {self.symbol})"

    def _start(self, work: Callable[[], int], point: str, action: Action) -> Child:
        child = Child(work, faults_armed={point: Fault(action, seconds=STOP_SECONDS)})
        self._struck.append(child)
        return child

    def _others_turn(self, stopped: Child, act: Callable[[], object] | None = None) -> None:
        """A process is stopped beyond its lease: the others do what they can, then it wakes and goes on as if nothing was."""
        self.hit = True
        wakes_at = time.monotonic() + OTHERS_TURN_SECONDS
        let_time_pass(self.symbol, leases=True)
        if act is None:
            self.group.begin_to_heal()
        else:
            act()
        time.sleep(max(0.0, wakes_at - time.monotonic()))
        stopped.wake()
        if act is None:
            self.group.finish_to_heal()

    def _note(self, child: Child, action: Action) -> None:
        ended = child.wait()
        if action is Action.KILL:
            assert ended in (-9, NOT_HIT), f"{self}: it ended with {ended}"
            self.hit = ended == -9
        else:
            assert ended in (HIT, NOT_HIT), f"{self}: it ended with {ended}"
            self.hit = ended == HIT


def let_time_pass(symbol: str, *, leases: bool) -> None:
    """Let what waits be due now, and with ``leases`` also what somebody holds; rows in use are left out."""
    free = "" if leases else "AND {lease}"
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            WITH mine AS (SELECT signal_id, experiment_id FROM signals WHERE symbol = %(symbol)s),
                 waiting AS (SELECT signal_id FROM signals JOIN mine USING (signal_id)
                              WHERE NOT processed {free.format(lease="processing_lock IS NULL")}
                                FOR UPDATE OF signals SKIP LOCKED),
                 calls AS (SELECT id FROM engine_calls JOIN mine USING (experiment_id)
                            WHERE state IN ('PENDING', 'SENT', 'ACCEPTED') {free.format(lease="lease = ''")}
                              FOR UPDATE OF engine_calls SKIP LOCKED),
                 permits AS (SELECT permit_id FROM execution_permits JOIN mine USING (experiment_id)
                              WHERE state IN ('GRANTED', 'ARMED', 'UNKNOWN') {free.format(lease="lease = ''")}
                                FOR UPDATE OF execution_permits SKIP LOCKED),
                 first AS (UPDATE signals SET next_attempt_at = clock_timestamp(), lock_expires_at = clock_timestamp()
                            WHERE signal_id IN (SELECT signal_id FROM waiting)),
                 second AS (UPDATE engine_calls SET next_attempt_at = clock_timestamp(),
                                   lease_expires_at = clock_timestamp() WHERE id IN (SELECT id FROM calls))
            UPDATE execution_permits SET next_attempt_at = clock_timestamp(), lease_expires_at = clock_timestamp()
             WHERE permit_id IN (SELECT permit_id FROM permits)
            """,
            {"symbol": symbol},
        )


@contextmanager
def running(configuration: Configuration, folder: Path) -> Iterator[Group]:
    group = Group(configuration, folder)
    try:
        yield group
    finally:
        group.close()


def _heal_when_told(orders: socket.socket) -> int:
    """Be the healthy worker: for every line, do everything that is due, and answer which steps failed."""
    worker, usual = make_worker(once=True), settings.EXECUTION_WINDOW_SECONDS
    for line in orders.makefile("rb"):
        settings.EXECUTION_WINDOW_SECONDS = json.loads(line)["window"] or usual
        worker._known_at.clear()  # its probes are due, and whatever else is due now and then
        worker._due.clear()
        worker._failures.clear()
        worker._rests_until.clear()
        while (did := worker._survive(worker._round)) or worker._busy():
            if not did:
                worker._wait(0.05)
        orders.sendall(json.dumps(sorted(worker._failures)).encode() + b"\n")
    return 0


def _status(request: Request, *, seconds: float = 10.0) -> int:
    """Return the status of an answer, 0 when none came."""
    try:
        with urlopen(request, timeout=seconds) as answer:  # noqa: S310 - http, on loopback
            return int(answer.status)
    except HTTPError as error:
        return error.code
    except (URLError, OSError, HTTPException):
        return 0


def _eventually(is_so: Callable[[], object], act: Callable[[], None], cell: Cell) -> None:
    give_up = time.monotonic() + PATIENCE_SECONDS
    act()
    while not is_so():
        assert time.monotonic() < give_up, f"{cell}: it did not come to an end: {_picture(cell)}"
        time.sleep(PAUSE_SECONDS)
        act()


def _picture(cell: Cell) -> Mapping[str, Any]:
    """Return where a cell stands, for the message of a failure."""
    mine = {"experiment__signal__symbol": cell.symbol}
    return {
        "signal": Signal.objects.filter(symbol=cell.symbol).values("processed", "attempts", "last_error", "parked_at"),
        "calls": list(EngineCall.objects.filter(**mine).values_list("engine", "kind", "state", "attempts", "error")),
        "permit": list(ExecutionPermit.objects.filter(**mine).values("state", "fence", "lease", "attempts", "detail")),
        "events": list(EngineEvent.objects.filter(**mine).values_list("type", "verdict", "detail")),
    }


def _be_able_to_refuse() -> None:
    """Give this database a table of what it refuses: a reason that goes away again, as a full disk does."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            CREATE TABLE refused_rows (name text, symbol text);
            CREATE FUNCTION refuse_context() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
              IF EXISTS (SELECT FROM refused_rows WHERE name = TG_TABLE_NAME AND symbol = NEW.symbol) THEN
                RAISE EXCEPTION 'refused'; END IF;
              RETURN NEW; END $$;
            CREATE FUNCTION refuse_outcome() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
              IF EXISTS (SELECT FROM refused_rows JOIN signals USING (symbol)
                          WHERE name = TG_TABLE_NAME AND signals.experiment_id = NEW.experiment_id) THEN
                RAISE EXCEPTION 'refused'; END IF;
              RETURN NEW; END $$;
            CREATE TRIGGER refuse BEFORE INSERT ON market_contexts FOR EACH ROW EXECUTE FUNCTION refuse_context();
            CREATE TRIGGER refuse BEFORE INSERT ON real_trade_outcomes FOR EACH ROW EXECUTE FUNCTION refuse_outcome();
            """
        )

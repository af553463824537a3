"""One run: sets the system up, lets it be disturbed while signals come, lets it heal, and collects what both sides say."""

import itertools
import json
import logging
import os
import sys
import threading
import time
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from config.quickstart.child import adopt_orphans
from config.quickstart.ports import LOOPBACK, claim_port
from config.server import server_command
from tests.chaos.database import Database
from tests.chaos.drawing import between, choose, draw
from tests.chaos.faults import PROFILES, Claims, Mix
from tests.chaos.judge import Judgement, Ledgers, Recorded, judge
from tests.chaos.ledger import read
from tests.chaos.namespaces import Host, make_hosts, remove_hosts
from tests.chaos.processes import Process

PROJECT = Path(__file__).resolve().parents[2]
TOKEN = "a-token-of-the-chaos-run"
HOSTS = 2
TICK_SECONDS = 0.05
LOOK_SECONDS = 0.7
VERIFY_SECONDS = 4.0
READY_SECONDS = 60.0
UNFINISHED = """
    SELECT 'signal' AS what, signal_id::text AS id, '' AS state FROM signals WHERE NOT processed AND parked_at IS NULL
    UNION ALL SELECT 'call', id::text, engine || ' ' || kind || ' ' || state FROM engine_calls
               WHERE state IN ('PENDING', 'SENT', 'ACCEPTED')
    UNION ALL SELECT 'permit', permit_id::text, engine || ' ' || state FROM execution_permits
               WHERE state IN ('GRANTED', 'ARMED')
    UNION ALL SELECT 'event', id::text, engine || ' ' || type FROM engine_events WHERE verdict IS NULL
"""
FINAL = """
    SELECT (signal.raw_payload ->> 'n')::int AS number, extract(epoch FROM signal.received_at)::float AS received_at,
           extract(epoch FROM greatest(max(call.answered_at), max(permit.resolved_at)))::float AS final_at,
           max(permit.state) AS permit
      FROM signals AS signal JOIN engine_calls AS call ON call.experiment_id = signal.experiment_id
       AND call.kind = 'RECOMMENDATION'
      LEFT JOIN execution_permits AS permit ON permit.experiment_id = signal.experiment_id
     GROUP BY signal.signal_id
"""


@dataclass(frozen=True, slots=True)
class Scenario:
    """What to run. Times in seconds; ``every`` is the mean time between two disturbances; ``tree`` is the code that runs.

    ``sql`` is run before the start: what a variant takes away from the database.
    """

    seed: int
    signals: int
    seconds: float
    workers: int = 4
    every: float = 1.5
    window: float = 6.0
    timeout: float = 1.5
    deadline: float = 30.0
    heal_seconds: float = 90.0
    namespaces: bool = True
    claims: tuple[Claims, Claims] | None = None
    mix: Mix = field(default_factory=Mix)
    tree: Path = PROJECT
    sql: tuple[str, ...] = ()
    template: Path | None = None

    @property
    def engines(self) -> dict[str, Claims]:
        return dict(zip("AB", self.claims or PROFILES[self.seed % len(PROFILES)], strict=True))


@dataclass(slots=True)
class Result:
    """What became of a run: the judgement, and the numbers of the report."""

    judgement: Judgement
    disturbances: Counter[str]
    faults: Counter[str]
    incidents: Counter[str]
    permits: Counter[str]
    heal_after_fault: list[float]
    heal_after_disturbance: list[float]
    restarts: int
    checks: int
    given_up: int
    resent: int
    seconds: float
    without_namespaces: str


class Director:
    """Holds the processes of one run; everything that it starts is started and ended by this thread."""

    def __init__(self, scenario: Scenario, folder: Path) -> None:
        self.scenario = scenario
        self.folder = folder
        self.disturbances: Counter[str] = Counter()
        self.disturbed_at: list[float] = []
        self.broken: list[dict[str, Any]] = []
        self.stuck: list[dict[str, Any]] = []
        self.waited: list[dict[str, Any]] = []
        self.checks = 0
        self._ending = threading.Event()
        self._undo: list[tuple[float, Callable[[], None]]] = []
        self._is_cut: set[str] = set()
        self._database_is_away = False
        self._halted_since = 0.0
        self._looked_at = 0.0
        self._policy: Process | None = None
        self.restarts = 0
        adopt_orphans()
        mix = scenario.mix.disturbances
        wants_hosts = scenario.namespaces and mix.get("cut off database", 0) + mix.get("cut off engines", 0) > 0
        self.hosts, self.without_namespaces = make_hosts(HOSTS) if wants_hosts else ([], "not asked for")
        self.database = Database(
            folder,
            hosts=[LOOPBACK, *(host.database for host in self.hosts)],
            template=scenario.template if scenario.template and scenario.template.exists() else None,
        )

    def run(self) -> Result:
        """Run it all; nothing is left running or mounted afterwards."""
        began = time.monotonic()
        try:
            self._set_up()
            self._let_it_rage()
            self._let_it_heal()
            return self._judge(time.monotonic() - began)
        finally:
            self._end()

    # the start

    def _set_up(self) -> None:
        self.database.start()
        self.database.wait()
        environment = self._environment()
        os.environ.update(environment)
        import django  # noqa: PLC0415 - its settings are those of this run's database

        django.setup()
        for name in ("", "psycopg.pool"):  # the processes have their logs; this one has a person
            logging.getLogger(name).setLevel(logging.ERROR)
        from django.core.management import call_command  # noqa: PLC0415

        from orchestrator.revisions import record_revision  # noqa: PLC0415
        from webhooks.models import AlertSource  # noqa: PLC0415
        from webhooks.services import create_source  # noqa: PLC0415

        if self.scenario.template is None or not self.scenario.template.exists():
            call_command("migrate", verbosity=0, interactive=False)
            self._keep_template()
        if not AlertSource.objects.exists():
            create_source("default", TOKEN)
        record_revision({"EXECUTION_MODE": "SPLIT_CAPITAL", "SPLIT_PERCENTAGE": 50}, changed_by="chaos")
        with self.database.connect() as connection:
            for statement in self.scenario.sql:
                connection.execute(statement)
        self.engines = [self._engine(name, environment) for name in self.scenario.engines]
        self.workers = [self._worker(number, environment) for number in range(self.scenario.workers)]
        self.web = Process(
            "web",
            [
                sys.executable,
                *server_command("config.quickstart.web:application", host=LOOPBACK, port=self.web_port),
            ],
            environment,
            self.scenario.tree,
            self.folder / "web.log",
        )
        for process in self._all():
            process.start()
        self._wait_until_ready()
        url = f"http://{LOOPBACK}:{self.web_port}/webhooks/tradingview/{TOKEN}/"
        sending = (str(self.scenario.signals), str(self.scenario.seconds), str(self.scenario.seed))
        self.sender = Process(
            "sender",
            [sys.executable, "-m", "tests.chaos.sender", url, str(self.folder / "sender.jsonl"), *sending],
            environment,
            PROJECT,
            self.folder / "sender.log",
        )
        self.sender.start()
        threading.Thread(target=self._verify, name="verify", daemon=True).start()

    def _keep_template(self) -> None:
        if self.scenario.template is None:
            return
        from django.db import connection  # noqa: PLC0415

        connection.close()
        connection.close_pool()  # type: ignore[attr-defined]  # PostgreSQL always
        self.database.stop()
        import shutil  # noqa: PLC0415

        shutil.copytree(self.folder / "data", self.scenario.template)
        self.database.start()
        self.database.wait()

    def _environment(self) -> dict[str, str]:
        """Return the settings of all processes: short times, so that healing is quick."""
        scenario = self.scenario
        self.web_port = claim_port(0)
        self.engine_ports = {name: claim_port(0) for name in scenario.engines}
        self.secrets = {
            name: "whsec_" + b64encode(f"chaos knows engine {name} ......".encode()).decode()
            for name in scenario.engines
        }
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("ENGINE_", "DATABASE_", "EMBEDDED_"))
        }
        environment = kept | {
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "DATABASE_URL": self.database.url,
            "RUN_DIR": str(self.folder / "run"),
            "SECRET_KEY": "chaos-" + "0123456789abcdef" * 4,
            "APP_MODE": "PAPER",
            "LOG_LEVEL": "WARNING",
            "PYTHONUNBUFFERED": "1",
            "LEASE_SECONDS": "2",
            "ENGINE_PROBE_SECONDS": "3",
            "EXECUTION_WINDOW_SECONDS": str(scenario.window),
            "RECOMMENDATION_DEADLINE_SECONDS": str(scenario.deadline),
            "EXIT_POLL_SECONDS": "5",
        }
        for name, claims in scenario.engines.items():
            environment |= {
                f"ENGINE_{name}_URL": f"http://{LOOPBACK}:{self.engine_ports[name]}",
                f"ENGINE_{name}_SECRET": self.secrets[name],
                f"ENGINE_{name}_TIMEOUT_SECONDS": str(scenario.timeout),
                **{f"ENGINE_{name}_{key.upper()}": str(value).lower() for key, value in asdict(claims).items()},
            }
        return environment

    def _engine(self, name: str, environment: Mapping[str, str]) -> Process:
        given = {
            "name": name,
            "seed": self.scenario.seed,
            "claims": asdict(self.scenario.engines[name]),
            "mix": json.loads(self.scenario.mix.as_json()),
            "timeout": self.scenario.timeout,
            "window": self.scenario.window,
            "secret": self.secrets[name],
            "events_url": f"http://{LOOPBACK}:{self.web_port}/api/v1/engines/{name}/events/",
            "ledger": str(self.folder / f"engine-{name}.jsonl"),
            "places": [[host, self.engine_ports[name]] for host in (LOOPBACK, *(host.engines for host in self.hosts))],
        }
        command = [sys.executable, "-m", "tests.chaos.engine", json.dumps(given)]
        return Process(f"engine {name}", command, environment, PROJECT, self.folder / f"engine-{name}.log")

    def _worker(self, number: int, environment: Mapping[str, str]) -> Process:
        """Return a worker; the last ones live on hosts of their own, where there are namespaces."""
        place = number - (self.scenario.workers - len(self.hosts))
        host = self.hosts[place] if place >= 0 and self.hosts else None
        command = [sys.executable, "manage.py", "run_orchestrator", "--poll-interval", "0.3"]
        if host is not None:
            urls = {f"ENGINE_{name}_URL": f"http://{host.engines}:{port}" for name, port in self.engine_ports.items()}
            environment = {**environment, **urls, "DATABASE_URL": self.database.url_at(host.database)}
            command = host.inside(command)
        log = self.folder / f"worker-{number}.log"
        return Process(f"worker {number}", command, environment, self.scenario.tree, log)

    def _wait_until_ready(self) -> None:
        end = time.monotonic() + READY_SECONDS
        with self.database.connect() as connection:
            while True:
                engines = connection.execute("SELECT count(*) FROM engine_health WHERE ok").fetchone()
                workers = connection.execute("SELECT count(*) FROM worker_heartbeats").fetchone()
                if engines == (2,) and workers and workers[0] >= self.scenario.workers and self._web_answers():
                    return
                if time.monotonic() > end:
                    raise SystemExit(f"The system did not start; its logs are in {self.folder}.")
                time.sleep(0.1)

    def _web_answers(self) -> bool:
        import httpx2  # noqa: PLC0415

        try:
            return httpx2.get(f"http://{LOOPBACK}:{self.web_port}/healthz", trust_env=False).is_success
        except httpx2.HTTPError:
            return False

    # the disturbances

    def _let_it_rage(self) -> None:
        due = itertools.accumulate(
            between(0.4 * self.scenario.every, 1.6 * self.scenario.every, self.scenario.seed, "when", number)
            for number in itertools.count()
        )
        began, number = time.monotonic(), 0
        next_due = next(due)
        while self.sender.is_alive and time.monotonic() - began < self.scenario.seconds * 1.3 + 20:
            if time.monotonic() - began >= next_due:
                self._disturb(number)
                number, next_due = number + 1, next(due)
            self._tick()
        for _, undo in self._undo:
            undo()
        self._undo.clear()
        self._is_cut.clear()

    def _tick(self) -> None:
        now = time.monotonic()
        for entry in [entry for entry in self._undo if entry[0] <= now]:
            self._undo.remove(entry)
            entry[1]()
        for process in self._all():
            if not process.is_alive:
                process.kill()
                process.start()
                self.restarts += 1
        if now >= self._looked_at + LOOK_SECONDS and not self._database_is_away:
            self._looked_at = now
            self._lift_halt(now)
        time.sleep(TICK_SECONDS)

    def _disturb(self, number: int) -> None:
        seed = self.scenario.seed
        weights = {
            name: weight
            for name, weight in self.scenario.mix.disturbances.items()
            if self.hosts or not name.startswith("cut off")
        }
        if not weights:
            return
        what = choose(weights, seed, "what", number)
        how_long = between(2.5, 9, seed, "how long", number)
        if what.startswith("cut off"):
            done = self._cut(what.removeprefix("cut off "), number, how_long)
        elif what.endswith("worker"):
            done = self._worker_disturbed(what, number, how_long)
        else:
            done = self._others(what, number)
        if done:
            self.disturbances[what] += 1
            self.disturbed_at.append(time.time())

    def _worker_disturbed(self, what: str, number: int, how_long: float) -> bool:
        free = [worker for worker in self.workers if worker.is_alive and not worker.is_stopped]
        if len(free) < 2:
            return False
        worker = free[int(draw(self.scenario.seed, "whom", number) * len(free))]
        if what == "kill worker":
            worker.kill()
        else:
            worker.pause(how_long)
            self._undo.append((worker.stopped_until, worker.resume))
        return True

    def _cut(self, to: str, number: int, how_long: float) -> bool:
        host: Host = self.hosts[int(draw(self.scenario.seed, "which host", number) * len(self.hosts))]
        if host.wire(to) in self._is_cut:
            return False
        self._is_cut.add(host.wire(to))
        host.cut(to)

        def mend() -> None:
            host.mend(to)
            self._is_cut.discard(host.wire(to))

        self._undo.append((time.monotonic() + how_long, mend))
        return True

    def _others(self, what: str, number: int) -> bool:
        seed = self.scenario.seed
        match what:
            case "kill web":
                self.web.kill()
            case "kill web process":
                return self.web.is_alive and self.web.kill_one_child(draw(seed, "which", number))
            case "terminate connection" | "terminate all connections":
                limit = "ALL" if what.endswith("connections") else "1"
                offset = 0 if limit == "ALL" else int(draw(seed, "which", number) * 12)
                return self._ask(
                    "SELECT pg_terminate_backend(pid) FROM (SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
                    f" AND backend_type = 'client backend' ORDER BY pid OFFSET {offset} LIMIT {limit}) AS found"
                )
            case "stop PostgreSQL":
                if self._database_is_away:
                    return False
                self._database_is_away = True
                self.database.stop_at_once()
                self._undo.append((time.monotonic() + between(0.1, 2, seed, "away", number), self._bring_back))
            case "halt":
                return self._set_policy("true")
        return True

    def _bring_back(self) -> None:
        self.database.start()
        self._database_is_away = False

    def _set_policy(self, value: str) -> bool:
        if self._policy is not None and self._policy.is_alive:
            return False
        command = [sys.executable, "manage.py", "set_policy", f"TRADING_HALTED={value}"]
        self._policy = Process(
            "operator", command, self.web.environment, self.scenario.tree, self.folder / "operator.log"
        )
        self._policy.start()
        return True

    def _lift_halt(self, now: float) -> None:
        """Lift a halt, whoever set it, after three seconds, as an operator does who has looked."""
        try:
            with self.database.connect() as connection:
                found = connection.execute(
                    "SELECT trading_halted FROM policy_revisions ORDER BY number DESC LIMIT 1"
                ).fetchone()
        except psycopg.Error:
            return
        if not (found and found[0]):
            self._halted_since = 0.0
        elif not self._halted_since:
            self._halted_since = now
        elif now - self._halted_since > 3:
            self._set_policy("false")

    def _ask(self, query: str) -> bool:
        try:
            with self.database.connect() as connection:
                return bool(connection.execute(query).rowcount)
        except psycopg.Error:
            return False

    # the healing and the judgement

    def _let_it_heal(self) -> None:
        end = time.monotonic() + self.scenario.heal_seconds
        quiet_since = 0.0
        while time.monotonic() < end:
            self._tick()
            if self._unfinished(with_doubts=True):
                quiet_since = 0.0
            elif not quiet_since:
                quiet_since = time.monotonic()
            elif time.monotonic() - quiet_since > 2:
                break
        self.stuck = self._unfinished(with_doubts=False)
        for engine in self.engines:
            engine.end()
        self._let_the_last_words_be_applied()
        self._ending.set()
        for _ in range(20):
            if self._check_invariants():
                return
            time.sleep(0.2)
        raise SystemExit("The database does not answer, so that nothing can be judged.")

    def _let_the_last_words_be_applied(self) -> None:
        """What an engine was acknowledged in its last moment is applied; calls to it are of no more use."""
        end = time.monotonic() + 20
        while time.monotonic() < end:
            left = [row for row in self._unfinished(with_doubts=False) if row["what"] in {"event", "database"}]
            if not left:
                return
            for worker in self.workers:
                if not worker.is_alive:
                    worker.start()
            time.sleep(0.2)
        self.stuck += left

    def _unfinished(self, *, with_doubts: bool) -> list[dict[str, Any]]:
        settling = [name for name, claims in self.scenario.engines.items() if claims.settles]
        query = UNFINISHED
        if with_doubts and settling:
            names = ", ".join(f"'{name}'" for name in settling)
            query += (
                "UNION ALL SELECT 'permit', permit_id::text, engine || ' ' || state FROM execution_permits "
                f"WHERE state = 'UNKNOWN' AND engine IN ({names})"
            )
        try:
            return self._rows(query)
        except psycopg.Error:
            return [{"what": "database", "id": "", "state": "away"}]

    def _rows(self, query: str) -> list[dict[str, Any]]:
        with self.database.connect() as connection, connection.cursor(row_factory=psycopg.rows.dict_row) as cursor:
            return cursor.execute(query).fetchall()

    def _verify(self) -> None:
        while not self._ending.wait(VERIFY_SECONDS):
            self._check_invariants()

    def _check_invariants(self) -> bool:
        """Ask every invariant of one snapshot; what is found while the run goes on counts like what is found after it."""
        from django.db import Error, connection  # noqa: PLC0415

        from outcomes.invariant_rules.waiting import WAITING  # noqa: PLC0415
        from outcomes.invariants import violations  # noqa: PLC0415

        timely = {rule.name for rule in WAITING}

        try:
            found = violations()
            self.checks += 1
        except Error:  # the database has just been taken away
            connection.close()
            return False
        at, is_over = time.time(), self._ending.is_set()
        for one in found:
            row = {"at": at, "invariant": one.invariant, "count": one.count, "rows": one.rows[:3]}
            # how long work waits is a matter of the machine as well, while it is being disturbed
            (self.waited if one.invariant in timely and not is_over else self.broken).append(row)
        return True

    def _judge(self, seconds: float) -> Result:
        lines = {name: read(self.folder / f"engine-{name}.jsonl") for name in self.scenario.engines}
        sent = read(self.folder / "sender.jsonl")
        accepted = [line for line in sent if line["kind"] == "accepted"]
        if not any(line["kind"] == "done" for line in sent):
            raise SystemExit(f"The sender did not finish: {(self.folder / 'sender.log').read_text()[-2000:]}")
        incidents = self._rows("SELECT kind, subject, resolved_at FROM incidents")
        permits = self._rows("SELECT permit_id, engine, state, detail, not_after FROM execution_permits")
        judgement = judge(
            Ledgers(lines, accepted),
            Recorded(
                signals=self._rows("SELECT signal_hash, processed, parked_at FROM signals"),
                permits=permits,
                real_trades=self._rows("SELECT engine, external_id, authorised FROM real_trades"),
                incidents=incidents,
                events=self._rows("SELECT engine, message_id, verdict FROM engine_events"),
                halts=self._halts(),
                unfinished=self.stuck,
                settling_engines=frozenset(name for name, claims in self.scenario.engines.items() if claims.settles),
            ),
        )
        judgement.found["broken invariants"] += self.broken
        judgement.waited += self.waited
        faults = [line for found in lines.values() for line in found if line["kind"] == "fault"]
        after_fault, after_disturbance = self._heal_times(faults)
        return Result(
            judgement=judgement,
            disturbances=self.disturbances,
            faults=Counter(f"{line['where']}: {line['fault']}" for line in faults if not line["harmless"]),
            incidents=Counter(
                f"{one['kind']}, {'open' if one['resolved_at'] is None else 'resolved'}" for one in incidents
            ),
            permits=Counter(f"{one['engine']} {one['state']}" for one in permits),
            heal_after_fault=after_fault,
            heal_after_disturbance=after_disturbance,
            restarts=self.restarts,
            checks=self.checks,
            given_up=sum(line["kind"] in {"given up", "unanswered"} for line in sent),
            resent=sum(line["attempt"] > 1 for line in accepted),
            seconds=seconds,
            without_namespaces=self.without_namespaces,
        )

    def _halts(self) -> list[tuple[float, float]]:
        """Return the times from a halt to its lifting, by the database's clock, which is this machine's."""
        revisions = self._rows(
            "SELECT extract(epoch FROM created_at)::float AS at, trading_halted FROM policy_revisions ORDER BY number"
        )
        found, since = [], 0.0
        for revision in revisions:
            if revision["trading_halted"] and not since:
                since = revision["at"]
            elif not revision["trading_halted"] and since:
                found.append((since, revision["at"]))
                since = 0.0
        return found

    def _heal_times(self, faults: list[Mapping[str, Any]]) -> tuple[list[float], list[float]]:
        """Return seconds from the first fault on a signal, and from a disturbance of the system, to each signal being final.

        What an operator has to settle never is, and is counted among the incidents.
        """
        final = {row["number"]: row for row in self._rows(FINAL) if row["permit"] != "UNKNOWN" and row["final_at"]}
        first: dict[int, float] = {}
        for line in sorted(faults, key=lambda one: float(one["at"])):
            if line["number"] and not line["harmless"]:
                first.setdefault(line["number"], line["at"])
        after_fault = [final[number]["final_at"] - at for number, at in first.items() if number in final]
        after_disturbance = [
            row["final_at"] - at
            for at in self.disturbed_at
            for row in final.values()
            if row["received_at"] < at < row["final_at"]
        ]
        return sorted(max(0.0, found) for found in after_fault), sorted(after_disturbance)

    # the end

    def _all(self) -> list[Process]:
        return [
            *getattr(self, "engines", []),
            *getattr(self, "workers", []),
            *([self.web] if hasattr(self, "web") else []),
        ]

    def _end(self) -> None:
        self._ending.set()
        for _, undo in self._undo:
            with suppress(Exception):
                undo()
        sender = getattr(self, "sender", None)
        everyone = [process for process in (sender, self._policy, *self._all()) if process is not None]
        for process in everyone:
            process.kill()
        with suppress(Exception):
            from django.db import connections  # noqa: PLC0415

            connections["default"].close_pool()  # type: ignore[attr-defined]
        self.database.stop()
        remove_hosts(self.hosts)

"""The protocol's guards, each with the exact text to take away: without it the same run must find the harm.

Nothing of this is in the code that is delivered: a run copies the tree to a folder of its own and edits the copy. Where the
database itself would catch the harm, a second line behind the guard, that is taken away as well, and said so.
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.director import PROJECT, Scenario
from tests.chaos.faults import ASKABLE, NOTHING, Claims, Mix

TREE = ("config", "webhooks", "orchestrator", "outcomes", "templates", "manage.py", "pyproject.toml")
CALM: Mapping[str, float] = {"filled": 10}
ANSWERED: Mapping[str, float] = {"answered": 10}
REPORTED: Mapping[str, float] = {"reported": 10}
DROP_THE_MOVES_TRIGGER = """
    DO $$ DECLARE name text; BEGIN
      SELECT tgname INTO STRICT name FROM pg_trigger
       WHERE tgrelid = 'execution_permits'::regclass AND tgname LIKE 'pgtrigger_permits_state_moves%';
      EXECUTE format('DROP TRIGGER %I ON execution_permits', name);
    END $$
"""
KILLS: Mapping[str, float] = {"kill worker": 10}


class NotThere(Exception):
    """The text of a guard is not in its file exactly once: bring the table up to date with the code."""


@dataclass(frozen=True, slots=True)
class Edit:
    """``text`` occurs once in ``file``; ``replacement`` is what a careless hand would have written."""

    file: str
    text: str
    replacement: str


@dataclass(frozen=True, slots=True)
class Guard:
    """``rule`` is DESIGN §7's; ``finds`` are the measures of which one must be above 0 without the guard.

    ``sql`` takes away what the database would catch. The rest is a mix that makes the harm likely within ``seconds``.
    """

    name: str
    rule: str
    edits: tuple[Edit, ...]
    finds: tuple[str, ...]
    claims: tuple[Claims, Claims] = (ASKABLE, NOTHING)
    execute: Mapping[str, float] = field(default_factory=lambda: CALM)
    recommend: Mapping[str, float] = field(default_factory=lambda: ANSWERED)
    disturbances: Mapping[str, float] = field(default_factory=dict)
    rogue: float = 0.0
    sql: tuple[str, ...] = ()
    seconds: float = 8.0
    signals: int = 160
    every: float = 1.0
    heal_seconds: float = 12.0

    def scenario(self, *, seed: int, tree: Path | None, template: Path | None) -> Scenario:
        """Return the run in which the harm shows; without a ``tree`` of its own everything is in place, and none may."""
        return Scenario(
            seed=seed,
            signals=self.signals,
            seconds=self.seconds,
            every=self.every,
            deadline=12,
            heal_seconds=self.heal_seconds if tree else 90,
            namespaces=False,
            claims=self.claims,
            mix=Mix(
                execute=self.execute,
                query=ANSWERED,
                recommend=self.recommend,
                exit=REPORTED,
                disturbances=self.disturbances,
                rogue=self.rogue,
                outage_every_seconds=0.0,
            ),
            tree=tree or PROJECT,
            sql=self.sql if tree else (),
            template=template,
        )


def guard_named(name: str) -> Guard:
    return next(guard for guard in GUARDS if guard.name == name)


def tree_without(guard: Guard, folder: Path) -> Path:
    """Copy the tree to ``folder``, take the guard away there, and return the folder.

    :raises NotThere: when a text is not in its file exactly once.
    """
    folder.mkdir()
    for name in TREE:
        source = PROJECT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, folder / name)
    for edit in guard.edits:
        path = folder / edit.file
        path.write_text(without(edit, path.read_text()))
    return folder


def without(edit: Edit, source: str) -> str:
    """Return a file's text after an edit.

    :raises NotThere: when its text is not there exactly once.
    """
    if source.count(edit.text) != 1:
        raise NotThere(f"{edit.file} has this {source.count(edit.text)} times, not once:\n{edit.text}")
    return source.replace(edit.text, edit.replacement)


GUARDS = (
    Guard(
        name="armed-before-sending",
        rule="2: ARMED is committed before the request leaves",
        edits=(
            Edit(
                "orchestrator/worker.py",
                "                armed = arm_permits(engine, limit=room, lease=self.name, lease_seconds=lease_seconds)\n",
                "                from django.db import transaction\n"
                "                with transaction.atomic():  # sent first; committed when such a call is over\n"
                "                    armed = arm_permits(engine, limit=room, lease=self.name, lease_seconds=lease_seconds)\n"
                "                    for one in executions_for(armed):\n"
                "                        self._send(one, engine, latest=latest)\n"
                "                    time.sleep(0.4 if armed else 0)\n"
                "                armed = []\n",
            ),
        ),
        finds=("double executions", "lost executions", "wrongly closed"),
        disturbances={"kill worker": 5, "terminate all connections": 5},
        every=0.7,
        signals=80,
        heal_seconds=30,
    ),
    Guard(
        name="no-retry-after-a-lost-answer",
        rule="2: after ARMED a time-out, reset or 5xx means UNKNOWN, never try again",
        edits=(
            Edit(
                "orchestrator/permits.py",
                "    elif isinstance(answer.outcome, NotSent) and not (answer.is_query or answer.is_resend):",
                "    elif isinstance(answer.outcome, (NotSent, NoAnswer)) and not (answer.is_query or answer.is_resend):",
            ),
        ),
        finds=("double executions",),
        execute={"filled": 5, "reset after": 5, "late": 3},
    ),
    Guard(
        name="no-resend-after-a-lost-lease",
        rule="8: a paused or killed worker's order is doubted, not sent again",
        edits=(
            Edit(
                "orchestrator/permits.py",
                '        PermitState.UNKNOWN,\n        by="",\n        detail="The worker that sent it did not come back',
                '        PermitState.GRANTED,\n        by="",\n        detail="The worker that sent it did not come back',
            ),
            Edit(  # else it ends at its not_after before its lease does
                "orchestrator/queue.py",
                "next_attempt_at <= clock_timestamp() AND not_after > clock_timestamp()\n                          AND NOT EXISTS",
                "next_attempt_at <= clock_timestamp()\n                          AND NOT EXISTS",
            ),
            Edit(
                "orchestrator/queue.py",
                "                 WHERE permit.permit_id = due.permit_id AND state = 'GRANTED' AND not_after > clock_timestamp()\n",
                "                 WHERE permit.permit_id = due.permit_id AND state = 'GRANTED'\n",
            ),
            Edit(
                "orchestrator/permits.py",
                "ExecutionPermit.objects.filter(state=PermitState.GRANTED, not_after__lte=Now()),",
                "ExecutionPermit.objects.filter(state=PermitState.GRANTED, not_after=None),",
            ),
            Edit(
                "orchestrator/worker.py",
                "time.monotonic() + one.permit.seconds_left  # type: ignore[attr-defined]",
                "time.monotonic() + 60",
            ),
        ),
        finds=("double executions",),
        claims=(NOTHING, NOTHING),
        execute={"filled": 3, "late": 7},
        disturbances=KILLS,
        every=0.7,
    ),
    Guard(
        name="idempotent-engines-only",
        rule="3: only an engine that deduplicates may be sent the same permit again",
        edits=(Edit("orchestrator/worker.py", "idempotent=known.idempotent,", "idempotent=True,"),),
        finds=("double executions",),
        execute={"filled": 5, "reset after": 5, "500 after": 5},
    ),
    Guard(
        name="not-found-proves-nothing",
        rule='4: "not found" proves nothing before not_after and the margin',
        edits=(
            Edit(
                "orchestrator/permits.py",
                "    may_prove = settings.ENGINES[permit.engine].honours_not_after"
                " and asked_at is not None and asked_at > deadline\n",
                "    may_prove = deadline is not None\n",
            ),
        ),
        finds=("wrongly closed",),
        claims=(ASKABLE, ASKABLE),
        execute={"filled": 5, "not found, then executed": 5},
    ),
    Guard(
        name="no-failover",
        rule="5: a permit never moves to the other engine",
        edits=(
            Edit(
                "orchestrator/dispatch.py",
                "        except (NotSent, NoAnswer) as error:\n            outcome = error\n",
                "        except (NotSent, NoAnswer) as error:\n            outcome = error\n"
                '            if request.operation.name == "EXECUTE":\n'
                "                with suppress(NotSent, NoAnswer):\n"
                "                    outcome = await self._clients[engine.other].send(request, timeout=timeout)\n",
            ),
        ),
        finds=("double executions",),
        execute={"filled": 5, "reset after": 5},
    ),
    Guard(
        name="refusal-of-a-retry",
        rule="6: a refusal of a retry proves nothing about the first attempt",
        edits=(
            Edit(
                "orchestrator/permits.py",
                "        if answer.is_query or (attempts == answer.permit.attempts and not answer.is_resend):",
                "        if attempts:",
            ),
        ),
        finds=("wrongly closed",),
        claims=(NOTHING, Claims(idempotent=True)),
        execute={"filled": 3, "reset after": 7},
        signals=240,
    ),
    Guard(
        name="clients-repeat-nothing",
        rule="7: HTTP clients must not repeat a POST on their own",
        edits=(
            Edit(
                "orchestrator/engines/http.py",
                "        except (httpx2.HTTPError, ConnectionDropped) as error:\n            raise NoAnswer",
                "        except (httpx2.HTTPError, ConnectionDropped) as error:\n"
                "            return await self._exchange(client, request, unless)\n"
                "            raise NoAnswer",
            ),
        ),
        finds=("double executions",),
        execute={"filled": 5, "reset after": 5},
    ),
    Guard(
        name="redirects-are-not-followed",
        rule="7: likewise; a redirected POST is a second one",
        edits=(Edit("orchestrator/engines/http.py", "follow_redirects=False,", "follow_redirects=True,"),),
        finds=("double executions",),
        execute={"filled": 5, "redirect": 5},
        signals=60,
        seconds=4,
        heal_seconds=3,
    ),
    Guard(
        name="compare-and-set",
        rule="1: every move names the state it leaves, and rows that others hold are passed over; behind it stands the trigger of "
        "the legal moves, taken away as well",
        edits=(
            Edit(  # between the look and the write lies what a slow machine takes
                "orchestrator/queue.py",
                "                       SELECT permit_id FROM execution_permits\n"
                "                        WHERE state = 'GRANTED' AND engine",
                "                       SELECT permit_id, pg_sleep(0.1) FROM execution_permits\n"
                "                        WHERE state = 'GRANTED' AND engine",
            ),
            Edit(
                "orchestrator/queue.py",
                "                        ORDER BY next_attempt_at, permit_id LIMIT %(limit)s FOR UPDATE SKIP LOCKED)\n"
                "                UPDATE execution_permits AS permit\n                   SET state = 'ARMED'",
                "                        ORDER BY next_attempt_at, permit_id LIMIT %(limit)s)\n"
                "                UPDATE execution_permits AS permit\n                   SET state = 'ARMED'",
            ),
            Edit(
                "orchestrator/queue.py",
                "                 WHERE permit.permit_id = due.permit_id AND state = 'GRANTED' AND not_after > clock_timestamp()\n",
                "                 WHERE permit.permit_id = due.permit_id AND not_after > clock_timestamp()\n",
            ),
        ),
        sql=(DROP_THE_MOVES_TRIGGER,),
        finds=("double executions",),
        signals=300,
        seconds=10,
    ),
    Guard(
        name="halt-at-arming",
        rule="2: the arming statement itself checks that trading is not halted",
        edits=(
            Edit(
                "orchestrator/queue.py",
                "                   AND NOT (SELECT trading_halted FROM policy_revisions ORDER BY number DESC LIMIT 1)\n"
                "                   AND NOT EXISTS",
                "                   AND NOT EXISTS",
            ),
        ),
        finds=("orders after a halt",),
        recommend={"slow": 10},
        disturbances={"halt": 10},
        every=3.0,
        seconds=12,
        signals=300,
    ),
    Guard(
        name="facts-are-not-fenced",
        rule="8: answers and events are facts, recorded however late",
        edits=(
            Edit(
                "orchestrator/permits.py",
                "        verdict, sentence = record_fill(permit, word.fill, by=by)\n",
                "        if permit.state != PermitState.ARMED or fence not in (None, permit.fence):\n"
                '            return Verdict.DUPLICATE, "It comes too late."\n'
                "        verdict, sentence = record_fill(permit, word.fill, by=by)\n",
            ),
        ),
        finds=("told and not recorded",),
        claims=(NOTHING, NOTHING),
        execute={"filled": 5, "never, but an event": 5},
    ),
    Guard(
        name="events-are-deduplicated",
        rule="9: an event is one by its message id; behind it stand the look for a known reference and a unique index, "
        "taken away as well",
        edits=(
            Edit(
                "orchestrator/events.py",
                "            message_id=message_id,\n            type=reading.type.value,",
                '            message_id=f"{message_id}:{id(reading)}",\n            type=reading.type.value,',
            ),
            Edit(
                "orchestrator/events.py",
                "        stored = EngineEvent.objects.get(engine=engine.value, message_id=message_id)",
                "        stored = event",
            ),
            Edit(
                "orchestrator/trades.py",
                "    known = RealTrade.objects.filter(engine=permit.engine, external_id=fill.external_id).first()\n"
                "    may_execute",
                "    known: RealTrade | None = None\n    may_execute",
            ),
            Edit(
                "orchestrator/trades.py",
                "    is_known = RealTrade.objects.filter(engine=engine, external_id=fill.external_id).exists()\n",
                "    is_known = False\n",
            ),
        ),
        sql=("ALTER TABLE real_trades DROP CONSTRAINT one_trade_per_engine_reference",),
        finds=("phantom executions",),
        execute={"accepted": 5, "filled, event twice": 5},
    ),
    Guard(
        name="unauthorised-fills-are-kept",
        rule="11: a real fill without a permit is stored as what it is, with a CRITICAL incident",
        edits=(
            Edit(
                "orchestrator/trades.py",
                "    is_known = RealTrade.objects.filter(engine=engine, external_id=fill.external_id).exists()\n",
                "    return\n",
            ),
        ),
        finds=("lost executions",),
        rogue=0.1,
    ),
    Guard(
        name="doubt-is-told",
        rule="12: what nobody knows is an open incident, never silent",
        edits=(
            Edit(
                "orchestrator/permits.py",
                "            next_attempt_at=in_seconds(ASK_AGAIN_SECONDS),\n            detail=reason[:2000],\n        ):\n"
                "            _open_unknown(permit, reason)\n",
                "            next_attempt_at=in_seconds(ASK_AGAIN_SECONDS),\n            detail=reason[:2000],\n        ):\n"
                "            return\n",
            ),
        ),
        finds=("lost executions", "broken invariants"),
        claims=(NOTHING, NOTHING),
        execute={"filled": 5, "never": 5},
    ),
    Guard(
        name="expired-leases-are-taken-over",
        rule="8: what a dead worker held is due again when its lease ends",
        edits=(
            Edit(
                "orchestrator/queue.py",
                "(attempts = 0 OR (%(at_once)s AND attempts = 1 AND processing_lock IS NOT NULL))",
                "attempts = 0",
            ),
            Edit(
                "orchestrator/queue.py",
                "(attempts > 1 OR (attempts = 1 AND (processing_lock IS NULL OR NOT %(at_once)s)))",
                "(attempts > 0 AND processing_lock IS NULL)",
            ),
        ),
        finds=("lost signals",),
        disturbances={"terminate all connections": 6, "kill worker": 4},
        every=0.5,
        seconds=12,
        signals=400,
        heal_seconds=40,
    ),
    Guard(
        name="accepted-means-stored",
        rule="§10: what the database does not take is on disk before it is answered, else the answer is 503",
        edits=(Edit("webhooks/services.py", "    the_spool().append(row)\n", ""),),
        finds=("lost signals",),
        disturbances={"stop PostgreSQL": 10},
        every=4.0,
    ),
)

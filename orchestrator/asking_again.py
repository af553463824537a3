"""Asking the engines again with the stored bytes, without trading: how often does each agree with itself?

The question is the one that was asked, to the byte. Its answer is compared with the recorded one and used for nothing
else. The row is written before the question leaves, so that an answer that comes by event is known for what it is.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http import HTTPStatus
from uuid import UUID

from django.conf import settings
from django.db.models import OuterRef, Subquery

from config.environment import EngineSettings
from config.keys import new_key
from orchestrator.domain.agreement import ANOTHER_DECISION, Agreement
from orchestrator.domain.recommendation import (
    InputHashMismatch,
    UnreadableRecommendation,
    read_recommendation,
)
from orchestrator.domain.recommendation import Recommendation as Answer
from orchestrator.domain.strict_json import printable
from orchestrator.domain.vocabulary import Engine
from orchestrator.engines.connect import connect
from orchestrator.engines.protocol import Engine as EngineClient
from orchestrator.engines.protocol import NoAnswer, NotSent, Operation, Reply, Request
from orchestrator.models import MarketContext, Recommendation, RepeatedQuestion
from orchestrator.queue import database_clock
from orchestrator.repeats import note_answer

ASK_AGAIN_SECONDS = 0.2
NOT_OFFERED = (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.NOT_IMPLEMENTED)
BY_EVENT = "accepted; an answer by event is awaited"


@dataclass(frozen=True, slots=True)
class Question:
    """One stored question: ``engine_input`` is what is sent, ``recorded`` the answer that it is compared with."""

    row: RepeatedQuestion
    engine_input: str
    input_hash: str
    recorded: Answer


@dataclass(slots=True)
class SelfAgreement:
    """How often one engine agreed with itself. ``unanswered`` by reason; shares are of the answered ones."""

    engine: Engine
    asked: int = 0
    levels: Counter[Agreement] = field(default_factory=Counter)
    unanswered: Counter[str] = field(default_factory=Counter)

    @property
    def answered(self) -> int:
        return self.levels.total()

    @property
    def other_decisions(self) -> int:
        """Answers that would have been another trade, or none."""
        return sum(self.levels[level] for level in ANOTHER_DECISION)


def repeat_questions(
    engines: Sequence[Engine],
    *,
    experiment_ids: Iterable[UUID] | None = None,
    since: datetime | None = None,
    limit: int = 100,
    under_new_keys: bool = False,
) -> list[SelfAgreement]:
    """Ask each engine again about at most ``limit`` experiments that it has answered, the newest first.

    :param under_new_keys: send each question under a new idempotency key, for engines that answer a known key from memory.
    """
    results = []
    for engine in engines:
        questions = _questions(engine, experiment_ids=experiment_ids, since=since, limit=limit)
        said = asyncio.run(_ask_all(settings.ENGINES[engine], questions, under_new_keys=under_new_keys))
        now = database_clock()
        for question, answer, came, latency in said:
            _record(question, answer, at=now - timedelta(seconds=time.monotonic() - came), latency=latency)
        _wait_for_events(questions, seconds=settings.ENGINES[engine].timeout_seconds)
        results.append(_counted(engine, questions))
    return results


def _questions(
    engine: Engine, *, experiment_ids: Iterable[UUID] | None, since: datetime | None, limit: int
) -> list[Question]:
    wanted = Recommendation.objects.filter(engine=engine.value)
    if experiment_ids is not None:
        wanted = wanted.filter(experiment_id__in=list(experiment_ids))
    if since is not None:
        wanted = wanted.filter(experiment__created_at__gte=since)
    context = MarketContext.objects.filter(signal__experiment=OuterRef("experiment_id"))
    answers = wanted.annotate(engine_input=Subquery(context.values("engine_input")[:1])).select_related("call")
    found = []
    for one in answers.order_by("-experiment__created_at", "-experiment_id")[:limit]:
        input_hash = one.call.input_hash or ""
        recorded = read_recommendation(one.raw, experiment_id=one.experiment_id, input_hash=input_hash)
        row = RepeatedQuestion(experiment_id=one.experiment_id, engine=engine.value)
        found.append(Question(row, one.engine_input, input_hash, recorded))
    RepeatedQuestion.objects.bulk_create([question.row for question in found])
    return found


async def _ask_all(
    engine: EngineSettings, questions: Sequence[Question], *, under_new_keys: bool
) -> list[tuple[Question, Reply | str, float, float]]:
    """Ask everything, as many at a time as the engine's settings allow.

    Returns each question with its answer or why there is none, when that came (monotonic clock) and the seconds it took.
    """
    client, room = connect(engine), asyncio.Semaphore(engine.concurrency)

    async def ask(question: Question) -> tuple[Question, Reply | str, float, float]:
        async with room:
            key = new_key() if under_new_keys else question.row.experiment_id
            began = time.monotonic()
            said = await _answer(client, question, key, seconds=engine.timeout_seconds)
            came = time.monotonic()
            return question, said, came, came - began

    try:
        return await asyncio.gather(*(ask(question) for question in questions))
    finally:
        await client.close()


async def _answer(client: EngineClient, question: Question, key: UUID, *, seconds: float) -> Reply | str:
    """Return the engine's answer of status 200, or why there is none."""
    until = time.monotonic() + seconds
    request = Request(Operation.RECOMMEND, key, question.engine_input)
    while True:
        try:
            reply = await client.send(request, timeout=seconds)
        except (NotSent, NoAnswer) as error:
            return str(error)
        if reply.status == HTTPStatus.OK:
            return reply
        asking = request.operation is Operation.RECOMMENDATION
        if reply.status != HTTPStatus.ACCEPTED:
            return BY_EVENT if asking and reply.status in NOT_OFFERED else f"status {reply.status}"
        if time.monotonic() > until:
            return BY_EVENT
        await asyncio.sleep(ASK_AGAIN_SECONDS)
        request = Request(Operation.RECOMMENDATION, question.row.experiment_id)


def _record(question: Question, said: Reply | str, *, at: datetime, latency: float) -> None:
    row, problem = question.row, ""
    if isinstance(said, Reply):
        try:
            again = read_recommendation(said.body, experiment_id=row.experiment_id, input_hash=question.input_hash)
        except (UnreadableRecommendation, InputHashMismatch) as error:
            problem = f"{error} Received: {printable(said.body, most=500)}"
        else:
            note_answer(row, question.recorded, again, at=at, latency=latency)
            return
    RepeatedQuestion.objects.filter(pk=row.pk, agreement=None).update(detail=(problem or str(said))[:2000])


def _wait_for_events(questions: Sequence[Question], *, seconds: float) -> None:
    """Wait until the answers that come by event have come, at most as long as one call may take."""
    ids, until = [question.row.pk for question in questions], time.monotonic() + seconds
    awaited = RepeatedQuestion.objects.filter(pk__in=ids, agreement=None, detail=BY_EVENT)
    while awaited.exists() and time.monotonic() < until:
        time.sleep(ASK_AGAIN_SECONDS)


def _counted(engine: Engine, questions: Sequence[Question]) -> SelfAgreement:
    found = SelfAgreement(engine, asked=len(questions))
    rows = RepeatedQuestion.objects.filter(pk__in=[question.row.pk for question in questions])
    for level, detail in rows.values_list("agreement", "detail"):
        if level is None:
            found.unanswered[detail or "no answer"] += 1
        else:
            found.levels[Agreement(level)] += 1
    return found

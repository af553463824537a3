"""Does a running engine keep the wire contract? Asked with paper orders, the way the orchestrator itself would ask.

A check is refuted when the engine breaks what everybody relies on, or what its settings claim for it (``IDEMPOTENT``,
``QUERYABLE``, ``HONOURS_NOT_AFTER``). What an engine does not offer and nobody claims is only told.
"""

import asyncio
import base64
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from http import HTTPStatus
from itertools import islice
from pathlib import Path
from uuid import UUID

from config.environment import EngineSettings
from config.keys import new_key
from orchestrator.domain.amounts import decimal_string
from orchestrator.domain.engine_input import SignalFacts, Snapshot, build_engine_input
from orchestrator.domain.execution import (
    Accepted,
    ExecutionWord,
    Filled,
    NeverSeen,
    UnreadableExecution,
    read_execution,
)
from orchestrator.domain.moments import moment_string
from orchestrator.domain.recommendation import (
    InputHashMismatch,
    Recommendation,
    UnreadableRecommendation,
    execution_body,
    read_recommendation,
)
from orchestrator.domain.vocabulary import Action
from orchestrator.engines.connect import connect
from orchestrator.engines.protocol import Engine, NoAnswer, NotSent, Operation, Reply, Request
from webhooks.alerts.market import read_market_fields
from webhooks.alerts.reading import Alert, SourceRules, read_alert
from webhooks.canonical import canonical, sha256_hex, signal_hash

SAMPLES = Path(__file__).parent / "samples" / "alerts.jsonl"
MOST_QUESTIONS = 30
ASK_AGAIN_SECONDS = 0.2
NOT_OFFERED = (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.NOT_IMPLEMENTED)


class Result(StrEnum):
    HELD = "held"
    REFUTED = "REFUTED"
    NOT_CHECKED = "not checked"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check came to, with the evidence in a sentence."""

    check: str
    result: Result
    detail: str


@dataclass(frozen=True, slots=True)
class Question:
    """One request for a recommendation, as the orchestrator would send it."""

    experiment_id: UUID
    body: str

    @property
    def input_hash(self) -> str:
        return sha256_hex(self.body)


@dataclass(slots=True)
class EngineCheck:
    """The checks of one engine, in order; ``findings`` grow as they come in."""

    settings: EngineSettings
    engine: Engine
    findings: list[Finding] = field(default_factory=list)

    async def run(self) -> list[Finding]:
        """Ask everything and return what came of it; stops early when the engine cannot be reached."""
        if not await self._health():
            return self.findings
        opens = await self._recommendations()
        await self._signatures(opens[0] if opens else None)
        await self._unknown_permit()
        if opens:
            await self._not_after(*opens[0])
            await self._duplicate_execution(*opens[-1])
        else:
            why = f"no OPEN among {MOST_QUESTIONS} sample alerts, so there was nothing to execute"
            self._tell("not_after is honoured", Result.NOT_CHECKED, why)
            self._tell("a repeated execution gives one fill", Result.NOT_CHECKED, why)
        return self.findings

    async def _health(self) -> bool:
        reply = await self._ask(Request(Operation.HEALTH))
        if isinstance(reply, str) or reply.status != HTTPStatus.OK or b'"ok"' not in reply.body:
            self._tell("GET /health", Result.REFUTED, reply if isinstance(reply, str) else _shown(reply))
            return False
        self._tell("GET /health", Result.HELD, "the engine is there")
        return True

    async def _recommendations(self) -> list[tuple[Question, Recommendation]]:
        """Ask about sample alerts until two OPENs and a PASS were seen; return the OPENs."""
        opens: list[tuple[Question, Recommendation]] = []
        passes = asked = 0
        for question in islice(questions(), MOST_QUESTIONS):
            answer = await self._recommendation(question)
            asked += 1
            if answer is None:
                return opens
            if asked == 1:
                await self._same_question_again(question, answer)
            if answer.action is Action.OPEN:
                opens.append((question, answer))
            passes += answer.action is Action.PASS
            if len(opens) > 1 and passes:
                break
        told = f"{asked} answers: {asked - passes} OPEN, {passes} PASS"
        self._tell("the input's hash is echoed", Result.HELD, told)
        self._tell("OPEN and PASS can be read", Result.HELD, told)
        return opens

    async def _recommendation(self, question: Question) -> Recommendation | None:
        """Return the engine's answer, or None after telling why there is none."""
        reply = await self._answer_to(question)
        if reply is None:
            self._tell(
                "the input's hash is echoed",
                Result.NOT_CHECKED,
                "it answers 202 and then by event only: GET /recommendations/<experiment_id> is not offered",
            )
            return None
        if isinstance(reply, str):
            self._tell("POST /recommendations", Result.REFUTED, reply)
            return None
        try:
            return read_recommendation(reply.body, experiment_id=question.experiment_id, input_hash=question.input_hash)
        except InputHashMismatch as error:
            self._tell("the input's hash is echoed", Result.REFUTED, str(error))
        except UnreadableRecommendation as error:
            self._tell("OPEN and PASS can be read", Result.REFUTED, str(error))
        return None

    async def _answer_to(self, question: Question) -> Reply | str | None:
        """Return the 200 answer, why there is none, or None when it comes by event alone."""
        asked = Request(Operation.RECOMMEND, question.experiment_id, question.body)
        reply = await self._ask(asked)
        until = asyncio.get_running_loop().time() + self.settings.timeout_seconds
        while isinstance(reply, Reply) and reply.status == HTTPStatus.ACCEPTED:
            if asyncio.get_running_loop().time() > until:
                return f"still pending after {self.settings.timeout_seconds:g} s"
            await asyncio.sleep(ASK_AGAIN_SECONDS)
            reply = await self._ask(Request(Operation.RECOMMENDATION, question.experiment_id))
            if isinstance(reply, Reply) and reply.status in NOT_OFFERED:
                return None
        if isinstance(reply, Reply) and reply.status != HTTPStatus.OK:
            return _shown(reply)
        return reply

    async def _same_question_again(self, question: Question, first: Recommendation) -> None:
        reply = await self._answer_to(question)
        check = "the same question gets the same answer"
        try:
            again = (
                read_recommendation(reply.body, experiment_id=question.experiment_id, input_hash=question.input_hash)
                if isinstance(reply, Reply)
                else None
            )
        except (InputHashMismatch, UnreadableRecommendation) as error:
            self._tell(check, Result.REFUTED, str(error))
            return
        if again is None:
            self._tell(check, Result.REFUTED, f"no answer the second time: {reply}")
        elif (again.action, again.terms_json, again.reason) == (first.action, first.terms_json, first.reason):
            self._tell(check, Result.HELD, f"{first.action} both times")
        else:
            self._tell(check, Result.REFUTED, "it answered differently; a second, different answer is an incident")

    async def _signatures(self, opened: tuple[Question, Recommendation] | None) -> None:
        """Send what an impostor would send: the right form, signed with a secret of his own."""
        check = "wrong signatures are refused"
        if not self.settings.url.startswith("http"):
            self._tell(check, Result.NOT_CHECKED, "a Python object is called directly; nothing is signed")
            return
        own_secret = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
        impostor = EngineCheck(self.settings, connect(replace(self.settings, secrets=(own_secret,))))
        question = next(questions())
        requests = [Request(Operation.RECOMMEND, question.experiment_id, question.body)]
        if opened:
            requests.append(_execution(new_key(), *opened, not_after=_soon()))
        try:
            replies = [(request, await impostor._ask(request)) for request in requests]
        finally:
            await impostor.engine.close()
        for request, reply in replies:
            if not (
                isinstance(reply, Reply) and HTTPStatus.BAD_REQUEST <= reply.status < HTTPStatus.INTERNAL_SERVER_ERROR
            ):
                what = reply if isinstance(reply, str) else _shown(reply)
                self._tell(check, Result.REFUTED, f"{request.operation.method} {request.operation.path(None)}: {what}")
                return
        self._tell(check, Result.HELD, "a request signed with another secret is answered 4xx")

    async def _unknown_permit(self) -> None:
        permit_id = new_key()
        word = await self._word(Request(Operation.EXECUTION, permit_id), permit_id)
        check = "a permit never seen is not found"
        if isinstance(word, NeverSeen):
            self._tell(check, Result.HELD, "GET /executions/<permit_id> answers 404")
        else:
            self._tell_claim(check, claimed=self.settings.queryable, claim="QUERYABLE", detail=_word_shown(word))

    async def _not_after(self, question: Question, answer: Recommendation) -> None:
        permit_id = new_key()
        late = datetime.now(UTC) - timedelta(minutes=1)
        word = await self._word(_execution(permit_id, question, answer, not_after=late), permit_id)
        check = "not_after is honoured"
        if isinstance(word, Filled | Accepted):
            detail = f"an order whose not_after had passed was taken: {_word_shown(word)}"
            self._tell_claim(check, claimed=self.settings.honours_not_after, claim="HONOURS_NOT_AFTER", detail=detail)
        else:
            self._tell(check, Result.HELD, f"an order whose not_after had passed was not taken: {_word_shown(word)}")

    async def _duplicate_execution(self, question: Question, answer: Recommendation) -> None:
        """Send one paper order twice, at the same time and once more, and count the fills."""
        permit_id, check = new_key(), "a repeated execution gives one fill"
        order = _execution(permit_id, question, answer, not_after=_soon())
        words = list(await asyncio.gather(*(self._word(order, permit_id) for _ in range(2))))
        words.append(await self._word(order, permit_id))
        queried = await self._query(permit_id)
        fills = {word.fill for word in (*words, queried) if isinstance(word, Filled)}
        if len(fills) == 1:
            (fill,) = fills
            told = f"{fill.external_id}: {decimal_string(fill.quantity)} at {decimal_string(fill.entry_price)}"
            self._tell(check, Result.HELD, told)
        elif fills:
            detail = f"{len(fills)} fills for one permit: {', '.join(sorted(fill.external_id for fill in fills))}"
            self._tell_claim(check, claimed=self.settings.idempotent, claim="IDEMPOTENT", detail=detail)
        else:
            self._tell(check, Result.NOT_CHECKED, f"it did not fill the paper order: {_word_shown(words[-1])}")
        check = "an execution can be asked about"
        if isinstance(queried, Filled) or (not fills and not isinstance(queried, str | NeverSeen)):
            self._tell(check, Result.HELD, _word_shown(queried))
        else:
            self._tell_claim(check, claimed=self.settings.queryable, claim="QUERYABLE", detail=_word_shown(queried))

    async def _query(self, permit_id: UUID) -> ExecutionWord | str:
        """Ask about an execution until it is no longer pending, for at most one time-out."""
        until = asyncio.get_running_loop().time() + self.settings.timeout_seconds
        while True:
            word = await self._word(Request(Operation.EXECUTION, permit_id), permit_id)
            if not isinstance(word, Accepted) or asyncio.get_running_loop().time() > until:
                return word
            await asyncio.sleep(ASK_AGAIN_SECONDS)

    async def _word(self, request: Request, permit_id: UUID) -> ExecutionWord | str:
        """Return the engine's word on an execution, or why there is none."""
        reply = await self._ask(request)
        if isinstance(reply, str):
            return reply
        is_query = request.operation is Operation.EXECUTION
        try:
            return read_execution(reply.status, reply.body, permit_id=permit_id, is_query=is_query)
        except UnreadableExecution as error:
            return f"{error} ({_shown(reply)})"

    async def _ask(self, request: Request) -> Reply | str:
        """Return the engine's reply, or why there is none."""
        try:
            return await self.engine.send(request, timeout=self.settings.timeout_seconds)
        except (NotSent, NoAnswer) as error:
            return f"no answer: {error}"

    def _tell(self, check: str, result: Result, detail: str) -> None:
        self.findings.append(Finding(check, result, detail))

    def _tell_claim(self, check: str, *, claimed: bool, claim: str, detail: str) -> None:
        """Tell of a capability that the engine lacks: refuted only when its settings claim it."""
        setting = f"ENGINE_{self.settings.name}_{claim}"
        if claimed:
            self._tell(check, Result.REFUTED, f"{detail}. {setting} is true and must not be.")
        else:
            self._tell(check, Result.NOT_CHECKED, f"{detail}. Not claimed; leave {setting} unset.")


async def check_engine(settings: EngineSettings) -> list[Finding]:
    """Run all checks against a running engine.

    It is asked about up to 30 sample alerts and sent paper orders, one of which it shall fill.

    :raises UnusableEngine: when the settings name a Python object that cannot be made.
    """
    engine = connect(settings)
    try:
        return await EngineCheck(settings, engine).run()
    finally:
        await engine.close()


def questions() -> Iterator[Question]:
    """Yield a question for each sample alert, in their order, each with an experiment of its own."""
    with SAMPLES.open(encoding="utf-8") as lines:
        for line in lines:
            alert = read_alert(line, rules=SourceRules(), received_at=datetime.now(UTC))
            if isinstance(alert, Alert) and alert.timestamp is not None:
                yield _question(alert, alert.timestamp, line)


def _question(alert: Alert, timestamp: datetime, line: str) -> Question:
    experiment_id, market = new_key(), read_market_fields(line)
    facts = SignalFacts(
        signal_id=new_key(),
        signal_hash=signal_hash(
            direction=alert.direction,
            payload=alert.payload,
            source="check_engine",
            symbol=alert.symbol,
            timeframe=alert.timeframe,
            timestamp=timestamp,
        ),
        symbol=alert.symbol,
        direction=alert.direction,
        timeframe=alert.timeframe,
        timestamp=timestamp,
        raw_payload=alert.payload,
    )
    snapshot = Snapshot(
        current_price=market.current_price,
        bid=market.bid,
        ask=market.ask,
        volume=None if market.volume is None else int(market.volume),
        indicators={name: decimal_string(value) for name, value in market.indicators.items()},
    )
    return Question(experiment_id, build_engine_input(experiment_id, facts, snapshot))


def _execution(permit_id: UUID, question: Question, answer: Recommendation, *, not_after: datetime) -> Request:
    envelope = {
        "permit_id": str(permit_id),
        "experiment_id": str(question.experiment_id),
        "not_after": moment_string(not_after),
        "app_mode": "PAPER",
    }
    return Request(Operation.EXECUTE, permit_id, execution_body(answer.raw, envelope=canonical(envelope)))


def _soon() -> datetime:
    return datetime.now(UTC) + timedelta(minutes=1)


def _shown(reply: Reply) -> str:
    return f"HTTP {reply.status} {reply.body[:200].decode(errors='replace')}".strip()


def _word_shown(word: ExecutionWord | str) -> str:
    match word:
        case Filled():
            return f"FILLED as {word.fill.external_id}"
        case Accepted():
            return "ACCEPTED, still pending"
        case NeverSeen():
            return "404, never seen"
        case str():
            return word
        case _:
            return f"REJECTED: {word.reason}"

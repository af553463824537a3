"""Does a running engine keep the wire contract? Asked with paper orders, the way the orchestrator itself would ask.

A check is refuted when the engine breaks what everybody relies on, or what its settings claim for it (``IDEMPOTENT``,
``QUERYABLE``, ``HONOURS_NOT_AFTER``). What an engine does not offer and nobody claims is only told.
"""

import asyncio
import base64
import secrets
from collections.abc import Iterator, Sequence
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
    Rejected,
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
from orchestrator.domain.strict_json import UnreadableJson, read_object
from orchestrator.domain.vocabulary import Action, AppMode
from orchestrator.engines.connect import connect
from orchestrator.engines.protocol import Engine, NoAnswer, NotSent, Operation, Reply, Request
from webhooks.alerts.market import read_market_fields
from webhooks.alerts.reading import Alert, SourceRules, read_alert
from webhooks.canonical import canonical, sha256_hex, signal_hash

SAMPLES = Path(__file__).parent / "samples" / "alerts.jsonl"
MOST_QUESTIONS = 30
MOST_ORDERS = 4
ASK_AGAIN_SECONDS = 0.2
NO_ANSWER, STILL_PENDING = "no answer", "still pending"
NOT_OFFERED = (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.NOT_IMPLEMENTED)


class Check(StrEnum):
    """What is looked at, in the words of the table."""

    HEALTH = "GET /health"
    RECOMMENDS = "POST /recommendations"
    IN_TIME = "answers come in time"
    ECHOES_HASH = "the input's hash is echoed"
    CAN_BE_READ = "OPEN and PASS can be read"
    SAME_ANSWER = "the same question gets the same answer"
    SIGNATURES = "wrong signatures are refused"
    NEVER_SEEN = "a permit never seen is not found"
    NOT_AFTER = "not_after is honoured"
    ONE_FILL = "a repeated execution gives one fill"
    CAN_BE_ASKED = "an execution can be asked about"
    SIGNS_EVENTS = "events are signed"


class Result(StrEnum):
    HELD = "held"
    NOTED = "noted"
    REFUTED = "REFUTED"
    NOT_CHECKED = "not checked"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check came to, with the evidence in a sentence."""

    check: Check
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
    questions: Sequence[Question]
    permit_ids: Sequence[UUID] = field(default_factory=lambda: [new_key() for _ in range(MOST_ORDERS)])
    findings: list[Finding] = field(default_factory=list)
    must_say_paper: bool = False
    slowest: float = 0.0

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
            self._tell(Check.NOT_AFTER, Result.NOT_CHECKED, why)
            self._tell(Check.ONE_FILL, Result.NOT_CHECKED, why)
        return self.findings

    async def _health(self) -> bool:
        reply = await self._ask(Request(Operation.HEALTH))
        if isinstance(reply, str) or reply.status != HTTPStatus.OK or b'"ok"' not in reply.body:
            self._tell(Check.HEALTH, Result.REFUTED, reply if isinstance(reply, str) else _shown(reply))
            return False
        if self.must_say_paper and not _says_paper(reply):
            self._tell(
                Check.HEALTH,
                Result.REFUTED,
                'with real money only an engine is checked whose GET /health says "app_mode": "PAPER"; '
                f"nothing was sent. {_shown(reply)}",
            )
            return False
        self._tell(Check.HEALTH, Result.HELD, "the engine is there")
        return True

    async def _recommendations(self) -> list[tuple[Question, Recommendation]]:
        """Ask about sample alerts until two OPENs and a PASS were seen; return the OPENs."""
        opens: list[tuple[Question, Recommendation]] = []
        passes = asked = 0
        for question in self.questions:
            began = asyncio.get_running_loop().time()
            answer = await self._recommendation(question)
            self.slowest = max(self.slowest, asyncio.get_running_loop().time() - began)
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
        within = (
            f"the slowest of {asked} recommendations took {self.slowest:.2f} s of {self.settings.timeout_seconds:g}"
        )
        self._tell(Check.IN_TIME, Result.HELD, within)
        told = f"{asked} answers: {asked - passes} OPEN, {passes} PASS"
        self._tell(Check.ECHOES_HASH, Result.HELD, told)
        self._tell(Check.CAN_BE_READ, Result.HELD, told)
        return opens

    async def _recommendation(self, question: Question) -> Recommendation | None:
        """Return the engine's answer, or None after telling why there is none."""
        reply = await self._answer_to(question)
        if reply is None:
            self._tell(
                Check.ECHOES_HASH,
                Result.NOT_CHECKED,
                "it answers 202 and then by event only: GET /recommendations/<experiment_id> is not offered",
            )
            return None
        if isinstance(reply, str):
            self._tell(Check.RECOMMENDS, Result.REFUTED, reply)
            if reply.startswith((NO_ANSWER, STILL_PENDING)):
                self._tell(Check.IN_TIME, Result.REFUTED, reply)
            return None
        try:
            return read_recommendation(reply.body, experiment_id=question.experiment_id, input_hash=question.input_hash)
        except InputHashMismatch as error:
            self._tell(Check.ECHOES_HASH, Result.REFUTED, str(error))
        except UnreadableRecommendation as error:
            self._tell(Check.CAN_BE_READ, Result.REFUTED, str(error))
        return None

    async def _answer_to(self, question: Question) -> Reply | str | None:
        """Return the 200 answer, why there is none, or None when it comes by event alone."""
        asked = Request(Operation.RECOMMEND, question.experiment_id, question.body)
        reply = await self._ask(asked)
        until = asyncio.get_running_loop().time() + self.settings.timeout_seconds
        while isinstance(reply, Reply) and reply.status == HTTPStatus.ACCEPTED:
            if asyncio.get_running_loop().time() > until:
                return f"{STILL_PENDING} after {self.settings.timeout_seconds:g} s"
            await asyncio.sleep(ASK_AGAIN_SECONDS)
            reply = await self._ask(Request(Operation.RECOMMENDATION, question.experiment_id))
            if isinstance(reply, Reply) and reply.status in NOT_OFFERED:
                return None
        if isinstance(reply, Reply) and reply.status != HTTPStatus.OK:
            return _shown(reply)
        return reply

    async def _same_question_again(self, question: Question, first: Recommendation) -> None:
        reply = await self._answer_to(question)
        check = Check.SAME_ANSWER
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
            # a panel of language models may well think again; the contract's first answer stands
            self._tell(check, Result.NOTED, "it answered differently: its first answer stands, and is all that is used")

    async def _signatures(self, opened: tuple[Question, Recommendation] | None) -> None:
        """Send what an impostor would send: the right form, signed with a secret of his own."""
        check = Check.SIGNATURES
        if not self.settings.url.startswith("http"):
            self._tell(check, Result.NOT_CHECKED, "a Python object is called directly; nothing is signed")
            return
        own_secret = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
        impostor = EngineCheck(self.settings, connect(replace(self.settings, secrets=(own_secret,))), self.questions)
        question = self.questions[0]
        requests = [Request(Operation.RECOMMEND, question.experiment_id, question.body)]
        if opened:
            requests.append(_execution(self.permit_ids[3], *opened, not_after=_soon()))
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
        permit_id = self.permit_ids[0]
        word = await self._word(Request(Operation.EXECUTION, permit_id), permit_id)
        check = Check.NEVER_SEEN
        if isinstance(word, NeverSeen):
            self._tell(check, Result.HELD, "GET /executions/<permit_id> answers 404")
        else:
            self._tell_claim(check, claimed=self.settings.queryable, claim="QUERYABLE", detail=_word_shown(word))

    async def _not_after(self, question: Question, answer: Recommendation) -> None:
        permit_id = self.permit_ids[1]
        late = datetime.now(UTC) - timedelta(minutes=1)
        word = await self._word(_execution(permit_id, question, answer, not_after=late), permit_id)
        check = Check.NOT_AFTER
        if isinstance(word, Rejected) and self.settings.queryable:
            word = await self._query(permit_id)  # what it says afterwards counts, not only its first word
        if isinstance(word, Filled | Accepted):
            self._tell_not_after(f"an order whose not_after had passed was taken: {_word_shown(word)}")
        elif isinstance(word, Rejected | NeverSeen):
            self._tell(check, Result.HELD, f"an order whose not_after had passed was not taken: {_word_shown(word)}")
        else:
            self._tell_not_after(f"an order whose not_after had passed was not refused in words: {_word_shown(word)}")

    def _tell_not_after(self, detail: str) -> None:
        claimed = self.settings.honours_not_after
        self._tell_claim(Check.NOT_AFTER, claimed=claimed, claim="HONOURS_NOT_AFTER", detail=detail)

    async def _duplicate_execution(self, question: Question, answer: Recommendation) -> None:
        """Send one paper order twice, at the same time and once more, and count the fills."""
        permit_id, check = self.permit_ids[2], Check.ONE_FILL
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
        check = Check.CAN_BE_ASKED
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
            return f"{NO_ANSWER}: {error}"

    def _tell(self, check: Check, result: Result, detail: str) -> None:
        self.findings.append(Finding(check, result, detail))

    def _tell_claim(self, check: Check, *, claimed: bool, claim: str, detail: str) -> None:
        """Tell of a capability that the engine lacks: refuted only when its settings claim it."""
        setting = f"ENGINE_{self.settings.name}_{claim}"
        if claimed:
            self._tell(check, Result.REFUTED, f"{detail}. {setting} is true and must not be.")
        else:
            self._tell(check, Result.NOT_CHECKED, f"{detail}. Not claimed; leave {setting} unset.")


@dataclass(frozen=True, slots=True)
class Trial:
    """What will be asked and ordered, under keys of its own, so that they can be told from real ones beforehand."""

    questions: Sequence[Question]
    permit_ids: Sequence[UUID]

    @property
    def ids(self) -> list[UUID]:
        return [question.experiment_id for question in self.questions] + list(self.permit_ids)


def make_trial() -> Trial:
    """Return up to 30 questions about sample alerts, and the keys of four paper orders."""
    return Trial(list(islice(questions(), MOST_QUESTIONS)), [new_key() for _ in range(MOST_ORDERS)])


async def check_engine(settings: EngineSettings, trial: Trial, *, must_say_paper: bool = False) -> list[Finding]:
    """Run all checks against a running engine.

    It is asked about up to 30 sample alerts and sent paper orders, one of which it shall fill.

    :param must_say_paper: stop before the first order unless the engine's health says that it is in paper mode.
    :raises UnusableEngine: when the settings name a Python object that cannot be made.
    """
    engine = connect(settings)
    try:
        check = EngineCheck(settings, engine, trial.questions, trial.permit_ids, must_say_paper=must_say_paper)
        return await check.run()
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


def _says_paper(reply: Reply) -> bool:
    try:
        return read_object(reply.body).get("app_mode") == AppMode.PAPER
    except UnreadableJson:
        return False


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

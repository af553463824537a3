"""The worker against real engines: the same bytes to both, and whatever they answer ends well."""

import json
import time
from hashlib import sha256

import pytest
from django.test import override_settings

from orchestrator.models import (
    EngineCall,
    ExecutionPermit,
    Experiment,
    Incident,
    MarketContext,
    RealTrade,
    Recommendation,
    ShadowTrade,
)
from orchestrator.queue import database_clock
from tests.engine_server import (
    EXECUTE,
    OPEN_SHADOW_TRADE,
    RECOMMEND,
    RECOMMENDATION,
    TERMS,
    Behaviour,
)
from tests.factories import make_signal
from tests.waiting import eventually
from tests.working import Engines, answered, is_settled, states, work_once, working
from webhooks.models import Signal

pytestmark = pytest.mark.django_db(transaction=True)

# The way of the data


@pytest.mark.requirement("1.3", "1.5", "9.1", "9.2", "9.3", "property-3", "property-5", "1.1")
def test_both_engines_get_the_same_bytes_under_the_same_headers_and_their_hash_is_stored(engines: Engines) -> None:
    for number in range(25):
        make_signal(payload={"close": 580 + number / 7, "n\u00f6te": "\u20ac\U0001f600", "deep": {"x": [number, None]}})
    work_once()
    contexts = {str(one.signal.experiment_id): one for one in MarketContext.objects.select_related("signal")}
    seen = {
        name: {request.key: request for request in engine.requests_of(RECOMMEND)} for name, engine in engines.items()
    }
    assert set(seen["A"]) == set(seen["B"]) == set(contexts)
    own = {"host", "webhook-id", "webhook-timestamp", "webhook-signature"}
    for key, context in contexts.items():
        to_a, to_b = seen["A"][key], seen["B"][key]
        assert to_a.body == to_b.body == context.engine_input.encode()
        assert sha256(to_a.body).hexdigest() == context.context_hash
        assert {k: v for k, v in to_a.headers.items() if k not in own} == {
            k: v for k, v in to_b.headers.items() if k not in own
        }
        assert to_a.is_signed
        assert to_b.is_signed
        assert (
            context.signal.experiment_id == EngineCall.objects.filter(input_hash=context.context_hash)[0].experiment_id
        )
    assert len(engines["A"].requests_of(RECOMMEND)) == len(engines["B"].requests_of(RECOMMEND)) == 25


@pytest.mark.requirement("1.3", "1.4", "property-3", "property-4")
def test_an_engine_that_alters_its_copy_harms_nobody_but_itself(engines: Engines) -> None:
    engines["A"].always(RECOMMEND, Behaviour(alters_its_copy=True))
    signals = [make_signal() for _ in range(5)]
    before = list(Signal.objects.order_by("pk").values("pk", "raw_body", "raw_payload", "direction", "signal_hash"))
    work_once()
    for request in engines["B"].requests_of(RECOMMEND):
        assert request.json["signal"]["direction"] == "long"
        context = MarketContext.objects.get(signal__experiment__pk=request.key)
        assert sha256(request.body).hexdigest() == context.context_hash
    assert (answered("A"), answered("B")) == (0, 5)
    assert states() == {"A": {"FAILED"}, "B": {"ANSWERED"}}
    assert list(Incident.objects.values_list("kind", flat=True)) == ["INPUT_HASH_MISMATCH"] * 5
    assert RealTrade.objects.count() == 0
    after = list(Signal.objects.order_by("pk").values("pk", "raw_body", "raw_payload", "direction", "signal_hash"))
    assert after == before
    assert len(signals) == 5


@pytest.mark.requirement("3.2", "3.5", "property-10", "property-12", "4.1")
def test_a_signal_goes_all_the_way_to_one_real_trade_its_twin_and_its_shadow(engines: Engines) -> None:
    make_signal()
    work_once()
    experiment = Experiment.objects.get()
    trade, permit = RealTrade.objects.get(), ExecutionPermit.objects.get()
    assert (trade.engine, trade.authorised, trade.permit_id, permit.state) == ("A", True, permit.pk, "EXECUTED")
    assert engines["A"].executions == [str(permit.pk)]
    assert engines["B"].executions == []
    [order] = engines["A"].requests_of(EXECUTE)
    assert order.key == str(permit.pk)
    assert {name: order.json[name] for name in ("permit_id", "experiment_id", "app_mode", "recommendation")} == {
        "permit_id": str(permit.pk),
        "experiment_id": str(experiment.pk),
        "app_mode": "PAPER",
        "recommendation": TERMS,
    }
    assert set(ShadowTrade.objects.values_list("engine", "purpose")) == {("A", "TWIN"), ("B", "SHADOW")}
    [told] = engines["B"].requests_of(OPEN_SHADOW_TRADE)
    shadow = ShadowTrade.objects.get(engine="B")
    assert (told.key, told.json["trade_id"]) == (str(shadow.pk), str(shadow.pk))
    assert engines["A"].requests_of(OPEN_SHADOW_TRADE) == []
    assert all(request.is_signed for engine in engines.values() for request in engine.requests)


@pytest.mark.requirement("6.3", "7.1", "7.3")
def test_no_recommendation_is_asked_twice_and_no_role_is_told_before_it_is_in(engines: Engines) -> None:
    for _ in range(4):
        make_signal()
    work_once()
    for engine in engines.values():
        keys = [request.key for request in engine.requests_of(RECOMMEND)]
        assert len(keys) == len(set(keys)) == 4
        for request in engine.requests_of(RECOMMEND):
            words = set(json.dumps([request.json, dict(request.headers)]).lower().replace('"', " ").split())
            assert not words & {"shadow", "primary", "executed", "variant", "twin", "engine_a_primary", "paper"}


# What an engine may do


def test_what_may_pass_is_tried_again_until_it_is_answered(engines: Engines) -> None:
    failures = [
        Behaviour(status=500),
        Behaviour(status=502),
        Behaviour(status=503),
        Behaviour(reset=True),
        Behaviour(reset_before_work=True),
        Behaviour(cut=True),
        Behaviour(not_http=True),
    ]
    engines["A"].will(RECOMMEND, *failures)
    for _ in failures:
        make_signal()
    with working():
        eventually(is_settled)
    asked = engines["A"].requests_of(RECOMMEND)
    assert len(asked) == 2 * len(failures)
    assert len({request.body for request in asked}) == len({request.key for request in asked}) == len(failures)
    assert len(engines["B"].requests_of(RECOMMEND)) == len(failures)
    assert RealTrade.objects.count() == len(failures)
    assert set(EngineCall.objects.filter(kind="RECOMMENDATION").values_list("engine", "attempts")) == {
        ("A", 2),
        ("B", 1),
    }


def test_what_never_passes_is_failed_at_the_deadline(engines: Engines) -> None:
    engines["A"].always(RECOMMEND, Behaviour(status=503))
    make_signal()
    with override_settings(RECOMMENDATION_DEADLINE_SECONDS=1.2), working():
        eventually(lambda: states() == {"A": {"FAILED"}, "B": {"ANSWERED"}}, seconds=5)
    call = EngineCall.objects.get(engine="A")
    assert call.error.startswith("no answer before the deadline; last: status 503")
    assert call.attempts >= 2


def test_a_request_never_lasts_beyond_the_deadline(engines: Engines) -> None:
    engines["A"].always(RECOMMEND, Behaviour(delay_seconds=30))
    make_signal()
    began = time.monotonic()
    with override_settings(RECOMMENDATION_DEADLINE_SECONDS=1), working():
        eventually(lambda: states()["A"] == {"FAILED"}, seconds=4)
    assert time.monotonic() - began < 4


def test_an_answer_that_cannot_be_used_is_a_failure_and_never_a_pass(engines: Engines) -> None:
    unusable = [
        (Behaviour(status=400), "status 400"),
        (Behaviour(status=422, body="no such symbol"), "no such symbol"),
        (Behaviour(status=307, headers={"Location": "/recommendations"}), "status 307"),
        (Behaviour(body="I would buy."), "cannot be read"),
        (Behaviour(body='{"recommendation":null,"recommendation":{}}'), "names a key twice"),
        (Behaviour(body='{"a":' * 20_000), "nested deeper"),
        (Behaviour(body="\udcff"), "UTF-8"),
        (Behaviour(body="x" * 1_100_000), "longer than"),
        (Behaviour(changes={"experiment_id": "0192f0a0-0000-83a8-a210-8b9158f818d1"}), "the question was about"),
        (Behaviour(recommendation={"quantity": "-2"}), "quantity is '-2'"),
        (Behaviour(recommendation={"entry_price": "NaN"}), "entry_price is 'NaN'"),
        (Behaviour(recommendation={"action": "PASS"}), "action is 'PASS'"),
        (Behaviour(passes=" "), "needs a reason"),
    ]
    engines["A"].will(RECOMMEND, *(behaviour for behaviour, _ in unusable))
    for _ in unusable:
        make_signal()
    work_once()
    assert states() == {"A": {"FAILED"}, "B": {"ANSWERED"}}
    asked = engines["A"].requests_of(RECOMMEND)
    for request, (_, error) in zip(asked, unusable, strict=True):
        assert error in EngineCall.objects.get(engine="A", experiment_id=request.key).error
    assert (answered("A"), answered("B")) == (0, len(unusable))
    assert RealTrade.objects.count() == ExecutionPermit.objects.count() == Incident.objects.count() == 0
    assert set(ShadowTrade.objects.values_list("engine", "purpose")) == {("B", "SHADOW")}


def test_an_engine_that_accepts_is_asked_until_it_answers(engines: Engines) -> None:
    engines["A"].will(RECOMMEND, Behaviour(status=202))
    engines["A"].will(RECOMMENDATION, Behaviour(status=202))
    make_signal()
    with working():
        engines["A"].wait_for(RECOMMEND)
        for asked in (1, 2):
            EngineCall.objects.filter(state="ACCEPTED").update(next_attempt_at=database_clock())
            eventually(lambda: EngineCall.objects.filter(state="ACCEPTED").exists() or answered("A"))
            EngineCall.objects.filter(state="ACCEPTED").update(next_attempt_at=database_clock())
            engines["A"].wait_for(RECOMMENDATION, count=asked)
        eventually(is_settled)
    assert len(engines["A"].requests_of(RECOMMEND)) == 1
    assert all(request.path.endswith(request.key) for request in engines["A"].requests_of(RECOMMENDATION))
    assert RealTrade.objects.count() == 1


def test_an_engine_that_passes_has_decided(engines: Engines) -> None:
    engines["A"].always(RECOMMEND, Behaviour(passes="nothing to gain"))
    make_signal()
    work_once()
    assert Recommendation.objects.get(engine="A").action == "PASS"
    assert Recommendation.objects.get(engine="A").reason == "nothing to gain"
    assert set(ShadowTrade.objects.values_list("engine", "purpose")) == {("B", "SHADOW")}

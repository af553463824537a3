"""Who leads, at which price a follower leaves, and what an exit must say: every combination, without a database."""

from decimal import Decimal
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.recommendation import Contract
from orchestrator.domain.transitions import UNSETTLED_PERMITS
from orchestrator.domain.vocabulary import Engine, PermitState
from outcomes.domain.exits import (
    Lead,
    Standing,
    Undecided,
    UnreadableExit,
    follower_price,
    lead_of,
    read_exit,
    read_exit_price,
)

A, B = Engine.A, Engine.B
SIDES = ("followed", "awaited", "neither")


def standing(
    *,
    variant: Engine = A,
    executed: Engine | None = A,
    permit: PermitState | None = PermitState.EXECUTED,
    a: str = "followed",
    b: str = "followed",
    real: bool = False,
) -> Standing:
    sides = {A: a, B: b}
    return Standing(
        variant=variant,
        executed_engine=executed,
        permit=permit,
        has_real_trade=real,
        followed=[engine for engine in Engine if sides[engine] == "followed"],
        awaited=[engine for engine in Engine if sides[engine] == "awaited"],
    )


def expected_lead(one: Standing) -> Lead | str | None:
    """Say by DESIGN §9, in other words than the code: a lead, None for nobody, or "undecided"."""
    if one.has_real_trade:
        assert one.executed_engine
        return Lead(one.executed_engine, is_real=True)
    may_become_real = one.permit in UNSETTLED_PERMITS or (one.permit is None and one.executed_engine in one.awaited)
    if may_become_real:
        return "undecided"
    first, second = one.variant, one.variant.other
    if first in one.followed:
        return Lead(first, is_real=False)
    if first in one.awaited:
        return "undecided"
    if second in one.followed:
        return Lead(second, is_real=False)
    return "undecided" if second in one.awaited else None


class TestLead:
    @pytest.mark.requirement("4.2", "property-15")
    def test_every_combination(self) -> None:
        seen = 0
        for variant, executed, permit, a, b, real in product(
            Engine, (A, B, None), (None, *PermitState), SIDES, SIDES, (False, True)
        ):
            if real and (executed is None or permit is not PermitState.EXECUTED):
                continue  # an authorised trade has its permit
            one = standing(variant=variant, executed=executed, permit=permit, a=a, b=b, real=real)
            try:
                found: Lead | str | None = lead_of(one)
            except Undecided:
                found = "undecided"
            assert found == expected_lead(one), one
            seen += 1
        assert seen == 2 * 3 * 7 * 9 + 2 * 2 * 9  # without a real trade, and with one

    @pytest.mark.parametrize("permit", sorted(UNSETTLED_PERMITS))
    def test_nobody_leads_while_a_real_trade_may_come(self, permit: PermitState) -> None:
        with pytest.raises(Undecided, match=permit.value):
            lead_of(standing(permit=permit))

    @pytest.mark.parametrize("permit", [PermitState.NOT_EXECUTED, PermitState.VOID])
    @pytest.mark.parametrize("variant", Engine)
    def test_a_twin_counts_as_a_shadow_trade_when_nothing_was_executed(
        self, permit: PermitState, variant: Engine
    ) -> None:
        assert lead_of(standing(permit=permit, variant=variant)) == Lead(variant, is_real=False)
        assert lead_of(standing(permit=permit, variant=B, a="followed", b="neither")) == Lead(A, is_real=False)

    @pytest.mark.parametrize("variant", Engine)
    def test_under_shadow_only_the_only_open_leads_whatever_the_variant(self, variant: Engine) -> None:
        assert lead_of(standing(executed=None, permit=None, variant=variant, a="neither")) == Lead(B, is_real=False)
        assert lead_of(standing(executed=None, permit=None, variant=variant, b="neither")) == Lead(A, is_real=False)


def contract(option_symbol: str | None = None, *, kind: str = "option", symbol: str = "SPY") -> Contract:
    return Contract(kind, symbol, option_symbol, Decimal(100), None)


CALL, PUT = "SPY260320C00590000", "SPY260320P00590000"


class TestFollowerPrice:
    @pytest.mark.parametrize(
        ("follower", "lead", "same"),
        [
            (contract(CALL), contract(CALL), True),
            (contract(CALL), contract(PUT), False),
            (contract(CALL, symbol="SPY"), contract(CALL, symbol="SPX"), True),
            (contract(kind="stock"), contract(kind="stock"), True),
            (contract(kind="stock"), contract(kind="stock", symbol="QQQ"), False),
            (contract(kind="stock"), contract(kind="future"), False),
            (contract(kind="stock"), contract(CALL), False),
        ],
    )
    def test_the_same_contract_leaves_at_the_leads_price(self, follower: Contract, lead: Contract, same: bool) -> None:
        found = follower_price(follower, lead=lead, lead_price=Decimal("5.10"), market_conditions={})
        assert found == (Decimal("5.10") if same else None)

    @pytest.mark.parametrize(
        ("quote", "price"),
        [
            ({"bid": "5.00", "ask": "5.20", "last": "9"}, "5.10"),
            ({"bid": 5, "ask": 5.25}, "5.125"),
            ({"bid": "0", "ask": "0.05"}, "0.025"),
            ({"bid": "0.00000001", "ask": "0.00000002"}, "0.00000002"),
            ({"bid": "5.00", "ask": None, "last": "5.10"}, None),
            ({"bid": None, "ask": "5.20"}, None),
            ({"ask": "5.20"}, None),
            ({"last": "5.10"}, None),
            ({"bid": "NaN", "ask": "5.20"}, None),
            ({"bid": "-1", "ask": "5.20"}, None),
            ({"bid": True, "ask": "5.20"}, None),
            ({"bid": [5], "ask": "5.20"}, None),
            ("5.10", None),
            (None, None),
        ],
    )
    def test_another_contract_leaves_at_the_mid_of_its_own_quote_and_needs_both_sides(
        self, quote: Any, price: str | None
    ) -> None:
        conditions = {"underlying_price": "590", "quotes": {PUT: quote, CALL: {"bid": "1", "ask": "1"}}}
        found = follower_price(contract(PUT), lead=contract(CALL), lead_price=Decimal(7), market_conditions=conditions)
        assert found == (None if price is None else Decimal(price))

    @pytest.mark.parametrize("conditions", [{}, {"quotes": None}, {"quotes": []}, {"quotes": {CALL: {}}}])
    def test_a_price_is_never_invented(self, conditions: dict[str, Any]) -> None:
        found = follower_price(contract(PUT), lead=contract(CALL), lead_price=Decimal(7), market_conditions=conditions)
        assert found is None

    def test_what_is_no_option_is_quoted_under_its_symbol(self) -> None:
        found = follower_price(
            contract(kind="stock"),
            lead=contract(CALL),
            lead_price=Decimal(7),
            market_conditions={"quotes": {"SPY": {"bid": "589", "ask": "590"}}},
        )
        assert found == Decimal("589.5")


EXIT = {
    "experiment_id": "0192f0a0-0000-83a8-a210-8b9158f818d1",
    "trade": {"external_id": "order-7"},
    "exit_price": "5.10",
    "exit_time": "2026-03-02T15:00:00.000000Z",
    "exit_reason": "target",
    "fees": "1.30",
    "market_conditions": {"underlying_price": "590.10", "quotes": {}},
}


class TestReadingAnExit:
    def test_a_whole_one(self) -> None:
        left = read_exit(EXIT)
        assert (left.external_id, left.price, left.fees, left.reason) == (
            "order-7",
            Decimal("5.10"),
            Decimal("1.30"),
            "target",
        )
        assert left.time.isoformat() == "2026-03-02T15:00:00+00:00"
        assert left.market_conditions == EXIT["market_conditions"]

    def test_what_may_be_absent(self) -> None:
        left = read_exit({"exit_price": 5, "exit_time": EXIT["exit_time"], "exit_reason": "stop", "trade": None})
        assert (left.external_id, left.fees, left.market_conditions) == (None, Decimal(0), {})

    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            ({"exit_price": None}, "exit_price"),
            ({"exit_price": "NaN"}, "exit_price"),
            ({"exit_price": "Infinity"}, "exit_price"),
            ({"exit_price": "-0.01"}, "exit_price"),
            ({"exit_price": "1e12"}, "exit_price"),
            ({"exit_price": "999999999999.999999999"}, "exit_price"),
            ({"exit_price": True}, "exit_price"),
            ({"exit_price": "five"}, "exit_price"),
            ({"exit_price": "1_0"}, "exit_price"),
            ({"exit_time": None}, "exit_time"),
            ({"exit_time": "2026-03-02T15:00:00"}, "zone"),
            ({"exit_time": 1772463600}, "exit_time"),
            ({"exit_time": "9999-12-31T23:59:59-23:00"}, "exit_time"),
            ({"exit_reason": None}, "exit_reason"),
            ({"exit_reason": "  "}, "exit_reason"),
            ({"exit_reason": "x" * 201}, "exit_reason"),
            ({"fees": "a few"}, "fees"),
            ({"fees": ""}, "fees"),
            ({"fees": []}, "fees"),
            ({"trade": "order-7"}, "trade"),
            ({"trade": {}}, "external_id"),
            ({"trade": {"external_id": None}}, "external_id"),
            ({"trade": {"external_id": 7}}, "external_id"),
            ({"market_conditions": []}, "market_conditions"),
            ({"market_conditions": "calm"}, "market_conditions"),
        ],
    )
    def test_what_cannot_be_used_is_named(self, changes: dict[str, Any], said: str) -> None:
        with pytest.raises(UnreadableExit, match=said):
            read_exit(EXIT | changes)

    @given(
        st.dictionaries(
            st.sampled_from(sorted(EXIT)),
            st.recursive(
                st.none() | st.booleans() | st.integers() | st.text(max_size=30) | st.decimals(),
                lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
                max_leaves=4,
            ),
        )
    )
    def test_anything_is_read_or_refused_and_what_is_read_can_be_used(self, changes: dict[str, Any]) -> None:
        try:
            left = read_exit(EXIT | changes)
        except UnreadableExit:
            return
        assert left.price >= 0
        assert left.time.tzinfo is not None

    @pytest.mark.parametrize(
        ("response", "price"),
        [
            ('{"exit_price": "5.10"}', "5.10"),
            ('{"exit_price": 5.1, "more": 1}', "5.10"),
            ('{"exit_price": null}', None),
            ('{"exit_price": "-5"}', None),
            ('{"exit_price": NaN}', None),
            ("{}", None),
            ("", None),
            ("<html>", None),
        ],
    )
    def test_the_price_that_an_engine_answers(self, response: str, price: str | None) -> None:
        assert read_exit_price(response) == (None if price is None else Decimal(price))

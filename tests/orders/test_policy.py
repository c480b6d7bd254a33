"""What passes, what people look at, and what is stopped."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from orders.policy import DISPOSABLE_MAIL, Facts, Ruling, judge, risk_parts

# An order of which there is nothing to say.
CALM = Facts(
    amount=Decimal("99.00"),
    currency="EUR",
    customer_email="ann.lee@example.com",
    is_first_order=False,
    orders_in_last_hour=0,
    most_of_one_product=1,
    has_street=True,
)


def _codes(facts: Facts, *, review_everything: bool = False) -> list[str]:
    return [reason.code for reason in judge(facts, review_everything=review_everything).reasons]


def test_an_ordinary_order_passes_without_a_reason() -> None:
    verdict = judge(CALM)

    assert (verdict.ruling, verdict.reasons, verdict.risk_score) == (Ruling.PASS, (), 0.0)


@pytest.mark.parametrize(
    ("amount", "ruling"), [("999.99", Ruling.PASS), ("1000.00", Ruling.REVIEW), ("1000.01", Ruling.REVIEW)]
)
def test_people_look_at_amounts_from_a_thousand_on(amount: str, ruling: Ruling) -> None:
    verdict = judge(replace(CALM, amount=Decimal(amount)))

    assert verdict.ruling == ruling
    if ruling == Ruling.REVIEW:
        assert [reason.text for reason in verdict.reasons] == ["€1,000 or more"]


@pytest.mark.parametrize(("amount", "ruling"), [("250.00", Ruling.PASS), ("250.01", Ruling.REVIEW)])
def test_people_look_at_a_first_order_over_the_limit_for_first_orders(amount: str, ruling: Ruling) -> None:
    verdict = judge(replace(CALM, amount=Decimal(amount), is_first_order=True))

    assert verdict.ruling == ruling
    assert [reason.code for reason in verdict.reasons] == (["first_order"] if ruling == Ruling.REVIEW else [])


def test_a_known_customer_is_free_up_to_a_thousand() -> None:
    assert judge(replace(CALM, amount=Decimal("999.99"))).ruling == Ruling.PASS


def test_all_reasons_are_given_not_only_the_first() -> None:
    facts = replace(CALM, amount=Decimal(1_500), is_first_order=True, customer_email="x@mailinator.com")

    assert _codes(facts) == ["high_amount", "high_risk", "first_order"]


RISKS: dict[str, dict[str, Any]] = {
    "first order": {"is_first_order": True},
    "disposable mailbox": {"customer_email": "who@MAILINATOR.com"},
    "no e-mail address": {"customer_email": ""},
    "no street": {"has_street": False},
    "€500 or more": {"amount": Decimal("500.00")},
    "24 or more of one product": {"most_of_one_product": 24},
    "3 or more orders in an hour": {"orders_in_last_hour": 3},
}


@pytest.mark.parametrize("risk", RISKS)
def test_each_risk_counts_by_itself_and_none_alone_needs_a_person(risk: str) -> None:
    facts = replace(CALM, **RISKS[risk])

    assert [part.text for part in risk_parts(facts)] == [risk]
    assert judge(facts).ruling == Ruling.PASS


@pytest.mark.parametrize(
    "almost",
    [{"amount": Decimal("499.99")}, {"most_of_one_product": 23}, {"orders_in_last_hour": 2}],
)
def test_what_stays_below_its_mark_is_no_risk(almost: dict[str, Any]) -> None:
    assert risk_parts(replace(CALM, **almost)) == ()


def test_a_risk_above_the_limit_goes_to_people_with_its_parts_told() -> None:
    facts = replace(CALM, is_first_order=True, customer_email="a@yopmail.com", orders_in_last_hour=5)

    verdict = judge(facts)

    assert (verdict.ruling, verdict.risk_score) == (Ruling.REVIEW, 1.0)
    assert [reason.text for reason in verdict.reasons] == [
        "Risk 1.00: first order, disposable mailbox, 3 or more orders in an hour"
    ]


def test_a_risk_of_exactly_the_limit_passes() -> None:
    facts = replace(
        CALM, customer_email="", has_street=False, amount=Decimal(500), most_of_one_product=30, is_first_order=True
    )

    verdict = judge(facts)

    assert verdict.risk_score == 0.8
    assert [reason.code for reason in verdict.reasons] == ["first_order"]


def test_the_score_never_leaves_its_range() -> None:
    worst = Facts(Decimal(10**9), "EUR", f"a@{min(DISPOSABLE_MAIL)}", True, 99, 99, False)

    assert judge(worst).risk_score == 1.0


def test_forbidden_goods_are_stopped_before_anything_else_is_asked() -> None:
    facts = replace(CALM, amount=Decimal(5_000), forbidden=(("KNIFE", "weapons"), ("ACID", "it burns")))

    verdict = judge(facts, review_everything=True)

    assert verdict.ruling == Ruling.BLOCK
    assert [reason.text for reason in verdict.reasons] == [
        "KNIFE may not be sold: weapons",
        "ACID may not be sold: it burns",
    ]


@pytest.mark.parametrize(
    ("currency", "said"),
    [
        ("GBP", ["£1,000 or more", "First order, over £250"]),
        ("JPY", ["¥1,000 or more", "First order, over ¥250"]),
        ("CHF", ["CHF\N{NO-BREAK SPACE}1,000 or more", "First order, over CHF\N{NO-BREAK SPACE}250"]),
    ],
)
def test_money_is_written_as_the_amounts_beside_it(currency: str, said: list[str]) -> None:
    facts = replace(CALM, amount=Decimal(2_000), currency=currency, is_first_order=True)

    assert [reason.text for reason in judge(facts).reasons] == said


def test_a_setting_sends_every_order_to_people() -> None:
    assert _codes(CALM, review_everything=True) == ["every_order"]


def test_that_setting_adds_nothing_where_there_is_a_reason_already() -> None:
    assert _codes(replace(CALM, amount=Decimal(2_000)), review_everything=True) == ["high_amount"]

"""The fraud check's answer, and what it does to an approved order."""

from datetime import UTC, datetime

import pytest
from django.contrib.auth.models import User
from pytest_django.fixtures import Settings

from orders import timeline
from orders.models import Order
from orders.services import fulfilling, reviewing, screening, undoing
from orders.services.actors import Actor
from orders.states import Status
from tests.conftest import PlaceOrder


@pytest.fixture
def order(place: PlaceOrder, as_alice: Actor) -> Order:
    """An approved order of 1,200.00 EUR."""
    order = place()
    now = datetime.now(UTC)
    reviewing.receive_order(order_id=order.pk, at=now)
    reviewing.validate_order(order_id=order.pk, at=now)
    reviewing.approve(order_id=order.pk, actor=as_alice, at=now)
    order.refresh_from_db()
    return order


def record(order: Order, score: float, reason: str = "") -> None:
    screening.record_fraud_check(order_id=order.pk, score=score, reason=reason, at=datetime.now(UTC))
    order.refresh_from_db()


def record_none(order: Order) -> None:
    screening.record_no_fraud_answer(order_id=order.pk, error="the check is away", at=datetime.now(UTC))
    order.refresh_from_db()


def last_told(order: Order) -> tuple[str, str]:
    entry = timeline.tell(order.events.order_by("-sequence")[0])
    return entry.title, entry.detail


def test_it_asks_once_with_the_orders_own_key(order: Order) -> None:
    question = screening.begin_fraud_check(order_id=order.pk)

    assert question == screening.Question(Status.APPROVED, f"order-{order.pk}:fraud", 120_000, "EUR", "DE")

    record(order, 0.1)
    assert screening.begin_fraud_check(order_id=order.pk) == screening.Question(Status.APPROVED)


def test_it_asks_nothing_of_an_order_that_is_not_approved(order_in_review: Order) -> None:
    assert screening.begin_fraud_check(order_id=order_in_review.pk) == screening.Question(Status.IN_REVIEW)


def test_a_score_at_the_limit_lets_the_order_go_on(order: Order) -> None:
    record(order, 0.9, "a new customer")

    assert order.status == "approved"
    assert last_told(order) == ("Checked for fraud", "score 0.90 · a new customer")


def test_a_score_over_the_limit_fails_the_order_in_plain_words(order: Order) -> None:
    record(order, 0.97, "the card was reported stolen")

    assert order.status == "compensating"
    assert order.outcome == (
        "Looks like fraud, with a score of 0.97 where 0.90 is the limit: the card was reported stolen."
    )
    assert [event.type for event in order.events.order_by("sequence")][-2:] == ["fraud_check", "fail"]


def test_the_limit_is_a_setting(order: Order, settings: Settings) -> None:
    settings.FRAUD_LIMIT = 0.5

    record(order, 0.6)

    assert order.outcome == "Looks like fraud, with a score of 0.60 where 0.50 is the limit."


def test_the_first_answer_stands(order: Order) -> None:
    record(order, 0.1)
    record(order, 0.99)
    record_none(order)

    assert order.status == "approved"
    assert order.events.filter(type__startswith="fraud").count() == 1


def test_no_answer_lets_the_approval_stand_and_says_so(order: Order) -> None:
    record_none(order)

    assert order.status == "approved"
    assert last_told(order) == ("The fraud check gave no answer; the approval stands", "the check is away")
    assert screening.begin_fraud_check(order_id=order.pk).key == ""


def test_no_answer_fails_the_order_where_the_setting_says_so(order: Order, settings: Settings) -> None:
    settings.FRAUD_UNANSWERED = "fail"

    record_none(order)

    assert order.status == "compensating"
    assert order.outcome == "The fraud check could not be asked: the check is away."


@pytest.mark.parametrize("answer", [lambda order: record(order, 0.99), record_none])
def test_an_answer_that_comes_after_a_cancel_changes_nothing(order: Order, alice: User, answer) -> None:  # type: ignore[no-untyped-def]
    undoing.cancel(order_id=order.pk, actor=Actor.operator(alice), at=datetime.now(UTC), reason="Ordered twice")

    answer(order)

    order.refresh_from_db()
    assert order.status == "cancelled"
    assert not order.events.filter(type__startswith="fraud").exists()


def test_an_answer_that_comes_after_the_next_step_changes_nothing(order: Order) -> None:
    fulfilling.reserve_stock(order_id=order.pk, at=datetime.now(UTC))

    record(order, 0.99)

    assert order.status == "reserved"

"""Orders that stand still, as the rows alone tell it, and how leads hear of them."""

from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from pytest_django import DjangoAssertNumQueries

from orders import stuck
from orders.models import Order, Outbox, Review
from orders.services import attending, fulfilling, paying, reviewing, undoing
from orders.services.actors import SYSTEM, Actor
from orders.services.transitions import ActionRefused
from orders.stuck import Why
from tests.conftest import PlaceOrder
from tests.orders.conftest import SignedIn

NOW = datetime.now(UTC)
LATER = NOW + timedelta(hours=1)


def reasons(at: datetime = LATER) -> dict[str, Why]:
    return {one.number: one.why for one in stuck.from_rows(at=at)}


def delivered() -> None:
    Outbox.objects.update(delivered_at=NOW)


def charging(order: Order, actor: Actor) -> Order:
    reviewing.approve(order_id=order.pk, actor=actor, at=NOW)
    fulfilling.reserve_stock(order_id=order.pk, at=NOW)
    paying.begin_charge(order_id=order.pk, at=NOW)
    delivered()
    return order


def test_one_that_temporal_has_not_been_told_of_for_long_stands_still(place: PlaceOrder) -> None:
    order = place()
    Outbox.objects.update(last_error="RPCError: no such namespace")

    [found] = stuck.from_rows(at=LATER)

    assert (found.number, found.why, found.since) == (order.number, Why.UNDELIVERED, order.placed_at)
    assert "no such namespace" in found.told
    assert reasons(NOW) == {}


def test_one_in_review_with_time_left_does_not(order_in_review: Order) -> None:
    delivered()

    assert reasons() == {}


def test_one_whose_deadline_passed_without_effect_does(order_in_review: Order) -> None:
    delivered()

    assert reasons(NOW + timedelta(days=2)) == {order_in_review.number: Why.OVERDUE}


def test_one_that_waits_for_people_whom_nobody_asks_does(order_in_review: Order) -> None:
    delivered()
    Review.objects.all().delete()

    assert reasons() == {order_in_review.number: Why.UNASKED}


def test_one_that_nothing_was_heard_of_for_long_does(order_in_review: Order, as_alice: Actor) -> None:
    charging(order_in_review, as_alice)

    [found] = stuck.from_rows(at=LATER)

    assert (found.why, found.told) == (Why.SILENT, "Charging the card: nothing has happened since.")
    assert found.number in found.to_do
    assert reasons(NOW + timedelta(minutes=5)) == {}


@pytest.mark.parametrize(("attempt", "said"), [(3, {}), (20, {"CS": Why.RETRIED})])
def test_one_that_waits_for_its_next_try_does_after_many(
    order_in_review: Order, as_alice: Actor, attempt: int, said: dict[str, Why]
) -> None:
    order = charging(order_in_review, as_alice)
    undoing.cancel(order_id=order.pk, actor=as_alice, at=NOW, reason="")
    delivered()
    undoing.note_undo_trouble(
        order_id=order.pk, entry="refund payment", attempt=attempt, error="The bank is closed.", at=NOW
    )

    found = stuck.from_rows(at=NOW + timedelta(seconds=1))

    assert [one.why for one in found] == list(said.values())
    assert all("21st try: the bank is closed." in one.told for one in found)


def test_one_that_has_ended_never_does(expired_order: Order) -> None:
    delivered()

    assert reasons(NOW + timedelta(days=400)) == {}


@pytest.fixture
def at_the_leads(lead: User, signed_in: SignedIn) -> Client:
    return signed_in(lead)


def test_leads_are_told_above_the_queue(
    at_the_leads: Client, at_alices: Client, order_in_review: Order, as_bob: Actor
) -> None:
    charging(order_in_review, as_bob)
    long_ago(order_in_review)

    queue = reverse("orders:queue")
    said, unsaid = at_the_leads.get(queue).content.decode(), at_alices.get(queue).content.decode()

    assert "An order stands still." in said
    assert "Charging the card: nothing has happened since." in said
    assert "stands still" not in unsaid


def long_ago(order: Order) -> None:
    """An event of two hours ago, as the last one: events cannot be changed."""
    Order.objects.filter(pk=order.pk).update(version=order.version + 9)
    order.events.create(
        sequence=order.version + 9, type="note", actor_kind="system", actor="x", at=NOW - timedelta(hours=2)
    )


def test_it_is_asked_for_in_a_fixed_number_of_queries(
    order_in_review: Order, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    with django_assert_max_num_queries(7):
        stuck.from_rows(at=LATER)


def test_starting_again_tells_the_engine_and_changes_nothing_else(order_in_review: Order) -> None:
    attending.start_again(order_id=order_in_review.pk, actor=SYSTEM, at=NOW)

    order_in_review.refresh_from_db()
    last = order_in_review.events.order_by("-sequence")[0]
    assert (order_in_review.status, last.type, last.sequence) == ("in_review", "start_again", order_in_review.version)
    assert Outbox.objects.order_by("-id")[0].message == "start_again"


def test_one_that_has_ended_cannot_be_started_again(expired_order: Order) -> None:
    with pytest.raises(ActionRefused, match="there is nothing to carry on"):
        attending.start_again(order_id=expired_order.pk, actor=SYSTEM, at=NOW)

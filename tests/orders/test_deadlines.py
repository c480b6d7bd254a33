"""Reminder, extension and escalation of a review, as the row has them; and the form that gives more time."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from orders.models import Order, Outbox, Review
from orders.services import reviewing
from orders.services.actors import Actor, NotPermitted
from orders.services.reviewing import AlreadyDecided, DeadlineRefused
from orders.services.transitions import ActionRefused
from tests.conftest import PlaceOrder
from tests.orders.conftest import SignedIn

HOUR = timedelta(hours=1)


@pytest.fixture
def as_lead(lead: User) -> Actor:
    return Actor.operator(lead)


def types(order: Order) -> list[str]:
    return list(order.events.order_by("sequence").values_list("type", flat=True))


def test_it_reminds_once_when_four_fifths_of_the_time_have_passed(order_in_review: Order) -> None:
    review = order_in_review.reviews.get()
    remind_at = review.opened_at + 0.8 * (review.due_at - review.opened_at)

    before = reviewing.settle_review(order_id=order_in_review.pk, at=remind_at - timedelta(seconds=1))
    then = reviewing.settle_review(order_id=order_in_review.pk, at=remind_at)
    again = reviewing.settle_review(order_id=order_in_review.pk, at=remind_at + HOUR)

    assert (before.remind_at, then.remind_at, again.remind_at) == (remind_at, None, None)
    assert types(order_in_review).count("remind") == 1


def test_a_reminder_does_not_begin_the_status_anew(order_in_review: Order) -> None:
    since = order_in_review.status_at

    reviewing.settle_review(order_id=order_in_review.pk, at=order_in_review.reviews.get().due_at - HOUR)

    order_in_review.refresh_from_db()
    assert order_in_review.status_at == since


def test_an_extension_moves_the_deadline_and_tells_who_and_why(order_in_review: Order, as_lead: Actor) -> None:
    review = order_in_review.reviews.get()
    now = datetime.now(UTC)

    reviewing.extend(
        order_id=order_in_review.pk, actor=as_lead, at=now, due_at=review.due_at + HOUR, reason="Waiting for the bank"
    )

    standing = reviewing.settle_review(order_id=order_in_review.pk, at=review.due_at)
    assert (standing.status, standing.due_at) == ("in_review", review.due_at + HOUR)
    event = order_in_review.events.get(type="extend")
    assert (event.actor, event.payload["note"]) == ("dana", "Waiting for the bank")
    assert datetime.fromisoformat(event.payload["due_before"]) == review.due_at
    assert Outbox.objects.filter(order=order_in_review, message="extend").count() == 1


def test_an_extension_is_refused_to_viewers_without_reason_and_backwards(
    order_in_review: Order, viewer: User, as_lead: Actor
) -> None:
    now, due_at = datetime.now(UTC), order_in_review.reviews.get().due_at

    with pytest.raises(NotPermitted, match="vera may not extend"):
        reviewing.extend(
            order_id=order_in_review.pk, actor=Actor.operator(viewer), at=now, due_at=due_at + HOUR, reason="x"
        )
    with pytest.raises(ActionRefused, match="Give a reason"):
        reviewing.extend(order_id=order_in_review.pk, actor=as_lead, at=now, due_at=due_at + HOUR, reason=" ")
    for wrong in (due_at, due_at - HOUR, now + timedelta(days=400)):
        with pytest.raises(ActionRefused, match="later than the present one"):
            reviewing.extend(order_id=order_in_review.pk, actor=as_lead, at=now, due_at=wrong, reason="x")

    assert order_in_review.reviews.get().due_at == due_at
    assert "extend" not in types(order_in_review)


def test_an_operator_gives_four_hours_once_and_a_lead_more(
    order_in_review: Order, as_alice: Actor, as_bob: Actor, as_lead: Actor
) -> None:
    now, due_at = datetime.now(UTC), order_in_review.reviews.get().due_at
    later = now + HOUR  # alice has it in hand no more

    with pytest.raises(DeadlineRefused, match="4 h 00 min more at most: ask a lead"):
        reviewing.extend(order_id=order_in_review.pk, actor=as_alice, at=now, due_at=due_at + 5 * HOUR, reason="x")
    reviewing.extend(order_id=order_in_review.pk, actor=as_alice, at=now, due_at=due_at + 4 * HOUR, reason="x")
    with pytest.raises(ActionRefused, match="once already: a lead may do so again"):
        reviewing.extend(order_id=order_in_review.pk, actor=as_bob, at=later, due_at=due_at + 5 * HOUR, reason="x")
    reviewing.extend(order_id=order_in_review.pk, actor=as_lead, at=later, due_at=due_at + 50 * HOUR, reason="x")

    assert order_in_review.reviews.get().due_at == due_at + 50 * HOUR
    assert types(order_in_review).count("extend") == 2


def test_what_is_decided_is_not_extended(order_in_review: Order, as_alice: Actor, as_lead: Actor) -> None:
    now, due_at = datetime.now(UTC), order_in_review.reviews.get().due_at
    reviewing.approve(order_id=order_in_review.pk, actor=as_alice, at=now)

    with pytest.raises(AlreadyDecided, match="Already approved by alice"):
        reviewing.extend(order_id=order_in_review.pk, actor=as_lead, at=now, due_at=due_at + HOUR, reason="x")


@pytest.fixture
def escalated(place: PlaceOrder, settings: Settings) -> Order:
    settings.REVIEW_ESCALATES = True
    order, now = place(), datetime.now(UTC)
    reviewing.receive_order(order_id=order.pk, at=now)
    standing = reviewing.validate_order(order_id=order.pk, at=now)
    assert standing.due_at
    reviewing.settle_review(order_id=order.pk, at=standing.due_at)
    return order


def test_an_escalated_review_waits_for_a_lead_with_a_second_deadline(
    escalated: Order, as_alice: Actor, as_lead: Actor
) -> None:
    review, now = escalated.reviews.get(), datetime.now(UTC)
    assert (review.level, review.due_at - review.opened_at) == (Review.Level.LEAD, timedelta(hours=28))

    with pytest.raises(ActionRefused, match="a lead has to decide"):
        reviewing.approve(order_id=escalated.pk, actor=as_alice, at=now)

    assert reviewing.approve(order_id=escalated.pk, actor=as_lead, at=now).status == "approved"


def test_an_escalated_review_that_leads_leave_alone_expires(escalated: Order) -> None:
    standing = reviewing.settle_review(order_id=escalated.pk, at=escalated.reviews.get().due_at)

    assert standing.status == "expired"
    assert types(escalated)[-2:] == ["escalate", "expire"]


class TestForm:
    def post(self, client: Client, order: Order, **form: str) -> int:
        return client.post(reverse("orders:extend", args=[order.pk]), form).status_code

    def test_a_lead_gives_more_time(self, lead: User, signed_in: SignedIn, order_in_review: Order) -> None:
        due_at = order_in_review.reviews.get().due_at

        assert self.post(signed_in(lead), order_in_review, minutes="240", reason="Waiting for the bank") == 302

        assert order_in_review.reviews.get().due_at == due_at + 4 * HOUR

    def test_it_is_not_done_by_looking(self, lead: User, signed_in: SignedIn, order_in_review: Order) -> None:
        assert signed_in(lead).get(reverse("orders:extend", args=[order_in_review.pk])).status_code == 405

    def test_an_operator_gives_four_hours_at_most_and_once(self, at_alices: Client, order_in_review: Order) -> None:
        url = order_in_review.get_absolute_url()
        offered = at_alices.get(url).content.decode().partition('name="minutes"')[2].partition("</select>")[0]
        assert re.findall(r"\d+ \w+(?=</option>)", offered) == ["1 hour", "4 hours"]

        assert self.post(at_alices, order_in_review, minutes="1440", reason="x") == 409
        assert self.post(at_alices, order_in_review, minutes="240", reason="x") == 302

        assert self.post(at_alices, order_in_review, minutes="60", reason="x") == 409
        assert "given more time once already" in at_alices.get(url).content.decode()

    def test_a_viewer_may_not(self, viewer: User, signed_in: SignedIn, order_in_review: Order) -> None:
        assert self.post(signed_in(viewer), order_in_review, minutes="240", reason="x") == 403

    @pytest.mark.parametrize("form", [{"minutes": "7", "reason": "x"}, {"minutes": "60", "reason": " "}, {}])
    def test_what_makes_no_sense_is_told(
        self, lead: User, signed_in: SignedIn, order_in_review: Order, form: dict[str, str]
    ) -> None:
        assert self.post(signed_in(lead), order_in_review, **form) == 422

    def test_after_the_decision_it_is_refused(
        self, lead: User, signed_in: SignedIn, as_alice: Actor, order_in_review: Order
    ) -> None:
        reviewing.approve(order_id=order_in_review.pk, actor=as_alice, at=datetime.now(UTC))

        assert self.post(signed_in(lead), order_in_review, minutes="60", reason="x") == 409

    def test_an_operator_sees_no_buttons_for_what_was_escalated(self, at_alices: Client, escalated: Order) -> None:
        page = at_alices.get(escalated.get_absolute_url()).content.decode()

        assert "Escalated: a lead decides within" in page
        assert reverse("orders:approve", args=[escalated.pk]) not in page

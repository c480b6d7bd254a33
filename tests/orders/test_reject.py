"""POST /orders/<id>/reject/."""

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from orders import timeline
from orders.models import Order, RejectReason
from orders.services import reviewing
from orders.services.actors import Actor
from orders.states import Status
from tests.orders.conftest import SignedIn

FRAUD = {"code": "fraud"}


def url(order: Order) -> str:
    return reverse("orders:reject", args=[order.pk])


def test_it_rejects_with_the_reason(at_alices: Client, order_in_review: Order) -> None:
    answer = at_alices.post(url(order_in_review), FRAUD | {"reason": "Asked twice,\r\nno answer"}, follow=True)

    order_in_review.refresh_from_db()
    assert order_in_review.status == Status.REJECTED
    assert answer.status_code == 200
    assert "Asked twice," in answer.content.decode()


def test_the_same_rejection_twice_reads_as_done(at_alices: Client, order_in_review: Order) -> None:
    at_alices.post(url(order_in_review), FRAUD | {"reason": "Fraud"})

    assert at_alices.post(url(order_in_review), FRAUD | {"reason": "Fraud"}).status_code == 302
    assert order_in_review.events.filter(type="reject").count() == 1


@pytest.mark.parametrize("sent", [{}, {"code": ""}, {"reason": "Only words"}, {"code": "no-such"}])
def test_it_wants_a_reason_of_those_in_use(at_alices: Client, order_in_review: Order, sent: dict[str, str]) -> None:
    answer = at_alices.post(url(order_in_review), sent)

    assert answer.status_code == 422
    page = answer.content.decode()
    assert "Choose a reason." in page or "Choose another." in page
    assert sent.get("reason", "") in page
    order_in_review.refresh_from_db()
    assert order_in_review.status == Status.IN_REVIEW


def test_a_retired_reason_is_no_longer_one(at_alices: Client, order_in_review: Order) -> None:
    RejectReason.objects.filter(code="fraud").update(active=False)

    answer = at_alices.post(url(order_in_review), FRAUD | {"reason": "The card is stolen"})

    assert answer.status_code == 422
    assert "no longer in use" in answer.content.decode()
    assert "The card is stolen</textarea>" in answer.content.decode()


def test_the_order_says_what_it_was_rejected_for(at_alices: Client, order_in_review: Order) -> None:
    at_alices.post(url(order_in_review), FRAUD | {"reason": "The bank called"})

    order_in_review.refresh_from_db()
    assert order_in_review.outcome == "Rejected: Looks like fraud. The bank called"
    event = order_in_review.events.get(type="reject")
    assert (event.payload["code"], event.payload["reason"]) == ("fraud", "Looks like fraud")
    assert timeline.tell(event).detail == "Looks like fraud · “The bank called”"
    assert order_in_review.reviews.get().reject_reason == RejectReason.objects.get(code="fraud")


def test_a_reason_that_is_too_long_comes_back_with_what_was_typed(at_alices: Client, order_in_review: Order) -> None:
    answer = at_alices.post(url(order_in_review), FRAUD | {"reason": "far too long " * 200})

    assert answer.status_code == 422
    assert "under 2,000 characters" in answer.content.decode()
    assert "far too long far too long" in answer.content.decode()


def test_a_reason_that_cannot_be_kept_comes_back_with_what_was_typed(at_alices: Client, order_in_review: Order) -> None:
    answer = at_alices.post(url(order_in_review), FRAUD | {"reason": "bell \x07 rings"})

    assert answer.status_code == 422
    assert "control character" in answer.content.decode()
    assert "bell \x07 rings" in answer.content.decode()
    order_in_review.refresh_from_db()
    assert order_in_review.status == Status.IN_REVIEW


def test_it_is_not_done_by_looking(at_alices: Client, order_in_review: Order) -> None:
    assert at_alices.get(url(order_in_review)).status_code == 405


def test_a_viewer_may_not(viewer: User, signed_in: SignedIn, order_in_review: Order) -> None:
    answer = signed_in(viewer).post(url(order_in_review), FRAUD | {"reason": "Fraud"})

    assert answer.status_code == 403
    order_in_review.refresh_from_db()
    assert order_in_review.status == Status.IN_REVIEW


@pytest.mark.parametrize("where", ["queue", "order"])
def test_who_comes_second_is_told_and_keeps_the_text(
    at_alices: Client, as_bob: Actor, order_in_review: Order, where: str
) -> None:
    reviewing.approve(order_id=order_in_review.pk, actor=as_bob, at=timezone.now())

    answer = at_alices.post(
        url(order_in_review),
        FRAUD | {"reason": "A long and careful text"},
        headers={"HX-Request": "true", "HX-Target": f"{where}-{order_in_review.pk}"},
    )

    assert answer.status_code == 409
    body = answer.content.decode()
    assert "Approved by bob" in body
    assert "your rejection was not carried out" in body
    assert "A long and careful text</textarea>" in body


def test_what_was_typed_is_text_and_never_markup(at_alices: Client, order_in_review: Order) -> None:
    at_alices.post(url(order_in_review), FRAUD | {"reason": "<img src=x>"})

    for page in ("/orders/", order_in_review.get_absolute_url()):
        assert "<img" not in at_alices.get(page).content.decode()

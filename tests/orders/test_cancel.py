"""POST /orders/<id>/cancel/."""

from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from orders.models import Order
from orders.services import reviewing, undoing
from orders.services.actors import Actor
from orders.states import Status
from tests.orders.conftest import SignedIn


def url(order: Order) -> str:
    return reverse("orders:cancel", args=[order.pk])


def test_it_cancels_with_or_without_a_reason(at_alices: Client, order_in_review: Order) -> None:
    answer = at_alices.post(url(order_in_review), {"reason": ""}, follow=True)

    order_in_review.refresh_from_db()
    assert order_in_review.status == Status.CANCELLED
    assert "Cancelled by alice" in answer.content.decode()


def test_cancelling_twice_is_harmless(at_alices: Client, order_in_review: Order) -> None:
    at_alices.post(url(order_in_review))

    assert at_alices.post(url(order_in_review)).status_code == 302
    assert order_in_review.events.filter(type="cancel").count() == 1


def test_it_is_not_done_by_looking(at_alices: Client, order_in_review: Order) -> None:
    assert at_alices.get(url(order_in_review)).status_code == 405


def test_a_viewer_may_not(viewer: User, signed_in: SignedIn, order_in_review: Order) -> None:
    assert signed_in(viewer).post(url(order_in_review)).status_code == 403


def test_past_the_point_of_no_return_it_is_refused_and_the_text_kept(
    at_alices: Client, as_bob: Actor, order_in_review: Order
) -> None:
    now = timezone.now()
    reviewing.approve(order_id=order_in_review.pk, actor=as_bob, at=now)
    Order.objects.filter(pk=order_in_review.pk).update(status=Status.DISPATCHING)

    answer = at_alices.post(url(order_in_review), {"reason": "The customer called"})

    assert answer.status_code == 409
    assert "can no longer be cancelled" in answer.content.decode()
    assert "The customer called</textarea>" in answer.content.decode()


def test_who_cancels_second_is_told_who_was_first_and_keeps_the_text(
    at_alices: Client, as_bob: Actor, order_in_review: Order
) -> None:
    undoing.cancel(order_id=order_in_review.pk, actor=as_bob, at=timezone.now(), reason="Customer called")

    answer = at_alices.post(reverse("orders:cancel", args=[order_in_review.pk]), {"reason": "Looks stolen"})

    assert answer.status_code == 409
    page = answer.content.decode()
    assert "bob cancelled it at" in page
    assert "Looks stolen" in page

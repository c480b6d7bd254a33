"""More time for a review, over the API."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from orders.models import Order, Outbox
from tests.api.calls import refused
from tests.api.conftest import Caller


@pytest.fixture
def desk(caller: Caller, lead: User) -> Client:
    return caller("decide", user=lead)


def extend(client: Client, order: Order, due_at: object, reason: object = "She calls back.") -> Any:
    body = {"due_at": due_at, "reason": reason}
    return client.post(f"/api/v1/orders/{order.pk}/extend", body, content_type="application/json")


def test_the_deadline_moves_and_the_engine_is_told(desk: Client, order_in_review: Order) -> None:
    due_at = datetime.now(UTC).replace(microsecond=0) + timedelta(days=3)

    response = extend(desk, order_in_review, due_at.isoformat())

    assert response.status_code == 200
    assert datetime.fromisoformat(response.json()["deadline"]) == due_at == order_in_review.reviews.get().due_at
    event = order_in_review.events.get(type="extend")
    assert (event.actor, event.payload["note"]) == ("dana", "She calls back.")
    assert Outbox.objects.filter(order=order_in_review, message="extend").count() == 1


@pytest.mark.parametrize(
    "due_at",
    [
        "2020-01-01T00:00:00Z",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
        "2026-11-05T09:30:00",
        "2026-11-05",
        "tomorrow",
        "2026-13-01T00:00:00Z",
        "\x00",
        "",
        1_793_611_800,
        None,
    ],
)
def test_a_deadline_that_is_none_or_in_the_past_is_named(desk: Client, order_in_review: Order, due_at: object) -> None:
    before = order_in_review.reviews.get().due_at

    assert refused(extend(desk, order_in_review, due_at), 422).keys() == {"due_at"}
    assert order_in_review.reviews.get().due_at == before


def test_a_reason_is_asked_for(desk: Client, order_in_review: Order) -> None:
    due_at = datetime.now(UTC) + timedelta(days=3)

    assert refused(extend(desk, order_in_review, due_at.isoformat(), reason=" "), 422).keys() == {"reason"}


def test_what_has_been_decided_has_no_deadline_to_move(desk: Client, expired_order: Order) -> None:
    due_at = datetime.now(UTC) + timedelta(days=3)

    refused(extend(desk, expired_order, due_at.isoformat()), 409)


def test_for_more_than_four_hours_it_takes_a_lead(
    caller: Caller, alice: User, viewer: User, order_in_review: Order
) -> None:
    due_at = order_in_review.reviews.get().due_at
    operator = caller("decide", name="bot", user=alice)

    refused(extend(operator, order_in_review, (due_at + timedelta(hours=5)).isoformat()), 422)
    assert extend(operator, order_in_review, (due_at + timedelta(hours=4)).isoformat()).status_code == 200
    refused(extend(caller("decide", name="eye", user=viewer), order_in_review, due_at.isoformat()), 403)

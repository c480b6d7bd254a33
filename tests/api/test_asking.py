"""Asking the customer, putting off and taking back, over the API."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from pytest_django import Settings

from orders.models import InfoRequest, Order
from tests.api.calls import refused
from tests.api.conftest import Caller


@pytest.fixture(autouse=True)
def _with_mail(settings: Settings) -> None:
    settings.CUSTOMERS_GET_MAIL = True
    settings.DESK_URL = "https://desk.example"


@pytest.fixture
def desk(caller: Caller, alice: User) -> Client:
    return caller("decide", name="bot", user=alice)


def send(client: Client, order: Order, verb: str, **body: object) -> Any:
    return client.post(f"/api/v1/orders/{order.pk}/{verb}", body, content_type="application/json")


def soon(**more: float) -> str:
    return (datetime.now(UTC).replace(microsecond=0) + timedelta(**more)).isoformat()


def test_it_waits_for_the_customer_and_is_taken_back(desk: Client, order_in_review: Order) -> None:
    until = soon(hours=2)

    asked = send(desk, order_in_review, "ask", question=" Which flat? ", until=until)
    again = send(desk, order_in_review, "ask", question="Which street?", until=until)
    back = send(desk, order_in_review, "resume")

    assert (asked.status_code, back.status_code) == (200, 200)
    assert datetime.fromisoformat(asked.json()["put_off_until"]) == datetime.fromisoformat(until)
    assert asked.json()["waits_for"] == "Which flat?"
    assert (back.json()["put_off_until"], back.json()["waits_for"]) == (None, "")
    refused(again, 409)
    assert InfoRequest.objects.get().question == "Which flat?"


def test_it_is_put_off_and_the_deadline_moves_along(desk: Client, order_in_review: Order) -> None:
    due_at = order_in_review.reviews.get().due_at.replace(microsecond=0) + timedelta(hours=3)

    told = send(desk, order_in_review, "snooze", reason="A trip", until=soon(hours=25), due_at=due_at.isoformat())

    assert told.status_code == 200, told.content
    assert datetime.fromisoformat(told.json()["deadline"]) == due_at
    assert order_in_review.reviews.get().due_at == due_at


@pytest.mark.parametrize(
    ("verb", "body", "fields"),
    [
        ("ask", {"question": "Which?"}, {"until"}),
        ("ask", {"question": " ", "until": "2026-11-03T08:00:00Z"}, {"question"}),
        ("ask", {"question": "Which?", "until": "2020-01-01T00:00:00Z"}, {"until"}),
        ("ask", {"question": "Which?", "until": "9999-12-31T23:59:59-14:00"}, {"until"}),
        ("snooze", {"until": "2026-11-03T08:00:00Z"}, {"reason"}),
        ("snooze", {"reason": "x", "until": "tomorrow"}, {"until"}),
        ("snooze", {"reason": "x", "until": "9999-12-31T23:59:59Z", "due_at": "9999-12-31T23:59:59Z"}, {"due_at"}),
    ],
)
def test_what_is_wrong_is_named_and_nothing_is_left(
    desk: Client, order_in_review: Order, verb: str, body: dict[str, object], fields: set[str]
) -> None:
    assert refused(send(desk, order_in_review, verb, **body), 422).keys() == fields

    review = order_in_review.reviews.get()
    assert (review.back_at, review.extended, InfoRequest.objects.count()) == (None, False, 0)


def test_viewers_and_the_decided_are_refused(
    caller: Caller, desk: Client, viewer: User, expired_order: Order, order_in_review: Order
) -> None:
    eye = caller("decide", name="eye", user=viewer)
    bodies: dict[str, dict[str, object]] = {
        "ask": {"question": "Which?", "until": soon(hours=1)},
        "snooze": {"reason": "x", "until": soon(hours=1)},
        "resume": {},
    }
    for verb, body in bodies.items():
        refused(send(eye, order_in_review, verb, **body), 403)
        refused(send(desk, expired_order, verb, **body), 409)

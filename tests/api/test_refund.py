"""Refunds over the API: by a user, within that user's limit, once for each key."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from orders.models import Order, Outbox
from orders.services import refunding
from orders.services.placing import NewLine
from tests.api.calls import refused, send
from tests.api.conftest import Body, Caller
from tests.conftest import PlaceOrder
from tests.orders.test_refunding import NOW, completed
from tests.threads import at_once


@pytest.fixture
def desk(caller: Caller, alice: User) -> Client:
    return caller("place", "decide", name="chat bot", user=alice)


@pytest.fixture
def order(place: PlaceOrder) -> Order:
    """A completed order of 200.00 EUR."""
    return completed(place(lines=[NewLine("LAMP", 1, 20_000)]))


def refund(client: Client, order: Order, *, key: str = "key-1", **changes: Any) -> Any:
    body = {"amount_minor": 1_250, "reason": "Came late."} | changes
    headers = {"Idempotency-Key": key} if key else {}
    return client.post(f"/api/v1/orders/{order.pk}/refund", body, content_type="application/json", headers=headers)


def refunds_of(order: Order) -> list[int]:
    return list(order.payments.filter(kind="refund").values_list("amount_minor", flat=True))


def test_it_is_granted_as_the_user_and_told_to_the_engine(desk: Client, order: Order) -> None:
    response = refund(desk, order)

    assert response.status_code == 201
    told = response.json()
    assert told.pop("requested_at")
    assert told == {
        "order_id": str(order.pk),
        "amount_minor": 1_250,
        "currency": "EUR",
        "status": "processing",
        "error": "",
    }
    event = order.events.get(type="refund_requested")
    assert (event.actor, event.payload["note"]) == ("alice", "Came late.")
    assert Outbox.objects.filter(order=order, message="refund").count() == 1


def test_a_repeated_request_refunds_once_and_says_how_it_stands(desk: Client, order: Order) -> None:
    first = refund(desk, order)
    refunding.settle_refund(order_id=order.pk, number=1, reference="re_1", at=NOW)

    again = refund(desk, order)

    assert again.status_code == 200
    assert again.json() == first.json() | {"status": "succeeded"}
    assert refunds_of(order) == [1_250]


def test_another_key_is_another_refund(desk: Client, order: Order) -> None:
    refund(desk, order)

    assert refund(desk, order, key="key-2").status_code == 201
    assert refunds_of(order) == [1_250, 1_250]


def test_the_same_key_for_something_else_is_a_conflict(
    desk: Client, order: Order, place: PlaceOrder, body: Body
) -> None:
    refund(desk, order)
    other = completed(place(lines=[NewLine("LAMP", 1, 20_000)]))

    for response in (refund(desk, order, amount_minor=1_251), refund(desk, other), send(desk, body)):
        assert refused(response, 409) == {"Idempotency-Key": "has been used with another body"}

    assert refunds_of(order) == [1_250]
    assert refunds_of(other) == []


@pytest.mark.django_db(transaction=True)
def test_of_many_requests_at_once_with_one_key_one_refunds(desk: Client, order: Order) -> None:
    answers = at_once(*[lambda: refund(desk, order)] * 8)

    assert sorted(answer.status_code for answer in answers) == [200] * 7 + [201]
    assert refunds_of(order) == [1_250]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        *(({"amount_minor": amount}, "amount_minor") for amount in (0, -1, 10_001, 20_001, 10**400)),
        *(({"amount_minor": amount}, "amount_minor") for amount in (12.5, "1250", True, None)),
        *(({"reason": reason}, "reason") for reason in ("", "  ", "a\x00b", "x" * 2_001, 5, None)),
        ({"number": 1}, "number"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_a_bad_field_is_named_and_nothing_is_refunded(
    desk: Client, order: Order, changes: dict[str, Any], field: str
) -> None:
    assert refused(refund(desk, order, **changes), 422).keys() == {field}
    assert refunds_of(order) == []
    assert refund(desk, order).status_code == 201  # the key is free still


@pytest.mark.parametrize("key", ["", "k" * 81, "two words"])
def test_without_a_sound_key_nothing_is_refunded(desk: Client, order: Order, key: str) -> None:
    assert refused(refund(desk, order, key=key), 422).keys() == {"Idempotency-Key"}
    assert refunds_of(order) == []


def test_an_order_under_way_is_cancelled_not_refunded(desk: Client, order_in_review: Order) -> None:
    response = refund(desk, order_in_review)

    refused(response, 409)
    assert "cancel it instead" in response.json()["detail"]


def test_it_takes_the_scope_and_the_role(caller: Caller, viewer: User, order: Order) -> None:
    refused(refund(caller("read", "place"), order), 403)
    refused(refund(caller("decide", name="lookout", user=viewer), order), 403)

    assert refunds_of(order) == []

"""A change of address over the API."""

import uuid
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from orders.models import Order, Outbox
from orders.states import Status
from tests.api.calls import refused
from tests.api.conftest import Caller

PARIS = {"country": "FR", "line1": "5 rue Cler", "line2": "", "city": "Paris", "region": "", "postal_code": "75007"}


@pytest.fixture
def desk(caller: Caller, alice: User) -> Client:
    return caller("decide", name="chat bot", user=alice)


def change(client: Client, order: Order, address: object) -> Any:
    return client.post(f"/api/v1/orders/{order.pk}/address", {"address": address}, content_type="application/json")


def test_the_order_goes_elsewhere(desk: Client, order_in_review: Order) -> None:
    response = change(desk, order_in_review, {name: value for name, value in PARIS.items() if value})

    assert (response.status_code, response.json()["address"]) == (200, PARIS)
    assert order_in_review.events.get(type="change_address").actor == "alice"


def test_sent_twice_it_is_changed_once(desk: Client, order_in_review: Order) -> None:
    first, again = change(desk, order_in_review, PARIS), change(desk, order_in_review, PARIS)

    assert again.status_code == 200
    assert again.json() == first.json()
    assert Outbox.objects.filter(order=order_in_review, message="change_address").count() == 1


@pytest.mark.parametrize(
    ("address", "field"),
    [
        ({}, "address.country"),
        (PARIS | {"country": "XX"}, "address.country"),
        (PARIS | {"country": None}, "address.country"),
        (PARIS | {"city": "a\x00b"}, "address.city"),
        (PARIS | {"city": "\ud800"}, "address.city"),
        (PARIS | {"city": 5}, "address.city"),
        (PARIS | {"line1": "l" * 201}, "address.line1"),
        (PARIS | {"postal_code": "7500"}, "address.postal_code"),
        (PARIS | {"planet": "Mars"}, "address.planet"),
        (None, "address"),
        ("5 rue Cler", "address"),
    ],
)
def test_a_bad_field_is_named_and_nothing_changes(
    desk: Client, order_in_review: Order, address: object, field: str
) -> None:
    assert refused(change(desk, order_in_review, address), 422).keys() == {field}

    order_in_review.refresh_from_db()
    assert (order_in_review.address_city, order_in_review.version) == ("Berlin", 4)


def test_once_the_carrier_is_called_it_is_a_conflict_with_the_reason(desk: Client, order_in_review: Order) -> None:
    Order.objects.filter(pk=order_in_review.pk).update(status=Status.DISPATCHING)

    response = change(desk, order_in_review, PARIS)

    refused(response, 409)
    assert response.json()["detail"] == "The address of an order that is dispatching can no longer be changed."


def test_it_takes_the_scope_and_the_role(caller: Caller, viewer: User, order_in_review: Order) -> None:
    refused(change(caller("read", "place"), order_in_review, PARIS), 403)
    refused(change(caller("decide", name="lookout", user=viewer), order_in_review, PARIS), 403)


def test_an_order_that_is_not_there_is_404(desk: Client) -> None:
    assert refused(change(desk, Order(pk=uuid.uuid4()), PARIS), 404).keys() == {"order_id"}

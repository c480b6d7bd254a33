"""Placing an order over the API, exactly once."""

import pytest
from django.test import Client

from orders.models import Event, Order, Outbox
from tests.api.calls import nothing_is_left, refused, send
from tests.api.conftest import Body, Caller
from tests.threads import at_once


def test_it_places_the_order_and_tells_the_engine(shop: Client, body: Body) -> None:
    response = send(shop, body)

    assert response.status_code == 201
    order = Order.objects.get()
    told = response.json()
    assert (told["id"], told["number"], told["status"]) == (str(order.pk), order.number, "placed")
    assert {name: told[name] for name in ("reference", "customer_name", "currency")} == {
        name: body[name] for name in ("reference", "customer_name", "currency")
    }
    assert (told["source"], told["total_minor"], told["lines"]) == ("shop", 120_000, body["lines"])
    assert told["address"] == {"line2": "", "region": ""} | body["address"]
    assert Outbox.objects.values_list("order", "message").get() == (order.pk, "start")
    assert Event.objects.get().actor == "shop"


def test_the_same_key_and_body_answer_the_same_order_with_200(shop: Client, body: Body) -> None:
    first = send(shop, body)

    again = send(shop, dict(reversed(body.items())))

    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json() == first.json()
    assert Outbox.objects.count() == Order.objects.count() == 1


def test_the_same_key_with_another_body_is_a_conflict(shop: Client, body: Body) -> None:
    send(shop, body)

    response = send(shop, body | {"reference": "web-2"})

    assert refused(response, 409) == {"Idempotency-Key": "has been used with another body"}
    assert Order.objects.count() == 1


def test_another_client_may_use_the_same_key(shop: Client, caller: Caller, body: Body) -> None:
    send(shop, body)

    assert send(caller("place", name="market"), body).status_code == 201


def test_a_reference_that_was_sent_before_is_a_conflict(shop: Client, body: Body) -> None:
    send(shop, body)

    response = send(shop, body, key="key-2")

    assert refused(response, 409) == {"reference": "has been sent before"}
    assert Order.objects.count() == 1


def test_a_refused_order_leaves_its_key_free(shop: Client, body: Body) -> None:
    refused(send(shop, body | {"currency": "QQQ"}), 422)

    assert send(shop, body).status_code == 201


@pytest.mark.parametrize("key", ["", "k" * 81, "two words"])
def test_without_a_sound_key_nothing_is_placed(shop: Client, body: Body, key: str) -> None:
    assert refused(send(shop, body, key=key), 422).keys() == {"Idempotency-Key"}
    assert nothing_is_left()


@pytest.mark.django_db(transaction=True)
def test_of_many_requests_at_once_with_one_key_one_places_it(shop: Client, body: Body) -> None:
    answers = at_once(*[lambda: send(shop, body)] * 8)

    assert sorted(answer.status_code for answer in answers) == [200] * 7 + [201]
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert Outbox.objects.count() == Order.objects.count() == 1

"""Orders that share something with an order: found by index, told with what they share and how they fared."""

import json

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from orders import related
from orders.models import Order
from orders.services.placing import Address, InvalidOrder
from tests.conftest import PlaceOrder

ELSEWHERE = Address("FR", line1="5 rue Cler", city="Paris", postal_code="75007")
STRANGER = {"customer_name": "Zoe Quill", "customer_email": "zoe@example.net", "address": ELSEWHERE}


def test_each_likeness_is_found_and_the_one_that_shares_most_comes_first(
    place: PlaceOrder, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    order = place(card_fingerprint="card_1")
    berlin = Address("DE", line1="LINDENSTR. 4", city="Berlin", postal_code="10969")
    by_card = place(**STRANGER, card_fingerprint="card_1")
    by_mail = place(**STRANGER | {"customer_email": "Ann.Lee@example.com"})
    by_address = place(**STRANGER | {"address": berlin})
    by_name = place(**STRANGER | {"customer_name": "ann lee"})
    by_all = place(card_fingerprint="card_1")
    place(**STRANGER, card_fingerprint="card_2")

    with django_assert_num_queries(1):
        found = related.related_orders(order)

    shared = {other.number: other.shares for other in found.orders}
    assert shared == {
        by_all.number: ("card", "e-mail", "address", "name"),
        by_card.number: ("card",),
        by_mail.number: ("e-mail",),
        by_address.number: ("address",),
        by_name.number: ("name",),
    }
    assert found.orders[0].number == by_all.number
    assert not found.more


def test_what_is_unknown_is_shared_with_nobody(place: PlaceOrder) -> None:
    nameless = {"customer_email": "", "address": Address("DE")}
    place(customer_name="One", **nameless)

    assert related.related_orders(place(customer_name="Two", **nameless)) == related.RelatedOrders([])


def test_of_a_customer_with_many_orders_the_newest_are_shown_and_that_there_are_more(place: PlaceOrder) -> None:
    placed = [place() for _ in range(related.EACH + 3)]

    found = related.related_orders(placed[0])

    assert found.more
    assert [other.number for other in found.orders] == [order.number for order in reversed(placed[-related.EACH - 1 :])]


def test_every_likeness_is_looked_up_by_an_index_of_its_own(place: PlaceOrder) -> None:
    order = place(card_fingerprint="card_1")
    Order.objects.bulk_create(
        Order(
            number=f"CS-{number}",
            source="other",
            reference=str(number),
            customer_name=f"Other {number}",
            customer_email=f"{number}@example.net",
            address_country="FR",
            address_line1=f"{number} rue Cler",
            address_city="Paris",
            currency="EUR",
            total_minor=1,
            placed_at=order.placed_at,
            status_at=order.placed_at,
        )
        for number in range(1, 301)
    )
    indexes = {"card": "order_same_card", "e-mail": "order_same_email", "address": "order_same_address"}

    with connection.cursor() as cursor:
        cursor.execute("ANALYZE orders_order")
        cursor.execute("SET LOCAL enable_seqscan = off")
        for word, same in related._likenesses(order).items():
            rows = Order.objects.filter(same).order_by("-placed_at")[:10]
            plan = json.dumps(rows.explain(format="json"))
            assert indexes.get(word, "order_same_name") in plan, plan
            assert '"Sort"' not in plan


def test_the_page_shows_them_with_their_outcomes(at_alices: Client, place: PlaceOrder) -> None:
    other = place(**STRANGER, card_fingerprint="card_1")
    Order.objects.filter(pk=other.pk).update(status="rejected", outcome="Rejected: stolen card")
    order = place(card_fingerprint="card_1")

    page = at_alices.get(order.get_absolute_url()).content.decode()

    assert other.get_absolute_url() in page
    assert "same card" in page
    assert "Rejected: stolen card" in page


def test_the_page_shows_what_the_risk_is_made_of(at_alices: Client, place: PlaceOrder, order_in_review: Order) -> None:
    page = at_alices.get(order_in_review.get_absolute_url()).content.decode()

    assert order_in_review.reviews.get().risk_parts == [
        {"text": "first order", "weight": 0.25},
        {"text": "€500 or more", "weight": 0.2},
    ]
    assert "Risk 0.45" in page
    assert "first order" in page


@pytest.mark.parametrize("number", ["4111 1111 1111 1111", "5500-0000-0000-0004", "340000000000009"])
def test_the_number_of_a_card_is_never_taken_for_its_fingerprint(place: PlaceOrder, number: str) -> None:
    with pytest.raises(InvalidOrder, match="card_fingerprint: is a card's number"):
        place(card_fingerprint=number)

    assert not Order.objects.exists()
    assert place(card_fingerprint="4111111111111112").card_fingerprint == "4111111111111112"


def test_the_card_comes_by_the_api_too(alice: User, place: PlaceOrder) -> None:
    assert place(card_fingerprint=" fp_9 ").card_fingerprint == "fp_9"

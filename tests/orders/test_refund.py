"""POST /orders/<id>/refund/."""

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from orders.models import Order
from orders.services import refunding
from orders.services.actors import Actor
from orders.services.placing import NewLine
from tests.conftest import PlaceOrder
from tests.orders.conftest import SignedIn
from tests.orders.test_refunding import completed


@pytest.fixture
def order(place: PlaceOrder) -> Order:
    """A completed order of 200.00 EUR."""
    return completed(place(lines=[NewLine("LAMP", 1, 20_000)]))


def url(order: Order) -> str:
    return reverse("orders:refund", args=[order.pk])


def fields(amount: str = "12.50", number: str = "1", reason: str = "Came late") -> dict[str, str]:
    return {"amount": amount, "number": number, "reason": reason}


def test_it_refunds_and_says_so(at_alices: Client, order: Order) -> None:
    answer = at_alices.post(url(order), fields(), follow=True)

    assert order.payments.get(kind="refund").amount_minor == 1_250
    page = answer.content.decode()
    assert "€12.50 is being refunded." in page
    assert "Refund granted" in page
    assert "“Came late”" in page


def test_the_form_says_what_is_left_and_suggests_what_the_person_may_give(at_alices: Client, order: Order) -> None:
    page = at_alices.get(order.get_absolute_url()).content.decode()

    assert "€200.00 of the charge is left. You may refund €100.00 of it." in page
    assert 'value="100.00"' in page


def test_who_has_reached_the_limit_is_sent_to_a_lead(at_alices: Client, order: Order) -> None:
    at_alices.post(url(order), fields("100"))

    page = at_alices.get(order.get_absolute_url()).content.decode()

    assert "€100.00 of the charge is left. That is more than you may refund: ask a lead." in page


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"amount": ""}, "Enter an amount."),
        ({"amount": "a lot"}, "Enter the amount as a number"),
        ({"amount": "NaN"}, "Enter the amount as a number"),
        ({"amount": "1.005"}, "more decimals than EUR has"),
        ({"amount": "1" * 30}, "The amount is too long"),
        ({"amount": "0"}, "must be more than zero"),
        ({"amount": "-5"}, "must be more than zero"),
        ({"amount": "200.01"}, "Only €200.00 is left"),
        ({"amount": "100.01"}, "up to €100.00 more"),
        ({"reason": " "}, "Give a reason"),
    ],
)
def test_what_is_wrong_is_said_beside_what_was_typed(
    at_alices: Client, order: Order, changes: dict[str, str], said: str
) -> None:
    answer = at_alices.post(url(order), fields() | changes)

    assert answer.status_code == 422
    page = answer.content.decode()
    assert said in page
    assert f'value="{changes.get("amount", "12.50")}"' in page
    assert not order.payments.filter(kind="refund").exists()


def test_a_form_sent_twice_refunds_once(at_alices: Client, order: Order) -> None:
    at_alices.post(url(order), fields())

    answer = at_alices.post(url(order), fields())

    assert answer.status_code == 409
    assert "€12.50 has been refunded since you opened this page" in answer.content.decode()
    assert order.payments.filter(kind="refund").count() == 1


def test_with_nothing_left_there_is_no_form_and_the_text_is_kept(at_alices: Client, order: Order, lead: User) -> None:
    refunding.refund(
        order_id=order.pk, amount_minor=20_000, reason="Broken", actor=Actor.operator(lead), at=timezone.now()
    )

    answer = at_alices.post(url(order), fields())

    assert answer.status_code == 409
    assert "Came late</textarea>" in answer.content.decode()
    assert url(order) not in answer.content.decode()


def test_an_order_in_review_is_not_refunded(at_alices: Client, order_in_review: Order) -> None:
    answer = at_alices.post(url(order_in_review), fields())

    assert answer.status_code == 409
    assert "still under way" in answer.content.decode()
    assert url(order_in_review) not in answer.content.decode()


def test_htmx_gets_the_order_alone(at_alices: Client, order: Order) -> None:
    answer = at_alices.post(url(order), fields("300"), headers={"HX-Request": "true", "HX-Target": f"order-{order.pk}"})

    assert answer.status_code == 422
    assert answer.content.decode().startswith("<article")


def test_a_viewer_may_not(viewer: User, signed_in: SignedIn, order: Order) -> None:
    assert signed_in(viewer).post(url(order), fields()).status_code == 403
    assert url(order) not in signed_in(viewer).get(order.get_absolute_url()).content.decode()


def test_it_is_not_done_by_looking(at_alices: Client, order: Order) -> None:
    assert at_alices.get(url(order)).status_code == 405


@pytest.mark.parametrize(("changes", "field"), [({"amount": "300"}, "amount"), ({"reason": " "}, "reason")])
def test_only_the_field_that_is_wrong_is_marked(
    at_alices: Client, order: Order, changes: dict[str, str], field: str
) -> None:
    page = at_alices.post(url(order), fields() | changes).content.decode()

    assert page.count('aria-invalid="true"') == 1
    assert f'aria-describedby="refund-{field}-wrong-{order.pk}" autofocus' in page

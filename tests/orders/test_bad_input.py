"""What may not come in through the pages' forms: each is refused with words, and changes nothing."""

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from orders.models import Order, Outbox
from tests.orders.conftest import SignedIn

FORMS = {
    "reject": {"reason": "x", "code": "fraud"},
    "cancel": {"reason": "x"},
    "extend": {"reason": "x", "minutes": "60"},
    "change_address": {"line1": "5 rue Cler", "postal_code": "75007", "city": "Paris", "country": "FR"},
}
NOT_KEPT = ["a\x00b", "a\x1b[2Jb", "a\x7fb", "x" * 2_001]


@pytest.fixture
def at_danas(lead: User, signed_in: SignedIn) -> Client:
    return signed_in(lead)


def nothing_changed(order: Order) -> bool:
    version = order.version
    order.refresh_from_db()
    return order.version == version and not Outbox.objects.filter(order=order).exclude(message="start").exists()


@pytest.mark.parametrize("text", NOT_KEPT, ids=lambda text: repr(text)[:12])
@pytest.mark.parametrize("form", FORMS)
def test_text_that_cannot_be_kept_is_refused_and_given_back(
    at_danas: Client, order_in_review: Order, form: str, text: str
) -> None:
    field = "line1" if form == "change_address" else "reason"

    answer = at_danas.post(reverse(f"orders:{form}", args=[order_in_review.pk]), FORMS[form] | {field: text})

    assert answer.status_code == 422
    assert 'class="wrong"' in answer.content.decode()
    assert nothing_changed(order_in_review)


@pytest.mark.parametrize("form", FORMS)
def test_bytes_that_are_no_text_break_nothing(at_danas: Client, order_in_review: Order, form: str) -> None:
    body = b"reason=%ED%A0%80%FF&code=fraud&minutes=60&line1=%ED%A0%80%FF&postal_code=75007&city=Paris&country=FR"

    answer = at_danas.post(
        reverse(f"orders:{form}", args=[order_in_review.pk]), body, content_type="application/x-www-form-urlencoded"
    )

    assert answer.status_code == 302
    assert b"\xed\xa0\x80" not in at_danas.get(order_in_review.get_absolute_url()).content


@pytest.mark.parametrize("minutes", ["", "0", "-60", "61", "1e400", "NaN", "9" * 400, "\x00"])
def test_time_that_is_none_of_those_offered_is_refused(at_danas: Client, order_in_review: Order, minutes: str) -> None:
    answer = at_danas.post(reverse("orders:extend", args=[order_in_review.pk]), {"reason": "x", "minutes": minutes})

    assert answer.status_code == 422
    assert nothing_changed(order_in_review)


@pytest.mark.parametrize("form", ["", *(f"{form}/" for form in [*FORMS, "approve", "refund"])])
@pytest.mark.parametrize("order", ["CS-1", "0", "6f1c1f0e", "%00", "6f1c1f0e-3f8a-4f43-9a55-0d3a1f6f2b11"])
def test_an_id_that_is_none_is_not_found(at_danas: Client, order: str, form: str) -> None:
    ask = at_danas.post if form else at_danas.get

    assert ask(f"/orders/{order}/{form}").status_code == 404

"""POST /orders/<id>/retry/, and the address form's button that corrects and retries."""

import re

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from orders import wording
from orders.models import Order
from orders.services import attending, shipping, undoing
from orders.services.actors import Actor
from tests.orders.conftest import SignedIn

PARIS = {"line1": "5 rue Cler", "line2": "", "postal_code": "75007", "city": "Paris", "region": "", "country": "FR"}


def url(order: Order, verb: str = "retry") -> str:
    return reverse(f"orders:{verb}", args=[order.pk])


def status(order: Order) -> str:
    order.refresh_from_db()
    return order.status


def page_of(client: Client, order: Order) -> str:
    return client.get(order.get_absolute_url()).content.decode()


def test_it_lets_the_order_try_again_with_or_without_a_note(at_alices: Client, short_order: Order) -> None:
    answer = at_alices.post(url(short_order), {"note": "Ten came in"}, follow=True)

    assert status(short_order) == "approved"
    page = answer.content.decode()
    assert f"{short_order.number} is tried again." in page
    assert "Retried by alice" in page
    assert "“Ten came in”" in page


def test_from_the_queue_it_answers_with_the_row(at_alices: Client, undeliverable_order: Order) -> None:
    headers = {"HX-Request": "true", "HX-Target": f"queue-{undeliverable_order.pk}"}

    answer = at_alices.post(url(undeliverable_order), headers=headers)

    row = answer.content.decode()
    assert (answer.status_code, status(undeliverable_order)) == (200, "preparing")
    assert row.startswith(f'<tr id="queue-{undeliverable_order.pk}" class="row decided"')
    assert "Retried by alice" in row


def test_a_second_click_is_no_conflict(at_alices: Client, short_order: Order) -> None:
    at_alices.post(url(short_order))

    assert at_alices.post(url(short_order)).status_code == 302
    assert short_order.events.filter(type="retry").count() == 1


def test_it_is_not_done_by_looking(at_alices: Client, short_order: Order) -> None:
    assert at_alices.get(url(short_order)).status_code == 405
    assert status(short_order) == "stock_short"


def test_a_viewer_may_not_and_sees_no_button(viewer: User, signed_in: SignedIn, short_order: Order) -> None:
    veras = signed_in(viewer)

    assert veras.post(url(short_order)).status_code == 403
    assert status(short_order) == "stock_short"
    for path in ("/", short_order.get_absolute_url()):
        page = veras.get(path).content.decode()
        assert "Not enough in stock" in page
        assert url(short_order) not in page
        assert url(short_order, "cancel") not in page
        assert 'class="decide"' not in page


def test_an_order_that_waits_for_no_help_is_left_alone(at_alices: Client, order_in_review: Order) -> None:
    answer = at_alices.post(url(order_in_review), {"note": "Ten came in"})

    assert (answer.status_code, status(order_in_review)) == (409, "in_review")
    assert "does not wait for help" in answer.content.decode()
    assert "Ten came in</textarea>" in answer.content.decode()


def test_who_is_late_is_told_who_was_first_and_keeps_the_text(
    at_alices: Client, as_bob: Actor, short_order: Order
) -> None:
    attending.retry(order_id=short_order.pk, actor=as_bob, at=timezone.now())

    answer = at_alices.post(url(short_order), {"note": "Ten came in"})

    assert answer.status_code == 409
    page = answer.content.decode()
    assert re.search(r"Retried by bob at.\S+, so your retry was not carried out\.", page)
    assert "Ten came in</textarea>" in page


@pytest.mark.parametrize(
    ("note", "said"),
    [("x" * 2_001, ">Keep the note under 2,000 characters.<"), ("a\x07b", ">The note contains a control character.<")],
)
def test_a_note_that_cannot_be_kept_is_given_back(at_alices: Client, short_order: Order, note: str, said: str) -> None:
    answer = at_alices.post(url(short_order), {"note": note})

    assert (answer.status_code, status(short_order)) == (422, "stock_short")
    page = answer.content.decode()
    assert 'aria-invalid="true"' in page
    assert said in page
    assert f"{note}</textarea>" in page


class TestCorrectAndRetry:
    def test_both_happen_in_one_go(self, at_alices: Client, undeliverable_order: Order) -> None:
        sent = PARIS | {"then": "retry"}

        answer = at_alices.post(url(undeliverable_order, "change_address"), sent, follow=True)

        assert status(undeliverable_order) == "preparing"
        assert undeliverable_order.address_city == "Paris"
        assert "goes to the new address, and is tried again." in answer.content.decode()

    @pytest.mark.parametrize("sees", [True, False])
    def test_a_second_click_is_no_conflict_but_another_address_is(
        self, at_alices: Client, undeliverable_order: Order, sees: bool
    ) -> None:
        sent = PARIS | {"then": "retry", "version": str(undeliverable_order.version) if sees else ""}
        address = url(undeliverable_order, "change_address")
        at_alices.post(address, sent)
        shipping.begin_dispatch(order_id=undeliverable_order.pk, at=timezone.now())  # the engine goes on meanwhile

        again = at_alices.post(address, sent, follow=True)
        other = at_alices.post(address, sent | {"line1": "7 rue Cler"})

        assert "that was done already" in again.content.decode()
        assert other.status_code == 409
        assert undeliverable_order.events.filter(type__in=["change_address", "retry"]).count() == 2

    def test_the_address_alone_can_be_corrected(self, at_alices: Client, undeliverable_order: Order) -> None:
        at_alices.post(url(undeliverable_order, "change_address"), PARIS)

        assert status(undeliverable_order) == "undeliverable"
        assert undeliverable_order.address_city == "Paris"

    def test_a_bad_field_is_named_and_neither_happens(self, at_alices: Client, undeliverable_order: Order) -> None:
        sent = PARIS | {"then": "retry", "postal_code": "7" * 30}

        answer = at_alices.post(url(undeliverable_order, "change_address"), sent)

        assert (answer.status_code, status(undeliverable_order)) == (422, "undeliverable")
        page = answer.content.decode()
        assert "Postal code is longer than 20 characters." in page
        assert 'value="5 rue Cler"' in page
        assert undeliverable_order.address_country == "AQ"

    def test_an_address_that_was_not_corrected_is_not_tried_again(
        self, at_alices: Client, undeliverable_order: Order
    ) -> None:
        same = {"line1": "1 Scott Way", "city": "South Pole", "country": "AQ", "then": "retry"}

        answer = at_alices.post(url(undeliverable_order, "change_address"), same)

        assert (answer.status_code, status(undeliverable_order)) == (409, "undeliverable")
        assert "That is the address it has already." in answer.content.decode()

    def test_who_is_late_is_told_and_nothing_of_theirs_is_kept_by_half(
        self, at_alices: Client, as_bob: Actor, undeliverable_order: Order
    ) -> None:
        attending.retry(order_id=undeliverable_order.pk, actor=as_bob, at=timezone.now())

        answer = at_alices.post(url(undeliverable_order, "change_address"), PARIS | {"then": "retry"})

        assert answer.status_code == 409
        assert "so your correction was not carried out" in answer.content.decode()
        undeliverable_order.refresh_from_db()
        assert undeliverable_order.address_country == "AQ"


class TestThePageOfAnOrderThatNeedsHelp:
    def test_short_stock_says_what_is_missing_and_that_nothing_was_charged(
        self, at_alices: Client, short_order: Order
    ) -> None:
        page = page_of(at_alices, short_order)

        assert "Needs help within" in page
        assert "Not enough in stock: RARE (wanted 2, there are 1)" in page
        assert "Undone at the deadline, if nobody helps." in page
        assert "Nothing was charged." in page
        assert '<li class="held" aria-current="step">Stock' in page
        assert "Cancel and refund" not in page
        assert "/approve/" not in page

    def test_an_undeliverable_one_says_that_it_stays_and_what_a_cancel_gives_back(
        self, at_alices: Client, undeliverable_order: Order
    ) -> None:
        page = page_of(at_alices, undeliverable_order)

        assert "Meridian Parcel does not deliver there." in page
        assert "Stays here until somebody helps: the carrier may have it." in page
        assert "€200.00 goes back to the customer" in page
        for button in ("Correct and retry", "Correct only", "Retry", "Cancel and refund"):
            assert f">{button}</button>" in page
        assert '<li class="held" aria-current="step">Carrier' in page
        assert '<li class="skipped">Review' in page  # to be helped on is not to be reviewed

    def test_an_unconfirmed_one_says_that_nothing_was_taken(self, at_alices: Client, unconfirmed_order: Order) -> None:
        page = page_of(at_alices, unconfirmed_order)

        assert "The customer has not confirmed the payment with the bank." in page
        assert "The payment is called off: nothing was taken." in page
        assert '<li class="held" aria-current="step">Payment' in page

    def test_each_form_stands_there_once(self, at_alices: Client, undeliverable_order: Order) -> None:
        page = page_of(at_alices, undeliverable_order)

        for verb in ("retry", "cancel", "change_address"):
            assert page.count(f'action="{url(undeliverable_order, verb)}"') == 1

    def test_a_lead_can_give_it_more_time(self, signed_in: SignedIn, lead: User, undeliverable_order: Order) -> None:
        danas = signed_in(lead)
        before = undeliverable_order.reviews.get().due_at

        assert "Extend deadline…" in page_of(danas, undeliverable_order)
        danas.post(url(undeliverable_order, "extend"), {"minutes": "60", "reason": "Asking the customer"})

        assert (undeliverable_order.reviews.get().due_at - before).total_seconds() == 3_600


def test_nobody_is_asked_any_more_about_an_order_that_was_given_up(short_order: Order) -> None:
    undoing.fail_order(order_id=short_order.pk, reason="It took too long.", at=timezone.now())

    review = short_order.reviews.get()
    assert wording.who_decided(review.decision, by="", at="12:00") == "Expired at\N{NO-BREAK SPACE}12:00"

"""Choosing many orders, looking at what would come of it, beginning it, and seeing what came of it."""

import re
import uuid
from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from pytest_django import DjangoAssertNumQueries

from orders.models import Bulk, Order
from orders.services import bulk, reviewing
from orders.services.actors import Actor
from orders.services.placing import NewLine
from orders.states import Action
from tests.conftest import PlaceOrder
from tests.orders.conftest import SignedIn

PREVIEW = "/bulk/preview/"
BEGIN = "/bulk/begin/"


@pytest.fixture
def orders(place: PlaceOrder) -> list[Order]:
    """Three that wait for a decision, of 1,200.00 EUR each."""
    now = datetime.now(UTC)
    placed = [place() for _ in range(3)]
    for order in placed:
        reviewing.receive_order(order_id=order.pk, at=now)
        reviewing.validate_order(order_id=order.pk, at=now)
        order.refresh_from_db()
    return placed


def hidden(page: str) -> dict[str, str]:
    form = page[page.index('action="/bulk/begin/"') :]
    return dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', form))


def carry_out_all() -> None:
    while any(bulk.carry_out(bulk_id=bulk_id, at=datetime.now(UTC)) for bulk_id in bulk.unfinished()):
        pass


def test_what_is_chosen_is_looked_at_confirmed_and_done(at_alices: Client, orders: list[Order], as_bob: Actor) -> None:
    first, second, third = orders
    reviewing.reject(order_id=third.pk, actor=as_bob, at=datetime.now(UTC), reason="Fraud")

    looked = at_alices.post(PREVIEW, {"action": "reject", "order": [order.pk for order in orders]}).content.decode()

    assert "Reject 2 orders?" in looked
    assert "2 of the 3 that were chosen" in looked
    assert "EUR 2,400.00" in looked or "€2,400.00" in looked
    assert "Already rejected by bob." in looked
    assert third.number in looked
    assert not Bulk.objects.exists()

    begun = at_alices.post(BEGIN, {**hidden(looked), "code": "fraud", "reason": "Same card"})
    made = Bulk.objects.get()
    assert begun.headers["Location"] == made.get_absolute_url()
    under_way = at_alices.get(made.get_absolute_url()).content.decode()
    assert "0 of 2" in under_way
    assert "<progress" in under_way

    reviewing.approve(order_id=second.pk, actor=as_bob, at=datetime.now(UTC))
    carry_out_all()

    over = at_alices.get(made.get_absolute_url()).content.decode()
    assert "1 of 2 rejected" in over
    assert "Already approved by bob." in over
    assert "“Same card”" in at_alices.get(first.get_absolute_url()).content.decode()
    assert "one of 2 decided at once" in at_alices.get(first.get_absolute_url()).content.decode()
    assert "1 done, 1 refused" in at_alices.get("/bulk/").content.decode()


def test_all_that_wait_are_chosen_with_one_mark(at_alices: Client, orders: list[Order]) -> None:
    looked = at_alices.post(PREVIEW, {"action": "approve", "all": "1"}).content.decode()

    assert "Approve 3 orders?" in looked
    assert set(hidden(looked)["chosen"].split("_")) == {f"{order.pk}.{order.version}" for order in orders}


def test_all_that_match_are_those_that_the_filter_leaves_in(
    at_alices: Client, orders: list[Order], place: PlaceOrder
) -> None:
    small = place(lines=[NewLine("LAMP", 1, 30_000)], customer_email="new@example.com")
    now = datetime.now(UTC)
    reviewing.receive_order(order_id=small.pk, at=now)
    reviewing.validate_order(order_id=small.pk, at=now)
    choice = {"action": "approve", "all": "1"}

    fitting = at_alices.post(PREVIEW, {**choice, "filter": "amount_to=500"}).content.decode()
    nonsense = at_alices.post(PREVIEW, {**choice, "filter": "amount_to=nothing"})

    assert "Approve 1 order?" in fitting
    assert hidden(fitting)["chosen"].startswith(str(small.pk))
    assert 'href="/?amount_to=500"' in fitting
    assert nonsense.status_code == 422


def test_what_is_missing_is_said_beside_its_field_and_nothing_typed_is_lost(
    lead: User, signed_in: SignedIn, orders: list[Order]
) -> None:
    at_danas = signed_in(lead)
    looked = at_danas.post(PREVIEW, {"action": "extend", "order": [orders[0].pk]}).content.decode()

    answer = at_danas.post(BEGIN, {**hidden(looked), "minutes": "17", "reason": "Strike"})

    assert answer.status_code == 422
    again = answer.content.decode()
    assert "Choose a time." in again
    assert "Strike</textarea>" in again
    assert {**hidden(again), "csrfmiddlewaretoken": ""} == {**hidden(looked), "csrfmiddlewaretoken": ""}
    assert at_danas.post(BEGIN, {**hidden(again), "minutes": "240", "reason": "Strike"}).status_code == 302


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        ({"action": "approve"}, "No order was chosen"),
        ({"action": "approve", "order": ["nonsense"]}, "No order was chosen"),
        ({"action": "cancel", "all": "1"}, "Choose what to do."),
        ({"all": "1"}, "Choose what to do."),
    ],
)
def test_it_says_what_is_missing_in_a_choice(
    at_alices: Client, orders: list[Order], sent: dict[str, Any], said: str
) -> None:
    answer = at_alices.post(PREVIEW, sent)

    assert answer.status_code == 422
    assert said in answer.content.decode()


def test_more_than_5000_are_refused_before_anything_is_asked(
    at_alices: Client, orders: list[Order], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "MOST", 2)

    answer = at_alices.post(PREVIEW, {"action": "approve", "all": "1"})

    assert answer.status_code == 422
    assert "3 orders were chosen; at most 2 can be decided on at once." in answer.content.decode()


@pytest.mark.parametrize("sent", [{}, {"id": "1", "action": "approve", "chosen": ""}, {"action": "approve"}])
def test_what_did_not_arrive_whole_begins_nothing(at_alices: Client, sent: dict[str, str]) -> None:
    answer = at_alices.post(BEGIN, sent)

    assert answer.status_code == 422
    assert "did not arrive whole" in answer.content.decode()


def test_a_confirmation_of_no_order_at_all_begins_nothing(at_alices: Client, orders: list[Order]) -> None:
    answer = at_alices.post(BEGIN, {"id": str(uuid.uuid4()), "action": "approve", "chosen": "nonsense"})

    assert answer.status_code == 409
    assert not Bulk.objects.exists()


def test_who_may_not_decide_is_not_offered_it_and_is_refused(
    viewer: User, signed_in: SignedIn, orders: list[Order]
) -> None:
    at_veras = signed_in(viewer)
    chosen = f"{orders[0].pk}.{orders[0].version}"

    assert 'name="order"' not in at_veras.get("/").content.decode()
    assert at_veras.post(PREVIEW, {"action": "approve", "all": "1"}).status_code == 403
    sent = {"id": str(uuid.uuid4()), "action": "approve", "chosen": chosen}
    assert at_veras.post(BEGIN, sent).status_code == 403
    assert at_veras.post(PREVIEW, {"action": "extend", "all": "1"}).status_code == 403
    assert not Bulk.objects.exists()


def test_leads_see_everybodys_and_others_their_own(
    at_alices: Client, bob: User, lead: User, signed_in: SignedIn, orders: list[Order], as_alice: Actor
) -> None:
    chosen = {order.pk: order.version for order in orders}
    now = datetime.now(UTC)
    made = bulk.begin(bulk_id=uuid.uuid4(), action=Action.APPROVE, chosen=chosen, actor=as_alice, at=now)

    def seen_by(client: Client) -> tuple[bool, int, int]:
        addresses = (made.get_absolute_url(), reverse("orders:catch_up_bulk", args=[made.pk]))
        first, second = (client.get(address).status_code for address in addresses)
        return made.get_absolute_url() in client.get("/bulk/").content.decode(), first, second

    assert seen_by(at_alices) == (True, 200, 200)
    assert seen_by(signed_in(lead)) == (True, 200, 200)
    assert seen_by(signed_in(bob)) == (False, 404, 404)


def test_a_first_approval_of_two_is_not_said_to_be_done(at_alices: Client, orders: list[Order]) -> None:
    orders[0].reviews.update(needs_two=True)

    looked = at_alices.post(PREVIEW, {"action": "approve", "all": "1"}).content.decode()
    at_alices.post(BEGIN, hidden(looked))
    carry_out_all()

    assert "1 of them needs two people: yours is the first approval" in looked
    over = at_alices.get(Bulk.objects.get().get_absolute_url()).content.decode()
    assert "2 approved, 1 endorsed" in over
    assert over.count('<span class="status good">Done</span>') == 2
    assert over.count('<span class="status waiting">Endorsed</span> <span>One more person has to approve.</span>') == 1
    assert "2 done, 1 endorsed" in at_alices.get("/bulk/").content.decode()


@pytest.mark.parametrize(
    ("action", "said"),
    [("extend", "None comes into your hands by it"), ("hand_over", "Each is in their hands then")],
)
def test_it_says_beforehand_in_whose_hands_they_will_be(
    at_alices: Client, orders: list[Order], action: str, said: str
) -> None:
    assert said in at_alices.post(PREVIEW, {"action": action, "all": "1"}).content.decode()


def test_an_open_page_catches_up_with_each_result(
    at_alices: Client, orders: list[Order], as_alice: Actor, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    chosen = {order.pk: order.version for order in orders}
    now = datetime.now(UTC)
    made = bulk.begin(bulk_id=uuid.uuid4(), action=Action.APPROVE, chosen=chosen, actor=as_alice, at=now)
    bulk.carry_out(bulk_id=made.pk, at=now, most=2)

    with django_assert_max_num_queries(20):
        fragments = at_alices.get(reverse("orders:catch_up_bulk", args=[made.pk])).json()["fragments"]

    assert "2 of 3" in fragments[0]
    assert sum("Done" in fragment for fragment in fragments) == 2


@pytest.mark.parametrize("address", [PREVIEW, BEGIN])
def test_a_page_that_was_sent_is_not_there_to_be_looked_at(at_alices: Client, address: str) -> None:
    assert at_alices.get(address).status_code == 302


def test_a_list_from_no_place_of_ours_is_refused(at_alices: Client) -> None:
    assert at_alices.get("/bulk/?after=nonsense").status_code == 400
    assert at_alices.get("/bulk/").status_code == 200

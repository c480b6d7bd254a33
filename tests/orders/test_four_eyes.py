"""Two different people for what is worth it, and nobody for what they placed or changed: at every door."""

import importlib
import json
import uuid
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from io import StringIO

import pytest
from django.apps import apps
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import IntegrityError, transaction
from django.test import Client

from orders import timeline
from orders.models import ApiScope, Event, Order, Outbox, Review
from orders.services import addressing, claiming, clients, placing, reviewing, signalling
from orders.services.actors import Actor
from orders.services.placing import Address, NewLine, NewOrder
from orders.services.reviewing import AlreadyEndorsed, NotThisPerson
from orders.states import Action
from tests.conftest import PlaceOrder
from tests.orders.conftest import SignedIn

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
PARIS = Address("FR", line1="5 rue Cler", city="Paris", postal_code="75007")

Door = Callable[[Order, User], None]  # approves as that user, or not


@pytest.fixture
def large_order(place: PlaceOrder) -> Order:
    return to_review(place(lines=[NewLine("LAMP", 9, 60_000)]))


@pytest.fixture
def erin(db: None) -> User:
    return User.objects.create_superuser("erin")


def to_review(order: Order) -> Order:
    reviewing.receive_order(order_id=order.pk, at=NOW)
    reviewing.validate_order(order_id=order.pk, at=NOW)
    order.refresh_from_db()
    return order


def by_page(order: Order, user: User) -> None:
    client = Client()
    client.force_login(user)
    client.post(f"/orders/{order.pk}/approve/")


def by_api(order: Order, user: User) -> None:
    token = clients.create_client(name=f"desk-{uuid.uuid4().hex}", scopes=[ApiScope.DECIDE], user=user, at=NOW)
    Client().post(
        f"/api/v1/orders/{order.pk}/approve", "{}", "application/json", headers={"Authorization": f"Bearer {token}"}
    )


def by_command(order: Order, user: User) -> None:
    with suppress(CommandError):
        call_command("order", "approve", order.number, user=user.username, stdout=StringIO())


def by_signal(order: Order, user: User) -> None:
    signalling.obey_signal(
        order_id=order.pk, action=Action.APPROVE, actor=user.username, reason="", due_at=None, address={}, at=NOW
    )


DOORS = [by_page, by_api, by_command, by_signal]


@pytest.mark.parametrize("door", DOORS)
def test_at_every_door_one_person_is_not_enough_and_a_second_is(
    large_order: Order, lead: User, bob: User, door: Door
) -> None:
    for _ in "ab":
        door(large_order, lead)
    large_order.refresh_from_db()
    assert large_order.status == "in_review"
    assert large_order.events.filter(type="endorse").count() == 1
    assert not Outbox.objects.filter(order=large_order, message="approve").exists()

    door(large_order, bob)

    large_order.refresh_from_db()
    assert large_order.status == "approved"
    review = large_order.reviews.get()
    assert (review.endorsed_by, review.decided_by) == (lead, bob)


@pytest.mark.parametrize("door", DOORS)
def test_at_every_door_nobody_approves_what_they_placed_or_changed_not_even_an_admin(
    place: PlaceOrder, order_in_review: Order, erin: User, door: Door
) -> None:
    placed = to_review(place())
    Order.objects.filter(pk=placed.pk).update(placed_by=erin)
    addressing.change_address(order_id=order_in_review.pk, actor=Actor.operator(erin), at=NOW, address=PARIS)

    for order in (placed, order_in_review):
        door(order, erin)

        order.refresh_from_db()
        assert order.status == "in_review"
        assert not order.events.filter(type__in=["approve", "endorse"]).exists()


def test_nobody_evades_it_under_another_name_nor_is_kept_from_it_by_a_name_that_was_anothers(
    order_in_review: Order, alice: User, bob: User
) -> None:
    addressing.change_address(order_id=order_in_review.pk, actor=Actor.operator(alice), at=NOW, address=PARIS)
    claiming.unclaim(order_id=order_in_review.pk, actor=Actor.operator(alice), at=NOW)
    for user, name in ((alice, "alice.lee"), (bob, "alice")):
        user.username = name
        user.save()

    with pytest.raises(NotThisPerson, match="You changed this order"):
        reviewing.approve(order_id=order_in_review.pk, actor=Actor.operator(alice), at=NOW)
    assert reviewing.approve(order_id=order_in_review.pk, actor=Actor.operator(bob), at=NOW).status == "approved"


def test_of_an_older_change_the_name_is_known(order_in_review: Order, alice: User, bob: User) -> None:
    at = order_in_review.version + 1
    told = {"type": "change_address", "actor_kind": "operator", "actor": "alice", "at": NOW}
    Event.objects.create(order=order_in_review, sequence=at, **told)
    Order.objects.filter(pk=order_in_review.pk).update(version=at)

    with pytest.raises(NotThisPerson, match="You changed this order"):
        reviewing.approve(order_id=order_in_review.pk, actor=Actor.operator(alice), at=NOW)
    assert reviewing.approve(order_id=order_in_review.pk, actor=Actor.operator(bob), at=NOW).status == "approved"


@pytest.mark.parametrize("needs", [1, 2])
def test_where_it_stands_says_who_was_first_and_how_many_have_to_approve(
    place: PlaceOrder, as_alice: Actor, alice: User, signed_in: SignedIn, needs: int
) -> None:
    order = to_review(place(lines=[NewLine("LAMP", 9, 60_000)]))
    if needs == 1:
        reviewing.approve(order_id=order.pk, actor=as_alice, at=NOW)
    said = (
        "Endorsed by alice: one more person has to approve."
        if needs == 1
        else "Waiting for a decision: two people have to approve."
    )
    first = "alice" if needs == 1 else ""
    token = clients.create_client(name="desk", scopes=[ApiScope.READ], user=None, at=NOW)
    api = Client(headers={"Authorization": f"Bearer {token}"})
    shown, printed = StringIO(), StringIO()
    call_command("order", "show", order.number, stdout=shown)
    call_command("order", "show", order.number, "--json", stdout=printed)
    document = json.loads(printed.getvalue())

    assert said in signed_in(alice).get(order.get_absolute_url()).content.decode()
    assert said in shown.getvalue()
    assert ("Endorsed  by alice at" in shown.getvalue()) == (needs == 1)
    for told in (
        api.get(f"/api/v1/orders/{order.pk}").json(),
        api.get(f"/api/v1/orders/{order.pk}/live").json(),
        document["live"],
        document["review"],
    ):
        assert (told["approvals_needed"], told["endorsed_by"]) == (needs, first)


@pytest.mark.parametrize(("quantity", "needs_two"), [(8, False), (9, True)])
def test_the_amount_decides_whether_it_needs_two(place: PlaceOrder, quantity: int, needs_two: bool) -> None:
    order = to_review(place(lines=[NewLine("LAMP", quantity, 60_000)]))

    assert order.reviews.get().needs_two == needs_two
    assert ("two people must approve" in timeline.tell(order.events.get(type="open_review")).detail) == needs_two


def test_the_first_approval_is_an_event_and_frees_the_order_for_the_second(
    large_order: Order, as_alice: Actor, as_bob: Actor, alice: User
) -> None:
    claiming.claim(order_id=large_order.pk, actor=as_alice, at=NOW)

    order = reviewing.approve(order_id=large_order.pk, actor=as_alice, at=NOW, note="Called them")

    review = order.reviews.get()
    assert (order.status, review.decision, review.endorsed_by, review.endorsed_at) == ("in_review", "", alice, NOW)
    assert review.claimed_by is None
    event = order.events.get(type="endorse")
    assert (event.actor, event.payload["note"]) == ("alice", "Called them")
    with pytest.raises(AlreadyEndorsed, match="a second person has to"):
        reviewing.approve(order_id=order.pk, actor=as_alice, at=NOW)
    assert reviewing.approve(order_id=order.pk, actor=as_bob, at=NOW).status == "approved"


def test_one_person_is_enough_to_reject(large_order: Order, as_alice: Actor) -> None:
    reviewing.approve(order_id=large_order.pk, actor=as_alice, at=NOW)

    assert reviewing.reject(order_id=large_order.pk, actor=as_alice, at=NOW, reason="No").status == "rejected"


def test_what_is_changed_after_the_first_approval_needs_two_again(
    large_order: Order, as_alice: Actor, as_bob: Actor, lead: User
) -> None:
    reviewing.approve(order_id=large_order.pk, actor=as_alice, at=NOW)

    addressing.change_address(order_id=large_order.pk, actor=as_alice, at=NOW, address=PARIS)
    claiming.unclaim(order_id=large_order.pk, actor=as_alice, at=NOW)

    changed = large_order.events.get(type="change_address")
    assert "the approval by alice counts no longer" in timeline.tell(changed).detail
    assert reviewing.approve(order_id=large_order.pk, actor=as_bob, at=NOW).status == "in_review"
    with pytest.raises(NotThisPerson, match="You changed this order"):
        reviewing.approve(order_id=large_order.pk, actor=as_alice, at=NOW)
    assert reviewing.approve(order_id=large_order.pk, actor=Actor.operator(lead), at=NOW).status == "approved"


def test_the_page_says_that_two_have_to_and_who_was_first(
    large_order: Order, alice: User, bob: User, signed_in: SignedIn
) -> None:
    address = large_order.get_absolute_url()
    assert "Two people must approve." in signed_in(alice).get(address).content.decode()

    said = signed_in(alice).post(f"{address}approve/", follow=True).content.decode()

    assert f"{large_order.number} endorsed: a second person must approve it." in said
    assert "You have approved it already: a second person has to." in said
    seen = signed_in(bob).get(address).content.decode()
    assert "Endorsed by alice at" in seen
    assert "Endorsed by alice" in signed_in(bob).get("/").content.decode()
    again = signed_in(alice).post(f"{address}approve/")
    assert again.status_code == 302  # a second click by the same person
    assert "Endorsed by alice" in signed_in(bob).post(f"{address}approve/", follow=True).content.decode()
    large_order.refresh_from_db()
    assert large_order.status == "approved"


def test_who_has_an_account_here_is_remembered_as_the_one_who_placed(
    place: PlaceOrder, alice: User, as_alice: Actor
) -> None:
    place()
    token = clients.create_client(name="shop", scopes=[ApiScope.PLACE, ApiScope.DECIDE], user=alice, at=NOW)
    shop = clients.client_with_token(token=token, at=NOW)
    assert shop
    new = NewOrder(
        source="shop",
        customer_name="Ann Lee",
        address=PARIS,
        currency="EUR",
        lines=[NewLine("LAMP", 2, 60_000)],
        placed_at=NOW,
    )

    by_program, _ = clients.place_once(client=shop, key="1", body_hash="0", new=new, at=NOW)
    by_hand = placing.place_order(new=new, actor=as_alice, at=NOW)

    assert by_program.placed_by == by_hand.placed_by == alice
    with pytest.raises(NotThisPerson, match="You placed this order"):
        reviewing.approve(order_id=to_review(by_program).pk, actor=as_alice, at=NOW)


def test_the_database_itself_takes_no_approval_by_one_where_two_have_to(large_order: Order, alice: User) -> None:
    review = Review.objects.filter(order=large_order)
    decided = {"decision": "approved", "decided_by": alice, "decided_at": NOW}

    for first in ({}, {"endorsed_by": alice, "endorsed_at": NOW}):
        with pytest.raises(IntegrityError, match="by_two"), transaction.atomic():
            review.update(**decided, **first)


def test_what_waited_before_there_were_two_is_put_to_two(large_order: Order, order_in_review: Order) -> None:
    Review.objects.update(needs_two=False)
    migration = importlib.import_module("orders.migrations.0025_defaults_for_the_version_before")

    migration.ask_two_of_what_waits(apps, None)

    assert large_order.reviews.get().needs_two
    assert not order_in_review.reviews.get().needs_two


def test_what_two_have_approved_is_sent_elsewhere_only_by_a_lead_who_is_neither(
    large_order: Order, alice: User, bob: User, lead: User
) -> None:
    for user in (alice, bob):
        reviewing.approve(order_id=large_order.pk, actor=Actor.operator(user), at=NOW)

    carol = User.objects.create_user("carol")
    carol.groups.set(bob.groups.all())
    for user, why in ((alice, "You approved"), (bob, "You approved"), (carol, "a lead has to")):
        with pytest.raises(NotThisPerson, match=why):
            addressing.change_address(order_id=large_order.pk, actor=Actor.operator(user), at=NOW, address=PARIS)

    assert addressing.change_address(order_id=large_order.pk, actor=Actor.operator(lead), at=NOW, address=PARIS)

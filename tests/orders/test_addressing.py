"""Changing an order's address: how far, by whom, to what, and against a dispatch at the same instant."""

from dataclasses import asdict, replace
from datetime import UTC, datetime

import pytest
from django.contrib.auth.models import User

from orders.models import ActorKind, Order, Outbox
from orders.services import addressing, fulfilling, paying, placing, reviewing, shipping
from orders.services.actors import SYSTEM, Actor, NotPermitted
from orders.services.placing import Address, NewLine
from orders.services.transitions import ActionRefused
from orders.states import TRANSITIONS, Action, Status
from orders.timeline import tell
from tests.conftest import PlaceOrder
from tests.threads import at_once

NOW = datetime(2026, 3, 4, 12, 30, tzinfo=UTC)
PARIS = Address("FR", line1="5 rue Cler", city="Paris", postal_code="75007")


def change(order: Order, actor: Actor, address: Address = PARIS) -> bool:
    return addressing.change_address(order_id=order.pk, actor=actor, at=NOW, address=address)


def address_of(order: Order) -> Address:
    order.refresh_from_db()
    return placing.address_of(order)


def test_it_changes_the_row_and_tells_before_and_after(order_in_review: Order, as_alice: Actor) -> None:
    before = address_of(order_in_review)

    changed = change(order_in_review, as_alice, replace(PARIS, city=" Paris "))

    assert changed
    assert address_of(order_in_review) == PARIS
    event = order_in_review.events.latest("sequence")
    assert (event.type, event.actor, event.sequence) == ("change_address", "alice", order_in_review.version)
    assert (event.payload["before"], event.payload["after"]) == (asdict(before), asdict(PARIS))
    assert tell(event).detail == "Lindenstr. 4, 10969 Berlin, Germany → 5 rue Cler, 75007 Paris, France"
    told = Outbox.objects.latest("id")
    assert (told.message, told.payload) == ("change_address", {"actor": "alice"})


def test_the_same_address_changes_nothing_and_says_so(order_in_review: Order, as_alice: Actor) -> None:
    version = order_in_review.version

    assert not change(order_in_review, as_alice, address_of(order_in_review))

    order_in_review.refresh_from_db()
    assert order_in_review.version == version
    assert not Outbox.objects.filter(message="change_address").exists()


@pytest.mark.parametrize("status", Status)
def test_it_is_possible_exactly_until_the_carrier_is_called(
    order_in_review: Order, as_alice: Actor, status: Status
) -> None:
    Order.objects.filter(pk=order_in_review.pk).update(status=status, outcome="The carrier does not know the street.")

    if (status, Action.CHANGE_ADDRESS) in TRANSITIONS:
        change(order_in_review, as_alice)
        assert address_of(order_in_review) == PARIS
        assert (order_in_review.status, order_in_review.outcome) == (status, "The carrier does not know the street.")
    else:
        with pytest.raises(ActionRefused, match="can no longer be changed"):
            change(order_in_review, as_alice)
        assert address_of(order_in_review).city == "Berlin"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"country": ""}, "address.country"),
        ({"country": "XX"}, "address.country"),
        ({"country": "Germany"}, "address.country"),
        ({"line1": "a\x00b"}, "address.line1"),
        ({"line2": "a\nb"}, "address.line2"),
        ({"city": "\ud800"}, "address.city"),
        ({"region": "r" * 101}, "address.region"),
        ({"postal_code": "1" * 21}, "address.postal_code"),
        ({"postal_code": "7500"}, "address.postal_code"),
        ({"city": " "}, "address.city"),
    ],
)
def test_a_bad_field_is_named_and_nothing_changes(
    order_in_review: Order, as_alice: Actor, changes: dict[str, str], field: str
) -> None:
    before = address_of(order_in_review)

    with pytest.raises(addressing.InvalidAddress) as refused:
        change(order_in_review, as_alice, replace(PARIS, **changes))

    assert refused.value.errors.keys() == {field}
    assert address_of(order_in_review) == before
    assert order_in_review.version == 4


def test_all_that_is_wrong_is_said_at_once(order_in_review: Order, as_alice: Actor) -> None:
    with pytest.raises(addressing.InvalidAddress) as refused:
        change(order_in_review, as_alice, Address("", city="\x00", postal_code="1" * 21))

    assert refused.value.errors.keys() == {"address.country", "address.city", "address.postal_code"}


def test_addresses_as_people_write_them_are_kept_exactly(order_in_review: Order, as_alice: Actor) -> None:
    cairo = Address(
        "EG", line1="\u0634\u0627\u0631\u0639 \u0627\u0644\u062a\u062d\u0631\u064a\u0631", city="\U0001f3e0"
    )

    change(order_in_review, as_alice, replace(cairo, city="\U0001f3e0"))

    assert address_of(order_in_review) == replace(cairo, city="\U0001f3e0")


def test_a_viewer_may_not_nor_the_system_nor_a_stranger(order_in_review: Order, viewer: User) -> None:
    customer = Actor(ActorKind.CUSTOMER, "Ann Lee")

    for actor in (Actor.operator(viewer), SYSTEM, customer):
        with pytest.raises(NotPermitted, match="may not change the address of an order"):
            change(order_in_review, actor)


def ready_for_the_carrier(order: Order) -> None:
    for step in (
        reviewing.receive_order,
        reviewing.validate_order,
        fulfilling.reserve_stock,
        paying.begin_charge,
    ):
        step(order_id=order.pk, at=NOW)
    paying.record_charge(order_id=order.pk, reference="ch_1", declined="", at=NOW)
    shipping.begin_package(order_id=order.pk, at=NOW)
    shipping.record_package(order_id=order.pk, at=NOW)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("_", range(10))
def test_against_a_dispatch_at_the_same_instant_it_counts_or_is_refused(
    place: PlaceOrder, as_alice: Actor, _: int
) -> None:
    order = place(lines=[NewLine("LAMP", 1, 20_000)])
    ready_for_the_carrier(order)

    moved, parcel = at_once(
        lambda: change(order, as_alice),
        lambda: shipping.begin_dispatch(order_id=order.pk, at=NOW),
        may_raise=ActionRefused,
    )

    assert parcel.address == asdict(address_of(order))
    assert parcel.address["city"] == ("Berlin" if isinstance(moved, ActionRefused) else "Paris")

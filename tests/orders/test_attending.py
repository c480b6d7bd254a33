"""Letting an order that waits for help try again: by whom, from where, twice, at the same instant."""

from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.auth.models import User

from orders.models import ActorKind, Decision, Order, Outbox, Review
from orders.services import attending, placing, reviewing, undoing
from orders.services.actors import SYSTEM, Actor, NotPermitted
from orders.services.addressing import InvalidAddress
from orders.services.placing import Address
from orders.services.reviewing import AlreadyDecided
from orders.services.transitions import ActionRefused
from orders.states import NEEDS_ATTENTION, Status
from tests.threads import at_once

PARIS = Address("FR", line1="5 rue Cler", city="Paris", postal_code="75007")


def now() -> datetime:
    return datetime.now(UTC)


def retry(order: Order, actor: Actor, note: str = "") -> Order:
    return attending.retry(order_id=order.pk, actor=actor, at=now(), note=note)


def correct(order: Order, actor: Actor, address: Address = PARIS) -> Order:
    return attending.correct_and_retry(order_id=order.pk, actor=actor, at=now(), address=address)


@pytest.mark.parametrize(
    ("waiting", "goes_on"),
    [("short_order", "approved"), ("unconfirmed_order", "reserved"), ("undeliverable_order", "preparing")],
)
def test_it_goes_back_to_the_step_that_could_not_be_taken(
    request: pytest.FixtureRequest, as_alice: Actor, waiting: str, goes_on: str
) -> None:
    order: Order = request.getfixturevalue(waiting)

    retry(order, as_alice, note=" Put right ")

    order.refresh_from_db()
    assert order.status == goes_on
    review = order.reviews.get(kind=Review.Kind.ATTENTION)
    assert (review.decision, review.decided_by, review.note) == (Decision.RETRIED, as_alice.user, "Put right")
    event = order.events.latest("sequence")
    assert (event.type, event.actor, event.payload["note"]) == ("retry", "alice", "Put right")
    told = Outbox.objects.latest("id")
    assert (told.message, told.payload) == ("retry", {"actor": "alice"})


def test_who_is_second_is_told_who_was_first(short_order: Order, as_alice: Actor, as_bob: Actor) -> None:
    retry(short_order, as_bob)

    with pytest.raises(AlreadyDecided, match="Already retried by bob"):
        retry(short_order, as_alice)
    assert short_order.events.filter(type="retry").count() == 1


@pytest.mark.parametrize("status", sorted(set(Status) - NEEDS_ATTENTION))
def test_an_order_that_waits_for_no_help_is_not_retried(
    order_in_review: Order, as_alice: Actor, status: Status
) -> None:
    Order.objects.filter(pk=order_in_review.pk).update(status=status)

    with pytest.raises(ActionRefused, match="does not wait for help"):
        retry(order_in_review, as_alice)


def test_past_its_deadline_it_is_too_late(short_order: Order, as_alice: Actor) -> None:
    reviewing.settle_review(order_id=short_order.pk, at=now() + timedelta(days=9))

    with pytest.raises(AlreadyDecided, match="Already expired by the deadline"):
        retry(short_order, as_alice)


def test_a_note_with_control_characters_changes_nothing(short_order: Order, as_alice: Actor) -> None:
    with pytest.raises(ActionRefused, match="The note contains a control character"):
        retry(short_order, as_alice, note="a\x00b")
    assert not short_order.reviews.get().decision


def test_a_viewer_may_not_nor_the_system_nor_the_customer(undeliverable_order: Order, viewer: User) -> None:
    for actor in (Actor.operator(viewer), SYSTEM, Actor(ActorKind.CUSTOMER, "Ann Lee")):
        with pytest.raises(NotPermitted, match="may not retry an order"):
            retry(undeliverable_order, actor)


def test_the_address_is_corrected_and_the_order_sent_off_in_one_go(undeliverable_order: Order, as_alice: Actor) -> None:
    correct(undeliverable_order, as_alice)

    undeliverable_order.refresh_from_db()
    assert placing.address_of(undeliverable_order) == PARIS
    assert undeliverable_order.status == "preparing"
    events = undeliverable_order.events.order_by("-sequence").values_list("type", flat=True)
    assert list(events[:2]) == ["retry", "change_address"]


def test_without_a_correction_nothing_is_sent_off(undeliverable_order: Order, as_alice: Actor) -> None:
    with pytest.raises(ActionRefused, match="That is the address it has already"):
        correct(undeliverable_order, as_alice, placing.address_of(undeliverable_order))
    with pytest.raises(InvalidAddress, match=r"address\.country"):
        correct(undeliverable_order, as_alice, Address("XX"))

    undeliverable_order.refresh_from_db()
    assert undeliverable_order.status == "undeliverable"


def test_where_the_retry_is_too_late_the_address_stays(
    undeliverable_order: Order, as_alice: Actor, as_bob: Actor
) -> None:
    retry(undeliverable_order, as_bob)

    with pytest.raises(AlreadyDecided):
        correct(undeliverable_order, as_alice)

    undeliverable_order.refresh_from_db()
    assert undeliverable_order.address_country == "AQ"


@pytest.mark.django_db(transaction=True)
def test_of_a_retry_and_a_cancel_at_the_same_instant_one_wins(
    undeliverable_order: Order, as_alice: Actor, as_bob: Actor
) -> None:
    retried, _ = at_once(
        lambda: retry(undeliverable_order, as_alice),
        lambda: undoing.cancel(order_id=undeliverable_order.pk, actor=as_bob, at=now(), reason=""),
        may_raise=ActionRefused,
    )

    undeliverable_order.refresh_from_db()
    # A package that is being made ready can be cancelled still: then both have happened, one after the other.
    decided = list(undeliverable_order.events.filter(type__in=["retry", "cancel"]).order_by("sequence"))
    assert undeliverable_order.status == "cancelling"
    expected = ["cancel"] if isinstance(retried, ActionRefused) else ["retry", "cancel"]
    assert [event.type for event in decided] == expected

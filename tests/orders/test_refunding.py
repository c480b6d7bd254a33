"""Granting a refund: how much, by whom, of which order, twice, at the same instant."""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError

from orders.models import Order, Outbox, Payment
from orders.services import fulfilling, paying, refunding, reviewing, shipping, undoing
from orders.services.actors import SYSTEM, Actor, NotPermitted
from orders.services.placing import NewLine
from orders.services.transitions import ActionRefused
from tests.conftest import PlaceOrder
from tests.threads import at_once

NOW = datetime(2026, 3, 4, 12, 30, tzinfo=UTC)


def completed(order: Order) -> Order:
    """Take the order along its whole way, as the engine would."""
    for step in (
        reviewing.receive_order,
        reviewing.validate_order,
        fulfilling.reserve_stock,
        paying.begin_charge,
    ):
        step(order_id=order.pk, at=NOW)
    paying.record_charge(order_id=order.pk, reference="ch_1", declined="", at=NOW)
    for later in (shipping.begin_package, shipping.record_package, shipping.begin_dispatch):
        later(order_id=order.pk, at=NOW)
    shipping.record_dispatch(order_id=order.pk, carrier="Meridian", tracking_number="MP1", at=NOW)
    fulfilling.complete_order(order_id=order.pk, at=NOW)
    order.refresh_from_db()
    assert order.status == "completed"
    return order


@pytest.fixture
def order(place: PlaceOrder) -> Order:
    """A completed order of 200.00 EUR."""
    return completed(place(lines=[NewLine("LAMP", 1, 20_000)]))


@pytest.fixture
def as_lead(lead: User) -> Actor:
    return Actor.operator(lead)


def refund(order: Order, actor: Actor, amount_minor: int, number: int | None = None, reason: str = "Late") -> Payment:
    return refunding.refund(
        order_id=order.pk, amount_minor=amount_minor, reason=reason, actor=actor, at=NOW, number=number
    )


def refunds_of(order: Order) -> list[int]:
    return list(order.payments.filter(kind="refund").values_list("amount_minor", flat=True))


def test_it_stores_the_refund_its_event_and_the_word_to_the_engine(order: Order, as_alice: Actor) -> None:
    payment = refund(order, as_alice, 5_000, reason=" Came late ")

    assert payment.idempotency_key == f"order-{order.pk}:refund-1"
    assert (payment.kind, payment.status, payment.currency) == ("refund", "processing", "EUR")
    event = order.events.latest("sequence")
    assert (event.type, event.actor_kind, event.actor) == ("refund_requested", "operator", "alice")
    assert event.payload == {"amount_minor": 5_000, "currency": "EUR", "note": "Came late"}
    told = Outbox.objects.latest("id")
    assert (told.order_id, told.message, told.payload) == (order.pk, "refund", {"number": "1"})


def test_a_role_limits_what_is_refunded_of_an_order_in_all(order: Order, as_alice: Actor, as_lead: Actor) -> None:
    refund(order, as_alice, 6_000)

    with pytest.raises(refunding.AmountRefused, match=r"up to €40\.00 more"):
        refund(order, as_alice, 4_001)
    refund(order, as_alice, 4_000)
    with pytest.raises(refunding.AmountRefused, match=r"up to €0\.00 more"):
        refund(order, as_alice, 1)
    refund(order, as_lead, 10_000)

    assert refunds_of(order) == [6_000, 4_000, 10_000]


def test_an_admin_has_no_limit_but_the_charge(place: PlaceOrder, db: None, as_alice: Actor) -> None:
    order = completed_large(place, as_alice)
    admin = User.objects.create_superuser("root")

    with pytest.raises(refunding.AmountRefused, match=r"Only €1,200\.00 is left"):
        refund(order, Actor.operator(admin), 120_001)
    refund(order, Actor.operator(admin), 120_000)

    assert refunds_of(order) == [120_000]


def test_a_lead_has_a_limit(place: PlaceOrder, as_alice: Actor, as_lead: Actor) -> None:
    order = completed_large(place, as_alice)

    with pytest.raises(refunding.AmountRefused, match=r"up to €1,000\.00 more"):
        refund(order, as_lead, 100_001)


def completed_large(place: PlaceOrder, actor: Actor) -> Order:
    order = place()
    reviewing.receive_order(order_id=order.pk, at=NOW)
    reviewing.validate_order(order_id=order.pk, at=NOW)
    reviewing.approve(order_id=order.pk, actor=actor, at=NOW)
    return completed(order)


@pytest.mark.parametrize("amount_minor", [0, -1, 20_001])
def test_an_amount_beyond_the_charge_or_none_at_all_is_refused(order: Order, as_lead: Actor, amount_minor: int) -> None:
    with pytest.raises(refunding.AmountRefused):
        refund(order, as_lead, amount_minor)

    assert refunds_of(order) == []


def test_a_viewer_may_not_nor_the_system(order: Order, viewer: User) -> None:
    for actor in (Actor.operator(viewer), SYSTEM):
        with pytest.raises(NotPermitted):
            refund(order, actor, 100)

    assert refunds_of(order) == []


@pytest.mark.parametrize(("reason", "said"), [("  ", "Give a reason"), ("a\0b", "control character")])
def test_a_reason_is_asked_for(order: Order, as_alice: Actor, reason: str, said: str) -> None:
    with pytest.raises(ActionRefused, match=said):
        refund(order, as_alice, 100, reason=reason)


def test_an_order_under_way_is_not_refunded_nor_one_that_was_never_charged(
    place: PlaceOrder, order_in_review: Order, as_alice: Actor
) -> None:
    with pytest.raises(ActionRefused, match="still under way"):
        refund(order_in_review, as_alice, 100)
    undoing.cancel(order_id=order_in_review.pk, actor=as_alice, at=NOW, reason="")
    with pytest.raises(ActionRefused, match="Nothing was charged"):
        refund(order_in_review, as_alice, 100)


def test_a_form_sent_twice_refunds_once(order: Order, as_alice: Actor, as_bob: Actor) -> None:
    first = refund(order, as_alice, 2_000, number=1)

    with pytest.raises(refunding.AlreadyRefunded) as refused:
        refund(order, as_bob, 2_000, number=1)

    assert refused.value.payment == first
    assert refunds_of(order) == [2_000]
    with pytest.raises(ActionRefused, match="not the next"):
        refund(order, as_alice, 2_000, number=7)


def test_what_the_bank_answers_is_recorded_once(order: Order, as_alice: Actor) -> None:
    refund(order, as_alice, 2_000)
    refund(order, as_alice, 3_000)
    move = refunding.find_refund(order_id=order.pk, number=2)
    assert (move.key, move.amount_minor, move.of_charge) == (
        f"order-{order.pk}:refund-2",
        3_000,
        f"order-{order.pk}:charge",
    )

    for _ in range(2):
        refunding.settle_refund(order_id=order.pk, number=2, reference="re_2", at=NOW)

    assert list(order.payments.filter(kind="refund").values_list("status", flat=True)) == ["processing", "succeeded"]
    assert order.events.filter(type="refund").count() == 1
    assert refunding.find_refund(order_id=order.pk, number=2).key == ""


def test_a_refund_of_a_charge_that_the_bank_does_not_know_leaves_room_for_another(order: Order, as_lead: Actor) -> None:
    refund(order, as_lead, 20_000)

    refunding.settle_refund(order_id=order.pk, number=1, reference="", at=NOW)
    again = refund(order, as_lead, 20_000)

    assert order.events.filter(type="refund_failed").count() == 1
    assert again.idempotency_key == f"order-{order.pk}:refund-2"


@pytest.mark.django_db(transaction=True)
class TestAtTheSameInstant:
    def test_of_eight_refunds_as_many_come_through_as_there_is_money(self, order: Order, as_lead: Actor) -> None:
        answers = at_once(*[lambda: refund(order, as_lead, 6_000)] * 8, may_raise=ActionRefused)

        assert refunds_of(order) == [6_000] * 3
        assert sum(isinstance(answer, ActionRefused) for answer in answers) == 5

    def test_the_database_alone_holds_it_too(self, order: Order) -> None:
        def write(key: str) -> Callable[[], object]:
            return lambda: Payment.objects.create(
                order=order,
                idempotency_key=key,
                kind="refund",
                amount_minor=15_000,
                currency="EUR",
                status="processing",
                created_at=NOW,
            )

        answers = at_once(*[write(f"key-{number}") for number in range(4)], may_raise=IntegrityError)
        raised = [answer for answer in answers if isinstance(answer, IntegrityError)]

        assert refunds_of(order) == [15_000]
        assert ["payment_refunds_within_charge" in str(error) for error in raised] == [True] * 3

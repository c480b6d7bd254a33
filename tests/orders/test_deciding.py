"""Decisions, cancels and the deadline, as the row arbitrates them; real races on real PostgreSQL."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from django.contrib.auth.models import User

from orders.models import ActorKind, Order, Outbox, Review
from orders.services import fulfilling, paying, placing, reviewing, shipping, undoing
from orders.services.actors import SYSTEM, Actor, NotPermitted
from orders.services.reviewing import AlreadyDecided
from orders.services.transitions import ActionRefused
from tests.conftest import PlaceOrder
from tests.threads import at_once

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
CUSTOMER = Actor(ActorKind.CUSTOMER, "Ann Lee")


def last_event(order: Order) -> dict[str, object]:
    event = order.events.order_by("-sequence").first()
    assert event is not None
    return {"type": event.type, "actor": event.actor, "kind": event.actor_kind, "at": event.at, **event.payload}


def test_an_approval_is_the_row_the_event_and_the_message(order_in_review: Order, as_alice: Actor, alice: User) -> None:
    order = reviewing.approve(order_id=order_in_review.pk, actor=as_alice, at=NOW, note="Called her")

    assert order.status == "approved"
    review = order.reviews.get()
    assert (review.decision, review.decided_by, review.decided_at, review.note) == (
        "approved",
        alice,
        NOW,
        "Called her",
    )
    assert last_event(order) == {
        "type": "approve",
        "actor": "alice",
        "kind": "operator",
        "at": NOW,
        "from": "in_review",
        "to": "approved",
        "note": "Called her",
    }
    message = Outbox.objects.get(order=order, message="approve")
    assert message.payload == {"actor": "alice"}


def test_a_rejection_says_why(order_in_review: Order, as_alice: Actor) -> None:
    order = reviewing.reject(order_id=order_in_review.pk, actor=as_alice, at=NOW, reason=" Stolen card ")

    assert order.status == "rejected"
    assert order.outcome == "Rejected: Stolen card"
    assert last_event(order)["note"] == "Stolen card"


@pytest.mark.parametrize(
    ("reason", "wrong"), [("", "Give a reason"), ("  \n", "Give a reason"), ("x" * 2001, "longer"), ("a\0b", "control")]
)
def test_a_rejection_without_a_good_reason_changes_nothing(
    order_in_review: Order, as_alice: Actor, reason: str, wrong: str
) -> None:
    with pytest.raises(ActionRefused, match=wrong):
        reviewing.reject(order_id=order_in_review.pk, actor=as_alice, at=NOW, reason=reason)

    order_in_review.refresh_from_db()
    assert order_in_review.status == "in_review"
    assert not Outbox.objects.filter(order=order_in_review, message="reject").exists()


def test_the_second_operator_learns_who_decided_what(order_in_review: Order, as_alice: Actor, as_bob: Actor) -> None:
    reviewing.approve(order_id=order_in_review.pk, actor=as_alice, at=NOW)

    with pytest.raises(AlreadyDecided, match=r"Already approved by alice\.") as refused:
        reviewing.reject(order_id=order_in_review.pk, actor=as_bob, at=NOW, reason="No")

    assert refused.value.review.decided_at == NOW
    assert order_in_review.events.filter(type__in=["approve", "reject"]).count() == 1


def test_after_the_deadline_nobody_decides(expired_order: Order, as_alice: Actor) -> None:
    with pytest.raises(AlreadyDecided, match=r"Already expired by the deadline\."):
        reviewing.approve(order_id=expired_order.pk, actor=as_alice, at=NOW)


def test_an_order_that_was_never_in_review_cannot_be_decided(place: PlaceOrder, as_alice: Actor) -> None:
    with pytest.raises(ActionRefused, match="placed cannot be decided"):
        reviewing.approve(order_id=place().pk, actor=as_alice, at=NOW)


@pytest.mark.parametrize(
    ("act", "told"),
    [(reviewing.approve, {"note": ""}), (reviewing.reject, {"reason": "No"}), (undoing.cancel, {"reason": "No"})],
)
def test_a_viewer_may_do_nothing(
    order_in_review: Order, viewer: User, act: Callable[..., Order], told: dict[str, str]
) -> None:
    with pytest.raises(NotPermitted, match=f"vera may not {act.__name__} an order"):
        act(order_id=order_in_review.pk, actor=Actor.operator(viewer), at=NOW, **told)


def test_a_disabled_operator_may_do_nothing(order_in_review: Order, alice: User) -> None:
    alice.is_active = False

    with pytest.raises(NotPermitted):
        reviewing.approve(order_id=order_in_review.pk, actor=Actor.operator(alice), at=NOW)


@pytest.mark.parametrize("actor", [SYSTEM, CUSTOMER])
def test_neither_the_system_nor_a_customer_approves(order_in_review: Order, actor: Actor) -> None:
    with pytest.raises(NotPermitted):
        reviewing.approve(order_id=order_in_review.pk, actor=actor, at=NOW)


def test_a_customer_may_cancel(order_in_review: Order) -> None:
    order = undoing.cancel(order_id=order_in_review.pk, actor=CUSTOMER, at=NOW, reason="")

    assert (order.status, order.outcome) == ("cancelled", "Cancelled.")
    assert order.reviews.get().decision == "cancelled"


def test_from_dispatching_on_a_cancel_is_refused(order_in_review: Order, as_alice: Actor) -> None:
    reviewing.approve(order_id=order_in_review.pk, actor=as_alice, at=NOW)
    fulfilling.reserve_stock(order_id=order_in_review.pk, at=NOW)
    paying.begin_charge(order_id=order_in_review.pk, at=NOW)
    paying.record_charge(order_id=order_in_review.pk, reference="ch_1", declined="", at=NOW)
    shipping.begin_package(order_id=order_in_review.pk, at=NOW)
    shipping.begin_dispatch(order_id=order_in_review.pk, at=NOW)

    with pytest.raises(ActionRefused, match="dispatching can no longer be cancelled"):
        undoing.cancel(order_id=order_in_review.pk, actor=as_alice, at=NOW, reason="Late")


def test_a_review_is_open_until_its_very_deadline(order_in_review: Order) -> None:
    due_at = order_in_review.reviews.get().due_at

    before = reviewing.settle_review(order_id=order_in_review.pk, at=due_at - timedelta(microseconds=1))
    then = reviewing.settle_review(order_id=order_in_review.pk, at=due_at)

    assert (before.status, before.due_at) == ("in_review", due_at)
    assert (then.status, then.due_at) == ("expired", None)


def test_two_first_orders_side_by_side_are_both_reviewed(place: PlaceOrder) -> None:
    orders = [
        place(customer_email="new@example.com", lines=[placing.NewLine("LAMP", 1, 50_000)], placed_at=NOW) for _ in "ab"
    ]

    for order in orders:
        reviewing.receive_order(order_id=order.pk, at=NOW)

    assert [reviewing.validate_order(order_id=order.pk, at=NOW).status for order in orders] == ["in_review"] * 2


def test_steps_of_the_engine_may_run_twice(place: PlaceOrder) -> None:
    order = place(lines=[placing.NewLine("LAMP", 2, 5_000)])
    steps: list[Callable[[], object]] = [
        lambda: reviewing.receive_order(order_id=order.pk, at=NOW),
        lambda: reviewing.validate_order(order_id=order.pk, at=NOW),
        lambda: fulfilling.reserve_stock(order_id=order.pk, at=NOW),
        lambda: paying.begin_charge(order_id=order.pk, at=NOW),
        lambda: paying.record_charge(order_id=order.pk, reference="ch_1", declined="", at=NOW),
        lambda: shipping.begin_package(order_id=order.pk, at=NOW),
        lambda: shipping.record_package(order_id=order.pk, at=NOW),
        lambda: shipping.begin_dispatch(order_id=order.pk, at=NOW),
        lambda: shipping.record_dispatch(order_id=order.pk, carrier="c", tracking_number="t", at=NOW),
        lambda: fulfilling.complete_order(order_id=order.pk, at=NOW),
    ]

    for step in steps:
        step()
        events = order.events.count()
        step()
        assert order.events.count() == events

    order.refresh_from_db()
    assert order.status == "completed"
    assert order.reservations.get().quantity == 2


def take_to_review(order: Order) -> Review:
    reviewing.receive_order(order_id=order.pk, at=NOW)
    reviewing.validate_order(order_id=order.pk, at=NOW)
    return order.reviews.get()


@pytest.mark.django_db(transaction=True)
class TestRaces:
    def test_of_two_operators_at_once_one_wins_and_the_other_is_told(
        self, place: PlaceOrder, as_alice: Actor, as_bob: Actor
    ) -> None:
        for _ in range(25):
            order = place()
            take_to_review(order)

            won, lost = sorted(
                at_once(
                    partial(reviewing.approve, order_id=order.pk, actor=as_alice, at=NOW),
                    partial(reviewing.reject, order_id=order.pk, actor=as_bob, at=NOW, reason="No"),
                    may_raise=ActionRefused,
                ),
                key=lambda result: isinstance(result, Exception),
            )

            assert isinstance(won, Order)
            assert isinstance(lost, AlreadyDecided)
            order.refresh_from_db()
            assert order.status == won.status == lost.review.decision
            assert order.events.filter(type__in=["approve", "reject"]).count() == 1
            assert Outbox.objects.filter(order=order).count() == 2

    def test_of_a_decision_and_the_deadline_one_wins(self, place: PlaceOrder, as_alice: Actor) -> None:
        for _ in range(25):
            order = place()
            due_at = take_to_review(order).due_at

            decision, standing = at_once(
                partial(reviewing.approve, order_id=order.pk, actor=as_alice, at=due_at),
                partial(reviewing.settle_review, order_id=order.pk, at=due_at),
                may_raise=ActionRefused,
            )

            order.refresh_from_db()
            assert isinstance(standing, reviewing.Standing)
            assert order.status == standing.status
            assert order.status == ("expired" if isinstance(decision, AlreadyDecided) else "approved")
            assert order.events.filter(type__in=["approve", "expire"]).count() == 1

    def test_ten_clicks_are_one_decision(self, place: PlaceOrder, as_alice: Actor) -> None:
        order = place()
        take_to_review(order)

        click = partial(reviewing.approve, order_id=order.pk, actor=as_alice, at=NOW)
        clicks = at_once(*[click] * 10, may_raise=ActionRefused)

        assert sum(isinstance(click, Order) for click in clicks) == 1
        assert order.events.filter(type="approve").count() == 1

    def test_the_last_unit_goes_to_one_order(self, place: PlaceOrder) -> None:
        orders = [place(lines=[placing.NewLine("RARE", 1, 5_000)]) for _ in range(8)]
        for order in orders:
            reviewing.receive_order(order_id=order.pk, at=NOW)
            reviewing.validate_order(order_id=order.pk, at=NOW)

        at_once(*[partial(fulfilling.reserve_stock, order_id=order.pk, at=NOW) for order in orders])

        statuses = sorted(Order.objects.values_list("status", flat=True))
        assert statuses == ["reserved"] + ["stock_short"] * 7
        assert orders[0].lines.get().product.stock == 0

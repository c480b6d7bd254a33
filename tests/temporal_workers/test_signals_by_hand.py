"""Signals as somebody sends them with Temporal's own tools: same door, same rules as a click."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User

from orders.models import Order
from tests.conftest import PlaceOrder
from tests.temporal_workers.conftest import Engine, events_of, wait_for_status, wait_until

Signal = Callable[..., None]
NOTHING = object()
PARIS = {"country": "FR", "line1": "5 rue Cler", "city": "Paris", "postal_code": "75007"}


@pytest.fixture
def in_review(place: PlaceOrder, engine: Engine) -> Order:
    order = place()
    wait_for_status(order, "in_review")
    return order


@pytest.fixture
def signal(engine: Engine, in_review: Order) -> Signal:
    """Send a signal with a JSON object, as `temporal workflow signal --input` does."""

    def send(name: str, **payload: Any) -> None:
        engine.signal(f"order-{in_review.pk}", name, payload)

    return send


def refusal_of(order: Order) -> tuple[str, str]:
    wait_until(lambda: "signal_refused" in events_of(order))
    told = order.events.get(type="signal_refused").payload
    order.refresh_from_db()
    return order.status, told["why"]


def test_approve_is_carried_out_as_the_person_named(in_review: Order, signal: Signal, alice: User) -> None:
    signal("approve", actor="alice", reason="Called them")
    wait_for_status(in_review, "completed")

    approval = in_review.events.get(type="approve")
    assert (approval.actor, approval.payload["note"]) == ("alice", "Called them")
    assert in_review.reviews.get().decided_by == alice


def test_cancel_and_reject_take_their_reasons(in_review: Order, signal: Signal, alice: User) -> None:
    signal("cancel", actor="alice", reason="Ordered twice")
    wait_for_status(in_review, "cancelled")

    assert in_review.outcome == "Cancelled: Ordered twice"


def test_the_address_goes_through_the_same_checks(in_review: Order, signal: Signal, alice: User) -> None:
    signal("change_address", actor="alice", address=PARIS | {"postal_code": "7500"})

    status, why = refusal_of(in_review)
    assert status == "in_review"
    assert "address.postal_code: is none of France" in why

    signal("change_address", actor="alice", address=PARIS)
    wait_until(lambda: "change_address" in events_of(in_review))
    in_review.refresh_from_db()
    assert (in_review.address_country, in_review.address_line1) == ("FR", "5 rue Cler")


def test_a_lead_extends_and_the_timer_follows(in_review: Order, signal: Signal, lead: User) -> None:
    due_at = datetime.now(UTC) + timedelta(days=3)

    signal("extend", actor=lead.username, due_at=due_at.isoformat(), reason="Waiting for the bank")
    wait_until(lambda: "extend" in events_of(in_review))

    assert in_review.reviews.get().due_at == due_at


@pytest.mark.parametrize(
    ("name", "payload", "said"),
    [
        ("approve", {}, "Name an active user"),
        ("approve", {"actor": "nobody"}, "Name an active user"),
        ("approve", {"actor": "a\0b"}, "Name an active user"),
        ("approve", {"actor": "\ud800"}, "Name an active user"),
        ("approve", {"actor": "vera"}, "vera may not approve an order."),
        ("reject", {"actor": "alice"}, "Give a reason"),
        ("reject", {"actor": "alice", "reason": "\0"}, "control character"),
        ("extend", {"actor": "alice", "due_at": "2099-01-01T00:00:00Z", "reason": "x"}, "366 days away"),
        ("change_address", {"actor": "alice", "address": {"planet": "Mars"}}, "country is required"),
        ("retry", {"actor": "alice"}, "in review"),
    ],
)
def test_what_is_refused_changes_nothing_and_is_said_on_the_timeline(
    in_review: Order,
    signal: Signal,
    alice: User,
    viewer: User,
    name: str,
    payload: dict[str, Any],
    said: str,
) -> None:
    signal(name, **payload)

    status, why = refusal_of(in_review)
    assert status == "in_review"
    assert said in why
    assert in_review.reviews.get().decision == ""


def test_a_disabled_person_decides_nothing(in_review: Order, signal: Signal, alice: User) -> None:
    User.objects.filter(pk=alice.pk).update(is_active=False)

    signal("approve", actor="alice")

    assert refusal_of(in_review)[0] == "in_review"


def test_of_two_signals_the_second_is_told_who_was_first(
    in_review: Order, signal: Signal, alice: User, bob: User
) -> None:
    signal("approve", actor="alice")
    signal("reject", actor="bob", reason="Stolen card")
    wait_for_status(in_review, "completed")

    assert refusal_of(in_review) == ("completed", "Already approved by alice.")


def test_the_same_signal_twice_decides_once_and_complains_of_nothing(
    in_review: Order, signal: Signal, alice: User
) -> None:
    signal("approve", actor="alice")
    signal("approve", actor="alice")
    wait_for_status(in_review, "completed")

    assert events_of(in_review).count("approve") == 1
    assert "signal_refused" not in events_of(in_review)


def test_what_the_relay_delivers_asks_for_nothing(in_review: Order, signal: Signal, alice: User) -> None:
    signal("approve", actor="alice", outbox=1)
    signal("approve", actor="alice")
    wait_for_status(in_review, "completed")

    assert events_of(in_review).count("approve") == 1


@pytest.mark.parametrize(
    "payload", [{"actor": 5}, {"actor": "alice", "address": {"country": 5}}, "alice", [], None, NOTHING]
)
def test_a_payload_of_another_kind_does_not_hold_the_order_up(
    in_review: Order, signal: Signal, engine: Engine, alice: User, payload: Any
) -> None:
    engine.signal(f"order-{in_review.pk}", "change_address", *([] if payload is NOTHING else [payload]))

    signal("approve", actor="alice")

    wait_for_status(in_review, "completed")

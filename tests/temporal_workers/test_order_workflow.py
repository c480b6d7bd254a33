"""Orders carried by real workers, from the placing to each of their ends."""

from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from django.conf import settings as django_settings
from django.contrib.auth.models import User
from pytest_django.fixtures import Settings

from orders.models import Order, Payment, Product, Reservation
from orders.services import asking, attending, fulfilling, paying, reviewing, stocking, undoing
from orders.services.actors import Actor
from orders.services.placing import Address, NewLine
from tests.conftest import PlaceOrder
from tests.temporal_workers.conftest import Engine, events_of, wait_for_status, wait_until

pytestmark = pytest.mark.usefixtures("engine")

TO_REVIEW = ["place", "receive", "validate", "open_review"]
TO_STOCK = ["place", "receive", "validate", "clear", "fraud_check"]
TO_THE_END = [
    "reserve",
    "charge_requested",
    "charge",
    "prepare",
    "package_ready",
    "dispatch",
    "confirm_dispatch",
    "loyalty_points",
    "complete",
]


def bank_entries(order: Order) -> list[tuple[str, int, str]]:
    """What the simulated bank did for the order, by its own ledger: kind, minor units, why declined."""
    with psycopg.connect(django_settings.SIMULATOR_DATABASE_URL) as ledger:
        return ledger.execute(
            "SELECT kind, amount_minor, declined FROM simulator.bank WHERE key LIKE %s ORDER BY at, kind",
            [f"order-{order.pk}:%"],
        ).fetchall()


def test_an_approved_order_is_charged_and_shipped(place: PlaceOrder, as_alice: Actor) -> None:
    order = place()
    wait_for_status(order, "in_review")

    reviewing.approve(order_id=order.pk, actor=as_alice, at=datetime.now(UTC))
    wait_for_status(order, "completed")

    assert events_of(order) == [*TO_REVIEW, "approve", "fraud_check", *TO_THE_END]
    assert bank_entries(order) == [("charge", 120_000, "")]
    assert order.shipment.status == "dispatched"
    assert order.shipment.tracking_number.startswith("MP")
    assert order.shipment.address is not None
    assert order.shipment.address["city"] == "Berlin"
    assert order.reservations.get().state == Reservation.State.SHIPPED
    assert Product.objects.get(sku="LAMP").stock == 998


def test_a_small_order_passes_without_a_person(place: PlaceOrder) -> None:
    order = place(lines=[NewLine("LAMP", 1, 20_000)])

    wait_for_status(order, "completed")

    assert events_of(order) == [*TO_STOCK, *TO_THE_END]
    assert not order.reviews.exists()


def test_forbidden_goods_are_blocked_with_the_reason(place: PlaceOrder) -> None:
    order = place(lines=[NewLine("KNIFE", 1, 3_000)])

    wait_for_status(order, "blocked")

    assert order.outcome == "KNIFE may not be sold: weapons may not be sent"
    assert bank_entries(order) == []


def test_a_rejected_order_ends_untouched(place: PlaceOrder, as_alice: Actor) -> None:
    order = place()
    wait_for_status(order, "in_review")

    reviewing.reject(order_id=order.pk, actor=as_alice, at=datetime.now(UTC), reason="Stolen card")
    wait_for_status(order, "rejected")

    assert order.outcome == "Rejected: Stolen card"
    assert events_of(order) == [*TO_REVIEW, "reject"]
    assert bank_entries(order) == []


def test_an_order_that_nobody_decides_on_expires(place: PlaceOrder) -> None:
    order = place(decide_within=timedelta(seconds=1))

    wait_for_status(order, "expired")

    review = order.reviews.get()
    assert review.decision == "expired"
    assert review.decided_by is None
    assert review.decided_at is not None
    assert review.decided_at >= review.due_at


def test_an_extended_order_does_not_expire_at_its_first_deadline(place: PlaceOrder, lead: User) -> None:
    order = place(decide_within=timedelta(seconds=3))
    wait_for_status(order, "in_review")
    due_at = order.reviews.get().due_at

    reviewing.extend(
        order_id=order.pk,
        actor=Actor.operator(lead),
        at=datetime.now(UTC),
        due_at=due_at + timedelta(seconds=2),
        reason="Waiting for the bank",
    )
    wait_for_status(order, "expired")

    review = order.reviews.get()
    assert review.decided_at is not None
    assert review.decided_at >= due_at + timedelta(seconds=2)
    assert [type_ for type_ in events_of(order) if type_ != "remind"] == [*TO_REVIEW, "extend", "expire"]


def test_what_was_put_off_comes_back_by_the_workflows_own_timer(place: PlaceOrder, alice: User) -> None:
    order = place()
    wait_for_status(order, "in_review")
    now = datetime.now(UTC)

    asking.snooze(
        order_id=order.pk,
        actor=Actor.operator(alice),
        at=now,
        reason="She calls back",
        until=now + timedelta(seconds=1),
    )

    wait_until(lambda: events_of(order) == [*TO_REVIEW, "snooze", "resume"])
    assert order.reviews.get().back_at is None


class TestEscalation:
    @pytest.fixture
    def providers(self, queues: None, settings: Settings) -> None:
        settings.REVIEW_ESCALATES = True
        settings.REVIEW_ESCALATION_DEADLINE = timedelta(seconds=1)

    def test_an_escalated_order_expires_at_its_second_deadline(self, place: PlaceOrder) -> None:
        order = place(decide_within=timedelta(seconds=1))

        wait_for_status(order, "expired")

        assert [type_ for type_ in events_of(order) if type_ != "remind"] == [*TO_REVIEW, "escalate", "expire"]


def test_an_order_can_be_cancelled_during_its_review(place: PlaceOrder, as_alice: Actor) -> None:
    order = place()
    wait_for_status(order, "in_review")

    undoing.cancel(order_id=order.pk, actor=as_alice, at=datetime.now(UTC), reason="Customer called")
    wait_for_status(order, "cancelled")

    assert order.reviews.get().decision == "cancelled"
    assert events_of(order) == [*TO_REVIEW, "cancel"]


class TestShortStock:
    @pytest.fixture
    def short(self, place: PlaceOrder) -> Order:
        order = place(lines=[NewLine("LAMP", 1, 100), NewLine("RARE", 2, 100)])
        wait_for_status(order, "stock_short")
        return order

    def test_it_is_put_before_people_and_holds_nothing(self, short: Order) -> None:
        review = short.reviews.get()

        assert short.outcome == "Not enough in stock: RARE (wanted 2, there are 1)"
        assert (review.kind, review.decision, review.reasons[0]["code"]) == ("attention", "", "stock_short")
        assert not short.reservations.exists()
        assert Product.objects.get(sku="RARE").stock == 1
        assert Product.objects.get(sku="LAMP").stock == 1_000

    def test_it_goes_on_once_there_is_enough_and_somebody_retries(self, short: Order, as_alice: Actor) -> None:
        stocking.restock(product_id=Product.objects.get(sku="RARE").pk, units=5)

        attending.retry(order_id=short.pk, actor=as_alice, at=datetime.now(UTC), note="Delivery came in")
        wait_for_status(short, "completed")

        assert events_of(short) == [*TO_STOCK, "halt", "retry", *TO_THE_END]
        assert Product.objects.get(sku="RARE").stock == 4

    def test_it_comes_back_where_somebody_retries_too_early(self, short: Order, as_alice: Actor) -> None:
        attending.retry(order_id=short.pk, actor=as_alice, at=datetime.now(UTC))
        wait_until(lambda: events_of(short)[-3:] == ["halt", "retry", "halt"])

        short.refresh_from_db()
        assert short.status == "stock_short"
        assert [review.decision for review in short.reviews.order_by("id")] == ["retried", ""]

    def test_it_can_be_cancelled(self, short: Order, as_alice: Actor) -> None:
        undoing.cancel(order_id=short.pk, actor=as_alice, at=datetime.now(UTC), reason="No more of these")
        wait_for_status(short, "cancelled")

        assert bank_entries(short) == []
        assert Product.objects.get(sku="LAMP").stock == 1_000


class TestShortStockThatNobodyMends:
    @pytest.fixture
    def providers(self, queues: None, settings: Settings) -> None:
        settings.ATTENTION_DEADLINE = timedelta(seconds=1)

    def test_it_fails_at_the_deadline(self, place: PlaceOrder) -> None:
        order = place(lines=[NewLine("LAMP", 1, 100), NewLine("RARE", 2, 100)])

        wait_for_status(order, "failed")

        assert order.outcome == (
            "Not enough in stock: RARE (wanted 2, there are 1). Nobody helped before the deadline."
        )
        assert [type_ for type_ in events_of(order)[3:] if type_ != "remind"] == [
            "clear",
            "fraud_check",
            "halt",
            "fail",
            "finish_undo",
        ]
        assert order.reviews.get().decision == "expired"


class TestDecliningBank:
    @pytest.fixture
    def providers(self, queues: None, settings: Settings) -> None:
        settings.SIMULATOR_DECLINE_RATE = 1.0

    def test_a_declined_payment_gives_the_stock_back(self, place: PlaceOrder) -> None:
        order = place(lines=[NewLine("LAMP", 3, 1_000)])

        wait_for_status(order, "failed")

        assert order.outcome == "The payment was declined: insufficient funds"
        assert order.payments.get().status == Payment.State.FAILED
        assert order.reservations.get().state == Reservation.State.RELEASED
        assert Product.objects.get(sku="LAMP").stock == 1_000
        assert bank_entries(order) == [("charge", 3_000, "insufficient funds")]


class TestSlowBank:
    @pytest.fixture
    def providers(self, queues: None, settings: Settings) -> None:
        settings.SIMULATOR_SECONDS = 0.5

    def test_a_cancel_while_the_charge_is_in_flight_refunds_it(self, place: PlaceOrder, as_alice: Actor) -> None:
        order = place(lines=[NewLine("LAMP", 1, 20_000)])
        wait_until(lambda: "charge_requested" in events_of(order))

        undoing.cancel(order_id=order.pk, actor=as_alice, at=datetime.now(UTC), reason="Ordered twice")
        wait_for_status(order, "cancelled")

        assert events_of(order)[-5:] == ["cancel", "charge_arrived", "refund", "release", "finish_undo"]
        assert bank_entries(order) == [("charge", 20_000, ""), ("refund", 20_000, "")]
        assert Product.objects.get(sku="LAMP").stock == 1_000


def test_an_order_that_temporal_lost_is_undone_all_the_same(place: PlaceOrder, as_alice: Actor, engine: Engine) -> None:
    engine.stop()
    order = place(lines=[NewLine("LAMP", 1, 20_000)])
    for step in (reviewing.receive_order, reviewing.validate_order, fulfilling.reserve_stock, paying.begin_charge):
        step(order_id=order.pk, at=datetime.now(UTC))
    undoing.cancel(order_id=order.pk, actor=as_alice, at=datetime.now(UTC), reason="Ordered twice")

    successor = Engine()
    successor.start()
    try:
        wait_for_status(order, "cancelled")
    finally:
        successor.stop()

    assert Product.objects.get(sku="LAMP").stock == 1_000
    assert order.outcome == "Cancelled: Ordered twice"
    assert bank_entries(order) == [("charge", 20_000, "voided")]
    assert {(payment.kind, payment.status) for payment in order.payments.all()} == {
        ("charge", "cancelled"),
        ("refund", "cancelled"),
    }


def test_the_carrier_gets_the_address_of_the_row(place: PlaceOrder) -> None:
    order = place(
        lines=[NewLine("LAMP", 1, 20_000)],
        address=Address("FR", line1="5 rue Cler", line2="", city="Paris", postal_code="75007"),
    )

    wait_for_status(order, "completed")

    with psycopg.connect(django_settings.SIMULATOR_DATABASE_URL) as ledger:
        booked = ledger.execute(
            "SELECT recipient, address->>'line1' FROM simulator.carrier WHERE key = %s", [f"order-{order.pk}:dispatch"]
        ).fetchall()
    assert booked == [("Ann Lee", "5 rue Cler")]


def test_every_order_has_one_unbroken_sequence_of_events(place: PlaceOrder) -> None:
    orders = [place(lines=[NewLine("RUG", 1, 5_000)]) for _ in range(5)]

    for order in orders:
        wait_for_status(order, "completed")

    for order in orders:
        sequences = list(order.events.values_list("sequence", flat=True))
        assert sequences == list(range(1, order.version + 1))

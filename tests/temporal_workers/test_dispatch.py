"""Packages that the carrier does not take, or not at once: tried again, then put before people."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from django.conf import settings as django_settings
from pytest_django.fixtures import Settings

from orders.models import Order, Payment, Product, Reservation
from orders.services import attending, undoing
from orders.services.actors import Actor
from orders.services.placing import Address, NewLine
from temporal_workers.providers.protocols import ProviderUnavailable
from temporal_workers.providers.simulated import SimulatedCarrier
from tests.conftest import PlaceOrder
from tests.temporal_workers.conftest import Engine, events_of, wait_for_status, wait_until

pytestmark = pytest.mark.usefixtures("engine")

TO_DISPATCH = [
    "place",
    "receive",
    "validate",
    "clear",
    "fraud_check",
    "reserve",
    "charge_requested",
    "charge",
    "prepare",
    "package_ready",
    "dispatch",
]
ARRIVES = ["confirm_dispatch", "loyalty_points", "complete"]
SOUTH_POLE = Address("AQ", line1="1 Scott Way", city="South Pole")


@pytest.fixture
def providers(queues: None, settings: Settings) -> None:
    settings.DISPATCH_RETRY_AFTER = timedelta(seconds=0.1)
    settings.UNDO_RETRY_AFTER = timedelta(seconds=0.1)


def ledger(query: str, *arguments: object) -> list[Any]:
    with psycopg.connect(django_settings.SIMULATOR_DATABASE_URL) as connection:
        return connection.execute(query, arguments).fetchall()


def packages_of(order: Order) -> list[tuple[str, bool]]:
    """What the carrier has, by its own ledger: the key's end, and whether it was taken back."""
    found = ledger("SELECT key, withdrawn FROM simulator.carrier WHERE key LIKE %s ORDER BY at", f"order-{order.pk}:%")
    return [(key.rpartition(":")[2], withdrawn) for key, withdrawn in found]


def collect(order: Order) -> str:
    """Have the carrier's van leave with the package; answers its tracking number."""
    query = "UPDATE simulator.carrier SET collected = true WHERE key = %s RETURNING tracking_number"
    [(tracking_number,)] = ledger(query, f"order-{order.pk}:dispatch")
    return str(tracking_number)


def money_of(order: Order) -> int:
    """Charged less refunded, in minor units, by the bank's own ledger."""
    found = ledger(
        "SELECT kind, amount_minor FROM simulator.bank WHERE key LIKE %s AND declined = ''", f"order-{order.pk}:%"
    )
    return sum(amount if kind == "charge" else -amount for kind, amount in found)


def correct_address(order: Order, country: str) -> None:
    Order.objects.filter(pk=order.pk).update(address_country=country)


class TestRefusedByTheCarrier:
    @pytest.fixture
    def stranded(self, place: PlaceOrder) -> Order:
        order = place(lines=[NewLine("LAMP", 1, 20_000)], address=SOUTH_POLE)
        wait_for_status(order, "undeliverable")
        return order

    def test_it_comes_to_the_desk_at_once_and_keeps_money_and_stock(self, stranded: Order) -> None:
        assert stranded.outcome == "Meridian Parcel does not deliver there."
        assert events_of(stranded) == [*TO_DISPATCH, "dispatch_failed", "halt"]
        assert stranded.reviews.get().at_deadline == "ask_again"
        assert money_of(stranded) == 20_000
        assert stranded.reservations.get().state == Reservation.State.HELD
        assert packages_of(stranded) == []

    def test_with_the_address_corrected_and_a_retry_it_goes_out(self, stranded: Order, as_alice: Actor) -> None:
        correct_address(stranded, "NZ")

        attending.retry(order_id=stranded.pk, actor=as_alice, at=datetime.now(UTC), note="They meant New Zealand")
        wait_for_status(stranded, "completed")

        assert events_of(stranded) == [*TO_DISPATCH, "dispatch_failed", "halt", "retry", "dispatch", *ARRIVES]
        assert packages_of(stranded) == [("dispatch", True), ("dispatch-2", False)]
        assert stranded.shipment.address is not None
        assert stranded.shipment.address["country"] == "NZ"
        assert money_of(stranded) == 20_000

    def test_cancelled_it_is_undone_with_a_refund(self, stranded: Order, as_alice: Actor) -> None:
        undoing.cancel(order_id=stranded.pk, actor=as_alice, at=datetime.now(UTC), reason="Nobody can reach it")
        wait_for_status(stranded, "cancelled")

        assert events_of(stranded)[-5:] == ["cancel", "recall", "refund", "release", "finish_undo"]
        assert money_of(stranded) == 0
        assert Product.objects.get(sku="LAMP").stock == 1_000
        assert packages_of(stranded) == [("dispatch", True)]


class TestAtTheDeadline:
    @pytest.fixture
    def providers(self, queues: None, settings: Settings) -> None:
        settings.ATTENTION_DEADLINE = timedelta(seconds=0.5)
        settings.REVIEW_ESCALATION_DEADLINE = timedelta(seconds=0.5)

    def test_nothing_is_undone_and_leads_are_asked_again_and_again(self, place: PlaceOrder) -> None:
        order = place(lines=[NewLine("LAMP", 1, 20_000)], address=SOUTH_POLE)

        wait_until(lambda: events_of(order).count("escalate") >= 2)

        order.refresh_from_db()
        review = order.reviews.get()
        assert (order.status, review.level, review.decision) == ("undeliverable", "lead", "")
        assert order.outcome == "Meridian Parcel does not deliver there."
        assert money_of(order) == 20_000


class Carrier:
    """The simulated carrier, with a few things that go wrong in turn."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._patch = monkeypatch

    def fails(self, method: str, *, times: int, after_the_effect: bool = False) -> None:
        original: Callable[..., Any] = getattr(SimulatedCarrier, method)
        left = [times]

        async def failing(carrier: SimulatedCarrier, **asked: Any) -> Any:
            if not left[0]:
                return await original(carrier, **asked)
            left[0] -= 1
            if after_the_effect:
                await original(carrier, **asked)
            raise ProviderUnavailable("The depot does not answer.")

        self._patch.setattr(SimulatedCarrier, method, failing)


@pytest.fixture
def carrier(monkeypatch: pytest.MonkeyPatch) -> Carrier:
    return Carrier(monkeypatch)


@pytest.mark.parametrize("after_the_effect", [False, True])
def test_a_carrier_that_is_away_is_tried_again_and_has_one_package(
    place: PlaceOrder, carrier: Carrier, after_the_effect: bool
) -> None:
    carrier.fails("dispatch", times=5, after_the_effect=after_the_effect)

    order = place(lines=[NewLine("LAMP", 1, 20_000)])
    wait_for_status(order, "completed")

    assert events_of(order) == [*TO_DISPATCH, "dispatch_failed", *ARRIVES]
    failed = order.events.get(type="dispatch_failed").payload
    assert (failed["reason"], failed["attempt"]) == ("The depot does not answer.", 1)
    assert packages_of(order) == [("dispatch", False)]


class TestOutOfBudgetAtTheCarrier:
    @pytest.fixture
    def providers(self, queues: None, settings: Settings) -> None:
        settings.DISPATCH_RETRY_AFTER = timedelta(seconds=0.1)
        settings.ORDER_BUDGET = timedelta(seconds=2)

    @pytest.fixture
    def tries_follow_soon(self) -> None:
        """As in production."""

    def test_past_the_point_of_no_return_the_budget_ends_nothing(self, place: PlaceOrder, carrier: Carrier) -> None:
        carrier.fails("dispatch", times=5)  # four tries and the time between them take longer than the budget

        order = place(lines=[NewLine("LAMP", 1, 20_000)])
        wait_for_status(order, "completed")

        assert events_of(order) == [*TO_DISPATCH, "dispatch_failed", *ARRIVES]


class TestAwayForLong:
    @pytest.fixture
    def providers(self, queues: None, settings: Settings) -> None:
        settings.DISPATCH_TRIES = 1
        settings.UNDO_RETRY_AFTER = timedelta(seconds=0.1)

    def test_an_order_whose_package_may_have_gone_is_sent_once_after_the_retry(
        self, place: PlaceOrder, carrier: Carrier, as_alice: Actor
    ) -> None:
        carrier.fails("dispatch", times=4, after_the_effect=True)
        order = place(lines=[NewLine("LAMP", 1, 20_000)])
        wait_for_status(order, "undeliverable")
        assert packages_of(order) == [("dispatch", False)]

        attending.retry(order_id=order.pk, actor=as_alice, at=datetime.now(UTC))
        wait_for_status(order, "completed")

        assert packages_of(order) == [("dispatch", True), ("dispatch-2", False)]

    def test_a_package_that_has_gone_after_all_is_not_sent_twice(
        self, place: PlaceOrder, carrier: Carrier, as_alice: Actor
    ) -> None:
        carrier.fails("dispatch", times=4, after_the_effect=True)
        order = place(lines=[NewLine("LAMP", 1, 20_000)])
        wait_for_status(order, "undeliverable")
        tracking = collect(order)

        attending.retry(order_id=order.pk, actor=as_alice, at=datetime.now(UTC))
        wait_for_status(order, "completed")

        assert packages_of(order) == [("dispatch", False)]
        assert order.shipment.tracking_number == tracking

    def test_cancelled_with_the_package_gone_the_goods_count_as_gone_too(
        self, place: PlaceOrder, carrier: Carrier, as_alice: Actor
    ) -> None:
        carrier.fails("dispatch", times=4, after_the_effect=True)
        order = place(lines=[NewLine("LAMP", 1, 20_000)])
        wait_for_status(order, "undeliverable")
        collect(order)

        undoing.cancel(order_id=order.pk, actor=as_alice, at=datetime.now(UTC), reason="Too late")
        wait_for_status(order, "cancelled")

        assert events_of(order)[-4:] == ["cancel", "recall_failed", "refund", "finish_undo"]
        assert order.reservations.get().state == Reservation.State.SHIPPED
        assert Product.objects.get(sku="LAMP").stock == 999
        assert money_of(order) == 0

    def test_each_failed_attempt_to_take_it_back_is_on_the_timeline(
        self, place: PlaceOrder, carrier: Carrier, as_alice: Actor
    ) -> None:
        carrier.fails("dispatch", times=4)
        order = place(lines=[NewLine("LAMP", 1, 20_000)])
        wait_for_status(order, "undeliverable")
        carrier.fails("withdraw", times=2)

        undoing.cancel(order_id=order.pk, actor=as_alice, at=datetime.now(UTC), reason="")
        wait_for_status(order, "cancelled")

        assert events_of(order)[-7:] == [
            "cancel",
            "undo_failed",
            "undo_failed",
            "recall",
            "refund",
            "release",
            "finish_undo",
        ]
        tried = [
            (event.payload["entry"], event.payload["attempt"]) for event in order.events.filter(type="undo_failed")
        ]
        assert tried == [("recall package", 1), ("recall package", 2)]
        assert order.payments.filter(kind=Payment.Kind.REFUND, status=Payment.State.SUCCEEDED).count() == 1


def test_a_shipment_that_is_ended_from_outside_is_begun_again(
    place: PlaceOrder, carrier: Carrier, engine: Engine
) -> None:
    carrier.fails("dispatch", times=2)
    order = place(lines=[NewLine("LAMP", 1, 20_000)])
    wait_for_status(order, "dispatching")

    engine.terminate(f"shipping-{order.pk}")
    wait_for_status(order, "completed")

    assert "dispatch_failed" in events_of(order)
    assert packages_of(order) == [("dispatch", False)]

"""What arrives, or ends, just when the workflow looks elsewhere."""

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pytest_django.fixtures import Settings
from temporalio.exceptions import ApplicationError

from orders.models import Order, Payment
from orders.services import fulfilling, paying, reviewing, shipping
from orders.services.paying import BankNews
from orders.services.placing import NewLine
from temporal_workers import contracts
from temporal_workers.contracts import readable
from temporal_workers.providers.protocols import Booking, ChargeAnswer
from temporal_workers.providers.simulated import SimulatedBank, SimulatedCarrier
from tests.conftest import PlaceOrder
from tests.temporal_workers.conftest import Engine, events_of, wait_for_status
from tests.temporal_workers.test_dispatch import money_of
from tests.threads import in_a_thread

SMALL = [NewLine("LAMP", 1, 20_000)]


def test_a_charge_that_the_bank_told_of_by_itself_is_kept_though_its_answers_were_lost(
    engine: Engine, place: PlaceOrder, monkeypatch: pytest.MonkeyPatch
) -> None:
    charge = SimulatedBank.charge

    async def told_otherwise(bank: SimulatedBank, *, key: str, amount_minor: int, currency: str) -> Any:
        answer = await charge(bank, key=key, amount_minor=amount_minor, currency=currency)
        news = BankNews("n1", Payment.State.SUCCEEDED, key, answer.reference, amount_minor, currency)
        await in_a_thread(paying.hear_bank, news=news, at=datetime.now(UTC))
        raise ApplicationError("The answer was lost.", non_retryable=True)

    monkeypatch.setattr(SimulatedBank, "charge", told_otherwise)
    order = place(lines=SMALL)
    wait_for_status(order, "completed")

    assert money_of(order) == 20_000


@pytest.fixture
def dispatched(queues: None, transactional_db: None, place: PlaceOrder) -> Order:
    """An order that the carrier has, and that no run knows of."""
    order, now = place(lines=SMALL), datetime.now(UTC)
    reviewing.receive_order(order_id=order.pk, at=now)
    reviewing.validate_order(order_id=order.pk, at=now)
    fulfilling.reserve_stock(order_id=order.pk, at=now)
    paying.begin_charge(order_id=order.pk, at=now)
    paying.record_charge(order_id=order.pk, reference="ch_1", declined="", at=now)
    shipping.begin_package(order_id=order.pk, at=now)
    shipping.record_package(order_id=order.pk, at=now)
    shipping.begin_dispatch(order_id=order.pk, at=now)
    shipping.record_dispatch(order_id=order.pk, carrier="Meridian Parcel", tracking_number="MP1", at=now)
    return order


def test_an_order_that_has_gone_is_completed_however_little_budget_there_is(
    dispatched: Order, settings: Settings
) -> None:
    settings.ORDER_BUDGET = timedelta(microseconds=1)
    engine = Engine()
    engine.start()
    try:
        wait_for_status(dispatched, "completed")
    finally:
        engine.stop()

    assert events_of(dispatched)[-2:] == ["loyalty_points", "complete"]


@pytest.mark.parametrize("raises", [True, False])
def test_what_the_bank_says_cannot_hold_an_order_up(
    engine: Engine, place: PlaceOrder, monkeypatch: pytest.MonkeyPatch, raises: bool
) -> None:
    async def gibberish(_: SimulatedBank, **asked: object) -> ChargeAnswer:
        if raises:
            raise ApplicationError("No\0 funds \ufdd0", non_retryable=True)
        return ChargeAnswer("", "No\0 funds \ufdd0")

    monkeypatch.setattr(SimulatedBank, "charge", gibberish)
    order = place(lines=SMALL)
    wait_for_status(order, "failed")

    assert order.outcome.endswith(": No funds")


def test_a_reason_of_which_nothing_can_be_read_is_a_reason_still() -> None:
    assert [readable(said) for said in ("", "\0", "\ud800", "no\r\nfunds")] == ["", "?", "?", "no funds"]


def test_where_nobody_is_asked_a_run_waits_for_news_and_turns_no_circles(
    queues: None, transactional_db: None, order_in_review: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle, looks = reviewing.settle_review, itertools.count(1)

    def counted(**asked: Any) -> reviewing.Standing:
        if next(looks) > 20:
            Order.objects.filter(pk=order_in_review.pk).update(status="expired")  # ends what would go on for ever
        return settle(**asked)

    monkeypatch.setattr(reviewing, "settle_review", counted)
    order_in_review.reviews.all().delete()
    engine = Engine()
    engine.start()
    try:
        engine.wait_for_run(contracts.order_workflow_id(order_in_review.pk), "in_review")
    finally:
        engine.stop()

    assert next(looks) <= 5


def test_a_carrier_that_is_long_winded_holds_no_order_up(
    engine: Engine, place: PlaceOrder, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def dispatch(*_: Any, **__: Any) -> Booking:
        return Booking("Meridian" * 20, "MP" * 100)

    monkeypatch.setattr(SimulatedCarrier, "dispatch", dispatch)

    order = place(lines=SMALL)
    wait_for_status(order, "completed")

    assert order.shipment.tracking_number == "MP" * 40

"""What arrives, or ends, just when the workflow looks elsewhere."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pytest_django.fixtures import Settings
from temporalio.exceptions import ApplicationError

from orders.models import Order, Payment
from orders.services import fulfilling, paying, reviewing, shipping
from orders.services.paying import BankNews
from orders.services.placing import NewLine
from temporal_workers.providers.simulated import SimulatedBank
from tests.conftest import PlaceOrder
from tests.temporal_workers.conftest import Engine, events_of, wait_for_status
from tests.temporal_workers.test_dispatch import money_of

SMALL = [NewLine("LAMP", 1, 20_000)]


def test_a_charge_that_the_bank_told_of_by_itself_is_kept_though_its_answers_were_lost(
    engine: Engine, place: PlaceOrder, monkeypatch: pytest.MonkeyPatch
) -> None:
    charge = SimulatedBank.charge

    async def told_otherwise(bank: SimulatedBank, *, key: str, amount_minor: int, currency: str) -> Any:
        answer = await charge(bank, key=key, amount_minor=amount_minor, currency=currency)
        news = BankNews("n1", Payment.State.SUCCEEDED, key, answer.reference, amount_minor, currency)
        await asyncio.to_thread(paying.hear_bank, news=news, at=datetime.now(UTC))
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
        wait_for_status(dispatched, "completed", seconds=15)
    finally:
        engine.stop()

    assert events_of(dispatched)[-2:] == ["loyalty_points", "complete"]

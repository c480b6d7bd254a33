"""Orders whose run was ended from outside and is begun again: what was taken before is still undone."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from asgiref.sync import async_to_sync
from pytest_django.fixtures import Settings

from orders.models import Order
from orders.services import attending, reviewing, undoing
from orders.services.actors import SYSTEM, Actor
from orders.services.placing import Address, NewLine
from temporal_workers import contracts
from temporal_workers.client import connect
from tests.conftest import PlaceOrder
from tests.temporal_workers.conftest import Engine, events_of, wait_for_status
from tests.temporal_workers.test_dispatch import money_of

SMALL = [NewLine("LAMP", 1, 20_000)]


def begin_again(engine: Engine, order: Order) -> None:
    """End its run as somebody might, and have it carried on; returns once the new run waits."""
    engine.terminate(contracts.order_workflow_id(order.pk))
    attending.start_again(order_id=order.pk, actor=SYSTEM, at=datetime.now(UTC))
    engine.wait_for_run(contracts.order_workflow_id(order.pk), order.status)


def test_cancelled_after_it_was_begun_again_an_order_is_refunded(
    engine: Engine, place: PlaceOrder, as_alice: Actor
) -> None:
    order = place(lines=SMALL, address=Address("AQ", line1="1 Scott Way", city="South Pole"))
    wait_for_status(order, "undeliverable")
    begin_again(engine, order)

    undoing.cancel(order_id=order.pk, actor=as_alice, at=datetime.now(UTC), reason="Nobody can reach it")
    wait_for_status(order, "cancelled")

    assert money_of(order) == 0
    assert events_of(order)[-5:] == ["cancel", "recall", "refund", "release", "finish_undo"]


class TestTwoShipments:
    @pytest.fixture
    def providers(self, queues: None, settings: Settings) -> None:
        settings.DISPATCH_RETRY_AFTER = timedelta(seconds=0.1)

    def test_a_shipment_that_has_yet_to_end_is_waited_for(
        self, engine: Engine, place: PlaceOrder, as_alice: Actor
    ) -> None:
        order = place()
        wait_for_status(order, "in_review")
        async_to_sync(begin_shipment)(order)

        reviewing.approve(order_id=order.pk, actor=as_alice, at=datetime.now(UTC))
        async_to_sync(wait_for_trouble)(order)
        engine.terminate(contracts.shipping_workflow_id(order.pk))
        wait_for_status(order, "completed")

        assert money_of(order) == 120_000


async def begin_shipment(order: Order) -> None:
    """Begin one that nobody carries on."""
    client = await connect(lazy=False)
    shipping = contracts.ShippingInput(order.pk)
    id_ = contracts.shipping_workflow_id(order.pk)
    await client.start_workflow(contracts.SHIPPING_WORKFLOW, shipping, id=id_, task_queue="nobodys")


async def wait_for_trouble(order: Order) -> None:
    """Until its run says that something was in the way."""
    run = (await connect(lazy=False)).get_workflow_handle(contracts.order_workflow_id(order.pk))
    trouble = None
    async with asyncio.timeout(15):
        while trouble is None:
            state: contracts.OrderState = await run.query(contracts.STATE_QUERY, result_type=contracts.OrderState)
            trouble = state.trouble


class TestUnconfirmed:
    @pytest.fixture
    def providers(self, queues: None, settings: Settings) -> None:
        settings.SIMULATOR_CONFIRM_RATE = 1.0
        settings.PAYMENT_CONFIRM_WITHIN = timedelta(seconds=0.5)

    def test_cancelled_after_it_was_begun_again_an_order_gives_back_stock_and_voids_the_charge(
        self, engine: Engine, place: PlaceOrder, as_alice: Actor
    ) -> None:
        order = place(lines=SMALL)
        wait_for_status(order, "unconfirmed")
        begin_again(engine, order)

        undoing.cancel(order_id=order.pk, actor=as_alice, at=datetime.now(UTC), reason="They gave up")
        wait_for_status(order, "cancelled")

        assert events_of(order)[-4:] == ["cancel", "charge_voided", "release", "finish_undo"]

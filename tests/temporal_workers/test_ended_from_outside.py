"""What becomes of an order whose shipment somebody ends with Temporal's own tools."""

import pytest
from asgiref.sync import async_to_sync
from pytest_django.fixtures import Settings

from orders.models import Order, Product, Reservation
from orders.services.placing import NewLine
from temporal_workers import contracts
from temporal_workers.client import connect
from tests.conftest import PlaceOrder
from tests.temporal_workers.conftest import events_of, wait_for_status, wait_until

pytestmark = pytest.mark.usefixtures("engine")


@pytest.fixture
def providers(queues: None, settings: Settings) -> None:
    settings.SIMULATOR_SECONDS = 0.5


@async_to_sync
async def end_shipment(order: Order) -> None:
    client = await connect(lazy=False)
    await client.get_workflow_handle(contracts.shipping_workflow_id(order.pk)).terminate("by mistake")


def test_a_shipment_ended_from_outside_is_undone(place: PlaceOrder) -> None:
    order = place(lines=[NewLine("LAMP", 3, 1_000)])
    wait_until(lambda: "prepare" in events_of(order))

    end_shipment(order)
    wait_for_status(order, "failed")

    assert events_of(order)[-5:] == ["fail", "recall", "refund", "release", "finish_undo"]
    assert order.outcome == "The shipment was ended from outside."
    assert order.reservations.get().state == Reservation.State.RELEASED
    assert Product.objects.get(sku="LAMP").stock == 1_000

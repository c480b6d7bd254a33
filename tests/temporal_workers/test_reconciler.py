"""The look at rows and runs that Temporal's schedule has taken."""

import os
from datetime import UTC, datetime, timedelta

import pytest
from pytest_django import Settings
from temporalio.client import ScheduleActionExecutionStartWorkflow
from temporalio.service import RPCError

from orders import metrics
from orders.models import Drift, Order
from orders.services import drifting
from temporal_workers import contracts, looking
from temporal_workers.client import connect
from temporal_workers.reconciler import put_schedule
from tests.conftest import PlaceOrder
from tests.replay.record import record
from tests.temporal_workers.conftest import Engine, wait_for_status

HOUR = timedelta(hours=1)


async def _look_by_schedule(queue: str) -> None:
    """Make the schedule as two workers would, wait for the end of the run that it starts, and take it away."""
    client = await connect(lazy=False)
    for _ in range(2):
        await put_schedule(client, every=HOUR)
    schedule = client.get_schedule_handle(contracts.reconcile_id(queue))
    while not (begun := (await schedule.describe()).info.recent_actions):
        pass
    run = begun[0].action
    assert isinstance(run, ScheduleActionExecutionStartWorkflow)
    await client.get_workflow_handle(run.workflow_id, run_id=run.first_execution_run_id).result()
    if "RECORD_HISTORIES" in os.environ:
        await record("reconcile", run.workflow_id, "A look finds an order without a run.")
    await put_schedule(client, every=timedelta(0))
    await put_schedule(client, every=timedelta(0))
    with pytest.raises(RPCError, match="not found"):
        await schedule.describe()


def test_the_schedule_finds_an_order_whose_run_was_ended_and_it_is_told(
    engine: Engine, place: PlaceOrder, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    monkeypatch.setattr(looking, "VISIBILITY_LAG", timedelta(0))
    order, well = place(), place()
    for each in (order, well):
        wait_for_status(each, "in_review")
    engine.terminate(contracts.order_workflow_id(order.pk))

    engine.run(_look_by_schedule(settings.TEMPORAL_ORDERS_QUEUE))

    found = Drift.objects.get()
    assert [(one["number"], one["why"]) for one in found.orders] == [(order.number, "cut")]
    assert b"countersign_drift_orders 1.0" in metrics.exposition()


def test_what_was_found_later_stays(db: None, order_in_review: Order) -> None:
    now = datetime.now(UTC)

    for at in (now, now - HOUR):
        drifting.record(found=[], at=at)

    assert Drift.objects.get().looked_at == now

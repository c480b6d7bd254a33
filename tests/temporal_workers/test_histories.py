"""Temporal's own history of a run, as a list, on the order's page and on one of its own."""

import socket
import uuid
from collections.abc import Iterator

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent

from orders import runs
from temporal_workers import contracts, describing, histories
from temporal_workers.client import connect


@pytest.fixture
def _a_thread_of_its_own() -> Iterator[None]:
    describing.thread.cache_clear()
    yield
    describing.thread().end()
    describing.thread.cache_clear()


async def test_it_lists_what_the_engine_did_without_the_tasks_of_its_code() -> None:
    client, order_id = await connect(lazy=False), uuid.uuid4()
    workflow_id = contracts.order_workflow_id(order_id)
    run = await client.start_workflow("order", id=workflow_id, task_queue=f"nobody-{order_id}")
    await run.signal("approve", {"actor": "alice"})
    await run.terminate("somebody did")

    found = histories.lines_of([event async for event in run.fetch_history_events()])

    assert [(line.what, line.detail) for line in found] == [
        ("Run started", "order"),
        ("Run signaled", "approve"),
        ("Run terminated", ""),
    ]


def test_a_failed_attempt_bears_the_name_of_its_step_and_says_why() -> None:
    scheduled, failed = HistoryEvent(event_id=5), HistoryEvent(event_id=7)
    scheduled.event_type = EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED
    scheduled.activity_task_scheduled_event_attributes.activity_type.name = "charge_payment"
    failed.event_type = EventType.EVENT_TYPE_ACTIVITY_TASK_FAILED
    failed.activity_task_failed_event_attributes.scheduled_event_id = 5
    failed.activity_task_failed_event_attributes.failure.cause.message = "The bank is closed.\nTraceback"

    lines = histories.lines_of([failed, scheduled])

    assert [(line.what, line.detail) for line in lines] == [
        ("Activity failed", "charge_payment · The bank is closed."),
        ("Activity scheduled", "charge_payment"),
    ]


@pytest.mark.usefixtures("_a_thread_of_its_own")
def test_it_is_asked_within_bounds_and_says_when_temporal_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("TEMPORAL_ADDRESS", f"127.0.0.1:{silent.getsockname()[1]}")

        assert histories.history(uuid.uuid4()) == runs.History(is_away=True)


@pytest.mark.usefixtures("_a_thread_of_its_own")
def test_of_a_run_that_temporal_does_not_know_there_is_nothing() -> None:
    assert histories.history(uuid.uuid4()) == runs.History()

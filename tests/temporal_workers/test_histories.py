"""Temporal's own history of a run, as a list, on the order's page and on one of its own."""

import socket
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import WorkflowHistory

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


def test_what_the_engine_notes_for_itself_is_told_in_plain_words() -> None:
    recordings = Path(__file__).parents[1] / "replay/histories"
    told = {
        (line.what, line.detail)
        for name in (
            "an_order_that_looks_honest_goes_on_and_earns_points",
            "approve_is_carried_out_as_the_person_named",
        )
        for line in histories.lines_of(
            WorkflowHistory.from_json("order", (recordings / f"{name}.json").read_text()).events
        )
    }

    assert {detail for what, detail in told if what == "Goes the way of the newer code"} == {
        "fraud-check",
        "obeys-signals",
        "loyalty-points",
    }
    assert ("Local activity completed", "receive_order") in told
    assert ("Timer started", "for 19 h 12 min") in told
    assert not [what for what, _ in told if "marker" in what.lower() or "workflow" in what.lower()]


def test_a_step_in_the_database_that_failed_is_not_said_to_be_completed() -> None:
    marked = HistoryEvent(event_id=5, event_type=EventType.EVENT_TYPE_MARKER_RECORDED)
    marked.marker_recorded_event_attributes.marker_name = "core_local_activity"
    marked.marker_recorded_event_attributes.failure.message = "The order is gone."

    (line,) = histories.lines_of([marked])

    assert (line.what, line.detail) == ("Local activity failed", "core_local_activity · The order is gone.")


@pytest.mark.usefixtures("_a_thread_of_its_own")
def test_it_is_asked_within_bounds_and_says_when_temporal_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("TEMPORAL_ADDRESS", f"127.0.0.1:{silent.getsockname()[1]}")

        assert histories.history(uuid.uuid4()) == runs.History(is_away=True)


@pytest.mark.usefixtures("_a_thread_of_its_own")
def test_of_a_run_that_temporal_does_not_know_there_is_nothing() -> None:
    assert histories.history(uuid.uuid4()) == runs.History()

"""Temporal's own history of an order's run, as a list for whoever wants to know what the engine did and when.

The tasks in which the workflow's own code ran are left out: they stand between any two other events and say nothing.
"""

import asyncio
import contextlib
import json
import logging
import uuid
from collections.abc import Mapping, Sequence
from concurrent.futures import TimeoutError as NotInTime
from datetime import UTC, timedelta

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import EventType, TimeoutType
from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import HistoryEvent, MarkerRecordedEventAttributes
from temporalio.api.workflowservice.v1 import GetWorkflowExecutionHistoryReverseRequest
from temporalio.service import RPCError, RPCStatusCode

from orders import wording
from orders.runs import History, HistoryLine
from temporal_workers.client import is_away
from temporal_workers.contracts import order_workflow_id
from temporal_workers.describing import thread
from temporal_workers.encrypting import reveal

logger = logging.getLogger(__name__)

NEWEST = 200  # events; a page of Temporal's own UI shows the rest
ANSWER_SECONDS = 1.5
PATIENCE_SECONDS = 2.0
MOST_WORDS = 200

_BEGUN_BY = ("scheduled_event_id", "initiated_event_id")
_LEFT_OUT = frozenset(
    {
        EventType.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED,
        EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED,
        EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED,
    }
)

# What is not plain enough by the name that Temporal has for it.
_WORDS = {
    EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED: "The code of the run failed",
    EventType.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT: "A worker took up the run, and was gone",
    EventType.EVENT_TYPE_ACTIVITY_TASK_CANCEL_REQUESTED: "Activity asked to stop",
    EventType.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED: "Child run asked for",
    EventType.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_FAILED: "Child run could not be started",
    EventType.EVENT_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED: "Signal to another run asked for",
    EventType.EVENT_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_FAILED: "Signal to another run not delivered",
    EventType.EVENT_TYPE_EXTERNAL_WORKFLOW_EXECUTION_SIGNALED: "Signal to another run delivered",
    EventType.EVENT_TYPE_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED: "Another run to be asked to stop",
    EventType.EVENT_TYPE_EXTERNAL_WORKFLOW_EXECUTION_CANCEL_REQUESTED: "Another run asked to stop",
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED: "Run asked to stop",
    EventType.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES: "Search fields of the run updated",
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_OPTIONS_UPDATED: "Options of the run changed",
}
_PATCH, _LOCAL_ACTIVITY = "core_patch", "core_local_activity"
_HELD = {_PATCH: ("patch-data", "id"), _LOCAL_ACTIVITY: ("data", "activity_type")}  # in which detail, by what name


def history(order_id: uuid.UUID) -> History:
    """The newest events of the order's run. Takes two seconds at most and never raises."""
    here = thread()
    asked = asyncio.run_coroutine_threadsafe(_ask(order_id), here.loop)
    try:
        return asked.result(PATIENCE_SECONDS)
    except NotInTime:
        asked.cancel()
        return History(is_away=True)


async def _ask(order_id: uuid.UUID) -> History:
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            client = await thread().describer.client()
            answer = await client.workflow_service.get_workflow_execution_history_reverse(
                GetWorkflowExecutionHistoryReverseRequest(
                    namespace=client.namespace,
                    execution=WorkflowExecution(workflow_id=order_workflow_id(order_id)),
                    maximum_page_size=NEWEST,
                ),
                timeout=timedelta(seconds=ANSWER_SECONDS),
            )
            for event in answer.history.events:
                if failure := _failure(event):
                    await reveal(failure, client.data_converter)
    except Exception as error:
        if isinstance(error, RPCError) and error.status == RPCStatusCode.NOT_FOUND:
            return History()
        if not is_away(error):
            logger.exception("Temporal answers in a way that we do not know")
        return History(is_away=True)
    return History(lines_of(answer.history.events), more=bool(answer.next_page_token))


def lines_of(events: Sequence[HistoryEvent]) -> list[HistoryLine]:
    """In the order in which they are given. What belongs to a step that was scheduled earlier bears its name."""
    names = {event.event_id: _step(event) for event in events}
    return [
        HistoryLine(event.event_id, event.event_time.ToDatetime(UTC), _what(event), _detail(event, names))
        for event in events
        if event.event_type not in _LEFT_OUT
    ]


def _what(event: HistoryEvent) -> str:
    if event.event_type == EventType.EVENT_TYPE_MARKER_RECORDED:
        return _of_marker(event.marker_recorded_event_attributes)
    if event.event_type in _WORDS:
        return _WORDS[event.event_type]
    words = EventType.Name(event.event_type).removeprefix("EVENT_TYPE_").replace("_", " ").lower()
    for long, short in (("child workflow execution", "child run"), ("workflow execution", "run"), ("task ", "")):
        words = words.replace(long, short)
    return words.capitalize()


def _of_marker(marker: MarkerRecordedEventAttributes) -> str:
    if marker.marker_name == _LOCAL_ACTIVITY:
        return "Local activity failed" if marker.HasField("failure") else "Local activity completed"
    return "Goes the way of the newer code" if marker.marker_name == _PATCH else "Noted by the engine"


def _step(event: HistoryEvent) -> str:
    """The name of what the event begins, if anything."""
    kind = event.WhichOneof("attributes") or ""
    attributes = getattr(event, kind) if kind else None
    for named in ("activity_type", "workflow_type"):
        if attributes is not None and named in attributes.DESCRIPTOR.fields_by_name and attributes.HasField(named):
            return str(getattr(attributes, named).name)
    return ""


def _detail(event: HistoryEvent, names: Mapping[int, str]) -> str:
    """Which step, signal or timer it is about, which attempt, and what went wrong."""
    kind = event.WhichOneof("attributes")
    if kind is None:
        return ""
    attributes = getattr(event, kind)
    fields = attributes.DESCRIPTOR.fields_by_name
    begun = next((getattr(attributes, name) for name in _BEGUN_BY if name in fields), 0)
    parts = [_step(event) or _noted(event) or names.get(begun, "")]
    if "signal_name" in fields:
        parts.append(attributes.signal_name)
    if event.event_type == EventType.EVENT_TYPE_TIMER_STARTED:
        parts.append(f"for {wording.span(attributes.start_to_fire_timeout.ToTimedelta())}")
    if "attempt" in fields and attributes.attempt > 1:
        parts.append(f"attempt {attributes.attempt}")
    if failure := _failure(event):
        parts.append(_said(failure))
    return " · ".join(part[:MOST_WORDS] for part in parts if part)


def _failure(event: HistoryEvent) -> Failure | None:
    attributes = getattr(event, event.WhichOneof("attributes") or "", None)
    if attributes is None or "failure" not in attributes.DESCRIPTOR.fields_by_name:
        return None
    return attributes.failure if attributes.HasField("failure") else None


def _said(failure: Failure) -> str:
    while failure.HasField("cause"):
        failure = failure.cause
    if failure.HasField("timeout_failure_info"):
        timed_out = TimeoutType.Name(failure.timeout_failure_info.timeout_type)
        return timed_out.removeprefix("TIMEOUT_TYPE_").replace("_", " ").lower() + " timed out"
    return failure.message.strip().partition("\n")[0]


def _noted(event: HistoryEvent) -> str:
    """What a marker is about: the step in the database whose outcome it holds, or the change of the workflow's code."""
    if not event.HasField("marker_recorded_event_attributes"):
        return ""
    marker = event.marker_recorded_event_attributes
    detail, name = _HELD.get(marker.marker_name, ("", ""))
    if detail not in marker.details:
        return marker.marker_name
    with contextlib.suppress(ValueError, IndexError, AttributeError):
        return str(json.loads(marker.details[detail].payloads[0].data).get(name, ""))
    return ""

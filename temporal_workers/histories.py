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
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.workflowservice.v1 import GetWorkflowExecutionHistoryReverseRequest
from temporalio.service import RPCError, RPCStatusCode

from orders.runs import History, HistoryLine
from temporal_workers.client import is_away
from temporal_workers.contracts import order_workflow_id
from temporal_workers.describing import thread

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
    if event.event_type == EventType.EVENT_TYPE_MARKER_RECORDED and _local_step(event):
        return "Local activity completed"
    words = EventType.Name(event.event_type).removeprefix("EVENT_TYPE_").replace("_", " ").lower()
    return words.replace("workflow execution ", "run ").replace("activity task ", "activity ").capitalize()


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
    parts = [_step(event) or _local_step(event) or names.get(begun, "")]
    if "signal_name" in fields:
        parts.append(attributes.signal_name)
    if event.event_type == EventType.EVENT_TYPE_TIMER_STARTED:
        parts.append(f"for {attributes.start_to_fire_timeout.ToTimedelta()}")
    if "attempt" in fields and attributes.attempt > 1:
        parts.append(f"attempt {attributes.attempt}")
    if "failure" in fields and attributes.HasField("failure"):
        parts.append(_said(attributes.failure))
    return " · ".join(part[:MOST_WORDS] for part in parts if part)


def _said(failure: Failure) -> str:
    while failure.HasField("cause"):
        failure = failure.cause
    if failure.HasField("timeout_failure_info"):
        timed_out = TimeoutType.Name(failure.timeout_failure_info.timeout_type)
        return timed_out.removeprefix("TIMEOUT_TYPE_").replace("_", " ").lower() + " timed out"
    return failure.message.strip().partition("\n")[0]


def _local_step(event: HistoryEvent) -> str:
    """The step in the database whose outcome a marker holds."""
    if not event.HasField("marker_recorded_event_attributes"):
        return ""
    details = event.marker_recorded_event_attributes.details
    with contextlib.suppress(ValueError, IndexError, AttributeError):
        return str(json.loads(details["data"].payloads[0].data).get("activity_type", "")) if "data" in details else ""
    return ""

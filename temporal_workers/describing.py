"""Asks Temporal how an order's run is doing, for pages, the API and the command line. Never changes anything.

Whoever asks waits a second at most: what many ask about is asked once in a second, and once Temporal has not
answered nobody waits for it for a few seconds. One client serves the process, in a thread and a loop of its own,
made when it is first needed, and so after any fork.
"""

import asyncio
import atexit
import logging
import os
import threading
import uuid
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import TimeoutError as NotInTime
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache

from django.conf import settings
from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.enums.v1 import PendingActivityState, PendingWorkflowTaskState, TaskQueueType
from temporalio.api.failure.v1 import Failure
from temporalio.api.taskqueue.v1 import TaskQueue, TaskQueueStats
from temporalio.api.workflow.v1 import PendingActivityInfo
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client, WorkflowExecutionDescription, WorkflowExecutionStatus
from temporalio.common import SearchAttributeKey
from temporalio.service import RPCError, RPCStatusCode

from orders.runs import Attempt, QueueTold, Run, RunState, Told
from temporal_workers.client import connect, is_away
from temporal_workers.contracts import order_workflow_id, shipping_workflow_id
from temporal_workers.encrypting import reveal

logger = logging.getLogger(__name__)

ANSWER_SECONDS = 0.8  # for all that is asked of Temporal about one order
PATIENCE_SECONDS = 1.0  # of whoever wants to know
REMEMBERED_SECONDS = 1.0
LEFT_ALONE_SECONDS = 5.0  # after it has not answered
MOST_REMEMBERED = 1_000
MOST_WORDS = 200

REPORTED_PROBLEMS = SearchAttributeKey.for_keyword_list("TemporalReportedProblems")

_STATES = {
    WorkflowExecutionStatus.RUNNING: RunState.RUNNING,
    WorkflowExecutionStatus.CONTINUED_AS_NEW: RunState.RUNNING,
    WorkflowExecutionStatus.COMPLETED: RunState.ENDED,
}


@dataclass(frozen=True)
class _Heard:
    version: int  # of the order's row
    run: Run
    at: datetime
    until: float  # by the loop's clock: so long it is not asked for again


class Describer:
    """Belongs to one event loop, which calls all of it."""

    def __init__(self) -> None:
        self._client: Client | None = None
        self._heard: OrderedDict[uuid.UUID, _Heard] = OrderedDict()
        self._asking: dict[tuple[uuid.UUID, int], asyncio.Task[None]] = {}
        self._away_since: datetime | None = None
        self._left_alone_until = 0.0

    async def describe(self, order_id: uuid.UUID, version: int) -> Told:
        loop = asyncio.get_running_loop()
        heard = self._heard.get(order_id)
        is_fresh = heard is not None and heard.version == version and loop.time() < heard.until
        if not is_fresh and loop.time() >= self._left_alone_until:
            await self._ask_once(order_id, version)
        return self.known(order_id, version)

    def known(self, order_id: uuid.UUID, version: int) -> Told:
        heard = self._heard.get(order_id)
        if heard is None or heard.version != version:
            return Told(away_since=self._away_since)
        return Told(heard.run, heard.at, self._away_since)

    async def _ask_once(self, order_id: uuid.UUID, version: int) -> None:
        """All who want to know the same at the same time wait for one answer."""
        key = (order_id, version)
        if key not in self._asking:
            self._asking[key] = asyncio.create_task(self._ask(order_id, version))
            self._asking[key].add_done_callback(lambda _: self._asking.pop(key, None))
        await asyncio.shield(self._asking[key])

    async def _ask(self, order_id: uuid.UUID, version: int) -> None:
        loop = asyncio.get_running_loop()
        if self._away_since:  # one asks whether it is back, the others do not wait
            self._left_alone_until = loop.time() + LEFT_ALONE_SECONDS
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                run = await self._run_of(order_id)
        except Exception as error:
            if not is_away(error):  # all the same it tells nothing
                logger.exception("Temporal answers in a way that we do not know")
            self._left_alone_until = loop.time() + LEFT_ALONE_SECONDS
            self._away_since = self._away_since or datetime.now(UTC)
            return
        self._away_since, self._left_alone_until = None, 0.0
        self._heard[order_id] = _Heard(version, run, datetime.now(UTC), loop.time() + REMEMBERED_SECONDS)
        self._heard.move_to_end(order_id)
        if len(self._heard) > MOST_REMEMBERED:
            self._heard.popitem(last=False)

    async def task_queues(self) -> Sequence[QueueTold] | None:
        """None where Temporal does not answer, or is left alone since it did not."""
        loop = asyncio.get_running_loop()
        if loop.time() < self._left_alone_until:
            return None
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                client = await self.client()
                queues = (settings.TEMPORAL_ORDERS_QUEUE, settings.TEMPORAL_SHIPPING_QUEUE)
                return await asyncio.gather(*(_task_queue(client, queue) for queue in queues))
        except Exception as error:
            if not is_away(error):
                logger.exception("Temporal answers in a way that we do not know")
            self._left_alone_until = loop.time() + LEFT_ALONE_SECONDS
            self._away_since = self._away_since or datetime.now(UTC)
            return None

    async def client(self) -> Client:
        self._client = self._client or await connect(lazy=True)
        return self._client

    async def _run_of(self, order_id: uuid.UUID) -> Run:
        return await ask(await self.client(), order_id)


async def ask(client: Client, order_id: uuid.UUID) -> Run:
    """How the order's run is doing, and its shipment's while that is what it waits for.

    Raises RPCError, and RuntimeError where Temporal cannot be reached.
    """
    order = await _description(client, order_workflow_id(order_id))
    if order is None:
        return Run(RunState.UNKNOWN)
    run = run_of(order)
    shipment_id = shipping_workflow_id(order_id)
    if run.attempt or shipment_id not in {child.workflow_id for child in order.raw_description.pending_children}:
        return run
    shipment = await _description(client, shipment_id)
    if shipment is None:
        return run
    shipping = run_of(shipment)
    return replace(shipping, state=run.state, is_broken=run.is_broken or shipping.is_broken)


async def _task_queue(client: Client, name: str) -> QueueTold:
    """Workflow tasks and activities together."""

    async def ask_of(kind: "TaskQueueType.ValueType") -> TaskQueueStats:
        asked = DescribeTaskQueueRequest(
            namespace=client.namespace, task_queue=TaskQueue(name=name), task_queue_type=kind, report_stats=True
        )
        told = await client.workflow_service.describe_task_queue(asked, timeout=timedelta(seconds=ANSWER_SECONDS))
        return told.stats

    stats = await asyncio.gather(
        ask_of(TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW), ask_of(TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY)
    )
    return QueueTold(
        name,
        backlog=sum(each.approximate_backlog_count for each in stats),
        oldest=max(each.approximate_backlog_age.ToTimedelta() for each in stats),
        added=sum(each.tasks_add_rate for each in stats),
        taken=sum(each.tasks_dispatch_rate for each in stats),
    )


async def _description(client: Client, workflow_id: str) -> WorkflowExecutionDescription | None:
    """What Temporal says of the workflow; None where it knows none of that id."""
    try:
        told = await client.get_workflow_handle(workflow_id).describe(rpc_timeout=timedelta(seconds=ANSWER_SECONDS))
    except RPCError as error:
        if error.status == RPCStatusCode.NOT_FOUND:
            return None
        raise
    for activity in told.raw_description.pending_activities:
        await reveal(activity.last_failure, client.data_converter)
    return told


def run_of(described: WorkflowExecutionDescription) -> Run:
    """Our own terms for what Temporal describes."""
    raw = described.raw_description
    state = _STATES.get(described.status, RunState.CUT) if described.status else RunState.UNKNOWN
    problems = described.typed_search_attributes.get(REPORTED_PROBLEMS)
    # The step with the most tries behind it is what somebody who looks wants to know of.
    pending = max(raw.pending_activities, key=lambda activity: activity.attempt, default=None)
    waits = (
        state == RunState.RUNNING
        and raw.HasField("pending_workflow_task")
        and raw.pending_workflow_task.state == PendingWorkflowTaskState.PENDING_WORKFLOW_TASK_STATE_SCHEDULED
    )
    return Run(
        state,
        _attempt(pending) if pending else None,
        is_broken=bool(problems),
        waits_since=_instant(raw.pending_workflow_task.original_scheduled_time) if waits else None,
    )


def _attempt(activity: PendingActivityInfo) -> Attempt:
    waits = activity.state == PendingActivityState.PENDING_ACTIVITY_STATE_SCHEDULED and activity.attempt > 1
    failed = activity.HasField("last_failure")
    kind, error = _failure(activity.last_failure) if failed else ("", "")
    return Attempt(
        step=activity.activity_type.name,
        number=max(activity.attempt, 1),
        error=error,
        error_kind=kind,
        next_at=_instant(activity.next_attempt_schedule_time)
        if waits and activity.HasField("next_attempt_schedule_time")
        else None,
    )


def _failure(failure: Failure) -> tuple[str, str]:
    """The kind and the first line of the innermost cause."""
    while failure.HasField("cause"):
        failure = failure.cause
    if failure.HasField("timeout_failure_info"):
        return "TimeOut", ""
    message = failure.message.strip().partition("\n")[0][:MOST_WORDS]
    return failure.application_failure_info.type, message


def _instant(stamp: Timestamp) -> datetime:
    return stamp.ToDatetime(UTC)


class _Thread:
    """The loop in which this process asks."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.describer = Describer()
        self._thread = threading.Thread(target=self.loop.run_forever, name="describing", daemon=True)
        self._thread.start()
        atexit.register(self.end)

    def end(self) -> None:
        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self.loop.stop)
            self._thread.join()
            self.loop.close()


thread = cache(_Thread)
os.register_at_fork(after_in_child=thread.cache_clear)


def describe(order_id: uuid.UUID, version: int) -> Told:
    """How the run of the order, whose row has this version, is doing. Takes a second at most and never raises."""
    here = thread()
    asked = asyncio.run_coroutine_threadsafe(here.describer.describe(order_id, version), here.loop)
    try:
        return asked.result(PATIENCE_SECONDS)
    except NotInTime:
        asked.cancel()
        return Told(away_since=datetime.now(UTC))


def task_queues() -> Sequence[QueueTold] | None:
    """Our task queues as Temporal sees them. Takes a second at most and never raises."""
    here = thread()
    asked = asyncio.run_coroutine_threadsafe(here.describer.task_queues(), here.loop)
    try:
        return asked.result(PATIENCE_SECONDS)
    except NotInTime:
        asked.cancel()
        return None

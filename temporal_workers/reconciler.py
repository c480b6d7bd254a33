"""Temporal's schedule that has the rows and the runs compared. Every worker of orders sees to it at its start."""

import asyncio
import logging
from datetime import timedelta

from django.conf import settings
from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
    ScheduleUpdate,
)
from temporalio.service import RPCError, RPCStatusCode

from temporal_workers.client import CALL_TIMEOUT, is_away
from temporal_workers.contracts import RECONCILE_WORKFLOW, FindDrift, reconcile_id

logger = logging.getLogger(__name__)

AGAIN = 30.0  # seconds


async def keep_schedule(client: Client) -> None:
    """Have Temporal's schedule as RECONCILE_EVERY says, however often it was made before; tries until it is there."""
    while True:
        try:
            return await put_schedule(client, every=settings.RECONCILE_EVERY)
        except Exception as error:
            if not is_away(error):
                logger.exception("The schedule of the reconciler cannot be kept")
        await asyncio.sleep(AGAIN)


async def put_schedule(client: Client, *, every: timedelta) -> None:
    """Make it, change it, or for no time at all take it away. Raises RPCError, RuntimeError."""
    queue = settings.TEMPORAL_ORDERS_QUEUE
    handle = client.get_schedule_handle(reconcile_id(queue))
    if not every:
        try:
            await handle.delete(rpc_timeout=CALL_TIMEOUT)
        except RPCError as error:
            if error.status != RPCStatusCode.NOT_FOUND:
                raise
        return
    schedule = Schedule(
        action=ScheduleActionStartWorkflow(
            RECONCILE_WORKFLOW, FindDrift(), id=reconcile_id(queue), task_queue=queue, execution_timeout=every
        ),
        spec=ScheduleSpec(intervals=[ScheduleIntervalSpec(every=every)]),
        policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP, catchup_window=timedelta(minutes=1)),
    )
    try:
        await client.create_schedule(handle.id, schedule, trigger_immediately=True, rpc_timeout=CALL_TIMEOUT)
    except ScheduleAlreadyRunningError:
        await handle.update(lambda _: ScheduleUpdate(schedule), rpc_timeout=CALL_TIMEOUT)

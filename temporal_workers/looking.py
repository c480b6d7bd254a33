"""Looks through all runs for orders that stand still although their rows do not show it, and the other way round."""

import asyncio
import uuid
from collections.abc import Awaitable, Iterable
from datetime import datetime, timedelta
from typing import TypeVar

from django.conf import settings
from temporalio.client import Client

from orders import stuck, wording
from orders.models import Order
from orders.runs import Run, RunState
from orders.stuck import Stuck, Why
from temporal_workers.client import connect
from temporal_workers.contracts import ORDER_WORKFLOW, SHIPPING_WORKFLOW, order_workflow_id
from temporal_workers.describing import ask

VISIBILITY_LAG = timedelta(seconds=30)  # so long Temporal's lists may not know what has just begun
AT_A_TIME = 10
LONGEST_SECONDS = 60.0  # for each of the two rounds of questions

T = TypeVar("T")

_RUNNING = "ExecutionStatus = 'Running'"


def look(*, at: datetime) -> list[Stuck]:
    """All orders that stand still, longest first: what the rows say, corrected and added to by what Temporal says.

    Complete but for orders that have changed in the last half minute. Temporal's lists only say whom to ask about;
    what is told of an order is asked of its own run.

    Raises TimeoutError, RPCError and RuntimeError where Temporal does not answer.
    """
    found = {one.order_id: one for one in stuck.from_rows(at=at)}
    with asyncio.Runner() as engine:
        client = engine.run(connect(lazy=True))
        running, broken = engine.run(_in_time(_lists(client)))
        missing = [key for key in stuck.open_orders(before=at - VISIBILITY_LAG) if key not in running]
        doubtful = [key for key, one in found.items() if one.why in (Why.SILENT, Why.OVERDUE)]
        runs = engine.run(_in_time(_ask_about(client, {*missing, *broken, *doubtful})))
    orders = stuck.standing([*runs, *found])
    for order_id, run in runs.items():
        known = found.pop(order_id, None)
        if (order := orders.get(order_id)) and (told := _judge(order, run, known, at=at)):
            found[order_id] = told
    still = (one for key, one in found.items() if key in orders or one.why == Why.UNREFUNDED)
    return sorted(still, key=lambda one: (one.since, one.number))


async def _in_time(answer: Awaitable[T]) -> T:
    return await asyncio.wait_for(answer, LONGEST_SECONDS)


async def _lists(client: Client) -> tuple[set[uuid.UUID], set[uuid.UUID]]:
    """The orders whose run is there, and those of which a run fails in our own code."""
    return (
        await _order_ids(client, f"WorkflowType = '{ORDER_WORKFLOW}' AND {_RUNNING}"),
        await _order_ids(client, f"{_RUNNING} AND TemporalReportedProblems IS NOT NULL"),
    )


async def _order_ids(client: Client, query: str) -> set[uuid.UUID]:
    found = set()
    async for run in client.list_workflows(query):
        kind, _, order_id = run.id.partition("-")
        if kind in (ORDER_WORKFLOW, SHIPPING_WORKFLOW):
            try:
                found.add(uuid.UUID(order_id))
            except ValueError:  # somebody else's
                continue
    return found


async def _ask_about(client: Client, order_ids: Iterable[uuid.UUID]) -> dict[uuid.UUID, Run]:
    free = asyncio.Semaphore(AT_A_TIME)

    async def about(order_id: uuid.UUID) -> tuple[uuid.UUID, Run]:
        async with free:
            return order_id, await ask(client, order_id)

    return dict(await asyncio.gather(*(about(order_id) for order_id in order_ids)))


def _judge(order: Order, run: Run, known: Stuck | None, *, at: datetime) -> Stuck | None:
    """What stands in the way of the order; None where its run is at it."""
    since = known.since if known else order.status_at
    if run.state != RunState.RUNNING and getattr(order, "is_on_its_way", False):
        return known  # the message starts it, as soon as it arrives
    if run.state == RunState.UNKNOWN:
        return stuck.stuck(order, Why.LOST, wording.RUN_LOST, since)
    if run.state != RunState.RUNNING:
        return stuck.stuck(order, Why.CUT, wording.RUN_CUT, since)
    if run.is_broken:
        return stuck.stuck(order, Why.BROKEN, wording.RUN_BROKEN, since)
    if run.waits_since and run.waits_since < at - settings.STUCK_AFTER:
        told = f"Its run {order_workflow_id(order.pk)} waits for a worker."
        return stuck.stuck(order, Why.NO_WORKER, told, run.waits_since)
    if run.attempt and run.attempt.number > settings.STUCK_TRIES:
        doing = wording.engine_step(run.attempt.step) or wording.doing(order.status_now).rstrip(".")
        error = wording.step_error(run.attempt.error_kind, run.attempt.error)
        return stuck.stuck(order, Why.RETRIED, wording.trying(doing, run.attempt.number, error), since)
    if known and known.why == Why.SILENT and run.attempt:
        return None  # a retry is under way
    return known

"""Deadlines of a day and more, on the server that skips time. The activities here are stand-ins that play the row,
because the database's clock does not skip: what the row itself decides is held in tests/orders.
"""

import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest
from temporalio import activity
from temporalio.client import WorkflowHandle
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from orders.states import Status
from temporal_workers.contracts import (
    News,
    OrderInput,
    OrderResult,
    OrderStep,
    SettleReview,
    StandingResult,
    StepResult,
)
from temporal_workers.workflows.order import OrderWorkflow
from tests.servers import TIME_SKIPPING_SERVER

DAY = timedelta(days=1)


@dataclass
class Row:
    """The order's row, as far as the review goes. `reprieve` is granted once, when the deadline is asked about."""

    due_at: datetime
    status: Status = Status.PLACED
    reprieve: timedelta = timedelta(0)
    remind_at: datetime | None = None
    asked_at: list[datetime] = field(default_factory=list)

    @activity.defn(name="receive_order")
    async def receive(self, step: OrderStep) -> StepResult:
        return StepResult(Status.RECEIVED)

    @activity.defn(name="validate_order")
    async def validate(self, step: OrderStep) -> StandingResult:
        self.status = Status.IN_REVIEW
        return StandingResult(self.status, self.due_at, self.remind_at)

    @activity.defn(name="settle_review")
    async def settle(self, settle: SettleReview) -> StandingResult:
        self.asked_at.append(settle.at)
        self.due_at += self.reprieve
        self.reprieve = timedelta(0)
        if self.remind_at and self.remind_at <= settle.at:
            self.remind_at = None
        if self.status == Status.IN_REVIEW and self.due_at <= settle.at:
            self.status = Status.EXPIRED
        if self.status != Status.IN_REVIEW:
            return StandingResult(self.status)
        return StandingResult(self.status, self.due_at, self.remind_at)


@pytest.fixture
async def skipping() -> AsyncIterator[WorkflowEnvironment]:
    async with await WorkflowEnvironment.start_time_skipping(
        test_server_existing_path=TIME_SKIPPING_SERVER
    ) as environment:
        yield environment


async def start(environment: WorkflowEnvironment, queue: str) -> WorkflowHandle[OrderWorkflow, OrderResult]:
    return await environment.client.start_workflow(
        OrderWorkflow.run, OrderInput(uuid.uuid4()), id=f"order-{uuid.uuid4()}", task_queue=queue
    )


def serve(environment: WorkflowEnvironment, row: Row) -> tuple[Worker, str]:
    queue = uuid.uuid4().hex
    steps: list[Callable[..., Any]] = [row.receive, row.validate, row.settle]
    return Worker(environment.client, task_queue=queue, workflows=[OrderWorkflow], activities=steps), queue


async def test_an_order_expires_after_its_day_and_not_before(skipping: WorkflowEnvironment) -> None:
    began = await skipping.get_current_time()
    row = Row(due_at=began + DAY)
    worker, queue = serve(skipping, row)

    async with worker:
        result = await (await start(skipping, queue)).result()

    assert result.status == Status.EXPIRED
    assert [began + DAY <= asked < began + DAY + timedelta(minutes=1) for asked in row.asked_at] == [True]


async def test_a_deadline_that_the_row_has_moved_is_followed(skipping: WorkflowEnvironment) -> None:
    began = await skipping.get_current_time()
    row = Row(due_at=began + DAY, reprieve=3 * DAY)
    worker, queue = serve(skipping, row)

    async with worker:
        result = await (await start(skipping, queue)).result()

    assert result.status == Status.EXPIRED
    assert [(asked - began).days for asked in row.asked_at] == [1, 4]


async def test_news_that_changed_nothing_leaves_the_deadline_as_it_was(skipping: WorkflowEnvironment) -> None:
    began = await skipping.get_current_time()
    row = Row(due_at=began + DAY)
    worker, queue = serve(skipping, row)

    async with worker:
        handle = await start(skipping, queue)
        await handle.signal(OrderWorkflow.approve, News("mallory", outbox=1))
        result = await handle.result()

    assert result.status == Status.EXPIRED
    assert len(row.asked_at) == 2


async def test_a_rejection_is_seen_at_once(skipping: WorkflowEnvironment) -> None:
    began = await skipping.get_current_time()
    row = Row(due_at=began + 30 * DAY)
    worker, queue = serve(skipping, row)

    async with worker:
        handle = await start(skipping, queue)
        with skipping.auto_time_skipping_disabled():
            while (await handle.query(OrderWorkflow.state)).status != Status.IN_REVIEW:
                pass
            row.status = Status.REJECTED
            await handle.signal(OrderWorkflow.reject, News("alice", outbox=1))
            result = await handle.result()

    assert result.status == Status.REJECTED
    assert row.asked_at[0] < began + DAY


async def test_the_row_is_asked_when_a_reminder_is_due(skipping: WorkflowEnvironment) -> None:
    began = await skipping.get_current_time()
    row = Row(due_at=began + 10 * DAY, remind_at=began + 8 * DAY)
    worker, queue = serve(skipping, row)

    async with worker:
        result = await (await start(skipping, queue)).result()

    assert result.status == Status.EXPIRED
    assert [(asked - began).days for asked in row.asked_at] == [8, 10]


async def test_an_extension_really_moves_the_timer(skipping: WorkflowEnvironment) -> None:
    began = await skipping.get_current_time()
    row = Row(due_at=began + DAY)
    worker, queue = serve(skipping, row)

    async with worker:
        handle = await start(skipping, queue)
        with skipping.auto_time_skipping_disabled():
            while (await handle.query(OrderWorkflow.state)).status != Status.IN_REVIEW:
                pass
            row.due_at = began + 5 * DAY
            await handle.signal(OrderWorkflow.extend, News("dana", outbox=1))
            while not row.asked_at:
                await handle.query(OrderWorkflow.state)
        result = await handle.result()

    assert result.status == Status.EXPIRED
    assert [(asked - began).days for asked in row.asked_at] == [0, 5]

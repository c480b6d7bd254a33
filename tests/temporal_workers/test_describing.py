"""Asking Temporal how an order's run is doing: once for many, never for long, and not again at once in vain."""

import asyncio
import socket
import uuid
from collections.abc import Iterator
from datetime import timedelta

import pytest
from temporalio.api.common.v1 import ActivityType
from temporalio.api.enums.v1 import PendingActivityState
from temporalio.api.failure.v1 import ApplicationFailureInfo, Failure, TimeoutFailureInfo
from temporalio.api.workflow.v1 import PendingActivityInfo
from temporalio.client import Client

from devstack.servers import free_port
from orders.runs import Run, RunState
from temporal_workers import contracts, describing
from temporal_workers.client import connect
from temporal_workers.describing import Describer


class Counting(Describer):
    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    async def _run_of(self, order_id: uuid.UUID) -> Run:
        self.asked += 1
        return await super()._run_of(order_id)


@pytest.fixture
def order_id() -> uuid.UUID:
    return uuid.uuid4()


async def start_run(client: Client, order_id: uuid.UUID, **options: timedelta) -> None:
    await client.start_workflow(
        contracts.ORDER_WORKFLOW,
        id=contracts.order_workflow_id(order_id),
        task_queue=f"nobody-{order_id}",
        execution_timeout=options.get("execution_timeout"),
    )


async def test_many_who_look_at_the_same_time_are_told_by_one_question(order_id: uuid.UUID) -> None:
    describer = Counting()

    told = await asyncio.gather(*(describer.describe(order_id, 1) for _ in range(20)))

    assert describer.asked == 1
    assert {one.run.state for one in told if one.run} == {RunState.UNKNOWN}


async def test_what_was_heard_of_a_former_version_of_the_row_is_not_told(order_id: uuid.UUID) -> None:
    describer = Counting()

    await describer.describe(order_id, 1)
    await describer.describe(order_id, 2)

    assert describer.asked == 2
    assert describer.known(order_id, 1).run is None


async def test_a_run_without_a_worker_says_since_when_it_waits(order_id: uuid.UUID) -> None:
    await start_run(await connect(lazy=False), order_id)

    told = await Describer().describe(order_id, 1)

    assert told.run is not None
    assert (told.run.state, told.run.attempt) == (RunState.RUNNING, None)
    assert told.run.waits_since is not None


async def test_a_run_that_somebody_ended_is_cut(order_id: uuid.UUID) -> None:
    client = await connect(lazy=False)
    await start_run(client, order_id)
    await client.get_workflow_handle(contracts.order_workflow_id(order_id)).terminate()

    told = await Describer().describe(order_id, 1)

    assert told.run == Run(RunState.CUT)


async def test_what_was_heard_last_is_kept_while_temporal_is_away(
    order_id: uuid.UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(describing, "REMEMBERED_SECONDS", 0.0)
    describer = Counting()
    before = await describer.describe(order_id, 1)
    monkeypatch.setenv("TEMPORAL_ADDRESS", f"127.0.0.1:{free_port()}")
    describer._client = await connect(lazy=True)

    first = await describer.describe(order_id, 1)
    second = await describer.describe(order_id, 1)

    assert (first.run, first.at) == (before.run, before.at)
    assert first.away_since is not None
    assert second == first
    assert describer.asked == 2  # nobody asks again at once


async def test_it_asks_again_in_a_while_and_then_knows_that_temporal_is_back(
    order_id: uuid.UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(describing, "LEFT_ALONE_SECONDS", 0.0)
    describer = Describer()
    with monkeypatch.context() as away:
        away.setenv("TEMPORAL_ADDRESS", f"127.0.0.1:{free_port()}")
        describer._client = await connect(lazy=True)
    assert (await describer.describe(order_id, 1)).away_since is not None

    describer._client = await connect(lazy=True)

    assert (await describer.describe(order_id, 1)).away_since is None


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port where calls are taken and never answered."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        yield silent.getsockname()[1]


@pytest.fixture
def _a_thread_of_its_own() -> Iterator[None]:
    describing.thread.cache_clear()
    yield
    describing.thread().end()
    describing.thread.cache_clear()


@pytest.mark.usefixtures("_a_thread_of_its_own")
def test_one_that_takes_calls_and_never_answers_is_away_too(
    order_id: uuid.UUID, silent_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEMPORAL_ADDRESS", f"127.0.0.1:{silent_port}")

    told = describing.describe(order_id, 1)

    assert told.run is None
    assert told.away_since is not None


def pending(**fields: object) -> PendingActivityInfo:
    return PendingActivityInfo(
        activity_type=ActivityType(name="charge_payment"),
        state=PendingActivityState.PENDING_ACTIVITY_STATE_SCHEDULED,
        attempt=3,
        **fields,  # type: ignore[arg-type]
    )


def test_of_a_failure_the_innermost_cause_is_told_and_of_that_one_line() -> None:
    cause = Failure(
        message="The bank is closed.\nDETAIL: row (Geheimgasse 77)",
        application_failure_info=ApplicationFailureInfo(type="ProviderUnavailable"),
    )

    attempt = describing._attempt(pending(last_failure=Failure(message="Activity failed", cause=cause)))

    assert (attempt.number, attempt.error_kind, attempt.error) == (3, "ProviderUnavailable", "The bank is closed.")
    assert attempt.next_at is None


def test_a_time_out_is_told_as_such() -> None:
    late = Failure(message="activity StartToClose timeout", timeout_failure_info=TimeoutFailureInfo())

    attempt = describing._attempt(pending(last_failure=late))

    assert (attempt.error_kind, attempt.error) == ("TimeOut", "")

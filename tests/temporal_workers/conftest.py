"""Real workers in a thread, on queues of their own, against the run's real Temporal and PostgreSQL."""

import asyncio
import contextlib
import os
import threading
import uuid
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import psycopg
import pytest
from django.db import connection, connections
from pytest_django.fixtures import Settings
from temporalio.client import Client, WorkflowQueryRejectedError
from temporalio.common import QueryRejectCondition
from temporalio.service import RPCError

from orders.models import Order
from temporal_workers import worker
from temporal_workers.client import connect
from temporal_workers.contracts import STATE_QUERY, OrderState
from temporal_workers.providers.simulated import LEDGERS
from temporal_workers.workflows import steps
from tests.replay.record import record_test

SECONDS_TO_SETTLE = 60  # on a machine that does much else too; no test waits longer than it must
BETWEEN_LOOKS = 0.02  # seconds, at what Temporal tells only those who ask: each look is work for it and for the workers


class Engine:
    """Both roles' workers with their relay, as `runworker all` runs them."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="engine")
        self._thread.start()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(worker.run(worker.ROLES, self._stop))

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Have something done in the workers' event loop."""
        asyncio.run_coroutine_threadsafe(work, self._loop).result(SECONDS_TO_SETTLE)

    def terminate(self, workflow_id: str) -> None:
        """End a workflow as somebody might in Temporal's own pages, and wait until its lists know."""
        self.run(self._terminate(workflow_id))

    def signal(self, workflow_id: str, name: str, *payload: Any) -> None:
        """Send a signal as somebody might with Temporal's own tools."""
        self.run(self._signal(workflow_id, name, payload))

    async def _signal(self, workflow_id: str, name: str, payload: Sequence[Any]) -> None:
        client = await connect(lazy=False)
        await client.get_workflow_handle(workflow_id).signal(name, args=payload)

    def wait_for_run(self, workflow_id: str, status: str) -> None:
        """Wait until the order's present run knows that it has this status."""
        asyncio.run_coroutine_threadsafe(self._wait_for_run(workflow_id, status), self._loop).result(SECONDS_TO_SETTLE)

    async def _wait_for_run(self, workflow_id: str, status: str) -> None:
        run = (await connect(lazy=False)).get_workflow_handle(workflow_id)
        known = ""
        while known != status:
            with contextlib.suppress(RPCError, WorkflowQueryRejectedError):  # none runs yet
                state = await run.query(
                    STATE_QUERY, reject_condition=QueryRejectCondition.NOT_OPEN, result_type=OrderState
                )
                known = state.status
            await asyncio.sleep(BETWEEN_LOOKS)

    async def _terminate(self, workflow_id: str) -> None:
        client = await connect(lazy=False)
        await client.get_workflow_handle(workflow_id).terminate(reason="by hand")
        await gone_from_lists(client, workflow_id)

    def stop(self) -> None:
        if self._thread:
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(SECONDS_TO_SETTLE)
            assert not self._thread.is_alive()
            self._thread = None


async def gone_from_lists(client: Client, workflow_id: str) -> None:
    """Wait until Temporal's lists, which come after its histories, do not name a running workflow of this id."""
    running = f"WorkflowId = '{workflow_id}' AND ExecutionStatus = 'Running'"
    while (await client.count_workflows(running)).count:  # noqa: ASYNC110 - there is no event
        await asyncio.sleep(BETWEEN_LOOKS)


def database_url() -> str:
    """This test's own database, for processes and for the simulated bank."""
    host = quote(str(connection.settings_dict["HOST"]), safe="")
    return f"postgresql://postgres@/{connection.settings_dict['NAME']}?host={host}"


@pytest.fixture
def queues(django_db_setup: None, settings: Settings) -> None:
    """Task queues that no other test has, and providers that answer at once and know no other test's orders."""
    settings.SIMULATOR_DATABASE_URL = database_url()
    with psycopg.connect(settings.SIMULATOR_DATABASE_URL) as ledger:
        ledger.execute("DROP SCHEMA IF EXISTS simulator CASCADE")
        ledger.execute(LEDGERS)
    suffix = uuid.uuid4().hex[:8]
    settings.TEMPORAL_ORDERS_QUEUE = f"orders-{suffix}"
    settings.TEMPORAL_SHIPPING_QUEUE = f"shipping-{suffix}"
    settings.SIMULATOR_SECONDS = 0.0


@pytest.fixture
def tries_follow_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What fails is tried again after a tenth of the time that it takes in production.

    In place: the workflows' sandbox shares this module with us. A class overrides this to have the real times.
    """
    for bounds in (steps.DATABASE, steps.OUTSIDE, steps.A_FEW_TIMES, steps.UNTIL_DONE):
        policy = bounds["retry_policy"]
        monkeypatch.setitem(bounds, "retry_policy", replace(policy, initial_interval=policy.initial_interval / 10))


@contextmanager
def pooled_connections() -> Iterator[None]:
    """Steps by the dozen need no connection each, and none may outlive its test."""
    connection.close()
    options = connections.settings["default"]["OPTIONS"]
    options["pool"] = {"min_size": 1, "max_size": 60, "timeout": 30}
    try:
        yield
    finally:
        connection.close()
        connection.close_pool()  # type: ignore[attr-defined]
        del options["pool"]


@pytest.fixture
def providers(queues: None) -> None:
    """Calm and instant; a class of tests overrides this to have them otherwise."""


@pytest.fixture
def engine(
    transactional_db: None, providers: None, tries_follow_soon: None, request: pytest.FixtureRequest
) -> Iterator[Engine]:
    engine = Engine()
    with pooled_connections():
        engine.start()
        yield engine
        engine.stop()
    if "RECORD_HISTORIES" in os.environ and (order := Order.objects.order_by("number").first()):
        asyncio.run(record_test(request.node.name, order.pk))


def wait_until(holds: Callable[[], Any], *, seconds: float = SECONDS_TO_SETTLE) -> None:
    """Look whenever an order has changed, until `holds()` is true.

    Raises TimeoutError.
    """
    parameters = connection.get_connection_params()
    with psycopg.connect(
        **{name: parameters[name] for name in ("dbname", "user", "host") if name in parameters}
    ) as listener:
        listener.autocommit = True
        listener.execute("LISTEN orders_changed")
        notifications = listener.notifies(timeout=seconds)
        while not holds():
            if next(notifications, None) is None:
                raise TimeoutError("it did not come about in time")
        notifications.close()


def wait_for_status(order: Order, status: str, *, seconds: float = SECONDS_TO_SETTLE) -> None:
    try:
        wait_until(Order.objects.filter(pk=order.pk, status=status).exists, seconds=seconds)
    except TimeoutError:
        order.refresh_from_db()
        raise AssertionError(f"{order} is {order.status} after {seconds} s, not {status}") from None
    order.refresh_from_db()


def events_of(order: Order) -> list[str]:
    return list(order.events.order_by("sequence").values_list("type", flat=True))

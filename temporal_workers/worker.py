"""The worker process: the queues it serves, the relay, the life sign; how it starts, drains and stops."""

import asyncio
import logging
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any, NoReturn

from django.conf import settings
from temporalio.client import Client
from temporalio.common import VersioningBehavior, WorkerDeploymentVersion
from temporalio.worker import Worker, WorkerDeploymentConfig

from temporal_workers.activities import orders as order_steps
from temporal_workers.activities import shipping as shipping_steps
from temporal_workers.activities.database import is_activity
from temporal_workers.activities.outside import CarrierCalls, FraudCalls, PaymentCalls, ShopCalls
from temporal_workers.attempts import AttemptLog
from temporal_workers.bulks import BulkRunner
from temporal_workers.client import connect
from temporal_workers.heartbeat import Heartbeat
from temporal_workers.idle_claims import end_idle_claims
from temporal_workers.listening import Listener
from temporal_workers.mailer import Mailer
from temporal_workers.providers.assignment import AssignmentBank, AssignmentCarrier, AssignmentShop
from temporal_workers.providers.protocols import CarrierProvider, FraudProvider, PaymentProvider
from temporal_workers.providers.simulated import Ledger, SimulatedBank, SimulatedCarrier, Temper
from temporal_workers.providers.simulated_fraud import SimulatedFraudCheck
from temporal_workers.providers.webhooks import BankLife
from temporal_workers.reconciler import keep_schedule
from temporal_workers.relay import Relay
from temporal_workers.sandbox import Sandbox
from temporal_workers.tracing import calls_of
from temporal_workers.workflows.order import OrderWorkflow
from temporal_workers.workflows.reconcile import ReconcileWorkflow
from temporal_workers.workflows.refund import RefundWorkflow
from temporal_workers.workflows.shipping import ShippingWorkflow

logger = logging.getLogger(__name__)

ROLES = ("orders", "shipping")
CONNECT_AGAIN = 1.0  # seconds


def queue_of(role: str) -> str:
    return {"orders": settings.TEMPORAL_ORDERS_QUEUE, "shipping": settings.TEMPORAL_SHIPPING_QUEUE}[role]


def make_worker(client: Client, role: str, *, ledger: Ledger, threads: ThreadPoolExecutor) -> Worker:
    """One role's worker on its queue. `threads` runs the database steps: its size is the connection budget."""
    workflows, activities = _orders(ledger) if role == "orders" else _shipping(ledger)
    return Worker(
        client,
        task_queue=queue_of(role),
        workflows=workflows,
        workflow_runner=Sandbox(),
        activities=activities,
        activity_executor=threads,
        interceptors=[AttemptLog()],
        max_concurrent_local_activities=settings.WORKER_DATABASE_THREADS,
        max_concurrent_activities=settings.WORKER_PROVIDER_CALLS,
        max_concurrent_workflow_tasks=settings.WORKER_WORKFLOW_TASKS,
        # A worker killed hard holds up its orders' signals for this long.
        sticky_queue_schedule_to_start_timeout=settings.WORKER_STICKY_TIMEOUT,
        graceful_shutdown_timeout=settings.WORKER_DRAIN_TIMEOUT,
        deployment_config=_deployment(),
    )


def _deployment() -> WorkerDeploymentConfig | None:
    """The build that this worker is, where the settings name one.

    Every run moves to the build that is current at its next task. None is pinned to the build it began with: each
    may wait for days, for a person, a bank or a carrier, and would need that build's workers so long.
    """
    if not settings.WORKER_DEPLOYMENT:
        return None
    return WorkerDeploymentConfig(
        version=WorkerDeploymentVersion(settings.WORKER_DEPLOYMENT, settings.WORKER_BUILD_ID),
        use_worker_versioning=True,
        default_versioning_behavior=VersioningBehavior.AUTO_UPGRADE,
    )


def _orders(ledger: Ledger) -> tuple[list[type], list[Callable[..., Any]]]:
    # Only orders that were started under the assignment's profile ask the shop, whatever the profile is by now.
    shop = AssignmentShop(settings.ASSIGNMENT_SECONDS)
    return [OrderWorkflow, RefundWorkflow, ReconcileWorkflow], implementations(
        order_steps,
        PaymentCalls(calls_of("bank", _payments(ledger))),
        FraudCalls(calls_of("fraud check", _fraud_check())),
        ShopCalls(calls_of("shop", shop)),
    )


def _shipping(ledger: Ledger) -> tuple[list[type], list[Callable[..., Any]]]:
    return [ShippingWorkflow], implementations(shipping_steps, CarrierCalls(calls_of("carrier", _carrier(ledger))))


def _payments(ledger: Ledger) -> PaymentProvider:
    if settings.ORDER_PROVIDERS == "assignment":
        return AssignmentBank(SimulatedBank(ledger, Temper()), settings.ASSIGNMENT_SECONDS)
    return SimulatedBank(ledger, _temper(), tells=bool(settings.WEBHOOK_URL))


def _bank_life(ledger: Ledger) -> BankLife:
    return BankLife(
        SimulatedBank(ledger, _temper(), tells=bool(settings.WEBHOOK_URL)),
        url=settings.WEBHOOK_URL,
        secret=next(iter(settings.PAYMENT_WEBHOOK_SECRET), ""),
        customer_seconds=settings.SIMULATOR_CUSTOMER_SECONDS,
    )


def _fraud_check() -> FraudProvider:
    temper = Temper() if settings.ORDER_PROVIDERS == "assignment" else _temper()
    return SimulatedFraudCheck(temper, fraud_rate=settings.SIMULATOR_FRAUD_RATE)


def _carrier(ledger: Ledger) -> CarrierProvider:
    if settings.ORDER_PROVIDERS == "assignment":
        return AssignmentCarrier(SimulatedCarrier(ledger, Temper()), settings.ASSIGNMENT_SECONDS)
    return SimulatedCarrier(ledger, _temper())


def implementations(*homes: object) -> list[Callable[..., Any]]:
    """Every activity that the modules and objects given implement, so that none is named in a second list."""
    members = (getattr(home, name) for home in homes for name in dir(home))
    return [member for member in members if is_activity(member)]


def _temper() -> Temper:
    return Temper(
        seconds=settings.SIMULATOR_SECONDS,
        decline_rate=settings.SIMULATOR_DECLINE_RATE,
        error_rate=settings.SIMULATOR_ERROR_RATE,
        lost_answer_rate=settings.SIMULATOR_LOST_ANSWER_RATE,
        confirm_rate=settings.SIMULATOR_CONFIRM_RATE,
    )


async def run(roles: Sequence[str], stop: asyncio.Event) -> None:
    """Serve the roles' queues until `stop` is set, then drain. Waits for Temporal as long as it is away."""
    relay_client = await connect(lazy=True)
    async with AsyncExitStack() as stack:
        heartbeat = Heartbeat(relay_client, [queue_of(role) for role in roles])
        await stack.enter_async_context(_in_the_background(heartbeat.beat(), "heartbeat"))
        await stack.enter_async_context(_in_the_background(end_idle_claims(), "idle claims"))
        await stack.enter_async_context(_running(Relay(relay_client, asyncio.get_running_loop())))
        await stack.enter_async_context(_running(BulkRunner()))
        if settings.CUSTOMERS_GET_MAIL:
            await stack.enter_async_context(_running(Mailer()))
        client = await _connected(stop)
        if client is None:
            return
        ledger = await stack.enter_async_context(Ledger(settings.SIMULATOR_DATABASE_URL))
        threads = stack.enter_context(_threads())
        if "orders" in roles and settings.ORDER_PROVIDERS == "simulated":
            await stack.enter_async_context(_in_the_background(_bank_life(ledger).live(), "bank"))
        for role in roles:
            await stack.enter_async_context(make_worker(client, role, ledger=ledger, threads=threads))
            logger.info("Serving queue %s", queue_of(role))
        if "orders" in roles:
            await stack.enter_async_context(_in_the_background(keep_schedule(client), "schedule"))
        await stop.wait()
        logger.info("Draining")


def _threads() -> ThreadPoolExecutor:
    # The SDK wants as many workers as ordinary activities; threads are only made as database steps need them.
    most = max(settings.WORKER_DATABASE_THREADS, settings.WORKER_PROVIDER_CALLS)
    return ThreadPoolExecutor(most, thread_name_prefix="database")


async def _connected(stop: asyncio.Event) -> Client | None:
    """Connect, trying again until Temporal is there; None where `stop` came first."""
    told = False
    while not stop.is_set():
        try:
            return await connect(lazy=False)
        except RuntimeError as trouble:
            if not told:
                logger.warning("Temporal is away, waiting for it: %s", trouble)
                told = True
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), CONNECT_AGAIN)
    return None


@asynccontextmanager
async def _in_the_background(work: Coroutine[Any, Any, None], name: str) -> AsyncIterator[None]:
    task = asyncio.create_task(work, name=name)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@asynccontextmanager
async def _running(listener: Listener) -> AsyncIterator[None]:
    listener.start()
    try:
        yield
    finally:
        listener.stop()
        # The relay's thread may be waiting for this loop to deliver.
        await asyncio.to_thread(listener.join, 10)


def stop_on_signals(stop: asyncio.Event, loop: asyncio.AbstractEventLoop) -> None:
    """First SIGTERM or SIGINT drains, the second stops at once.

    Plain signal handlers: the loop's own may not run while it is busy.
    """
    asked = threading.Event()

    def handle(number: int, _frame: object) -> None:
        if asked.is_set():
            leave(128 + number)
        asked.set()
        loop.call_soon_threadsafe(stop.set)

    signal.signal(signal.SIGTERM, handle)
    signal.signal(signal.SIGINT, handle)


def leave(status: int) -> NoReturn:
    """End the process here and now, with everything said that was to be said.

    The SDK's runtime has been seen to crash while the interpreter takes itself apart.
    """
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)

"""Workers that name their build, two builds side by side, and the command line that docs/operations.md gives."""

import asyncio
import runpy
import subprocess
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from django.core.exceptions import ImproperlyConfigured
from pytest_django.fixtures import Settings
from temporalio.api.deployment.v1 import WorkerDeploymentVersion
from temporalio.api.enums.v1 import EventType
from temporalio.api.workflowservice.v1 import DescribeWorkerDeploymentVersionRequest
from temporalio.service import RPCError

from devstack.servers import BIN
from orders.models import Order
from orders.services import refunding, reviewing
from orders.services.actors import Actor
from orders.services.placing import NewLine
from temporal_workers import contracts, worker
from temporal_workers.client import connect
from temporal_workers.providers.protocols import ProviderUnavailable
from temporal_workers.providers.simulated import SimulatedBank
from tests.conftest import PlaceOrder
from tests.replay.changed_workflow import ChangedOrderWorkflow
from tests.temporal_workers.conftest import Engine, events_of, wait_for_status, wait_until

Build = Callable[[str], Engine]


@pytest.fixture
def deployment() -> str:
    return f"countersign-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def build(transactional_db: None, queues: None, deployment: str, settings: Settings) -> Iterator[Build]:
    """Start both roles' workers as the build named, or as none; they stop with the test."""
    engines = []

    def build(build_id: str) -> Engine:
        settings.WORKER_DEPLOYMENT, settings.WORKER_BUILD_ID = (deployment, build_id) if build_id else ("", "")
        engine = Engine()
        engines.append(engine)
        engine.start()
        if build_id:
            wait_for_both_queues(deployment, build_id)
        return engine

    yield build
    for engine in engines:
        engine.stop()


def temporal_worker_deployment(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(BIN / "temporal"), "worker", "deployment", *arguments, "--output", "json"]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)


@async_to_sync
async def wait_for_both_queues(deployment: str, build_id: str) -> None:
    """Ask Temporal until it knows workers of this build on both queues."""
    client = await connect(lazy=False)
    version = WorkerDeploymentVersion(deployment_name=deployment, build_id=build_id)
    asked = DescribeWorkerDeploymentVersionRequest(namespace=client.namespace, deployment_version=version)
    for _ in range(600):
        with suppress(RPCError):
            described = await client.workflow_service.describe_worker_deployment_version(asked)
            if len({queue.name for queue in described.worker_deployment_version_info.task_queue_infos}) == 2:
                return
        await asyncio.sleep(0.05)  # Temporal tells nobody
    raise AssertionError(f"Temporal does not know {build_id}")


def make_current(deployment: str, build_id: str) -> None:
    version = ["--deployment-name", deployment, "--build-id", build_id]
    made = temporal_worker_deployment("set-current-version", *version, "--yes")
    assert made.returncode == 0, made.stderr


@async_to_sync
async def history(workflow_id: str) -> Any:
    client = await connect(lazy=False)
    return await client.get_workflow_handle(workflow_id).fetch_history()


def wait_for_start(order: Order) -> None:
    """Ask Temporal until it knows the order's workflow."""
    for _ in range(1_000):
        with suppress(RPCError):
            history(contracts.order_workflow_id(order.pk))
            return
    raise AssertionError(f"Temporal does not know {order}")


@async_to_sync
async def wait_for_failed_task(order: Order) -> str:
    """Follow the order's workflow until the code does not fit its history; say why."""
    client = await connect(lazy=False)
    workflow = client.get_workflow_handle(contracts.order_workflow_id(order.pk))
    async for event in workflow.fetch_history_events(wait_new_event=True):
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED:
            return str(event.workflow_task_failed_event_attributes.failure.message)
    raise AssertionError(f"{order} ended without a failed task")


def builds_of(workflow_id: str) -> list[str]:
    """The builds that carried a workflow, in their order; empty for workers that name none."""
    builds: list[str] = []
    for event in history(workflow_id).events:
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED:
            build_id = event.workflow_task_completed_event_attributes.deployment_version.build_id
            builds += [build_id] if builds[-1:] != [build_id] else []
    return builds


def test_a_build_serves_nothing_before_it_is_current(build: Build, deployment: str, place: PlaceOrder) -> None:
    build("first")
    order = place(lines=[NewLine("LAMP", 1, 20_000)])
    wait_for_start(order)

    told_at = datetime.now(UTC)
    make_current(deployment, "first")
    wait_for_status(order, "completed")

    events = history(contracts.order_workflow_id(order.pk)).events
    begun = next(event for event in events if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED)
    assert begun.event_time.ToDatetime(UTC) > told_at
    assert builds_of(contracts.order_workflow_id(order.pk)) == ["first"]
    assert builds_of(contracts.shipping_workflow_id(order.pk)) == ["first"]


def test_an_order_in_review_moves_to_the_build_that_is_current_when_somebody_decides(
    build: Build, deployment: str, place: PlaceOrder, as_alice: Actor
) -> None:
    build("first")
    make_current(deployment, "first")
    order = place()
    wait_for_status(order, "in_review")

    build("second")
    make_current(deployment, "second")
    reviewing.approve(order_id=order.pk, actor=as_alice, at=datetime.now(UTC))
    wait_for_status(order, "completed")

    assert builds_of(contracts.order_workflow_id(order.pk)) == ["first", "second"]
    assert builds_of(contracts.shipping_workflow_id(order.pk)) == ["second"]
    assert events_of(order).count("charge") == 1


def test_a_refund_that_the_bank_holds_up_moves_too(
    build: Build, deployment: str, place: PlaceOrder, lead: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    build("first")
    make_current(deployment, "first")
    order = place(lines=[NewLine("LAMP", 1, 20_000)])
    wait_for_status(order, "completed")
    away = threading.Event()
    away.set()
    refund = SimulatedBank.refund

    async def refund_unless_away(bank: SimulatedBank, **asked: Any) -> str:
        if away.is_set():
            raise ProviderUnavailable("the bank is away")
        return await refund(bank, **asked)

    monkeypatch.setattr(SimulatedBank, "refund", refund_unless_away)
    refunding.refund(
        order_id=order.pk, amount_minor=5_000, reason="Late", actor=Actor.operator(lead), at=datetime.now(UTC)
    )
    wait_until(lambda: "refund_requested" in events_of(order))

    build("second")
    make_current(deployment, "second")
    away.clear()
    wait_until(lambda: "refund" in events_of(order))

    assert builds_of(contracts.refund_workflow_id(order.pk, 1))[-1] == "second"


def test_orders_of_workers_without_a_build_go_on_with_those_that_name_one(
    build: Build, deployment: str, place: PlaceOrder, as_alice: Actor
) -> None:
    unnamed = build("")
    order = place()
    wait_for_status(order, "in_review")
    unnamed.stop()

    build("first")
    make_current(deployment, "first")
    reviewing.approve(order_id=order.pk, actor=as_alice, at=datetime.now(UTC))
    wait_for_status(order, "completed")

    assert builds_of(contracts.order_workflow_id(order.pk)) == ["", "first"]


@pytest.mark.parametrize("alone", ["WORKER_DEPLOYMENT", "WORKER_BUILD_ID"])
def test_half_a_version_stops_the_start(monkeypatch: pytest.MonkeyPatch, alone: str) -> None:
    monkeypatch.setenv(alone, "x")

    with pytest.raises(ImproperlyConfigured, match="WORKER_DEPLOYMENT and WORKER_BUILD_ID belong together"):
        runpy.run_path("orders_site/settings.py")


def test_a_new_build_takes_a_share_first_and_can_be_taken_back(
    build: Build, deployment: str, place: PlaceOrder
) -> None:
    build("first")
    make_current(deployment, "first")
    build("second")
    ramp = ["set-ramping-version", "--deployment-name", deployment, "--build-id", "second", "--yes"]

    assert temporal_worker_deployment(*ramp, "--percentage", "100").returncode == 0
    by_the_second = place(lines=[NewLine("LAMP", 1, 20_000)])
    wait_for_status(by_the_second, "completed")
    assert temporal_worker_deployment(*ramp, "--delete").returncode == 0
    by_the_first = place(lines=[NewLine("LAMP", 1, 20_000)])
    wait_for_status(by_the_first, "completed")

    assert builds_of(contracts.order_workflow_id(by_the_second.pk)) == ["second"]
    assert builds_of(contracts.order_workflow_id(by_the_first.pk)) == ["first"]


def test_a_build_that_does_not_replay_harms_no_order_and_is_taken_back(
    build: Build, deployment: str, place: PlaceOrder, as_alice: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    build("first")
    make_current(deployment, "first")
    order = place()
    wait_for_status(order, "in_review")

    with monkeypatch.context() as careless:
        careless.setattr(worker, "OrderWorkflow", ChangedOrderWorkflow)
        build("careless")
    make_current(deployment, "careless")
    reviewing.approve(order_id=order.pk, actor=as_alice, at=datetime.now(UTC))
    why = wait_for_failed_task(order)
    make_current(deployment, "first")
    wait_for_status(order, "completed")

    assert "Nondeterminism error" in why
    assert builds_of(contracts.order_workflow_id(order.pk)) == ["first"]
    assert events_of(order).count("charge") == 1

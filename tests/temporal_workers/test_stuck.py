"""`manage.py stuck` before a real Temporal: what it lists, what it leaves out, and how an order goes on again."""

import asyncio
import io
import itertools
import json
import threading
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.conf import settings as django_settings
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from pytest_django.fixtures import Settings
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import DeleteWorkflowExecutionRequest
from temporalio.client import WorkflowFailureError
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError

from devstack.servers import free_port
from orders.models import Order, Outbox
from orders.services import refunding, reviewing
from orders.services.actors import Actor
from orders.services.placing import NewLine
from temporal_workers import contracts, looking
from temporal_workers.client import connect
from temporal_workers.describing import REPORTED_PROBLEMS
from temporal_workers.providers.protocols import ProviderUnavailable
from temporal_workers.providers.simulated import SimulatedBank
from tests.conftest import PlaceOrder
from tests.temporal_workers.conftest import SECONDS_TO_SETTLE, Engine, gone_from_lists, wait_for_status, wait_until

SMALL = [NewLine("LAMP", 1, 20_000)]


@pytest.fixture(autouse=True)
def _lists_of_this_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looking, "VISIBILITY_LAG", timedelta(0))


def listed() -> dict[str, Any]:
    """What the command lists, by the order's number."""
    said = io.StringIO()
    with suppress(CommandError):
        call_command("stuck", "--json", stdout=said)
    told = json.loads(said.getvalue())
    assert told["is_complete"]
    return {one["number"]: one for one in told["stuck"]}


def in_review(place: PlaceOrder) -> Order:
    order = place()
    wait_for_status(order, "in_review")
    return order


def test_orders_that_wait_for_people_or_have_ended_are_not_listed(engine: Engine, place: PlaceOrder) -> None:
    waiting, ended = in_review(place), place(lines=SMALL)
    wait_for_status(ended, "completed")

    assert {waiting.number, ended.number} & listed().keys() == set()


def test_one_whose_run_was_ended_from_outside_is_listed_and_goes_on_when_started_again(
    engine: Engine, place: PlaceOrder, as_alice: Actor
) -> None:
    order = in_review(place)
    engine.terminate(contracts.order_workflow_id(order.pk))

    found = listed()[order.number]
    assert (found["why"], found["status"]) == ("cut", "in_review")
    assert found["to_do"] == f"manage.py stuck --start-again {order.number}"

    call_command("stuck", "--start-again", order.number, stdout=io.StringIO())
    reviewing.approve(order_id=order.pk, actor=as_alice, at=datetime.now(UTC))
    wait_for_status(order, "completed")

    assert order.payments.filter(kind="charge", status="succeeded").count() == 1


def test_one_that_temporal_knows_nothing_of_is_listed(engine: Engine, place: PlaceOrder) -> None:
    order = place()
    wait_for_status(order, "in_review")
    other = place()
    wait_for_status(other, "in_review")
    forget(order)

    found = listed()

    assert found[order.number]["why"] == "lost"
    assert other.number not in found


def test_one_whose_start_has_yet_to_be_delivered_is_not_listed_yet(place: PlaceOrder, transactional_db: None) -> None:
    order = place()

    assert order.number not in listed()


@async_to_sync
async def forget(order: Order) -> None:
    """Delete the run, as retention does in the end, and wait until Temporal has, in its lists as well."""
    client = await connect(lazy=False)
    workflow_id = contracts.order_workflow_id(order.pk)
    execution = WorkflowExecution(workflow_id=workflow_id)
    await client.workflow_service.delete_workflow_execution(
        DeleteWorkflowExecutionRequest(namespace=client.namespace, workflow_execution=execution)
    )
    with suppress(RPCError):
        while await client.get_workflow_handle(workflow_id).describe():
            pass
    await gone_from_lists(client, workflow_id)


def test_one_that_is_retried_is_listed_only_after_many_tries(
    engine: Engine, place: PlaceOrder, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, tried = itertools.count(1), threading.Event()

    async def away(_: object, **asked: object) -> None:
        if next(calls) == 3:
            tried.set()
        raise ProviderUnavailable("The bank is closed.")

    monkeypatch.setattr(SimulatedBank, "charge", away)
    order = place(lines=SMALL)
    assert tried.wait(SECONDS_TO_SETTLE)
    settings.STUCK_AFTER = timedelta(0)

    assert order.number not in listed()

    settings.STUCK_TRIES = 2
    found = listed()[order.number]
    assert found["why"] == "retried"
    assert found["told"].startswith("Charging the card, ")
    assert found["told"].endswith("try: the bank is closed.")


def test_one_whose_run_waits_for_a_worker_is_listed(engine: Engine, place: PlaceOrder, settings: Settings) -> None:
    order = in_review(place)
    engine.stop()
    async_to_sync(nudge)(order)
    settings.STUCK_AFTER = timedelta(0)
    Order.objects.filter(pk=order.pk).update(status="approved")

    assert listed()[order.number]["why"] == "no_worker"


async def nudge(order: Order) -> None:
    client = await connect(lazy=False)
    handle = client.get_workflow_handle(contracts.order_workflow_id(order.pk))
    await handle.signal("extend", contracts.News())


def test_one_whose_run_fails_in_our_own_code_is_listed(engine: Engine, place: PlaceOrder) -> None:
    order = in_review(place)
    engine.terminate(contracts.order_workflow_id(order.pk))
    async_to_sync(start_with_nonsense)(order)

    assert listed()[order.number]["why"] == "broken"


async def start_with_nonsense(order: Order) -> None:
    """Begin a run that no build of ours can carry on, and wait until Temporal reports it."""
    client = await connect(lazy=False)
    handle = await client.start_workflow(
        contracts.ORDER_WORKFLOW,
        "nonsense",
        id=contracts.order_workflow_id(order.pk),
        task_queue=django_settings.TEMPORAL_ORDERS_QUEUE,
        task_timeout=timedelta(seconds=1),  # a worker lets each try after the first one time out
    )
    while not (await handle.describe()).typed_search_attributes.get(REPORTED_PROBLEMS):  # noqa: ASYNC110
        await asyncio.sleep(0.1)  # nothing tells of it


def test_with_temporal_away_the_rows_alone_are_listed_and_it_says_so(
    place: PlaceOrder, settings: Settings, monkeypatch: pytest.MonkeyPatch, transactional_db: None
) -> None:
    order = place()
    settings.STUCK_AFTER = timedelta(0)
    monkeypatch.setenv("TEMPORAL_ADDRESS", f"127.0.0.1:{free_port()}")
    said = io.StringIO()

    with pytest.raises(CommandError, match="Temporal does not answer") as ended:
        call_command("stuck", stdout=said)

    assert ended.value.returncode == 2
    assert f"{order.number}  placed" in said.getvalue()
    assert "Temporal has not been told of “start”." in said.getvalue()
    assert Outbox.objects.filter(delivered_at=None).count() == 1


def test_what_is_not_there_or_has_ended_cannot_be_started_again(expired_order: Order) -> None:
    with pytest.raises(CommandError, match="There is no order CS-1"):
        call_command("stuck", "--start-again", "CS-1")
    with pytest.raises(CommandError, match="there is nothing to carry on"):
        call_command("stuck", "--start-again", expired_order.number)


def test_a_refund_whose_run_has_failed_is_listed_and_made_when_started_again(
    engine: Engine, place: PlaceOrder, lead: User, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = place(lines=SMALL)
    wait_for_status(order, "completed")
    asked = threading.Event()

    async def broken(_: object, **__: object) -> str:
        asked.set()
        raise ApplicationError("The bank has changed its ways.", non_retryable=True)

    with monkeypatch.context() as patch:
        patch.setattr(SimulatedBank, "refund", broken)
        refunding.refund(
            order_id=order.pk, amount_minor=5_000, reason="Late", actor=Actor.operator(lead), at=datetime.now(UTC)
        )
        async_to_sync(failed_refund)(order)
    assert asked.is_set()

    settings.STUCK_AFTER = timedelta(0)
    assert listed()[order.number]["why"] == "unrefunded"
    call_command("stuck", "--start-again", order.number, stdout=io.StringIO())
    wait_until(lambda: order.payments.filter(kind="refund", status="succeeded").exists())

    assert order.number not in listed()


async def failed_refund(order: Order) -> None:
    """Wait until the run of the order's first refund has begun and failed."""
    run = (await connect(lazy=False)).get_workflow_handle(contracts.refund_workflow_id(order.pk, 1))
    while True:
        try:
            await run.result()
        except WorkflowFailureError:
            return
        except RPCError:  # it has not begun
            continue

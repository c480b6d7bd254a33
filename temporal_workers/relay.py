"""The relay: takes what services left in the outbox to Temporal.

Woken by LISTEN, and looking by itself now and then. Many relays may run: rows are locked while they are
delivered. Delivering twice does no harm: an order's workflow is started once, and a signal is only news.
"""

import asyncio
import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.db.models import prefetch_related_objects
from temporalio.client import Client
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError

from orders import tracing
from orders.models import Outbox
from orders.services import relaying
from temporal_workers.client import CALL_TIMEOUT, is_away
from temporal_workers.contracts import (
    ORDER_WORKFLOW,
    REFUND_WORKFLOW,
    TASK_TIMEOUT,
    News,
    OrderInput,
    RefundInput,
    order_workflow_id,
    refund_workflow_id,
)
from temporal_workers.listening import PAUSE_AFTER_TROUBLE, Listener
from temporal_workers.telemetry import RelayFigures

logger = logging.getLogger(__name__)

START_AGAIN = "start_again"  # the message of `attending.start_again`


class TemporalAway(Exception):
    """Temporal cannot be reached: nothing was delivered, all of it stays in the outbox."""


class Relay(Listener):
    """A thread of its own, with its own database connection; calls to Temporal run in `loop`."""

    name = "relay"
    channel = "orders_outbox"

    def __init__(self, client: Client, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._client = client
        self._loop = loop
        self._figures = RelayFigures()

    def work(self) -> None:
        """Deliver until the outbox is empty, however long Temporal stays away."""
        away = False
        while not self._stop.is_set():
            try:
                if not relaying.deliver_outbox(deliver=self._deliver, at=datetime.now(UTC)):
                    return
                away = False
            except TemporalAway as trouble:
                if not away:
                    logger.warning("Temporal is away, the outbox waits: %s", trouble)
                away = True
                self._stop.wait(PAUSE_AFTER_TROUBLE)

    def _deliver(self, messages: Sequence[Outbox]) -> list[str]:
        prefetch_related_objects(messages, "order")
        delivery = asyncio.run_coroutine_threadsafe(self._deliver_all(messages), self._loop)
        try:
            return delivery.result(timeout=30)
        finally:
            delivery.cancel()

    async def _deliver_all(self, messages: Sequence[Outbox]) -> list[str]:
        return await asyncio.gather(*(self._deliver_one(message) for message in messages))

    async def _deliver_one(self, message: Outbox) -> str:
        """Deliver one message within the trace that it was written in; it has waited since then."""
        with tracing.span(
            f"outbox {message.message}",
            "producer",
            parent=message.traceparent,
            begun_at=message.created_at,
            unless=TemporalAway,
            order=message.order.number,
        ) as finish:
            wrong = await self._tell_temporal(message)
            finish(failed=bool(wrong))
            return wrong

    async def _tell_temporal(self, message: Outbox) -> str:
        """Start or signal a workflow; answer with what Temporal has against it, if anything.

        A signal starts the workflow too, should Temporal have lost it. One that has ended needs no news. A refund
        has a workflow of its own.

        Raises TemporalAway.
        """
        try:
            workflow = _workflow(message)
            async with asyncio.timeout(5):
                await self._client.start_workflow(
                    **workflow,
                    task_queue=settings.TEMPORAL_ORDERS_QUEUE,
                    id_reuse_policy=_reuse(message),
                    task_timeout=TASK_TIMEOUT,
                    rpc_timeout=CALL_TIMEOUT,
                )
        except WorkflowAlreadyStartedError:
            pass
        except Exception as error:
            if is_away(error):
                raise TemporalAway(str(error) or type(error).__name__) from error
            logger.exception(
                "Temporal refuses %s for %s", message.message, message.order, extra={"order": message.order.number}
            )
            self._figures.refused(message.message)
            return f"{type(error).__name__}: {error}"
        self._figures.delivered(message.message, datetime.now(UTC) - message.created_at)
        names = {"order": message.order.number, "workflow": workflow["id"]}
        logger.info("Told Temporal: %s %s", message.message, message.order, extra=names)
        return ""


def _workflow(message: Outbox) -> dict[str, Any]:
    """Which workflow to start, with which input, and the signal for one that runs already."""
    if message.message == "refund":
        number = int(message.payload["number"])
        return {
            "workflow": REFUND_WORKFLOW,
            "arg": RefundInput(message.order_id, number),
            "id": refund_workflow_id(message.order_id, number),
        }
    start = {
        "workflow": ORDER_WORKFLOW,
        "arg": OrderInput(
            message.order_id,
            settings.TEMPORAL_SHIPPING_QUEUE,
            assignment=settings.ORDER_PROVIDERS == "assignment",
            budget_seconds=settings.ORDER_BUDGET.total_seconds(),
        ),
        "id": order_workflow_id(message.order_id),
    }
    if message.message in ("start", START_AGAIN):
        return start
    return start | {"start_signal": message.message, "start_signal_args": [_news(message)]}


def _reuse(message: Outbox) -> WorkflowIDReusePolicy:
    """Each is started once; again only where somebody has said so. The new run finds its place from the row."""
    if message.message == START_AGAIN or message.payload.get("again"):
        return WorkflowIDReusePolicy.ALLOW_DUPLICATE
    return WorkflowIDReusePolicy.REJECT_DUPLICATE


def _news(message: Outbox) -> News:
    return News(actor=message.payload.get("actor", ""), outbox=message.pk)

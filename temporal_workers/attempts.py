"""What the log says of a step's attempts: each that fails, is cancelled or takes too long, and each further one."""

import asyncio
import logging
import re
from typing import Any

from django.core.exceptions import ObjectDoesNotExist
from django.db import DatabaseError, InterfaceError, connection
from temporalio import activity
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from orders.models import Order
from orders_site.logs import about, in_short

logger = logging.getLogger(__name__)

_ORDER_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")  # every workflow is named by its order
LONGEST_LOOK = 2.0  # seconds that an attempt may wait for its order's number
MOST_NUMBERS = 10_000
_numbers: dict[str, str] = {}  # by order id; a number never changes


class AttemptLog(Interceptor):
    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002
        return _Attempts(next)


class _Attempts(ActivityInboundInterceptor):
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002
        info = activity.info()
        attempt = info.attempt
        if attempt > 1:
            await _tell(logging.WARNING, "begins")
        late = asyncio.create_task(_tell_when_late())
        try:
            # What a step in the database logs, its change of state above all, is told with its run and its attempt.
            with about(workflow=info.workflow_id, run=info.workflow_run_id, step=info.activity_type, attempt=attempt):
                return await self.next.execute_activity(input)
        except asyncio.CancelledError:
            details = activity.cancellation_details()
            if not (details and details.timed_out):
                await _tell(logging.WARNING, "was cancelled")
            raise
        except Exception as error:
            await _tell(level_of(attempt), f"failed: {in_short(error)}")
            raise
        finally:
            late.cancel()


async def _tell_when_late() -> None:
    """Temporal gives an attempt up after this time; the SDK says so to the attempt seconds later, or never."""
    if limit := activity.info().start_to_close_timeout:
        await asyncio.sleep(limit.total_seconds())
        await _tell(logging.WARNING, "took too long")


def level_of(attempt: int) -> int:
    """A failure is a warning; of one that does not end, attempts 10, 100 and so on are errors."""
    return logging.ERROR if attempt in (10, 100, 1_000, 10_000, 100_000) else logging.WARNING


async def _tell(level: int, what: str) -> None:
    if not logger.isEnabledFor(level):
        return
    info = activity.info()
    workflow = info.workflow_id or ""
    number = await _number(workflow)
    logger.log(
        level,
        "%s %s, attempt %d %s",
        number or workflow,
        info.activity_type,
        info.attempt,
        what,
        extra={
            "order": number,
            "workflow": workflow,
            "run": info.workflow_run_id,
            "step": info.activity_type,
            "attempt": info.attempt,
        },
    )


async def _number(workflow: str) -> str:
    """The order's number; empty where the database cannot say it in time, for then the log must not hold up a step."""
    named = _ORDER_ID.search(workflow)
    if named is None:
        return ""
    if number := _numbers.get(named[0]):
        return number  # without a thread, which an attempt would have to wait for
    try:
        return await asyncio.wait_for(asyncio.to_thread(_look_up, named[0]), LONGEST_LOOK)
    except (TimeoutError, DatabaseError, InterfaceError, ObjectDoesNotExist):
        return ""


def _look_up(order_id: str) -> str:
    try:
        number = Order.objects.values_list("number", flat=True).get(pk=order_id)
    finally:
        connection.close()  # the thread is asyncio's, and no part of what this process may have of the database
    if len(_numbers) >= MOST_NUMBERS:
        _numbers.clear()
    _numbers[order_id] = number
    return number

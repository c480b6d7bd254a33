"""How workflows call the contracts' activities: their bounds and retries, in one place. No Django here."""

from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError, FailureError
from temporalio.exceptions import TimeoutError as NoAnswerInTime

with workflow.unsafe.imports_passed_through():
    from orders.states import Status, on_main_road
    from temporal_workers.contracts import readable

# A database step is short and idempotent, so it runs as a local activity: no round trip through the server.
DATABASE: dict[str, Any] = {
    "start_to_close_timeout": timedelta(seconds=10),
    "retry_policy": RetryPolicy(
        initial_interval=timedelta(milliseconds=200), backoff_coefficient=2, maximum_interval=timedelta(seconds=10)
    ),
}

# A call to the outside is an ordinary activity: each attempt is bounded, and visible in the history. The bound is
# also how long an order waits whose worker was killed in the middle of the call.
OUTSIDE: dict[str, Any] = {
    "start_to_close_timeout": timedelta(seconds=5),
    "schedule_to_close_timeout": timedelta(minutes=15),
    "retry_policy": RetryPolicy(
        initial_interval=timedelta(milliseconds=500), backoff_coefficient=2, maximum_interval=timedelta(seconds=30)
    ),
}

# One try; the workflow itself decides what follows.
ONCE: dict[str, Any] = {
    "start_to_close_timeout": timedelta(seconds=5),
    "retry_policy": RetryPolicy(maximum_attempts=1),
}

# A few tries before somebody else decides what follows.
A_FEW_TIMES: dict[str, Any] = {
    "start_to_close_timeout": timedelta(seconds=5),
    "retry_policy": RetryPolicy(
        initial_interval=timedelta(milliseconds=500), backoff_coefficient=2, maximum_attempts=4
    ),
}

# A look at everything that is under way. Where it fails the next one comes soon enough.
LONG_LOOK: dict[str, Any] = {
    "start_to_close_timeout": timedelta(minutes=5),
    "retry_policy": RetryPolicy(initial_interval=timedelta(seconds=10), maximum_attempts=2),
}

# What must succeed, however long it takes.
UNTIL_DONE: dict[str, Any] = {name: value for name, value in OUTSIDE.items() if name != "schedule_to_close_timeout"}

# Two calls of three are lost, and the next may be made at once: see providers/assignment.py.
_AT_ONCE = RetryPolicy(initial_interval=timedelta(milliseconds=1), backoff_coefficient=1)


def trying_again(bounds: dict[str, Any], *, at_once: bool) -> dict[str, Any]:
    return bounds | {"retry_policy": _AT_ONCE} if at_once else bounds


def words(error: FailureError) -> str:
    """The innermost cause, as the provider put it."""
    cause: BaseException = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    if isinstance(cause, NoAnswerInTime):
        return "There was no answer in time."
    return readable(cause.message if isinstance(cause, ApplicationError) else str(cause))


class LeftMainRoad(Exception):
    """The order's row has gone another way than the next step: cancelled, failed, rejected, expired …"""

    def __init__(self, status: Status) -> None:
        super().__init__(status)
        self.status = status


def stay_on_main_road(status: Status) -> Status:
    """Give the status back; raise LeftMainRoad where it is none of the main road's."""
    if not on_main_road(status):
        raise LeftMainRoad(status)
    return status

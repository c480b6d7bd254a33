"""What Temporal says of an order's run, in our own terms, and the door through which it is asked.

Nothing in `orders` knows Temporal: the settings ORDER_RUNS and ORDER_HISTORY name the functions that ask it. Pure but
for that.
"""

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from django.conf import settings
from django.utils.module_loading import import_string


class RunState(StrEnum):
    RUNNING = "running"
    ENDED = "ended"  # by itself
    CUT = "cut"  # from outside, or by a failure of its own: nobody drives the order any more
    UNKNOWN = "unknown"  # not begun yet, or lost


@dataclass(frozen=True)
class Attempt:
    """A step that the engine is at. `number` is the try under way, or the next one, which is at `next_at`."""

    step: str  # as the engine names it; never for people
    number: int
    error: str = ""  # of the try before; empty on the first
    error_kind: str = ""
    next_at: datetime | None = None


@dataclass(frozen=True)
class Run:
    state: RunState
    attempt: Attempt | None = None
    is_broken: bool = False  # its code fails again and again
    waits_since: datetime | None = None  # for a worker that takes up its next task


@dataclass(frozen=True)
class Told:
    """What was heard last, and when; `away_since` where Temporal gives no answer now."""

    run: Run | None = None
    at: datetime | None = None
    away_since: datetime | None = None


@dataclass(frozen=True)
class QueueTold:
    """What Temporal says of a task queue: `backlog` tasks wait, the oldest for so long; tasks a second in and out."""

    name: str
    backlog: int
    oldest: timedelta
    added: float
    taken: float


@dataclass(frozen=True)
class HistoryLine:
    """An event of the run as Temporal keeps it: not for operators, but for whoever looks after the engine."""

    number: int
    at: datetime
    what: str
    detail: str


@dataclass(frozen=True)
class History:
    """The newest first; `more` where there are earlier ones. Without lines Temporal knows no run, or is away."""

    lines: Sequence[HistoryLine] = ()
    more: bool = False
    is_away: bool = False


def history(order_id: uuid.UUID) -> History:
    """Temporal's own history of the order's run. Takes two seconds at most, and never raises."""
    telling: Callable[[uuid.UUID], History] = import_string(settings.ORDER_HISTORY)
    return telling(order_id)


def ask(order_id: uuid.UUID, *, version: int) -> Told:
    """Ask how the order's run is doing. Takes a second at most, and never raises; not to be called in a transaction.

    What was heard of another version of the order's row no longer counts.
    """
    asking: Callable[[uuid.UUID, int], Told] = import_string(settings.ORDER_RUNS)
    return asking(order_id, version)


def task_queues_told() -> Sequence[QueueTold] | None:
    """What Temporal says of our task queues; None where it gives no answer now. Takes a second at most."""
    telling: Callable[[], Sequence[QueueTold] | None] = import_string(settings.TASK_QUEUES)
    return telling()

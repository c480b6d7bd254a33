"""Whether decisions are carried out: the workers' signs of life, and the messages that wait for Temporal."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cache
from typing import NamedTuple

from django.conf import settings
from django.db.models import Subquery

from orders.models import Heartbeat, Outbox
from orders.paging import COUNT_UP_TO, Count, capped_count
from orders.statements import Statement, as_sql, ask

WORKER_SILENT_AFTER = timedelta(seconds=15)
TEMPORAL_AWAY_AFTER = timedelta(seconds=10)
MESSAGE_LATE_AFTER = timedelta(seconds=15)


class EngineState(StrEnum):
    WELL = "well"
    NO_WORKER = "no_worker"
    TEMPORAL_AWAY = "temporal_away"
    BEHIND = "behind"  # both are there, and yet messages do not arrive


@dataclass(frozen=True)
class Engine:
    """Whether decisions are being carried out; if not, since when, and how many messages wait for it.

    `unserved` names the task queues without a worker where others have one.
    """

    state: EngineState
    since: datetime | None = None
    undelivered: Count = Count(0)  # noqa: RUF009 - it is frozen
    unserved: str = ""


def look(*, at: datetime) -> Engine:
    heartbeats = [_Beat(*beat) for beat in ask(_heartbeats_statement())]
    alive = [beat for beat in heartbeats if beat.seen_at > at - WORKER_SILENT_AFTER]
    if not alive:
        return Engine(EngineState.NO_WORKER, heartbeats[0].seen_at if heartbeats else None, undelivered())
    served = {queue for beat in alive for queue in beat.queues.split(", ")}
    if unserved := [queue for queue in task_queues() if queue not in served]:
        return Engine(EngineState.NO_WORKER, None, undelivered(), " and ".join(unserved))
    reached = max((beat.temporal_seen_at for beat in alive if beat.temporal_seen_at), default=None)
    if reached is None or reached <= at - TEMPORAL_AWAY_AFTER:
        return Engine(EngineState.TEMPORAL_AWAY, reached, undelivered())
    waiting_since = heartbeats[0].waiting_since
    if waiting_since and waiting_since < at - MESSAGE_LATE_AFTER:
        return Engine(EngineState.BEHIND, waiting_since, undelivered())
    return Engine(EngineState.WELL)


class _Beat(NamedTuple):
    seen_at: datetime
    queues: str
    temporal_seen_at: datetime | None
    waiting_since: datetime | None  # the oldest message that is not delivered


@cache
def _heartbeats_statement() -> Statement:
    oldest = Outbox.objects.filter(delivered_at=None).order_by("id").values("created_at")[:1]
    beats = Heartbeat.objects.order_by("-seen_at").annotate(waiting_since=Subquery(oldest))
    return as_sql(beats.values_list(*_Beat._fields)[:COUNT_UP_TO])


def task_queues() -> tuple[str, str]:
    return settings.TEMPORAL_ORDERS_QUEUE, settings.TEMPORAL_SHIPPING_QUEUE


def undelivered() -> Count:
    """Messages that Temporal has yet to be told."""
    return capped_count(Outbox.objects.filter(delivered_at=None))

"""The desk in figures for Prometheus. Those of the orders are read as they are asked for, so that all processes agree.

Orders that have ended are not counted, and decisions no further back than an hour: no query grows with the tables.
"""

import os
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.db.models import Count, Min
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils import timezone
from django.utils.decorators import sync_and_async_middleware
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from orders import engine, figures, stuck
from orders.models import Drift, Heartbeat, Order, Outbox

LATELY = timedelta(hours=1)
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")  # whoever asks may invent others

_requests = CollectorRegistry()
REQUEST_SECONDS = Histogram(
    "countersign_request_seconds",
    "How long answers took, until their first byte.",
    ["method", "view", "status"],
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
    registry=_requests,
)


Respond = Callable[[HttpRequest], Any]


@sync_and_async_middleware
def request_metrics(get_response: Respond) -> Respond:
    """Middleware: how long each answer took, by the view that gave it: addresses hold keys, and there are few views."""
    if iscoroutinefunction(get_response):

        async def answer_soon(request: HttpRequest) -> HttpResponseBase:
            begun = time.perf_counter()
            response: HttpResponseBase = await get_response(request)
            _observe(request, response, time.perf_counter() - begun)
            return response

        return answer_soon

    def answer(request: HttpRequest) -> HttpResponseBase:
        begun = time.perf_counter()
        response: HttpResponseBase = get_response(request)
        _observe(request, response, time.perf_counter() - begun)
        return response

    return answer


def _observe(request: HttpRequest, response: HttpResponseBase, seconds: float) -> None:
    view = request.resolver_match.view_name if request.resolver_match else "none"
    method = request.method if request.method in METHODS else "other"
    REQUEST_SECONDS.labels(method, view, response.status_code).observe(seconds)


def exposition() -> bytes:
    """All of it in Prometheus's text format."""
    registry = CollectorRegistry()
    registry.register(_Desk())
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:  # several web processes keep theirs there
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)
    return generate_latest(registry) + generate_latest(_requests)


class _Desk(Collector):
    def collect(self) -> Iterator[Metric]:
        at = timezone.now()
        yield from _orders(at)
        yield from _decisions(at)
        yield from _outbox(at)
        yield from _workers(at)
        yield from _stuck(at)
        yield from _drift(at)


def _orders(at: datetime) -> Iterator[Metric]:
    there = GaugeMetricFamily("countersign_orders", "Orders that have not ended, by status.", labels=["status"])
    oldest = GaugeMetricFamily(
        "countersign_oldest_order_seconds",
        "How long the order that has had this status longest has.",
        labels=["status"],
    )
    found = Order.objects.filter(status__in=stuck.OPEN).values_list("status").order_by()
    counted = {status: (many, since) for status, many, since in found.annotate(Count("pk"), Min("status_at"))}
    for status in sorted(stuck.OPEN):
        many, since = counted.get(status, (0, at))
        there.add_metric([status], many)
        oldest.add_metric([status], (at - since).total_seconds())
    yield from (there, oldest)


def _decisions(at: datetime) -> Iterator[Metric]:
    waiting, lately = figures.waiting(at=at), figures.figures([at - LATELY])
    yield GaugeMetricFamily("countersign_overdue_reviews", "Past their deadline, up to a cap.", waiting.overdue.number)
    decided = GaugeMetricFamily("countersign_decisions_last_hour", "By people, by how.", labels=["decision"])
    for decision in ("approved", "rejected", "others"):
        decided.add_metric([decision], getattr(lately.all, decision))
    yield decided
    timing = lately.timing
    yield GaugeMetricFamily("countersign_reviews_due_last_hour", "Decided or expired.", timing.of)
    yield GaugeMetricFamily("countersign_reviews_in_time_last_hour", "Of these, decided in time.", timing.in_time)


def _outbox(at: datetime) -> Iterator[Metric]:
    waiting = Outbox.objects.filter(delivered_at=None).aggregate(many=Count("pk"), since=Min("created_at"))
    age = (at - (waiting["since"] or at)).total_seconds()
    yield GaugeMetricFamily(
        "countersign_outbox_messages", "Messages that Temporal has yet to be told.", waiting["many"]
    )
    yield GaugeMetricFamily("countersign_outbox_oldest_seconds", "How long the oldest of them waits.", age)


def _workers(at: datetime) -> Iterator[Metric]:
    alive = list(Heartbeat.objects.filter(seen_at__gt=at - engine.WORKER_SILENT_AFTER))
    served = [queue for beat in alive for queue in beat.queues.split(", ")]
    workers = GaugeMetricFamily("countersign_workers", "Workers that give a sign of life, by queue.", labels=["queue"])
    for queue in sorted({*engine.task_queues(), *served}):
        workers.add_metric([queue], served.count(queue))
    yield workers
    reached = max((beat.temporal_seen_at for beat in alive if beat.temporal_seen_at), default=None)
    if reached:
        yield GaugeMetricFamily(
            "countersign_temporal_unreached_seconds", "Since a worker reached Temporal.", (at - reached).total_seconds()
        )


def _stuck(at: datetime) -> Iterator[Metric]:
    standing = GaugeMetricFamily("countersign_stuck_orders", "That stand still, by why, as rows tell.", labels=["why"])
    found = [one.why for one in stuck.lately(at=at, most=stuck.MOST)]
    for why in stuck.Why:
        standing.add_metric([why], found.count(why))
    yield standing


def _drift(at: datetime) -> Iterator[Metric]:
    """Nothing where the reconciler has not looked yet."""
    last = Drift.objects.first()
    if last is None:
        return
    yield GaugeMetricFamily("countersign_drift_orders", "That stand still, as rows and runs tell.", last.number)
    age = (at - last.looked_at).total_seconds()
    yield GaugeMetricFamily("countersign_drift_looked_seconds", "Since the reconciler held them together.", age)

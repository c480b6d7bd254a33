"""The page of whoever is on call: who carries orders on, what waits, what stands still, and what helps.

What the page shows is read from indexes and up to caps; Temporal is asked for a second at most.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from orders import engine, figures, paging, runs, stuck
from orders.models import Drift, Heartbeat, Order, Outbox
from orders.roles import KEEP_RUNNING
from orders.runs import QueueTold
from orders.services import attending
from orders.services.actors import Actor, NotPermitted
from orders.services.transitions import ActionRefused
from orders.states import TERMINAL, WAITS_FOR_PEOPLE, Action, may
from orders.stuck import OPEN, Stuck, Why

SHOWN = 50  # of orders that stand still, and of workers
NOT_PERMITTED = "Whether orders are carried on is for leads. Where one of them stands is on its own page."

# What starting an order again helps with: nobody drives it, or whoever does missed something.
HELPED_BY_A_START = frozenset({Why.LOST, Why.CUT, Why.UNASKED, Why.OVERDUE, Why.UNREFUNDED})
# What the rows alone do not know.
OF_TEMPORAL = frozenset({Why.LOST, Why.CUT, Why.BROKEN, Why.NO_WORKER})


@dataclass(frozen=True)
class Queue:
    """A task queue: how many workers serve it by our own rows, and what Temporal says, where it says anything."""

    name: str
    workers: int
    told: QueueTold | None


@dataclass(frozen=True)
class Standing:
    """An order that stands still, and what its reader may do about it."""

    stuck: Stuck
    version: int
    starts_again: bool
    cancels: bool


@require_safe
def health(request: HttpRequest) -> HttpResponse:
    """Workers, queues, the outbox, what waits longest, what stands still, and what the reconciler found."""
    if not request.user.has_perm(KEEP_RUNNING):
        raise PermissionDenied(NOT_PERMITTED)
    now = timezone.now()
    beats = list(Heartbeat.objects.order_by("-seen_at")[: paging.COUNT_UP_TO])
    alive = [beat for beat in beats if beat.seen_at > now - engine.WORKER_SILENT_AFTER]
    drift = Drift.objects.first()
    told = runs.task_queues_told()
    context = {
        "here": "health",
        "now": now,
        "workers": [(beat, beat in alive) for beat in beats[:SHOWN]],
        "queues": _queues(alive, told or ()),
        "temporal_answers": told is not None,
        "waits": figures.waiting(at=now),
        "undelivered": engine.undelivered(),
        "oldest_message": Outbox.objects.filter(delivered_at=None).order_by("id").first(),
        "oldest": _oldest(),
        "standing": _standing(drift, at=now),
        "drift": drift,
        "drift_is_old": drift and settings.RECONCILE_EVERY and drift.looked_at < now - 2 * settings.RECONCILE_EVERY,
        "reconciles": bool(settings.RECONCILE_EVERY),
    }
    return render(request, "orders/health.html", context)


@require_POST
def start_again(request: HttpRequest, order_id: uuid.UUID) -> HttpResponse:
    """Have the order carried on whose run was lost, ended, or missed something."""
    try:
        order = attending.start_again(order_id=order_id, actor=Actor.operator(request.user), at=timezone.now())
    except NotPermitted:
        raise PermissionDenied(NOT_PERMITTED) from None
    except Order.DoesNotExist:
        raise Http404 from None
    except ActionRefused as refusal:
        messages.error(request, str(refusal))
    else:
        messages.success(request, f"{order.number} is carried on as soon as a worker and Temporal are there.")
    return redirect("orders:health")


def _queues(alive: Sequence[Heartbeat], told: Sequence[QueueTold]) -> Sequence[Queue]:
    served = [queue for beat in alive for queue in beat.queues.split(", ")]
    by_name = {queue.name: queue for queue in told}
    return [Queue(name, served.count(name), by_name.get(name)) for name in engine.task_queues()]


def _oldest() -> Sequence[Order]:
    """Of each status that the machine ends by itself, the order that came in first."""
    first, *others = (
        Order.objects.filter(status=status).order_by("placed_at", "id")[:1]
        for status in sorted(OPEN - WAITS_FOR_PEOPLE)
    )
    return sorted(first.union(*others, all=True), key=lambda order: order.placed_at)


def _standing(drift: Drift | None, *, at: datetime) -> Sequence[Standing]:
    """What rows tell, and what the reconciler found that they do not, of orders that stand still yet."""
    found = {one.order_id: one for one in _found_by_reconciler(drift)}
    found = {one.order_id: one for one in stuck.lately(at=at, most=SHOWN)} | found
    orders = Order.objects.only("version", "status").in_bulk(list(found))
    return [
        Standing(
            one,
            version=orders[key].version,
            starts_again=one.why in HELPED_BY_A_START,
            cancels=may(orders[key].status_now, Action.CANCEL),
        )
        for key, one in sorted(found.items(), key=lambda each: each[1].since)[:SHOWN]
        if key in orders
    ]


def _found_by_reconciler(drift: Drift | None) -> Sequence[Stuck]:
    """Without those to whose order something has happened since, or that has ended."""
    said: Mapping[uuid.UUID, Mapping[str, Any]] = {
        uuid.UUID(one["order_id"]): one for one in (drift.orders if drift else []) if one["why"] in OF_TEMPORAL
    }
    orders = Order.objects.in_bulk(list(said)[:SHOWN])
    return [
        stuck.stuck(orders[key], Why(one["why"]), one["told"], datetime.fromisoformat(one["since"]))
        for key, one in said.items()
        if key in orders and orders[key].version == one["version"] and orders[key].status_now not in TERMINAL
    ]

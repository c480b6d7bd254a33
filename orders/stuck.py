"""Orders that stand still: neither ended, nor waiting for people with time left, nor tried at. Nothing here writes.

The rows alone know most of them. That a run was lost, or fails, or is tried at all, Temporal knows:
`manage.py stuck` asks it too.
"""

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import partial

from django.conf import settings
from django.core.cache import cache
from django.db.models import Exists, OuterRef, QuerySet, Subquery

from orders import wording
from orders.models import Event, Order, Outbox, Payment, Review
from orders.states import TERMINAL, WAITS_FOR_PEOPLE, Status

OPEN = frozenset(Status) - TERMINAL
LATELY_SECONDS = 30
MOST = 1_000  # of each kind: more than that is one trouble, not a thousand


class Why(StrEnum):
    UNDELIVERED = "undelivered"  # Temporal has not been told
    OVERDUE = "overdue"  # a deadline has passed, and nothing came of it
    UNASKED = "unasked"  # it waits for people, and nobody is asked
    RETRIED = "retried"  # a step has failed again and again
    SILENT = "silent"  # nothing has happened for long
    LOST = "lost"  # Temporal knows no run
    CUT = "cut"  # the run has ended, and the order has not
    BROKEN = "broken"  # the run fails in our own code
    NO_WORKER = "no_worker"  # the run waits for somebody to carry it on
    UNREFUNDED = "unrefunded"  # a refund that was granted has not been made


@dataclass(frozen=True)
class Stuck:
    """An order that stands still: since when, why in words, and what somebody can do about it."""

    order_id: uuid.UUID
    number: str
    status: Status
    why: Why
    told: str
    to_do: str
    since: datetime


TO_DO: dict[Why, str] = {
    Why.UNDELIVERED: "See that a worker runs and reaches Temporal. The worker's log says what Temporal has against it.",
    Why.OVERDUE: "See that a worker of the orders' queue runs. If one does: manage.py stuck --start-again {number}",
    Why.UNASKED: "manage.py stuck --start-again {number}",
    Why.RETRIED: "See whether the other side answers. It is tried again by itself until then.",
    Why.SILENT: "See that workers of both queues run, and what their log says of {number}.",
    Why.LOST: "manage.py stuck --start-again {number}",
    Why.CUT: "manage.py stuck --start-again {number}",
    Why.BROKEN: "The workers' log says why. Deploy a build that fits: docs/operations.md. It goes on by itself then.",
    Why.NO_WORKER: "Start a worker of its queue: manage.py runworker",
    Why.UNREFUNDED: "See whether the bank answers. If it does: manage.py stuck --start-again {number}",
}


def stuck(order: Order, why: Why, told: str, since: datetime) -> Stuck:
    return Stuck(order.pk, order.number, order.status_now, why, told, TO_DO[why].format(number=order.number), since)


def from_rows(*, at: datetime, most: int = MOST) -> list[Stuck]:
    """What the rows say, each order once, those that stand still longest first; `most` of each kind."""
    found: dict[uuid.UUID, Stuck] = {}
    for one in (*_undelivered(at, most), *_waiting(at, most), *_silent(at, most), *_unrefunded(at, most)):
        found.setdefault(one.order_id, one)
    return sorted(found.values(), key=lambda one: (one.since, one.number))


def lately(*, at: datetime, most: int) -> list[Stuck]:
    """The same as of half a minute ago at most, for pages: what stands still does so for longer."""
    return cache.get_or_set(f"stuck-{most}", partial(from_rows, at=at, most=most), LATELY_SECONDS) or []


def _undelivered(at: datetime, most: int) -> Iterator[Stuck]:
    late = Outbox.objects.filter(delivered_at=None, created_at__lt=at - settings.STUCK_AFTER)
    for message in late.select_related("order").order_by("id")[:most]:
        said = f" It says: {message.last_error}" if message.last_error else ""
        told = f"Temporal has not been told of “{message.message.replace('_', ' ')}”.{said}"
        yield stuck(message.order, Why.UNDELIVERED, told, message.created_at)


def _waiting(at: datetime, most: int) -> Iterator[Stuck]:
    long_ago = at - settings.STUCK_AFTER
    for review in Review.objects.filter(decision="", due_at__lt=long_ago).select_related("order")[:most]:
        yield stuck(review.order, Why.OVERDUE, "The deadline has passed, and nothing came of it.", review.due_at)
    asked = Review.objects.filter(decision="").values("order_id")
    unasked = Order.objects.filter(status__in=WAITS_FOR_PEOPLE, status_at__lt=long_ago).exclude(pk__in=asked)
    for order in unasked.order_by("status_at", "id")[:most]:
        yield stuck(order, Why.UNASKED, "It waits for people, and nobody is asked.", order.status_at)
    late = Payment.objects.filter(status=Payment.State.REQUIRES_ACTION, confirm_by__lt=long_ago)
    for payment in late.filter(order__status=Status.AWAITING_CUSTOMER).select_related("order")[:most]:
        told = "The customer's time to confirm has passed, and nothing came of it."
        yield stuck(payment.order, Why.OVERDUE, told, payment.confirm_by or payment.created_at)


def _silent(at: datetime, most: int) -> Iterator[Stuck]:
    """Orders that the engine is at, with no event for long; those that wait for the next try only after many."""
    last = Event.objects.filter(order=OuterRef("pk"), sequence=OuterRef("version"))
    heard = _worked_on().annotate(
        heard_at=Subquery(last.values("at")), heard=Subquery(last.values("type")), said=Subquery(last.values("payload"))
    )
    tried = heard.filter(heard__in=["undo_failed", "dispatch_failed"], said__attempt__gte=settings.STUCK_TRIES)
    for order in tried.order_by("heard_at", "id")[:most]:
        told = wording.trying(_doing(order), order.said["attempt"] + 1, _error(order.said))
        yield stuck(order, Why.RETRIED, told, order.heard_at)
    long_ago = at - settings.STUCK_AFTER
    for order in heard.filter(heard_at__lt=long_ago).order_by("heard_at", "id")[:most]:
        next_try = order.said.get("retry_at")
        if next_try is None or datetime.fromisoformat(next_try) < long_ago:
            yield stuck(order, Why.SILENT, f"{_doing(order)}: nothing has happened since.", order.heard_at)


def _unrefunded(at: datetime, most: int) -> Iterator[Stuck]:
    """Orders that have ended, with a refund that an operator granted and that nobody has made yet."""
    late = Payment.objects.filter(kind=Payment.Kind.REFUND, status=Payment.State.PROCESSING, order__status__in=TERMINAL)
    for refund in late.filter(created_at__lt=at - settings.STUCK_AFTER).select_related("order")[:most]:
        yield stuck(refund.order, Why.UNREFUNDED, "A refund was granted, and nothing came of it.", refund.created_at)


def _worked_on() -> QuerySet[Order]:
    # What they are is said rather than what they are not: that an index can find, however many orders have ended.
    return Order.objects.filter(status__in=OPEN - WAITS_FOR_PEOPLE - {Status.AWAITING_CUSTOMER})


def _doing(order: Order) -> str:
    return wording.doing(order.status_now).rstrip(".")


def _error(said: dict[str, str]) -> str:
    return said.get("error") or said.get("reason", "")


def open_orders(*, before: datetime) -> list[uuid.UUID]:
    """Every order that has not ended and whose status is from before that instant.

    All at once: for a first part of them PostgreSQL would walk through all orders by their key.
    """
    return list(Order.objects.filter(status__in=OPEN, status_at__lt=before).order_by("id").values_list("pk", flat=True))


def standing(order_ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, Order]:
    """Those of them that have not ended by now; `is_on_its_way` where a message to the engine has yet to arrive."""
    message = Outbox.objects.filter(order=OuterRef("pk"), delivered_at=None)
    still_open = Order.objects.exclude(status__in=TERMINAL).annotate(is_on_its_way=Exists(message))
    return {order.pk: order for order in still_open.filter(pk__in=order_ids)}

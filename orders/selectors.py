"""Every read that pages make. Nothing here writes, and no query grows with the tables: pages go by key, counts
are capped.
"""

import re
import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from django.conf import settings
from django.contrib.postgres.search import SearchQuery
from django.db.models import Exists, OuterRef, QuerySet

from orders.models import Event, Heartbeat, Order, OrderLine, Outbox, Payment, Reservation, Review, Shipment
from orders.states import NEEDS_ATTENTION, Status

PAGE = 50
COUNT_UP_TO = 1_000
NEW_UP_TO = 100
EVENTS_SHOWN = 200
SEARCH_WORDS = 8

WORKER_SILENT_AFTER = timedelta(seconds=15)
TEMPORAL_AWAY_AFTER = timedelta(seconds=10)
MESSAGE_LATE_AFTER = timedelta(seconds=15)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class BadCursor(ValueError):
    """The place to go on from is not one that we gave out."""


@dataclass(frozen=True)
class Cursor:
    """A place in a list that is sorted by an instant and then by a key."""

    at: datetime
    key: str

    def __str__(self) -> str:
        return f"{(self.at - _EPOCH) // timedelta(microseconds=1)}~{self.key}"

    @classmethod
    def parse(cls, text: str, *, key: str) -> "Cursor":
        """Read what `str()` wrote; `key` is the pattern of the list's key.

        Raises BadCursor for anything else.
        """
        match = re.fullmatch(rf"(\d{{1,16}})~({key})", text, re.ASCII)
        if not match:
            raise BadCursor(text)
        return cls(_EPOCH + timedelta(microseconds=int(match[1])), match[2])


REVIEW_KEY = r"\d{1,18}"
ORDER_KEY = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"


@dataclass(frozen=True)
class Count:
    """How many there are; `more` where counting stopped at the cap."""

    number: int
    more: bool = False

    def __str__(self) -> str:
        return f"{self.number:,}" + ("+" if self.more else "")

    def __bool__(self) -> bool:
        return self.number > 0


def _count(rows: QuerySet[Any, Any]) -> Count:
    number = rows.order_by()[: COUNT_UP_TO + 1].count()
    return Count(min(number, COUNT_UP_TO), number > COUNT_UP_TO)


# The queue


@dataclass(frozen=True)
class Row:
    """An order as a line of a list, with its latest review where it has one."""

    order: Order
    review: Review | None = None

    @property
    def is_open(self) -> bool:
        return self.review is not None and not self.review.decision

    @property
    def needs_help(self) -> bool:
        return self.order.status_now in NEEDS_ATTENTION


@dataclass(frozen=True)
class QueuePage:
    rows: Sequence[Row]
    next: Cursor | None
    newest_review: int  # what comes later has a higher number

    @property
    def newest(self) -> int:
        return self.newest_review


def queue_page(*, after: Cursor | None = None) -> QueuePage:
    """Open reviews, the most urgent first."""
    reviews = Review.objects.filter(decision="").select_related("order").order_by("due_at", "id")
    newest = Review.objects.order_by("-id").values_list("id", flat=True).first() or 0
    if after:
        reviews = reviews.filter(due_at__gte=after.at).exclude(due_at=after.at, id__lte=int(after.key))
    found = list(reviews[: PAGE + 1])
    shown = found[:PAGE]
    following = Cursor(shown[-1].due_at, str(shown[-1].pk)) if len(found) > PAGE else None
    return QueuePage([Row(review.order, review) for review in shown], following, newest)


def waiting_count() -> Count:
    return _count(Review.objects.filter(decision=""))


def helpless_count() -> Count:
    """How many of those that wait need help rather than a decision."""
    return _count(Order.objects.filter(status__in=NEEDS_ATTENTION))


def reviews_opened_since(newest_review: int, *, except_orders: Collection[uuid.UUID]) -> list[uuid.UUID]:
    """Orders that came to the queue after `newest_review`; at most `NEW_UP_TO`."""
    opened = Review.objects.filter(id__gt=newest_review, decision="").order_by("id")
    found = opened.values_list("order_id", flat=True)[: NEW_UP_TO + len(except_orders)]
    return [order_id for order_id in found if order_id not in except_orders][:NEW_UP_TO]


def rows(order_ids: Collection[uuid.UUID]) -> list[Row]:
    """Those orders as they stand now, each with its latest review."""
    latest = (
        Review.objects.filter(order_id__in=order_ids)
        .select_related("decided_by")
        .order_by("order_id", "-id")
        .distinct("order_id")
    )
    reviews = {review.order_id: review for review in latest}
    return [Row(order, reviews.get(order.pk)) for order in Order.objects.filter(pk__in=order_ids)]


def row(order_id: uuid.UUID) -> Row:
    """One order with its latest review.

    Raises Order.DoesNotExist.
    """
    found = rows([order_id])
    if not found:
        raise Order.DoesNotExist
    return found[0]


# All orders


@dataclass(frozen=True)
class OrdersPage:
    orders: Sequence[Order]
    count: Count
    newer: Cursor | None
    older: Cursor | None


def orders_page(
    *,
    statuses: Collection[Status] = (),
    search: str = "",
    older_than: Cursor | None = None,
    newer_than: Cursor | None = None,
) -> OrdersPage:
    """Orders that fit, newest first, from a place on in either direction. Without `statuses`, of any."""
    fitting = Order.objects.all()
    if statuses:
        fitting = fitting.filter(status__in=statuses)
    if search.strip():
        query = prefix_query(search)
        fitting = fitting.filter(search=query) if query else fitting.none()
    if newer_than:
        window = fitting.filter(placed_at__gte=newer_than.at)
        window = window.exclude(placed_at=newer_than.at, id__lte=newer_than.key)
        found = list(window.order_by("placed_at", "id")[: PAGE + 1])
        more_newer, more_older = len(found) > PAGE, True
        shown = found[:PAGE][::-1]
    else:
        window = fitting
        if older_than:
            window = window.filter(placed_at__lte=older_than.at)
            window = window.exclude(placed_at=older_than.at, id__gte=older_than.key)
        found = list(window.order_by("-placed_at", "-id")[: PAGE + 1])
        more_newer, more_older = older_than is not None, len(found) > PAGE
        shown = found[:PAGE]
    return OrdersPage(
        orders=shown,
        count=_count(fitting),
        newer=Cursor(shown[0].placed_at, str(shown[0].pk)) if shown and more_newer else None,
        older=Cursor(shown[-1].placed_at, str(shown[-1].pk)) if shown and more_older else None,
    )


def prefix_query(text: str) -> SearchQuery | None:
    """All words of `text`, each as the beginning of a word; None where it has no words.

    An order's number is found without its hyphen too. Only letters and digits reach PostgreSQL's query language.
    """
    words = re.findall(r"[^\W_]+", text.lower())[:SEARCH_WORDS]
    if not words:
        return None
    terms = [re.sub(r"^(cs)([0-9]+)$", r"(\g<0> | \1 & \2)", word) for word in words]
    terms = [re.sub(r"[^\W_]+", r"'\g<0>':*", term) for term in terms]
    return SearchQuery(" & ".join(terms), search_type="raw", config="simple")


# One order


@dataclass(frozen=True)
class OrderDetail:
    """All that the order page shows. `review` is the latest; `events` are the latest, newest first."""

    order: Order
    review: Review | None
    was_reviewed: bool  # whether anybody was ever asked to decide; to be helped on is something else
    lines: Sequence[OrderLine]
    payments: Sequence[Payment]
    shipment: Shipment | None
    events: Sequence[Event]
    earlier_events: int  # how many are not among `events`


def order_detail(order_id: uuid.UUID) -> OrderDetail:
    """Raises Order.DoesNotExist."""
    order = with_stock().get(pk=order_id)
    events = list(order.events.order_by("-sequence")[:EVENTS_SHOWN])
    reviews = list(order.reviews.select_related("decided_by").order_by("-id"))
    return OrderDetail(
        order=order,
        review=reviews[0] if reviews else None,
        was_reviewed=any(review.kind == Review.Kind.APPROVAL for review in reviews),
        lines=list(order.lines.select_related("product").order_by("position")),
        payments=list(order.payments.order_by("created_at", "id")),
        shipment=Shipment.objects.filter(order=order).first(),
        events=events,
        earlier_events=events[-1].sequence - 1 if events else 0,
    )


def with_stock() -> QuerySet[Order]:
    """Orders with `holds_stock`, at no further query."""
    held = Reservation.objects.filter(order=OuterRef("pk"), state=Reservation.State.HELD)
    return Order.objects.annotate(holds_stock=Exists(held))


def order_version(order_id: uuid.UUID) -> int:
    """Raises Order.DoesNotExist."""
    return Order.objects.values_list("version", flat=True).get(pk=order_id)


# The engine


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
    undelivered: Count = Count(0)
    unserved: str = ""


def engine(*, at: datetime) -> Engine:
    heartbeats = list(Heartbeat.objects.order_by("-seen_at")[:COUNT_UP_TO])
    alive = [beat for beat in heartbeats if beat.seen_at > at - WORKER_SILENT_AFTER]
    if not alive:
        return Engine(EngineState.NO_WORKER, heartbeats[0].seen_at if heartbeats else None, _undelivered())
    served = {queue for beat in alive for queue in beat.queues.split(", ")}
    if unserved := [queue for queue in _task_queues() if queue not in served]:
        return Engine(EngineState.NO_WORKER, None, _undelivered(), " and ".join(unserved))
    reached = max((beat.temporal_seen_at for beat in alive if beat.temporal_seen_at), default=None)
    if reached is None or reached <= at - TEMPORAL_AWAY_AFTER:
        return Engine(EngineState.TEMPORAL_AWAY, reached, _undelivered())
    waiting_since = Outbox.objects.filter(delivered_at=None).order_by("id").values_list("created_at", flat=True).first()
    if waiting_since and waiting_since < at - MESSAGE_LATE_AFTER:
        return Engine(EngineState.BEHIND, waiting_since, _undelivered())
    return Engine(EngineState.WELL)


def _task_queues() -> tuple[str, str]:
    return settings.TEMPORAL_ORDERS_QUEUE, settings.TEMPORAL_SHIPPING_QUEUE


def _undelivered() -> Count:
    return _count(Outbox.objects.filter(delivered_at=None))


def parse_shown(text: str) -> Mapping[uuid.UUID, int]:
    """Read the orders that a page shows, as it lists them: `<order>.<version>_…`; what is not so is left out.

    These signs stay as they are in a URL, which servers hold to 4 kB.
    """
    shown = re.findall(rf"({ORDER_KEY})\.(\d{{1,9}})(?:_|$)", text, re.ASCII)
    return {uuid.UUID(order): int(version) for order, version in shown[: 4 * PAGE]}

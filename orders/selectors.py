"""Every read that pages make. Nothing here writes, and no query grows with the tables: pages go by key, counts
are capped.
"""

import re
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import cache, cached_property, lru_cache
from typing import Any

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser, User
from django.db.models import Exists, Max, OuterRef, Q, QuerySet
from django.utils import timezone

from orders import paging
from orders.filters import ALL, ATTENTION, Filter, Sort
from orders.finding import (
    in_queue,
    is_put_off,
    of_order,
    of_review,
    open_that_fit,
    orders_that_fit,
    queue_that_fits,
    waiting,
)
from orders.models import (
    Event,
    Order,
    OrderLine,
    Payment,
    Product,
    RejectReason,
    Reservation,
    Review,
    Shipment,
)
from orders.paging import EPOCH, ORDER_KEY, By, Count, Cursor, capped, capped_count
from orders.roles import permission
from orders.statements import COUNTED, Kept, Shape, Statement, among, as_sql, ask
from orders.states import COMES_BACK, NEEDS_ATTENTION, Action

NEW_UP_TO = 100
EVENTS_SHOWN = 200
ALONG = 10_000  # how many of a list are walked along for a page of those that fit


# The queue

# To find few rows among very many, PostgreSQL may walk along a list's order through all that do not fit: how rare the
# beginning of a word is, or what several conditions have in common, it cannot know. So a list is counted first, in no
# order, and where there are few, those very rows are sorted.


@dataclass(frozen=True)
class Row:
    """An order as a line of a list, with its latest review where it has one."""

    order: Order
    review: Review | None = None

    @cached_property
    def is_open(self) -> bool:
        return self.review is not None and not self.review.decision

    @cached_property
    def is_put_off(self) -> bool:
        """Whether it is open, and waits for the customer or a time, as of now."""
        return self.is_open and self.review is not None and is_put_off(self.review, at=timezone.now())

    @cached_property
    def is_waiting(self) -> bool:
        """Whether it is in the queue."""
        return self.is_open and not self.is_put_off

    @cached_property
    def needs_help(self) -> bool:
        return self.order.status_now in NEEDS_ATTENTION


@dataclass(frozen=True)
class QueuePage:
    rows: Sequence[Row]
    next: Cursor | None
    newest_review: int  # what comes later has a higher number
    newest_return: int  # and so has the event by which something comes back later
    count: Count | None  # of those that fit, where the filter leaves any out

    @property
    def newest(self) -> int:
        return self.newest_review


def queue_page(
    *,
    at: datetime,
    wanted: Filter = ALL,
    viewer: AbstractBaseUser | AnonymousUser | None = None,
    after: Cursor | None = None,
) -> QueuePage:
    """Open reviews that fit, the most urgent first unless `wanted` has another sort. `viewer` is who "me" is.

    What is put off is in it only where that is wanted.
    """
    newest, newest_return = _newest()
    by = _QUEUE_ORDER[wanted.sort or Sort.DEADLINE]
    count = keys = None
    if wanted.narrows:
        counted = _keys_of_queue(wanted, at=at, viewer=viewer)
        if wanted.is_of_orders or not by.of_reviews:
            theirs = Review.objects.filter(order__in=COUNTED, decision="")
            count, keys = by.count_and_find_few(counted, theirs, after)
        else:
            count = capped(counted[: paging.COUNT_UP_TO + 1].count())
    if keys is not None:
        found = _SHOWN_REVIEW.of_keys(keys)
    else:
        along = _along_reviews if by.of_reviews else _along_orders
        found = along(wanted, at=at, viewer=viewer, after=after)
    shown = found[: paging.PAGE]
    return QueuePage(
        rows=[Row(review.order, review) for review in shown],
        next=by.place(shown[-1]) if len(found) > paging.PAGE else None,
        newest_review=newest,
        newest_return=newest_return,
        count=count,
    )


def _newest() -> tuple[int, int]:
    """The highest number of a review, and that of an event by which something came back; 0 where there is none."""
    review, back = ask(_newest_statement())[0]
    return review or 0, back or 0


@cache
def _newest_statement() -> Statement:
    reviews, review_parameters = as_sql(Review.objects.order_by("-id").values("id")[:1])
    returns, return_parameters = as_sql(_returns().order_by("-id").values("id")[:1])
    return f"SELECT ({reviews}), ({returns})", [*review_parameters, *return_parameters]


# What lists show, the API's too, and are sorted by: of fifty rows, all columns take longer to read than to find.
_SHOWN_ORDER = Shape(
    Order,
    [
        "id",
        "number",
        "source",
        "reference",
        "status",
        "status_at",
        "outcome",
        "version",
        "customer_name",
        "customer_email",
        "address_country",
        "currency",
        "total_minor",
        "amount",
        "placed_at",
    ],
)
_SHOWN_PERSON = Shape(User, ["id", "username"])
_SHOWN_REVIEW = Shape(
    Review,
    [
        "id",
        "order_id",
        "kind",
        "due_at",
        "at_deadline",
        "level",
        "back_at",
        "waits_for",
        "reasons",
        "risk_score",
        "decision",
        "claimed_by_id",
        "claimed_at",
        "claimed_until",
        "needs_two",
        "endorsed_by_id",
    ],
    order=_SHOWN_ORDER,
    claimed_by=_SHOWN_PERSON,
    endorsed_by=_SHOWN_PERSON,
)
_RANKED_ORDER = Shape(Review, ["id", "order_id", "due_at", "risk_score"], order=_SHOWN_ORDER)


def _along_reviews(
    wanted: Filter, *, at: datetime, viewer: AbstractBaseUser | AnonymousUser | None, after: Cursor | None
) -> list[Review]:
    by = _QUEUE_ORDER[wanted.sort or Sort.DEADLINE]
    fitting = queue_that_fits(wanted, at=at, viewer=viewer)
    if wanted.is_of_orders:
        keys = _next_along(Review.objects.filter(decision=""), fitting, by=by, place=after)
        if keys is not None:
            return _SHOWN_REVIEW.of_keys(keys)
    return _SHOWN_REVIEW.ask(_SHOWN_REVIEW.of(by.after(fitting, after)[: paging.PAGE + 1]))


def _along_orders(
    wanted: Filter, *, at: datetime, viewer: AbstractBaseUser | AnonymousUser | None, after: Cursor | None
) -> list[Review]:
    """What fits, sorted by a column of the orders: they alone have an index of that, so the reviews follow."""
    by = _ORDERS_ORDER[wanted.sort or Sort.NEWEST]
    keys = list(by.after(waiting(wanted, at=at, viewer=viewer), after).values_list("pk", flat=True)[: paging.PAGE + 1])
    reviews: list[Review] = _SHOWN_REVIEW.ask(_SHOWN_REVIEW.of(Review.objects.filter(order__in=keys, decision="")))
    return sorted(reviews, key=lambda review: keys.index(review.order_id))


_QUEUE_ORDER = {
    Sort.DEADLINE: By("due_at", "id", of_reviews=True),
    Sort.AMOUNT: By("order__amount", "order_id", descending=True, of=Decimal),
    Sort.RISK: By("risk_score", "id", descending=True, of=Decimal, of_reviews=True),
    Sort.AGE: By("order__placed_at", "order_id"),
    Sort.NEWEST: By("order__placed_at", "order_id", descending=True),
}


_ORDERS_ORDER = {
    Sort.NEWEST: By("placed_at", "id", descending=True),
    Sort.AGE: By("placed_at", "id"),
    Sort.AMOUNT: By("amount", "id", descending=True, of=Decimal),
    Sort.RISK: By("risk_score", "id", descending=True, of=Decimal, of_reviews=True),
    Sort.DEADLINE: By("due_at", "id", of_reviews=True),
}


def queue_cursor(text: str, sort: Sort | None) -> Cursor | None:
    """Raises BadCursor where the text is no place in a queue that is sorted so."""
    return _QUEUE_ORDER[sort or Sort.DEADLINE].parse(text) if text else None


def _keys_of_queue(
    wanted: Filter, *, at: datetime, viewer: AbstractBaseUser | AnonymousUser | None
) -> "QuerySet[Any, uuid.UUID]":
    """The keys of the orders in the queue that fit, to be counted.

    Where only reviews are asked, along the queue's own index: in the table, what waits lies mostly at the end.
    """
    if wanted.is_of_orders:
        return waiting(wanted, at=at, viewer=viewer).values_list("pk", flat=True)
    fitting = queue_that_fits(wanted, at=at, viewer=viewer)
    return fitting.order_by("due_at", "id").values_list("order_id", flat=True)


def count_queues(
    wanted: Sequence[Filter], *, at: datetime, viewer: AbstractBaseUser | AnonymousUser | None = None
) -> list[Count]:
    """How many of the queue fit each of the filters, all by one query."""
    parts = [_counting(one, at=at, viewer=viewer) for one in wanted]
    # The text is Django's own; what people typed is among the parameters.
    statement = "SELECT " + ", ".join(f"(SELECT count(*) FROM ({sql}) AS one)" for sql, _ in parts)  # noqa: S608
    numbers = ask((statement, [parameter for _, parameters in parts for parameter in parameters]))
    return [capped(number) for number in numbers[0]]


def _counting(wanted: Filter, *, at: datetime, viewer: AbstractBaseUser | AnonymousUser | None) -> Statement:
    """The same text at any instant."""
    if wanted.is_of_orders:  # which looks something up first
        return as_sql(_keys_of_queue(wanted, at=at, viewer=viewer)[: paging.COUNT_UP_TO + 1])
    sql, parameters = _counting_at_the_epoch(wanted, viewer.pk if viewer else None)
    return sql, [each + (at - EPOCH) if isinstance(each, datetime) else each for each in parameters]


@lru_cache(maxsize=1_000)
def _counting_at_the_epoch(wanted: Filter, viewer: int | None) -> Statement:
    return as_sql(_keys_of_queue(wanted, at=EPOCH, viewer=User(pk=viewer))[: paging.COUNT_UP_TO + 1])


NEEDS_HELP = Filter(status=ATTENTION)


def waiting_counts() -> tuple[Count, Count]:
    """How many wait for people, and how many of those need help rather than a decision."""
    waiting, helpless = count_queues([ALL, NEEDS_HELP], at=timezone.now())
    return waiting, helpless


def came_since(newest_review: int, newest_return: int, *, except_orders: Collection[uuid.UUID]) -> list[uuid.UUID]:
    """Orders in the queue that came there after that review, or back to it after that event; at most `NEW_UP_TO`."""
    most = NEW_UP_TO + len(except_orders)
    waiting = Review.objects.filter(in_queue(at=timezone.now()))
    opened = waiting.filter(id__gt=newest_review).order_by("id").values_list("order_id", flat=True)[:most]
    # What came back and was decided since leaves its place among the first to those that wait.
    still_waits = Exists(waiting.filter(order=OuterRef("order")))
    returned = _returns().filter(still_waits, id__gt=newest_return).order_by("id")
    back = returned.values_list("order_id", flat=True)[:most]
    return [order_id for order_id in dict.fromkeys([*opened, *back]) if order_id not in except_orders][:NEW_UP_TO]


def last_returns(order_ids: Collection[uuid.UUID]) -> Mapping[uuid.UUID, int]:
    """Of those orders that were put off and came back: the number of the last event by which one did."""
    found = _returns().filter(order_id__in=order_ids).order_by()
    return dict(found.values_list("order_id").annotate(Max("id")))


def _returns() -> QuerySet[Event]:
    return Event.objects.filter(type__in=COMES_BACK)


def rows(order_ids: Collection[uuid.UUID]) -> list[Row]:
    """Those orders as they stand now, each with its latest review."""
    latest = (
        Review.objects.filter(order_id__in=order_ids)
        .select_related("decided_by", "claimed_by", "endorsed_by")
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
    """`newer` leads towards the beginning of the list, `older` to its end."""

    orders: Sequence[Order]
    count: Count
    newer: Cursor | None
    older: Cursor | None


def orders_page(
    *,
    at: datetime,
    wanted: Filter = ALL,
    viewer: AbstractBaseUser | AnonymousUser | None = None,
    older_than: Cursor | None = None,
    newer_than: Cursor | None = None,
) -> OrdersPage:
    """Orders that fit, newest first unless `wanted` has another sort, from a place on in either direction.

    By deadline only those are listed that wait for people, and by risk those that were ever put to review.
    """
    by = _ORDERS_ORDER[wanted.sort or Sort.NEWEST]
    fitting = _rows_that_fit(wanted, at=at, viewer=viewer, by=by)
    place, backwards = newer_than or older_than, newer_than is not None
    if wanted.narrows:
        counted = fitting.order_by().values_list("pk", flat=True)
        if wanted.is_of_open_reviews and not (wanted.is_of_orders or by.of_reviews):
            # That those which wait are those with an open review, the planner cannot know.
            counted = open_that_fit(wanted, at=at, viewer=viewer).values_list("order_id", flat=True)
        those = fitting.model.objects.filter(pk__in=COUNTED)
        count, keys = by.count_and_find_few(counted, those, place, backwards=backwards)
        if keys is None and not by.of_reviews and len(wanted.params(without=["sort"])) > 1:
            # In this order only the countries have an index.
            of_country = {"address_country": wanted.country} if wanted.country and by.column == "placed_at" else {}
            all_of_these = Order.objects.filter(**of_country)
            keys = _next_along(all_of_these, fitting, by=by, place=place, backwards=backwards)
    else:
        count, keys = capped_count(fitting), None
    shape = _RANKED_ORDER if by.of_reviews else _SHOWN_ORDER
    if keys is not None:
        found = shape.of_keys(keys)
    else:
        found = shape.ask(shape.of(by.after(fitting, place, backwards=backwards)[: paging.PAGE + 1]))
    shown, more = found[: paging.PAGE], len(found) > paging.PAGE
    if newer_than:
        shown.reverse()
    more_newer, more_older = (more, True) if newer_than else (older_than is not None, more)
    return OrdersPage(
        orders=[row.order for row in shown] if by.of_reviews else shown,
        count=count,
        newer=by.place(shown[0]) if shown and more_newer else None,
        older=by.place(shown[-1]) if shown and more_older else None,
    )


def _next_along(
    all_of_these: QuerySet[Any, Any],
    fitting: QuerySet[Any, Any],
    *,
    by: By,
    place: Cursor | None,
    backwards: bool = False,
) -> list[Any] | None:
    """The keys of the page from that place on, if it can be filled from the next so many of all.

    What several conditions have in common the planner cannot know, and would rather sort all that they might be.
    """
    window = by.after(all_of_these, place, backwards=backwards)[:ALONG]
    page = by.after(fitting, place, backwards=backwards).values_list("pk", flat=True)[: paging.PAGE + 1]
    keys = [key for (key,) in ask(among(window, page))]
    return keys if len(keys) > paging.PAGE else None


def walk(
    wanted: Filter, *, at: datetime, viewer: AbstractBaseUser | AnonymousUser | None = None, at_a_time: int
) -> Iterator[Sequence[Order]]:
    """All orders that fit, in their list's order, so many at a time, each time by a query of its own."""
    by = _ORDERS_ORDER[wanted.sort or Sort.NEWEST]
    fitting = _rows_that_fit(wanted, at=at, viewer=viewer, by=by)
    place = None
    while found := list(by.after(fitting, place)[:at_a_time]):
        yield [row.order for row in found] if by.of_reviews else found
        place = by.place(found[-1])


def _rows_that_fit(
    wanted: Filter, *, at: datetime, viewer: AbstractBaseUser | AnonymousUser | None, by: By
) -> QuerySet[Any, Any]:
    """What a list of orders that is sorted so is read from: orders, or reviews with their orders."""
    if not by.of_reviews:
        return orders_that_fit(wanted, at=at, viewer=viewer)
    if by.column == "due_at":
        return open_that_fit(wanted, at=at, viewer=viewer)
    conditions = of_order(wanted, at=at, order="order__") & of_review(wanted, at=at, viewer=viewer)
    if wanted.is_of_open_reviews:
        conditions &= Q(decision="")
    # An order is put to review once at most; it may need help any number of times.
    return Review.objects.filter(conditions, kind=Review.Kind.APPROVAL)


def orders_cursor(text: str, sort: Sort | None) -> Cursor | None:
    """Raises BadCursor where the text is no place in a list of orders that is sorted so."""
    return _ORDERS_ORDER[sort or Sort.NEWEST].parse(text) if text else None


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
    events, reviews = _latest_events(EVENTS_SHOWN).of(order_id), _REVIEWS.of(order_id)
    lines, payments, shipments = (kept.of(order_id) for kept in (_LINES, _PAYMENTS, _SHIPMENTS))
    for row in (*events, *reviews, *lines, *payments, *shipments):
        row.order = order
    return OrderDetail(
        order=order,
        review=reviews[0] if reviews else None,
        was_reviewed=any(review.kind == Review.Kind.APPROVAL for review in reviews),
        lines=lines,
        payments=payments,
        shipment=next(iter(shipments), None),
        events=events,
        earlier_events=events[-1].sequence - 1 if events else 0,
    )


_PERSON = Shape(User)
_REVIEWS = Kept(
    Shape(Review, decided_by=_PERSON, claimed_by=_PERSON, endorsed_by=_PERSON, reject_reason=Shape(RejectReason)),
    lambda order: Review.objects.filter(order=order).order_by("-id"),
)
_LINES = Kept(
    Shape(OrderLine, product=Shape(Product)), lambda order: OrderLine.objects.filter(order=order).order_by("position")
)
_PAYMENTS = Kept(Shape(Payment), lambda order: Payment.objects.filter(order=order).order_by("created_at", "id"))
_SHIPMENTS = Kept(Shape(Shipment), lambda order: Shipment.objects.filter(order=order)[:1])


@cache
def _latest_events(most: int) -> Kept:
    return Kept(Shape(Event), lambda order: Event.objects.filter(order=order).order_by("-sequence")[:most])


def events_that(order_id: uuid.UUID, fit: Q) -> tuple[list[Event], bool]:
    """The latest events of the order that fit, newest first, and whether there are earlier ones."""
    found = list(Event.objects.filter(fit, order=order_id).order_by("-sequence")[: EVENTS_SHOWN + 1])
    return found[:EVENTS_SHOWN], len(found) > EVENTS_SHOWN


def with_stock() -> QuerySet[Order]:
    """Orders with `holds_stock` and `gave_stock_back`, at no further query."""
    held, released = (
        Reservation.objects.filter(order=OuterRef("pk"), state=state)
        for state in (Reservation.State.HELD, Reservation.State.RELEASED)
    )
    return Order.objects.annotate(holds_stock=Exists(held), gave_stock_back=Exists(released))


def order_version(order_id: uuid.UUID) -> int:
    """Raises Order.DoesNotExist."""
    return Order.objects.values_list("version", flat=True).get(pk=order_id)


# People, and what they choose from


def colleagues() -> list[User]:
    """Who may be given an order, by name; the first 200."""
    return _SHOWN_PERSON.ask(_colleagues_statement())


@cache
def _colleagues_statement() -> Statement:
    users = User.objects.with_perm(permission(Action.APPROVE), backend=settings.AUTHENTICATION_BACKENDS[0])
    return _SHOWN_PERSON.of(users.filter(is_active=True).order_by("username")[:200])


def all_reject_reasons() -> list[RejectReason]:
    """Retired ones too, behind those in use."""
    return list(RejectReason.objects.order_by("-active", "text"))


def reject_reasons() -> list[RejectReason]:
    """The reasons for which orders are rejected now."""
    return [RejectReason(key, code, text, active) for key, code, text, active in ask(_reject_reasons_statement())]


@cache
def _reject_reasons_statement() -> Statement:
    in_use = RejectReason.objects.filter(active=True).order_by("text")
    return as_sql(in_use.values_list("pk", "code", "text", "active"))


def parse_shown(text: str) -> Mapping[uuid.UUID, int]:
    """Read the orders that a page shows, as it lists them: `<order>.<version>_…`; what is not so is left out.

    These signs stay as they are in a URL, which servers hold to 4 kB.
    """
    shown = re.findall(rf"({ORDER_KEY})\.(\d{{1,9}})(?:_|$)", text, re.ASCII)
    return {uuid.UUID(order): int(version) for order, version in shown[: 4 * paging.PAGE]}

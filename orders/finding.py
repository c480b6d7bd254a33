"""What a filter asks of orders and of their reviews, as conditions. All that is said of a list starts here."""

import re
from dataclasses import replace
from datetime import datetime

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.contrib.postgres.search import SearchQuery
from django.db.models import Exists, OuterRef, Q, QuerySet

from orders import paging
from orders.filters import CUSTOMER, LEADS, ME, NOBODY, OVERDUE, WITHIN, Filter
from orders.models import Order, OrderLine, Payment, Product, Review
from orders.states import NEEDS_ATTENTION, WAITS_FOR_PEOPLE, Status

SEARCH_WORDS = 8
PAYMENT_REFERENCE = r"[A-Za-z0-9_-]{6,80}"


def is_put_off(review: Review, *, at: datetime) -> bool:
    return not review.decision and review.back_at is not None and review.back_at > at


def in_queue(*, at: datetime) -> Q:
    """Of reviews: open, and not put off. What has come back by time is in the queue whether or not anybody noted it."""
    return Q(decision="") & (Q(back_at=None) | Q(back_at__lte=at))


def put_off(*, at: datetime) -> Q:
    """Of reviews: those that wait for the customer, or for a time."""
    return Q(decision="", back_at__gt=at)


def queue_that_fits(
    wanted: Filter, *, at: datetime, viewer: AbstractBaseUser | AnonymousUser | None = None
) -> QuerySet[Review]:
    """What of the queue fits, unsorted; all that is said of a list of it, or done to it, starts here."""
    asked = Q() if wanted.asked == CUSTOMER else in_queue(at=at)
    return open_that_fit(wanted, at=at, viewer=viewer).filter(asked)


def orders_that_fit(
    wanted: Filter, *, at: datetime, viewer: AbstractBaseUser | AnonymousUser | None = None
) -> QuerySet[Order]:
    """Orders, unsorted. Reason and risk are those of any review of it; deadline and who is asked, of an open one."""
    fitting = Order.objects.filter(of_order(wanted, at=at)).order_by()
    by_review = of_review(wanted, at=at, viewer=viewer)
    if wanted.is_of_open_reviews:
        by_review &= Q(decision="")
        fitting = fitting.filter(status__in=WAITS_FOR_PEOPLE)
    if by_review:
        fitting = fitting.filter(Exists(Review.objects.filter(by_review, order=OuterRef("pk"))))
    return fitting


def open_that_fit(
    wanted: Filter, *, at: datetime, viewer: AbstractBaseUser | AnonymousUser | None = None
) -> QuerySet[Review]:
    kind = _KINDS.get(wanted.statuses)
    rest = replace(wanted, status="") if kind else wanted
    conditions = of_order(rest, at=at, order="order__") & of_review(wanted, at=at, viewer=viewer)
    if kind:
        conditions &= Q(kind=kind)
    return Review.objects.filter(conditions, decision="")


def waiting(wanted: Filter, *, at: datetime, viewer: AbstractBaseUser | AnonymousUser | None) -> QuerySet[Order]:
    """The same as orders: those that wait for people have indexes of their own, and each has one open review."""
    fitting = Order.objects.filter(of_order(wanted, at=at), status__in=WAITS_FOR_PEOPLE).order_by()
    if by_review := of_review(wanted, at=at, viewer=viewer):
        asked = Q(decision="") if wanted.asked == CUSTOMER else in_queue(at=at)
        return fitting.filter(Exists(Review.objects.filter(by_review, asked, order=OuterRef("pk"))))
    return fitting.filter(~Exists(Review.objects.filter(put_off(at=at), order=OuterRef("pk"))))


# What an open review of this kind says of its order's status, without a look at the order.
_KINDS = {
    frozenset({Status.IN_REVIEW}): Review.Kind.APPROVAL,
    NEEDS_ATTENTION: Review.Kind.ATTENTION,
}


def of_order(wanted: Filter, *, at: datetime, order: str = "") -> Q:
    """What the filter asks of an order; `order` is where the order is from the row that is asked about."""
    q = Q()
    if wanted.statuses:
        q &= Q((f"{order}status__in", wanted.statuses))
    if wanted.amount_from is not None:
        q &= Q((f"{order}amount__gte", wanted.amount_from))
    if wanted.amount_to is not None:
        q &= Q((f"{order}amount__lte", wanted.amount_to))
    if wanted.country:
        q &= Q((f"{order}address_country", wanted.country))
    if wanted.placed:
        q &= Q((f"{order}placed_at__gte", at - WITHIN[wanted.placed]))
    if wanted.sku:
        # To know the product first tells the planner how common it is.
        products = list(Product.objects.filter(sku__iexact=wanted.sku).values_list("pk", flat=True))
        q &= Q(Exists(OrderLine.objects.filter(order=OuterRef(f"{order}pk"), product__in=products)))
    if wanted.customer:
        q &= _of_customer(wanted.customer, order)
    if wanted.q.strip():
        q &= _found_by(wanted.q, order)
    return q


def _of_customer(customer: str, order: str) -> Q:
    if "@" in customer:
        return Q((f"{order}customer_email", customer.lower()))
    return _words_in(customer, order) & Q((f"{order}customer_name__istartswith", customer))


def _found_by(text: str, order: str) -> Q:
    """All words of it in the order's own search text, or its one word as the bank's reference of a payment."""
    found = _words_in(text, order)
    if re.fullmatch(PAYMENT_REFERENCE, text.strip(), re.ASCII):
        paid = Payment.objects.filter(provider_reference__startswith=text.strip()).exclude(provider_reference="")
        found |= Q((f"{order}pk__in", list(paid.order_by().values_list("order_id", flat=True)[: paging.COUNT_UP_TO])))
    return found


def _words_in(text: str, order: str) -> Q:
    query = prefix_query(text)
    return Q((f"{order}search", query)) if query else Q((f"{order}pk__in", []))


def of_review(wanted: Filter, *, at: datetime, viewer: AbstractBaseUser | AnonymousUser | None) -> Q:
    """What the filter asks of an order's review."""
    q = Q()
    if wanted.reason:
        q &= Q(reasons__contains=[{"code": wanted.reason}])
    if wanted.risk_from is not None:
        q &= Q(risk_score__gte=wanted.risk_from, kind=Review.Kind.APPROVAL)  # of what needs help it is not known
    if wanted.due:
        q &= Q(due_at__lte=at if wanted.due == OVERDUE else at + WITHIN[wanted.due])
    if wanted.assignee:
        q &= _in_hands_of(wanted.assignee, at=at, viewer=viewer)
    if wanted.asked == LEADS:
        q &= Q(level=Review.Level.LEAD)
    if wanted.asked == CUSTOMER:
        q &= put_off(at=at)
    return q


def _in_hands_of(assignee: str, *, at: datetime, viewer: AbstractBaseUser | AnonymousUser | None) -> Q:
    """A claim counts until its time has passed, whether or not anybody noted that."""
    if assignee == NOBODY:
        return Q(claimed_by=None) | Q(claimed_until__lte=at)
    whose = Q(claimed_by=viewer.pk if viewer else None) if assignee == ME else Q(claimed_by__username=assignee)
    return whose & Q(claimed_until__gt=at)


def prefix_query(text: str) -> SearchQuery | None:
    """All words of `text`, each as the beginning of a word; None where it has no words.

    Of an order's number the digits are enough, with its hyphen or without: every number begins alike. Only letters
    and digits reach PostgreSQL's query language.
    """
    words = re.findall(r"[^\W_]+", re.sub(r"\bcs-(?=[0-9])", "", text.lower()))[:SEARCH_WORDS]
    if not words:
        return None
    terms = [re.sub(r"^cs([0-9]+)$", r"(\g<0> | \1)", word) for word in words]
    terms = [re.sub(r"[^\W_]+", r"'\g<0>':*", term) for term in terms]
    return SearchQuery(" & ".join(terms), search_type="raw", config="simple")

"""What must hold of orders after any fault, judged by the rows and by the bank's and the carrier's own ledgers.

`read_books` reads, the rest is pure: each rule takes what was read and gives its violations in words that begin with
the order's number. `unsafe` holds at any moment, `unfinished` once all is quiet.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Any
from uuid import UUID

from django.db.models import Q, Sum

from orders.models import Decision, Order, Payment, Product, Reservation
from orders.services.placing import address_of
from orders.states import TERMINAL, TRANSITIONS, WAITS_FOR_PEOPLE, Action, Status

Query = Callable[[str], Iterable[tuple[Any, ...]]]

ARRIVED = frozenset({Status.DISPATCHED, Status.COMPLETED})
ENDED_BADLY = TERMINAL - ARRIVED
UNDOES_MONEY = ("refund", "charge_voided", "charge_cancelled")
UNDOES = (("recall", "recall_failed"), UNDOES_MONEY, ("release",))  # in the order in which it happens


@dataclass(frozen=True)
class Entry:
    """A line of the timeline. `before` and `after` are empty where the status was not in question."""

    sequence: int
    type: str
    before: str = ""
    after: str = ""


@dataclass(frozen=True)
class Movement:
    """A charge or refund: one of ours (`state` is a payment's), or of the bank's ledger (moved, pending or not)."""

    key: str
    kind: str
    amount_minor: int
    state: str


@dataclass(frozen=True)
class Package:
    """A line of the carrier's ledger."""

    key: str
    address: Mapping[str, str]
    withdrawn: bool = False


@dataclass(frozen=True)
class Held:
    sku: str
    units: int
    state: str


@dataclass(frozen=True)
class Question:
    """A review: how it was decided, empty while it is open."""

    kind: str
    decision: str


@dataclass(frozen=True)
class OrderBooks:
    """All that is written anywhere about one order."""

    id: UUID
    number: str
    status: Status
    version: int
    total_minor: int
    address: Mapping[str, str]
    events: tuple[Entry, ...] = ()
    payments: tuple[Movement, ...] = ()
    at_the_bank: tuple[Movement, ...] = ()
    held: tuple[Held, ...] = ()
    shipment: str = ""
    sent_to: Mapping[str, str] | None = None
    packages: tuple[Package, ...] = ()
    questions: tuple[Question, ...] = ()
    confirm_by: bool = False  # the customer is asked, with a deadline
    untold: int = 0  # messages that wait in the outbox


@dataclass(frozen=True)
class Stock:
    """Units of one product: free, and what all orders hold and have sent."""

    sku: str
    free: int
    held: int = 0
    shipped: int = 0


@dataclass(frozen=True)
class Books:
    orders: tuple[OrderBooks, ...]
    stock: tuple[Stock, ...] = field(default=())


# Reading


def read_books(ledger: Query, only: Collection[UUID] | None = None) -> Books:
    """Read all orders, or `only` these. `ledger` runs a query where the simulated bank and carrier keep their books.

    While orders are under way, call it in a transaction that is REPEATABLE READ: the ledgers, which are read last, may
    only be ahead.
    """
    found = Order.objects.order_by("number").prefetch_related(
        "events", "payments", "reservations__product", "reviews", "outbox"
    )
    orders = list(found.select_related("shipment").filter(Q() if only is None else Q(pk__in=only)))
    stock = tuple(_stock())
    bank, packages = _bank(ledger), _packages(ledger)
    return Books(tuple(_order(order, bank[str(order.pk)], packages[str(order.pk)]) for order in orders), stock)


def _order(order: Order, bank: list[Movement], packages: list[Package]) -> OrderBooks:
    shipment = getattr(order, "shipment", None)
    payments = list(order.payments.all())
    return OrderBooks(
        id=order.pk,
        number=order.number,
        status=order.status_now,
        version=order.version,
        total_minor=order.total_minor,
        address=asdict(address_of(order)),
        events=tuple(
            Entry(event.sequence, event.type, event.payload.get("from", ""), event.payload.get("to", ""))
            for event in sorted(order.events.all(), key=lambda event: event.sequence)
        ),
        payments=tuple(Movement(one.idempotency_key, one.kind, one.amount_minor, one.status) for one in payments),
        at_the_bank=tuple(bank),
        held=tuple(Held(one.product.sku, one.quantity, one.state) for one in order.reservations.all()),
        shipment=shipment.status if shipment else "",
        sent_to=shipment.address if shipment else None,
        packages=tuple(packages),
        questions=tuple(Question(one.kind, one.decision) for one in sorted(order.reviews.all(), key=lambda r: r.pk)),
        confirm_by=any(one.confirm_by for one in payments),
        untold=sum(message.delivered_at is None for message in order.outbox.all()),
    )


def _stock() -> Iterator[Stock]:
    state = Reservation.State
    for product in Product.objects.order_by("sku").annotate(
        held=Sum("reservations__quantity", filter=Q(reservations__state=state.HELD), default=0),
        shipped=Sum("reservations__quantity", filter=Q(reservations__state=state.SHIPPED), default=0),
    ):
        yield Stock(product.sku, product.stock, product.held, product.shipped)


def _bank(ledger: Query) -> dict[str, list[Movement]]:
    """By order id: every key begins with `order-<uuid>:`."""
    found: dict[str, list[Movement]] = defaultdict(list)
    for key, kind, amount, declined, pending in ledger(
        "SELECT key, kind, amount_minor, declined, pending FROM simulator.bank ORDER BY at, key"
    ):
        state = "not" if declined else "pending" if pending else "moved"
        found[_order_of(key)].append(Movement(key, kind, amount, state))
    return found


def _packages(ledger: Query) -> dict[str, list[Package]]:
    found: dict[str, list[Package]] = defaultdict(list)
    query = "SELECT key, address::text, withdrawn FROM simulator.carrier ORDER BY at, key"
    for key, address, withdrawn in ledger(query):
        found[_order_of(key)].append(Package(key, json.loads(address), withdrawn))
    return found


def _order_of(key: str) -> str:
    return key.removeprefix("order-").partition(":")[0]


# Judging


def unsafe(books: Books, received: Mapping[str, int]) -> list[str]:
    """Every violation of what must hold at any moment. `received` is how many units of each product came in."""
    found = [f"{order.number}: {wrong}" for order in books.orders for rule in AT_ANY_MOMENT for wrong in rule(order)]
    return found + list(stock_adds_up(books.stock, received))


def unfinished(books: Books) -> list[str]:
    """Every violation of what must hold once the faults are over and all is quiet."""
    return [f"{order.number}: {wrong}" for order in books.orders for rule in WHEN_QUIET for wrong in rule(order)]


def one_charge(order: OrderBooks) -> Iterator[str]:
    """At most one charge at the bank, of the order's total."""
    charges = [one for one in order.at_the_bank if one.kind == "charge" and one.state != "not"]
    if len(charges) > 1:
        yield f"charged {len(charges)} times: {', '.join(one.key for one in charges)}"
    for charge in charges:
        if charge.amount_minor != order.total_minor:
            yield f"charged {charge.amount_minor}, and the total is {order.total_minor}"


def money_kept(order: OrderBooks) -> Iterator[str]:
    """Charged less refunded is what was kept: nothing of an order that ended badly, all of one that arrived."""
    charged, refunded = _moved(order.at_the_bank, "charge"), _moved(order.at_the_bank, "refund")
    if refunded > charged:
        yield f"refunded {refunded} of {charged}"
    if order.status in ENDED_BADLY and charged != refunded:
        yield f"is {order.status}, and {charged - refunded} of its money was kept"
    granted = sum(
        one.amount_minor
        for one in order.payments
        if one.kind == Payment.Kind.REFUND and one.state not in (Payment.State.FAILED, Payment.State.CANCELLED)
    )
    if order.status in ARRIVED and not order.total_minor - granted <= charged - refunded <= order.total_minor:
        yield f"is {order.status}, and {charged - refunded} of {order.total_minor} was kept"


def packages_out(order: OrderBooks) -> Iterator[str]:
    """At most one package, to the address that the order had when the carrier was called."""
    out = [package for package in order.packages if not package.withdrawn]
    if len(out) > 1:
        yield f"has {len(out)} packages out: {', '.join(package.key for package in out)}"
    if order.status in ARRIVED and len(out) != 1:
        yield f"is {order.status}, and {len(out)} packages are out"
    if out and order.status in ENDED_BADLY and not _has(order, "recall_failed"):
        yield f"is {order.status}, and a package is out"
    for package in out:
        if order.status in ARRIVED and not package.address == order.sent_to == order.address:
            yield f"went to {package.address}, and was to go to {order.address}"


def goods_where_they_belong(order: OrderBooks) -> Iterator[str]:
    """An order that has ended holds nothing; only of one whose package is gone are the goods gone."""
    for held in order.held:
        gone = order.status in ARRIVED or _has(order, "recall_failed")
        if order.status in TERMINAL and held.state == Reservation.State.HELD:
            yield f"is {order.status}, and holds {held.units} of {held.sku}"
        if held.state == Reservation.State.SHIPPED and not gone:
            yield f"is {order.status}, and {held.units} of {held.sku} count as sent"
        if held.state == Reservation.State.RELEASED and gone:
            yield f"has sent {held.units} of {held.sku} that count as given back"


def stock_adds_up(stock: Iterable[Stock], received: Mapping[str, int]) -> Iterator[str]:
    """What came in is free, held or sent."""
    for one in stock:
        if one.sku in received and one.free + one.held + one.shipped != received[one.sku]:
            yield f"{one.sku}: {one.free} free + {one.held} held + {one.shipped} sent is not {received[one.sku]}"
        if one.free < 0:
            yield f"{one.sku}: {one.free} are free"


def one_unbroken_story(order: OrderBooks) -> Iterator[str]:
    """One event for each version, without gaps, each a legal step from where the one before has led."""
    sequences = [event.sequence for event in order.events]
    if sequences != list(range(1, order.version + 1)):
        yield f"is at version {order.version}, and its events are {sequences}"
    status: str = Status.PLACED
    for event in order.events:
        if not event.after:
            continue
        if event.before != status:
            yield f"{event.type} (#{event.sequence}) begins at {event.before}, and the order was {status}"
        if event.after != TRANSITIONS.get((Status(event.before), Action(event.type))):
            yield f"{event.type} (#{event.sequence}) may not lead from {event.before} to {event.after}"
        status = event.after
    if status != order.status:
        yield f"is {order.status}, and its events lead to {status}"


def decided_once(order: OrderBooks) -> Iterator[str]:
    """Each decision stands once in the story, and each question has one answer at most."""
    times = Counter(event.type for event in order.events)
    expired = times["expire"] + sum(event.type == "fail" and event.before in WAITS_FOR_PEOPLE for event in order.events)
    answers = Counter(question.decision for question in order.questions)
    for decision, told in (
        (Decision.APPROVED, times["approve"]),
        (Decision.REJECTED, times["reject"]),
        (Decision.RETRIED, times["retry"]),
    ):
        if answers[decision] != told:
            yield f"was {decision} {answers[decision]} times, and its events say {told}"
    if answers[Decision.EXPIRED] + answers[Decision.SETTLED] < expired:
        yield f"passed its deadline {expired} times by its events, and {answers[Decision.EXPIRED]} by its reviews"
    if times["cancel"] > 1:
        yield f"was cancelled {times['cancel']} times"
    if times["approve"] and times["expire"]:
        yield "was approved, and expired too"


def undone_once_in_reverse(order: OrderBooks) -> Iterator[str]:
    """What was done in an order that ended badly was undone once, last step first."""
    if order.status not in ENDED_BADLY:
        return
    done = [event.type for event in order.events]
    places = [[done.index(type_) for type_ in kinds if type_ in done] for kinds in UNDOES]
    for kinds in UNDOES:
        times = sum(done.count(type_) for type_ in kinds)
        if times > 1:
            yield f"was undone {times} times: {', '.join(kinds)}"
    flat = [place[0] for place in places if place]
    if any(later < earlier for earlier, later in pairwise(flat)):
        yield f"was undone in another order than last step first: {', '.join(done)}"
    yield from _left_undone(order)


def _left_undone(order: OrderBooks) -> Iterator[str]:
    if _has(order, "reserve") and not _has(order, "release", "recall_failed"):
        yield "took stock, and did not give it back"
    if _has(order, "charge", "charge_arrived") and not _has(order, "refund"):
        yield "was charged, and not refunded"
    answered = _has(order, "charge_declined") or any(
        one.kind == Payment.Kind.CHARGE and one.state == Payment.State.FAILED for one in order.payments
    )
    if _has(order, "charge_requested") and not answered and not _has(order, *UNDOES_MONEY):
        yield "asked for money, and did not look after it"
    if _has(order, "prepare") and not _has(order, "recall", "recall_failed"):
        yield "had a package made ready, and did not take it back"


def no_limbo(order: OrderBooks) -> Iterator[str]:
    """At an end, or before somebody who has a deadline."""
    waits = order.status in WAITS_FOR_PEOPLE and any(not question.decision for question in order.questions)
    asked = order.status == Status.AWAITING_CUSTOMER and order.confirm_by
    if order.status not in TERMINAL and not waits and not asked:
        yield f"is {order.status}, and nobody is at it"
    if order.status in TERMINAL and any(not question.decision for question in order.questions):
        yield f"is {order.status}, and people are asked about it"


def all_is_told(order: OrderBooks) -> Iterator[str]:
    if order.untold:
        yield f"{order.untold} messages to the engine wait"


def bank_and_rows_agree(order: OrderBooks) -> Iterator[str]:
    for kind in Payment.Kind.values:
        there = _moved(order.at_the_bank, kind)
        here = sum(
            one.amount_minor for one in order.payments if one.kind == kind and one.state == Payment.State.SUCCEEDED
        )
        if here != there:
            yield f"{kind} of {there} at the bank, and of {here} in the rows"
    if order.status in TERMINAL and any(one.state == Payment.State.PROCESSING for one in order.payments):
        yield f"is {order.status}, and money is under way"


def carrier_and_rows_agree(order: OrderBooks) -> Iterator[str]:
    out = any(not package.withdrawn for package in order.packages)
    if order.status in TERMINAL and (order.shipment == "dispatched") != out:
        yield f"has a shipment that is {order.shipment or 'none'}, and the carrier has {len(order.packages)}"


def _moved(movements: Iterable[Movement], kind: str) -> int:
    return sum(one.amount_minor for one in movements if one.kind == kind and one.state == "moved")


def _has(order: OrderBooks, *types: str) -> bool:
    return any(event.type in types for event in order.events)


AT_ANY_MOMENT = (
    one_charge,
    money_kept,
    packages_out,
    goods_where_they_belong,
    one_unbroken_story,
    decided_once,
    undone_once_in_reverse,
)
WHEN_QUIET = (no_limbo, all_is_told, bank_and_rows_agree, carrier_and_rows_agree)

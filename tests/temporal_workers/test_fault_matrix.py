"""Every step of an order goes wrong in every way, and somebody cancels at every step: one batch of orders, each with
a plan of its own, carried by real workers at the same time. Each cell of the matrix is then judged by itself.
"""

import asyncio
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest
from django.conf import settings
from django.contrib.auth.models import Group, User
from django.db import connection, transaction
from django.test import override_settings
from pytest_django import DjangoDbBlocker
from temporalio.client import Client
from temporalio.common import RetryPolicy
from temporalio.worker import UnsandboxedWorkflowRunner

from orders.models import Order, Product
from orders.services import addressing, attending, placing, refunding, reviewing, stocking, undoing
from orders.services.actors import SYSTEM, Actor
from orders.services.placing import Address, NewLine, NewOrder
from orders.states import TERMINAL, Status
from temporal_workers import worker
from temporal_workers.client import connect
from temporal_workers.contracts import News, OrderResult, order_workflow_id
from temporal_workers.providers.protocols import ChargeAnswer
from temporal_workers.providers.simulated import Ledger, SimulatedBank, Temper
from temporal_workers.reconciling import Difference, reconcile
from temporal_workers.workflows import steps
from tests import judge
from tests.emptying import empty_what_was_filled
from tests.temporal_workers.conftest import Engine, database_url, pooled_connections
from tests.temporal_workers.faults import Fault, Faults, Interference, Plan, now

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.timeout(400),
    # Said of a step that was given up and has ended in the same moment.
    pytest.mark.filterwarnings("ignore:Cannot find activity to cancel:UserWarning"),
]

BOUND = timedelta(seconds=1)  # of each attempt, so that what hangs is given up soon
AT_ONCE = RetryPolicy(initial_interval=timedelta(milliseconds=50), backoff_coefficient=1)
LAMPS = 100_000

PARIS = Address("FR", line1="5 rue Cler", city="Paris", postal_code="75007")
BERLIN = Address("DE", line1="Lindenstr. 4", city="Berlin", postal_code="10969")
SOUTH_POLE = Address("AQ", line1="1 Scott Way", city="South Pole")

FORWARD = (
    "receive_order",
    "validate_order",
    "settle_review",
    "begin_fraud_check",
    "check_fraud",
    "record_fraud_check",
    "reserve_stock",
    "begin_charge",
    "charge_payment",
    "record_charge",
    "begin_package",
    "prepare_package",
    "record_package",
    "begin_dispatch",
    "dispatch_parcel",
    "record_dispatch",
    "award_points",
    "complete_order",
)
POINT_OF_NO_RETURN = FORWARD.index("begin_dispatch")
# Every fault at every step with a cancel at every later step takes many minutes. Without this, an order that nobody
# cancels has faults at many of its steps, and what is left out are pairs of a fault that is over and a cancel long
# after it.
WHOLE = os.environ.get("FAULT_MATRIX") == "whole"
ONCE_EACH = (Fault.FAILS, Fault.HANGS, Fault.LATE, Fault.LOST)
SOME = ONCE_EACH if WHOLE else (Fault.LATE, Fault.LOST)
# What is undone, by the step at which somebody cancels.
UNDOING = {
    "begin_charge": ("begin_refund", "release_stock", "finish_undo"),
    "charge_payment": ("begin_refund", "refund_payment", "record_refund", "release_stock", "finish_undo"),
    "record_charge": ("begin_refund", "refund_payment", "record_refund", "release_stock", "finish_undo"),
    "begin_package": ("recall_package", "begin_refund", "refund_payment", "record_refund", "release_stock"),
    "prepare_package": ("recall_package", "begin_refund", "refund_payment", "record_refund", "release_stock"),
    "record_package": ("recall_package", "refund_payment", "record_refund", "release_stock", "finish_undo"),
    "begin_dispatch": ("recall_package", "begin_refund", "refund_payment", "record_refund", "finish_undo"),
}


@dataclass(frozen=True)
class Cell:
    """One order of the matrix: the road it takes, what goes wrong, who interferes, and how it has to end."""

    road: str = "straight"
    faults: tuple[tuple[str, Fault], ...] = ()
    deed: str = ""
    at: str = ""
    after_the_effect: bool = False
    ends: Status = Status.COMPLETED
    refused: bool = False  # the interference

    def __str__(self) -> str:
        wrong = ", ".join(f"{step} {fault}" for step, fault in self.faults) or "nothing fails"
        when = "after" if self.after_the_effect else "at"
        return f"{self.road}: {wrong}" + (f"; {self.deed} {when} {self.at}" if self.deed else "")


def cancelled(cell: Cell, at: str, *, after_the_effect: bool = False) -> Cell:
    """The cell with somebody who cancels: refused from the point of no return on."""
    place = FORWARD.index(at)
    refused = place > POINT_OF_NO_RETURN or (place == POINT_OF_NO_RETURN and after_the_effect)
    ends = cell.ends if refused else Status.CANCELLED
    road = "reviewed" if at == "settle_review" else cell.road
    return replace(cell, road=road, deed="cancel", at=at, after_the_effect=after_the_effect, ends=ends, refused=refused)


def each_fault_at_each(
    road: str, steps: Sequence[str], faults: Sequence[Fault] = ONCE_EACH, ends: Status = Status.COMPLETED
) -> Iterator[Cell]:
    """So few orders that each step has each fault once: a Latin square. With the whole matrix, one order each."""
    for turn in range(len(faults)):
        struck = tuple((step, faults[(place + turn) % len(faults)]) for place, step in enumerate(steps))
        yield from (Cell(road, (one,), ends=ends) for one in struck) if WHOLE else [Cell(road, struck, ends=ends)]


def fault_at_each_step() -> Iterator[Cell]:
    """On the way forward, with nobody who cancels, and with somebody who does: in the middle of it, and later."""
    yield from each_fault_at_each("reviewed", FORWARD[::2])
    yield from each_fault_at_each("reviewed", FORWARD[1::2])
    for place, step in enumerate(FORWARD):
        road = "reviewed" if step == "settle_review" else "straight"
        for number, fault in enumerate(ONCE_EACH):
            cell = Cell(road, ((step, fault),))
            if WHOLE:
                yield cell
                yield from (cancelled(cell, at) for at in FORWARD[place:])
            elif (place - number) % len(ONCE_EACH) == 0:
                yield from (cancelled(cell, at) for at in FORWARD[place : place + 2])
        yield cancelled(Cell(road, ((step, Fault.LOST),)), step, after_the_effect=True)


def cancel_at_each_step() -> Iterator[Cell]:
    for at in FORWARD:
        yield cancelled(Cell(), at)
        yield cancelled(Cell(), at, after_the_effect=True)


def fault_while_undoing() -> Iterator[Cell]:
    """Each step of the undoing, after a cancel at each step that leaves it to be done."""
    for number, (at, undone) in enumerate(UNDOING.items()):
        found = list(each_fault_at_each("straight", undone))
        yield from (cancelled(cell, at) for cell in (found if WHOLE else found[number % 2 :: 2]))
    for step in ("refund_payment", "release_stock"):
        yield cancelled(Cell(faults=((step, Fault.FAILS_FOR_LONG),)), "begin_package")
    for fault in ONCE_EACH:
        failing = (("refund_payment", Fault.FAILS), ("note_undo_trouble", fault))
        yield cancelled(Cell(faults=failing), "record_charge")


def address_at_each_step() -> Iterator[Cell]:
    for at in FORWARD:
        place = FORWARD.index(at)
        for after in (False, True) if WHOLE or place == POINT_OF_NO_RETURN else (False,):
            refused = place > POINT_OF_NO_RETURN or (place == POINT_OF_NO_RETURN and after)
            road = "reviewed" if at == "settle_review" else "straight"
            yield Cell(road, deed="move", at=at, after_the_effect=after, refused=refused)


def other_roads() -> Iterator[Cell]:
    """Where the bank declines, the carrier refuses, the stock is short, the customer does not confirm."""
    yield Cell("declined", ends=Status.FAILED)
    for at in ("charge_payment", "record_charge"):
        yield cancelled(Cell("declined"), at)
    yield cancelled(Cell("declined"), "charge_payment", after_the_effect=True)
    yield Cell("declined", (), "cancel", "record_charge", after_the_effect=True, ends=Status.FAILED, refused=True)
    for name, ends in {
        "short, retried": Status.COMPLETED,
        "short, cancelled": Status.CANCELLED,
        "short, nobody helps": Status.FAILED,
        "unconfirmed, retried": Status.COMPLETED,
        "unconfirmed, cancelled": Status.CANCELLED,
        "unconfirmed, nobody helps": Status.FAILED,
        "undeliverable, retried": Status.COMPLETED,
        "undeliverable, cancelled": Status.CANCELLED,
        "undeliverable, nobody helps at first": Status.CANCELLED,
    }.items():
        yield Cell(name, ends=ends)
    yield Cell("undeliverable, cancelled", (("withdraw_parcel", Fault.FAILS_FOR_LONG),), ends=Status.CANCELLED)
    yield Cell(faults=(("dispatch_parcel", Fault.FAILS_FOR_LONG),))
    yield Cell(faults=(("check_fraud", Fault.FAILS_FOR_LONG),))


def fault_on_other_roads() -> Iterator[Cell]:
    undone = ("charge_payment", "record_charge", "release_stock", "finish_undo")
    yield from each_fault_at_each("declined", undone, SOME, Status.FAILED)
    yield from each_fault_at_each("undeliverable, retried", ("record_dispatch_failure", "withdraw_parcel"), SOME)
    yield from each_fault_at_each("refunded", ("find_refund", "refund_payment", "settle_refund"))
    withdrawn = ("record_dispatch_failure", "withdraw_parcel", "record_recall")
    yield from each_fault_at_each("undeliverable, cancelled", withdrawn, ends=Status.CANCELLED)
    for fault in SOME:
        for road, ends in (("retried", Status.COMPLETED), ("cancelled", Status.CANCELLED)):
            yield Cell(f"short, {road}", (("reserve_stock", fault),), ends=ends)
            yield Cell(f"unconfirmed, {road}", (("record_charge", fault),), ends=ends)
    for fault in ONCE_EACH:
        for_good = ("charge_payment", Fault.FOR_GOOD)
        yield Cell(faults=(for_good, ("fail_order", fault)), ends=Status.FAILED)
        yield cancelled(Cell(faults=(for_good, ("fail_order", fault))), "charge_payment")
        yield Cell("approved by hand", (("obey_signal", fault),))


CELLS = list(
    dict.fromkeys(
        [
            Cell(),
            Cell("reviewed"),
            *other_roads(),
            *fault_on_other_roads(),
            *fault_at_each_step(),
            *cancel_at_each_step(),
            *fault_while_undoing(),
            *address_at_each_step(),
        ]
    )
)


class Desk:
    """The people and the customers of the batch."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._alice = self._hire("alice", "operator")
        self._dana = self._hire("dana", "lead")

    @staticmethod
    def _hire(name: str, role: str) -> Actor:
        user = User.objects.create(username=name)
        user.groups.add(Group.objects.get(name=role))
        return Actor.operator(user)

    def approve(self, order_id: UUID) -> None:
        reviewing.approve(order_id=order_id, actor=self._alice, at=now())

    def approve_by_hand(self, order_id: UUID) -> None:
        self._engine.signal(order_workflow_id(order_id), "approve", News("alice"))

    def cancel(self, order_id: UUID) -> None:
        undoing.cancel(order_id=order_id, actor=self._alice, at=now(), reason="Ordered twice")

    def move(self, order_id: UUID) -> None:
        addressing.change_address(order_id=order_id, actor=self._alice, at=now(), address=PARIS)

    def restock_and_retry(self, order_id: UUID) -> None:
        scarce = Product.objects.get(sku=scarce_sku(Order.objects.get(pk=order_id).reference))
        stocking.restock(product_id=scarce.pk, units=5)
        attending.retry(order_id=order_id, actor=self._alice, at=now())

    def correct_and_retry(self, order_id: UUID) -> None:
        attending.correct_and_retry(order_id=order_id, actor=self._alice, at=now(), address=PARIS)

    def confirm_and_retry(self, order_id: UUID) -> None:
        with psycopg.connect(settings.SIMULATOR_DATABASE_URL) as ledger:
            ledger.execute("UPDATE simulator.bank SET pending = false WHERE key = %s", [f"order-{order_id}:charge"])
        attending.retry(order_id=order_id, actor=self._alice, at=now())

    def grant_refund(self, order_id: UUID) -> None:
        refunding.refund(order_id=order_id, amount_minor=5_000, reason="A scratch", actor=self._dana, at=now())

    def plan(self, cell: Cell) -> Plan:
        helps: dict[str, list[Callable[[UUID], None]]] = {
            "reviewed": {"in_review": [self.approve]},
            "approved by hand": {"in_review": [self.approve_by_hand]},
            "refunded": {"completed": [self.grant_refund]},
            "short, retried": {"stock_short": [self.restock_and_retry]},
            "short, cancelled": {"stock_short": [self.cancel]},
            "unconfirmed, retried": {"unconfirmed": [self.confirm_and_retry]},
            "unconfirmed, cancelled": {"unconfirmed": [self.cancel]},
            "undeliverable, retried": {"undeliverable": [self.correct_and_retry]},
            "undeliverable, cancelled": {"undeliverable": [self.cancel]},
            # Reminded, asked again, reminded: only then does somebody act.
            "undeliverable, nobody helps at first": {"undeliverable": [lambda _: None] * 3 + [self.cancel]},
        }.get(cell.road, {})
        deeds: dict[str, Callable[[UUID], None]] = {"cancel": self.cancel, "move": self.move}
        interference = Interference(cell.at, deeds[cell.deed], cell.after_the_effect) if cell.deed else None
        return Plan(dict(cell.faults), interference, helps)


def scarce_sku(reference: str) -> str:
    """Goods that one order of the batch wants two of; there is one."""
    return f"SCARCE-{reference}"


def received() -> dict[str, int]:
    """How many units of each product have come in."""
    scarce = {
        product.sku: 6 if Order.objects.filter(lines__product=product, events__type="retry").exists() else 1
        for product in Product.objects.filter(sku__startswith="SCARCE")
    }
    return scarce | {"LAMP": LAMPS}


def place(cell: Cell, number: int) -> Order:
    lines = [NewLine("LAMP", 1, 20_000)]
    if cell.road in ("reviewed", "approved by hand"):
        lines = [NewLine("LAMP", 2, 60_000)]
    elif cell.road.startswith("short"):
        stocking.stock_products(products=[Product(sku=scarce_sku(str(number)), name="First edition", stock=1)])
        lines = [NewLine("LAMP", 1, 100), NewLine(scarce_sku(str(number)), 2, 10)]
    return placing.place_order(
        new=NewOrder(
            source="matrix",
            reference=str(number),
            customer_name="Ann Lee",
            customer_email=f"ann.lee.{number}@example.com",
            address=SOUTH_POLE if cell.road.startswith("undeliverable") else BERLIN,
            currency="EUR",
            lines=lines,
            placed_at=now(),
        ),
        actor=SYSTEM,
        at=now(),
    )


@dataclass(frozen=True)
class Outcome:
    """What became of a cell's order."""

    status: Status
    plan: Plan
    workflow_says: str
    violations: list[str]
    sent_to: str  # the city that the carrier was told; empty where it has no package


@dataclass(frozen=True)
class Matrix:
    outcomes: Mapping[str, Outcome]
    stock_violations: list[str]
    differences: list[Difference]
    found_when_broken: Mapping[str, list[str]]


@dataclass(frozen=True)
class Breach:
    """One thing put wrong by hand in an order that has ended well; what the judge has to say of it."""

    of: Cell
    change: str
    words: str


ARRIVED = Cell()
REVIEWED = Cell("reviewed")
UNDONE = cancelled(Cell(), "begin_dispatch")
EVENT = (
    "UPDATE orders_order SET version = version + 1 WHERE id = '{id}';"
    "INSERT INTO orders_event (order_id, sequence, type, actor_kind, actor, payload, at)"
    " SELECT id, version, '%s', 'system', 'nobody', '{{}}', now() FROM orders_order WHERE id = '{id}'"
)
MOVED = (
    "INSERT INTO simulator.bank (key, kind, amount_minor, currency, reference)"
    " VALUES ('order-{id}:%s', '%s', %d, 'EUR', 'xx_{id}')"
)
PACKAGE = (
    "INSERT INTO simulator.carrier (key, tracking_number, recipient, address)"
    " VALUES ('order-{id}:dispatch-9', 'MP-{id}', 'Ann Lee', '{{}}')"
)
BREACHES = {
    "a second charge": Breach(ARRIVED, MOVED % ("charge-2", "charge", 20_000), "charged 2 times"),
    "a charge of another amount": Breach(
        ARRIVED, "UPDATE simulator.bank SET amount_minor = 1 WHERE key = 'order-{id}:charge'", "charged 1, and"
    ),
    "a charge that the bank does not know": Breach(
        ARRIVED, "DELETE FROM simulator.bank WHERE key = 'order-{id}:charge'", "charge of 0 at the bank, and of 20000"
    ),
    "more refunded than charged": Breach(ARRIVED, MOVED % ("refund", "refund", 30_000), "refunded 30000 of 20000"),
    "a refund that nobody granted": Breach(ARRIVED, MOVED % ("refund", "refund", 1), "19999 of 20000 was kept"),
    "a refund that was not made": Breach(
        UNDONE, "DELETE FROM simulator.bank WHERE key = 'order-{id}:refund'", "and 20000 of its money was kept"
    ),
    "money under way for ever": Breach(
        UNDONE, "UPDATE orders_payment SET status = 'processing' WHERE order_id = '{id}'", "money is under way"
    ),
    "a missing event": Breach(
        ARRIVED, "DELETE FROM orders_event WHERE order_id = '{id}' AND type = 'package_ready'", "and its events are"
    ),
    "an illegal step": Breach(
        ARRIVED,
        'UPDATE orders_event SET payload = payload || \'{{"to": "completed"}}\' '
        "WHERE order_id = '{id}' AND type = 'charge'",
        "may not lead from reserved to completed",
    ),
    "a status that no event led to": Breach(
        ARRIVED, "UPDATE orders_order SET status = 'dispatched' WHERE id = '{id}'", "its events lead to completed"
    ),
    "an order that nobody is at": Breach(
        ARRIVED, "UPDATE orders_order SET status = 'charged' WHERE id = '{id}'", "is charged, and nobody is at it"
    ),
    "a reservation left held": Breach(
        UNDONE, "UPDATE orders_reservation SET state = 'held' WHERE order_id = '{id}'", "holds 1 of LAMP"
    ),
    "goods given back that were sent": Breach(
        ARRIVED, "UPDATE orders_reservation SET state = 'released' WHERE order_id = '{id}'", "count as given back"
    ),
    "goods sent that were given back": Breach(
        UNDONE, "UPDATE orders_reservation SET state = 'shipped' WHERE order_id = '{id}'", "count as sent"
    ),
    "stock that is lost": Breach(ARRIVED, "UPDATE orders_product SET stock = stock - 1", "sent is not 100000"),
    "a second package": Breach(ARRIVED, PACKAGE, "has 2 packages out"),
    "a package of an order that was cancelled": Breach(UNDONE, PACKAGE, "is cancelled, and a package is out"),
    "a package that was lost": Breach(
        ARRIVED, "DELETE FROM simulator.carrier WHERE key = 'order-{id}:dispatch'", "0 packages are out"
    ),
    "a package to somewhere else": Breach(
        ARRIVED, "UPDATE simulator.carrier SET address = '{{}}' WHERE key = 'order-{id}:dispatch'", "went to {}"
    ),
    "a package that the rows do not know": Breach(
        ARRIVED, "UPDATE orders_shipment SET status = 'prepared' WHERE order_id = '{id}'", "a shipment that is prepared"
    ),
    "undone twice": Breach(UNDONE, EVENT % "release", "was undone 2 times: release"),
    "not undone": Breach(
        UNDONE,
        "UPDATE orders_event SET type = 'noted' WHERE order_id = '{id}' AND type = 'release'",
        "took stock, and did not give it back",
    ),
    "a charge that was not undone": Breach(
        UNDONE,
        "UPDATE orders_event SET type = 'noted' WHERE order_id = '{id}' AND type = 'refund'",
        "was charged, and not refunded",
    ),
    "undone in another order": Breach(
        UNDONE,
        "UPDATE orders_event SET type = CASE type WHEN 'release' THEN 'recall' ELSE 'release' END "
        "WHERE order_id = '{id}' AND type IN ('release', 'recall')",
        "in another order than last step first",
    ),
    "cancelled twice": Breach(UNDONE, EVENT % "cancel", "was cancelled 2 times"),
    "decided twice": Breach(REVIEWED, EVENT % "approve", "was approved 1 times, and its events say 2"),
    "a decision that is told otherwise": Breach(
        REVIEWED, "UPDATE orders_review SET decision = 'rejected' WHERE order_id = '{id}'", "was rejected 1 times"
    ),
    "a question that is still open": Breach(
        REVIEWED,
        "UPDATE orders_review SET decision = '', decided_at = NULL, decided_by_id = NULL WHERE order_id = '{id}'",
        "people are asked about it",
    ),
    "news that was not told": Breach(
        ARRIVED, "UPDATE orders_outbox SET delivered_at = NULL WHERE order_id = '{id}'", "1 messages to the engine wait"
    ),
}


def break_and_judge(breach: Breach, order: Order) -> list[str]:
    """Put it wrong behind everybody's back, judge, and put it right again."""
    goods = received()
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL session_replication_role = replica")  # no trigger refuses it
            cursor.execute(breach.change.format(id=order.pk))
        books = judge.read_books(query_ledger, only=[order.pk])
        transaction.set_rollback(True)
    return [*judge.unsafe(books, goods), *judge.unfinished(books)]


@contextmanager
def quick_bounds() -> Iterator[None]:
    """Give an attempt up after a second, and try again at once.

    In place: the workflows' sandbox shares this module with us.
    """
    with pytest.MonkeyPatch.context() as patch:
        for bounds in (steps.DATABASE, steps.OUTSIDE, steps.ONCE, steps.A_FEW_TIMES, steps.UNTIL_DONE):
            patch.setitem(bounds, "start_to_close_timeout", BOUND)
        for bounds in (steps.DATABASE, steps.OUTSIDE, steps.A_FEW_TIMES, steps.UNTIL_DONE):
            most = bounds["retry_policy"].maximum_attempts
            patch.setitem(bounds, "retry_policy", replace(AT_ONCE, maximum_attempts=most))
        yield


@contextmanager
def bank_with_moods(moods: Mapping[str, Temper]) -> Iterator[None]:
    """The simulated bank, calm but towards the orders named."""
    charge: Callable[..., Any] = SimulatedBank.charge

    async def charge_in_its_mood(bank: SimulatedBank, *, key: str, **asked: Any) -> ChargeAnswer:
        mood = moods.get(key)
        answer: ChargeAnswer = await charge(SimulatedBank(bank._ledger, mood) if mood else bank, key=key, **asked)
        return answer

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SimulatedBank, "charge", charge_in_its_mood)
        yield


def query_ledger(query: str) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(query)
        return list(cursor.fetchall())


def wait_until_all_have_ended() -> None:
    """Look again whenever some orders have changed."""
    parameters = connection.get_connection_params()
    address = {name: parameters[name] for name in ("dbname", "user", "host") if name in parameters}
    ends = time.monotonic() + 300
    with psycopg.connect(**address, autocommit=True) as listener:
        listener.execute("LISTEN orders_changed")
        under_way = Order.objects.exclude(status__in=TERMINAL)
        while under_way.exists():
            if time.monotonic() > ends:
                return  # the judge says which
            list(listener.notifies(timeout=1, stop_after=50))


async def ask_workflows(orders: Mapping[str, Order]) -> dict[str, str]:
    """What each order's workflow has ended with: a status, or why there is none."""
    client = await connect(lazy=False)
    at_a_time = asyncio.Semaphore(20)

    async def ask(order: Order) -> str:
        async with at_a_time:
            return await _result(client, order)

    return dict(zip(orders, await asyncio.gather(*map(ask, orders.values())), strict=True))


async def _result(client: Client, order: Order) -> str:
    try:
        async with asyncio.timeout(20):
            handle = client.get_workflow_handle(order_workflow_id(order.pk), result_type=OrderResult)
            return str((await handle.result()).status)
    except TimeoutError:
        return "still runs"


def carry_all_to_their_ends() -> Matrix:
    stocking.stock_products(products=[Product(sku="LAMP", name="Brass desk lamp", stock=LAMPS)])
    engine, faults = Engine(), Faults()
    desk = Desk(engine)
    orders = {str(cell): place(cell, number) for number, cell in enumerate(CELLS)}
    plans = {str(cell): desk.plan(cell) for cell in CELLS}
    faults.plans |= {orders[name].pk: plan for name, plan in plans.items()}
    moods = {
        f"order-{orders[str(cell)].pk}:charge": Temper(decline_rate=1.0)
        if cell.road == "declined"
        else Temper(confirm_rate=1.0)
        for cell in CELLS
        if cell.road.startswith(("declined", "unconfirmed"))
    }
    with ExitStack() as stack:
        stack.enter_context(quick_bounds())
        stack.enter_context(bank_with_moods(moods))
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setattr(worker, "AttemptLog", faults.between())
        # What the sandbox costs is a third of each order; that workflows keep to it, all other tests see.
        patch.setattr(worker, "Sandbox", UnsandboxedWorkflowRunner)
        engine.start()
        try:
            wait_until_all_have_ended()
            says = asyncio.run(ask_workflows(orders))
        finally:
            engine.run(faults.let_go())
            engine.stop()
    books = judge.read_books(query_ledger)
    found = [*judge.unsafe(books, received()), *judge.unfinished(books)]
    by_number: dict[str, list[str]] = {}
    for words in found:
        by_number.setdefault(words.partition(":")[0], []).append(words)
    read = {order.number: order for order in books.orders}
    outcomes = {
        name: Outcome(
            status=read[order.number].status,
            plan=plans[name],
            workflow_says=says[name],
            violations=by_number.pop(order.number, []),
            sent_to=next((p.address["city"] for p in read[order.number].packages if not p.withdrawn), ""),
        )
        for name, order in orders.items()
    }
    return Matrix(
        outcomes=outcomes,
        stock_violations=[words for violations in by_number.values() for words in violations],
        differences=reconcile(lambda: asyncio.run(_entries()), at=now()),
        found_when_broken={name: break_and_judge(breach, orders[str(breach.of)]) for name, breach in BREACHES.items()},
    )


async def _entries() -> Any:
    async with Ledger(settings.SIMULATOR_DATABASE_URL) as ledger:
        return await SimulatedBank(ledger, Temper()).entries()


@pytest.fixture(scope="module")
def matrix(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Matrix:
    """The whole batch, once. What was found is kept; the database is empty again before the first test looks at it."""
    with (
        django_db_blocker.unblock(),
        override_settings(
            SIMULATOR_DATABASE_URL=database_url(),
            SIMULATOR_SECONDS=0.0,
            TEMPORAL_ORDERS_QUEUE="orders-matrix",
            TEMPORAL_SHIPPING_QUEUE="shipping-matrix",
            WORKER_DATABASE_THREADS=60,
            WORKER_PROVIDER_CALLS=400,
            WORKER_WORKFLOW_TASKS=24,
            ATTENTION_DEADLINE=timedelta(seconds=4),
            REVIEW_ESCALATION_DEADLINE=timedelta(seconds=2),
            PAYMENT_CONFIRM_WITHIN=timedelta(seconds=1),
            DISPATCH_RETRY_AFTER=timedelta(seconds=0.05),
            UNDO_RETRY_AFTER=timedelta(seconds=0.02),
        ),
    ):
        forget()
        try:
            with pooled_connections():
                found = carry_all_to_their_ends()
        finally:
            forget()
    return found


def forget() -> None:
    with connection.cursor() as cursor:
        cursor.execute("DROP SCHEMA IF EXISTS simulator CASCADE")
    empty_what_was_filled()


@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_the_order_ends_well(cell: Cell, matrix: Matrix) -> None:
    outcome = matrix.outcomes[str(cell)]

    assert outcome.violations == []
    assert outcome.status == cell.ends
    assert outcome.workflow_says == cell.ends
    assert outcome.plan.struck == {step for step, _ in cell.faults}, "not every fault of the plan has struck"
    assert (outcome.plan.interfered not in ("", "done")) is cell.refused
    assert bool(outcome.plan.interfered) is bool(cell.deed)
    assert not any(outcome.plan.helps.values()), "somebody was not asked for help"
    assert [error for task in outcome.plan.late if (error := task.exception())] == []


@pytest.mark.parametrize("cell", [cell for cell in CELLS if cell.deed == "move"], ids=str)
def test_the_carrier_has_the_address_that_was_the_orders_at_dispatch(cell: Cell, matrix: Matrix) -> None:
    assert matrix.outcomes[str(cell)].sent_to == ("Berlin" if cell.refused else "Paris")


def test_all_stock_is_accounted_for(matrix: Matrix) -> None:
    assert matrix.stock_violations == []


def test_bank_and_desk_say_the_same(matrix: Matrix) -> None:
    assert matrix.differences == []


@pytest.mark.parametrize("name", BREACHES)
def test_the_judge_finds(name: str, matrix: Matrix) -> None:
    found = matrix.found_when_broken[name]

    assert any(BREACHES[name].words in words for words in found), found

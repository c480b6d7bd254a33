"""A run of many orders through the assignment's profile, and what came of it.

Orders are placed and decided on through the services, as people's are; all figures are taken from what others keep:
events, Temporal's histories, and the bank's ledger.
"""

import asyncio
import os
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from statistics import fmean, quantiles

from django.db.models import QuerySet, Sum
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from orders.models import ActorKind, Event, Order, Product, Review
from orders.services import placing, reviewing, stocking
from orders.services.actors import Actor
from orders.services.placing import Address, NewLine, NewOrder
from orders.services.transitions import ActionRefused
from orders.states import TERMINAL, Action
from temporal_workers.contracts import order_workflow_id, shipping_workflow_id
from temporal_workers.providers.protocols import BankEntry
from temporal_workers.reconciling import Difference

SOURCE = "bench"
SKU = "ABC"
SHOP = Actor(ActorKind.CUSTOMER, "Bench")
TICK = 0.05  # seconds between looks
PATIENCE = 60.0  # seconds without any change after which the rest is given up

WITHIN = 15.0  # seconds
SHARE_WITHIN = 0.995
MEDIAN = 4.0  # seconds
HUMAN = (Action.APPROVE, Action.REJECT, Action.EXPIRE, Action.CANCEL)


@dataclass(frozen=True)
class Plan:
    """`rate` is orders a second; each is approved `decide_after` it was put to review."""

    orders: int
    rate: float
    decide_after: timedelta


class Run:
    """The orders of one run: placed and approved as the plan says, until all have ended or nothing moves any more."""

    def __init__(self, plan: Plan, operator: Actor, tell: Callable[[str], None]) -> None:
        self._plan = plan
        self._operator = operator
        self._tell = tell
        self._name = uuid.uuid4().hex[:8]
        self._placed = 0
        self._loads = [os.getloadavg()[0]]

    @property
    def load(self) -> float:
        """The machine's load average over the run."""
        return fmean(self._loads)

    @property
    def orders(self) -> list[Order]:
        return list(self._found().order_by("placed_at"))

    def carry_out(self) -> None:
        self._stock()
        began = moved_at = told_at = time.monotonic()
        stood = None
        while True:
            now = time.monotonic()
            self._place(min(self._plan.orders, int((now - began) * self._plan.rate) + 1))
            self._decide()
            stands = self._standing()
            if stands != stood:
                stood, moved_at = stands, now
            under_way = stands[0]
            if (self._placed == self._plan.orders and not under_way) or now - moved_at > PATIENCE:
                return
            if now - told_at > 10:
                told_at = now
                self._loads.append(os.getloadavg()[0])
                self._tell(f"{self._placed:,} placed, {self._placed - under_way:,} ended")
            time.sleep(TICK)

    def _stock(self) -> None:
        stocking.stock_products(products=[Product(sku=SKU, name="Bench")])
        stocking.restock(product_id=Product.objects.get(sku=SKU).pk, units=self._plan.orders)

    def _place(self, due: int) -> None:
        while self._placed < due:
            now = datetime.now(UTC)
            new = NewOrder(
                source=SOURCE,
                reference=f"{self._name}-{self._placed:05}",
                customer_name=f"Customer {self._placed}",
                address=Address("DE", line1="Werkstr. 1", city="Berlin", postal_code="10969"),
                currency="EUR",
                lines=[NewLine(SKU, 1, 2_500)],
                placed_at=now,
            )
            placing.place_order(new=new, actor=SHOP, at=now)
            self._placed += 1

    def _decide(self) -> None:
        now = datetime.now(UTC)
        waiting = Review.objects.filter(
            order__in=self._found(), decision="", opened_at__lte=now - self._plan.decide_after
        )
        for order_id in list(waiting.values_list("order_id", flat=True)):
            with suppress(ActionRefused):  # somebody else at the desk, or the deadline
                reviewing.approve(order_id=order_id, actor=self._operator, at=datetime.now(UTC))

    def _standing(self) -> tuple[int, int]:
        """How many are under way, and how many events there have been."""
        events = self._found().aggregate(all=Sum("version"))["all"] or 0
        return self._found().exclude(status__in=TERMINAL).count(), events

    def _found(self) -> QuerySet[Order]:
        return Order.objects.filter(source=SOURCE, reference__startswith=f"{self._name}-")


@dataclass(frozen=True)
class Report:
    """What came of a run. `seconds` is machine time: one figure for each order that has ended."""

    plan: Plan
    ended: Counter[str]
    under_way: int
    seconds: Sequence[float]
    attempts: dict[str, list[int]]
    charges: Counter[int]
    differences: Sequence[Difference]
    load: float = 0.0
    missed: list[str] = field(default_factory=list)

    def lines(self) -> Iterator[str]:
        plan = self.plan
        after = plan.decide_after.total_seconds()
        yield f"{plan.orders:,} orders, {plan.rate:g} a second, each approved {after:g} s after it was put to review"
        yield f"machine         {os.cpu_count()} cores, load {self.load:.1f} with all else that ran there"
        yield "ended           " + ", ".join(f"{many:,} {status}" for status, many in self.ended.most_common())
        yield self._against("not ended", f"{self.under_way:,}", self.under_way == 0, "0")
        p50, p95, p99 = percentiles(self.seconds)
        yield f"machine time    p95 {p95:.1f} s, p99 {p99:.1f} s, max {max(self.seconds, default=0.0):.1f} s"
        yield self._against("  median", f"{p50:.1f} s", p50 <= MEDIAN, f"at most {MEDIAN:g} s")
        share = sum(seconds <= WITHIN for seconds in self.seconds) / plan.orders
        yield self._against(
            f"  within {WITHIN:g} s", f"{share:.2%}", share >= SHARE_WITHIN, f"at least {SHARE_WITHIN:.1%}"
        )
        charges = ", ".join(f"{orders:,} with {many}" for many, orders in sorted(self.charges.items()))
        yield self._against("charges", charges, max(self.charges, default=0) <= 1, "none with 2")
        yield self._against("bank and desk", f"{len(self.differences)} differences", not self.differences, "0")
        yield "attempts        mean  most"
        for step, attempts in self.attempts.items():
            yield f"  {step:<18}{fmean(attempts):6.2f} {max(attempts):5}"

    def _against(self, name: str, found: str, met: bool, target: str) -> str:
        if not met:
            self.missed.append(name.strip())
        return f"{name:<16}{found} (target: {target}{'' if met else ', MISSED'})"


def report(
    plan: Plan,
    orders: Sequence[Order],
    attempts: dict[str, list[int]],
    entries: Sequence[BankEntry],
    differences: Sequence[Difference],
    load: float,
) -> Report:
    ended = [order for order in orders if order.status_now in TERMINAL]
    return Report(
        plan,
        Counter(order.status for order in ended),
        plan.orders - len(ended),
        list(machine_seconds(ended)),
        attempts,
        charges_per_order(orders, entries),
        differences,
        load,
    )


def machine_seconds(orders: Sequence[Order]) -> Iterator[float]:
    """For each order, from its first event to its last, without the time from the review's opening to its end."""
    for order in orders:
        events = list(Event.objects.filter(order=order).order_by("sequence").values_list("type", "at"))
        whole = events[-1][1] - events[0][1]
        opened = next((at for type_, at in events if type_ == Action.OPEN_REVIEW), None)
        closed = next((at for type_, at in events if type_ in HUMAN), None)
        waited = closed - opened if opened and closed else timedelta(0)
        yield (whole - waited).total_seconds()


def charges_per_order(orders: Sequence[Order], entries: Sequence[BankEntry]) -> Counter[int]:
    """How many orders have how many charges that moved money, by the bank's ledger."""
    charged = Counter(entry.key.partition(":")[0] for entry in entries if entry.kind == "charge" and not entry.declined)
    return Counter(charged[f"order-{order.pk}"] for order in orders)


def percentiles(values: Sequence[float]) -> tuple[float, float, float]:
    """The 50th, 95th and 99th; of nothing, zeros."""
    if len(values) < 2:
        return (values[0],) * 3 if values else (0.0, 0.0, 0.0)
    cuts = quantiles(values, n=100, method="inclusive")
    return cuts[49], cuts[94], cuts[98]


async def attempts_per_step(client: Client, orders: Sequence[Order]) -> dict[str, list[int]]:
    """Of each call to the outside, how many attempts each order took, by Temporal's own histories."""
    at_a_time = asyncio.Semaphore(20)

    async def of(workflow_id: str) -> Counter[str]:
        names: dict[int, str] = {}
        attempts: Counter[str] = Counter()
        try:
            async with at_a_time:
                history = await client.get_workflow_handle(workflow_id).fetch_history()
        except RPCError as error:
            if error.status == RPCStatusCode.NOT_FOUND:  # it came to no shipment
                return attempts
            raise
        for event in history.events:
            if event.HasField("activity_task_scheduled_event_attributes"):
                names[event.event_id] = event.activity_task_scheduled_event_attributes.activity_type.name
            elif event.HasField("activity_task_started_event_attributes"):
                started = event.activity_task_started_event_attributes
                attempts[names[started.scheduled_event_id]] += started.attempt
        return attempts

    ids = [name(order.pk) for order in orders for name in (order_workflow_id, shipping_workflow_id)]
    found: dict[str, list[int]] = {}
    for attempts in await asyncio.gather(*map(of, ids)):
        for step, many in attempts.items():
            found.setdefault(step, []).append(many)
    return found

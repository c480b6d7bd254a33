"""`manage.py bench_bulk`: how long a decision on many orders takes, from its beginning to its last commit."""

import time
import uuid
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from django.core.management.base import BaseCommand

from orders import accounts
from orders.models import Order, Product
from orders.services import bulk, placing, reviewing, stocking
from orders.services.actors import SYSTEM, Actor
from orders.services.placing import Address, NewLine, NewOrder
from orders.states import Action

TARGET = 2.0  # seconds for 1,000 orders


class Command(BaseCommand):
    help = (
        "Places orders on this database, approves them all at once as a worker does, and prints how long that took. "
        "The orders stay. Use a database of its own, with no workers."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--orders", type=_count, default=1_000, help="how many (1000)")

    def handle(self, *args: Any, orders: int, **options: Any) -> None:
        actor = Actor.operator(accounts.create_bench_operator())
        chosen = {order.pk: order.version for order in _waiting(orders)}
        started, worked = time.perf_counter(), time.process_time()
        begun = bulk.begin(
            bulk_id=uuid.uuid4(), action=Action.APPROVE, chosen=chosen, actor=actor, at=datetime.now(UTC)
        )
        recorded = time.perf_counter()
        batches = []
        while bulk.carry_out(bulk_id=begun.pk, at=datetime.now(UTC)):
            batches.append(time.perf_counter())
        took, worked = batches[-1] - started, time.process_time() - worked
        begun.refresh_from_db()
        self.stdout.write(f"{begun.size:,} orders approved at once, {begun.refused:,} refused")
        self.stdout.write(f"recorded          {recorded - started:.2f} s")
        self.stdout.write(f"first committed   {batches[0] - started:.2f} s")
        self.stdout.write(f"last committed    {took:.2f} s (target for 1,000: {TARGET:.0f} s)")
        self.stdout.write(f"of our processor  {worked:.2f} s; the database's comes on top")


def _waiting(number: int) -> Sequence[Order]:
    """So many orders that wait for a decision."""
    if not Product.objects.filter(sku="BENCH").exists():
        stocking.stock_products(products=[Product(sku="BENCH", name="Bench", stock=1_000_000)])
    run = uuid.uuid4().hex[:8]
    found = []
    for index in range(number):
        now = datetime.now(UTC)
        new = NewOrder(
            source="bench",
            reference=f"{run}-{index}",
            customer_name="Bench",
            customer_email=f"bench-{index}@example.com",
            address=Address("DE", line1="Lindenstr. 4", city="Berlin", postal_code="10969"),
            currency="EUR",
            lines=[NewLine("BENCH", 1, 120_000)],
            placed_at=now,
        )
        order = placing.place_order(new=new, actor=SYSTEM, at=now)
        reviewing.receive_order(order_id=order.pk, at=now)
        reviewing.validate_order(order_id=order.pk, at=now)
        found.append(order)
    return list(Order.objects.filter(pk__in=[order.pk for order in found], status="in_review"))


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= bulk.MOST):
        raise ArgumentTypeError(f"must be a whole number from 1 to {bulk.MOST}, not {text!r}")
    return int(text)

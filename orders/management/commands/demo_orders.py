"""`manage.py demo_orders`: keep a demonstration's desk alive with made-up orders, until SIGTERM."""

import logging
import signal
import sys
import time
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable
from datetime import datetime, timedelta

from django.core.management.base import BaseCommand
from django.db import connection
from django.utils import timezone

from orders import demo, money, outage, staging
from orders.models import ActorKind, Order
from orders.services import actors, placing, stocking
from orders.states import WAITS_FOR_PEOPLE, Status

UNDECIDED = (Status.PLACED, Status.RECEIVED, Status.VALIDATED, *WAITS_FOR_PEOPLE)
BETWEEN_FIRST = timedelta(minutes=23)
RETRY_SECONDS = 2.0
LOOK_SECONDS = 1.0

log = logging.getLogger("demo")


class Command(BaseCommand):
    help = "Places a lot of made-up orders on an empty desk, then one every while, until it is stopped."
    requires_system_checks = []  # they have nothing to do with the pages, which would be loaded for them

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--seed", type=int, default=1, help="which made-up day to play (1)")
        parser.add_argument("--first", type=_count, default=14, help="orders at once on an empty desk (14)")
        parser.add_argument("--every", type=_seconds, default=30.0, help="seconds between orders (30)")
        parser.add_argument(
            "--most-waiting", type=_count, default=40, help="place none while so many are undecided (40)"
        )

    def handle(self, *args: object, seed: int, first: int, every: float, most_waiting: int, **options: object) -> None:
        for stop in (signal.SIGTERM, signal.SIGINT):
            signal.signal(stop, lambda *_: sys.exit(0))
        stream = Stream(seed)
        _insist(lambda: stream.open(first))
        next_at = time.monotonic() + every
        while True:
            time.sleep(min(every, LOOK_SECONDS))
            _insist(stream.set_the_scene)
            if time.monotonic() >= next_at:
                next_at += every
                _insist(lambda: stream.go_on(most_waiting))


class Stream:
    """The orders of one seed, from where they were left."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.n = 0
        self.is_staged = False

    def open(self, first: int) -> None:
        """Fill the shop's shelves, and the desk where nothing waits there."""
        stocking.stock_products(products=demo.products())
        self.n = Order.objects.filter(source=demo.SOURCE, reference__startswith=f"{self.seed}-").count()
        waiting = _undecided()
        if waiting:
            log.info("%d orders wait for a decision already", waiting)
            return
        now = timezone.now()
        for place in range(first, 0, -1):
            self.place_next(placed_at=now - BETWEEN_FIRST * place)

    def go_on(self, most_waiting: int) -> None:
        if _undecided() < most_waiting:
            self.place_next(placed_at=timezone.now())

    def set_the_scene(self) -> None:
        """Once the first orders have come to review: see `staging`."""
        self.is_staged = self.is_staged or staging.stage(at=timezone.now())

    def place_next(self, *, placed_at: datetime) -> None:
        new = demo.new_order(self.n, seed=self.seed, placed_at=placed_at)
        actor = actors.Actor(ActorKind.CUSTOMER, new.customer_name)
        try:
            order = placing.place_order(new=new, actor=actor, at=timezone.now())
        except placing.DuplicateReference:
            log.info("%s was there already", new.reference)
        else:
            total = money.format_money(order.total_minor, order.currency)
            log.info("%s: %s, %s, %s", order, new.customer_name, new.address.city, total)
        self.n += 1


def _undecided() -> int:
    return Order.objects.filter(status__in=UNDECIDED).count()


def _insist(work: Callable[[], None]) -> None:
    """Do `work`, again and again while the database is away, with one line for its going and one for its return."""
    away = False
    while True:
        try:
            work()
        except outage.AWAY as problem:
            if not away:
                log.warning("%s, waiting for it: %s", outage.trouble(problem), str(problem).partition("\n")[0])
            away = True
            connection.close()
            time.sleep(RETRY_SECONDS)
        else:
            if away:
                log.info("The database is back")
            return


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ArgumentTypeError(f"must be a whole number of 0 or more, not {text!r}")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0
    if not 0.01 <= seconds <= 86_400:
        raise ArgumentTypeError(f"must be a number of seconds from 0.01 to 86400, not {text!r}")
    return seconds

"""`manage.py bench assignment`: how the assignment's profile does on the desk that runs here."""

import asyncio
import logging
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from orders import accounts
from orders.models import Order
from orders.services.actors import Actor
from temporal_workers import benching
from temporal_workers.client import connect
from temporal_workers.providers.protocols import BankEntry, ProviderUnavailable
from temporal_workers.providers.simulated import Ledger, SimulatedBank, Temper
from temporal_workers.reconciling import reconcile


@contextmanager
def _no_line_for_each_order() -> Iterator[None]:
    told = logging.getLogger("orders")
    before = told.level
    told.setLevel(logging.WARNING)
    try:
        yield
    finally:
        told.setLevel(before)


class Command(BaseCommand):
    help = (
        "Places orders on a desk whose workers run with ORDER_PROVIDERS=assignment, approves them, waits for their "
        "end, and prints what came of it. Exit status 1 where a target is missed."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("profile", choices=["assignment"])
        parser.add_argument("--orders", type=_count, default=1_000, help="how many (1000)")
        parser.add_argument("--rate", type=_number, default=1.0, help="orders a second (1)")
        parser.add_argument("--decide-after", type=_number, default=1.0, help="seconds that each waits in review (1)")

    def handle(self, *args: Any, orders: int, rate: float, decide_after: float, **options: Any) -> None:
        plan = benching.Plan(orders, rate, timedelta(seconds=decide_after))
        run = benching.Run(plan, Actor.operator(accounts.create_bench_operator()), self.stderr.write)
        with _no_line_for_each_order():
            run.carry_out()
        placed = run.orders
        try:
            attempts = asyncio.run(_attempts(placed))
            differences = reconcile(lambda: asyncio.run(_entries()), at=datetime.now(UTC))
            report = benching.report(plan, placed, attempts, asyncio.run(_entries()), differences, run.load)
        except (RuntimeError, ProviderUnavailable) as trouble:
            raise CommandError(f"It ran, but cannot be measured: {str(trouble).strip()}", returncode=2) from None
        for line in report.lines():
            self.stdout.write(line)
        if "announce_order" not in attempts:
            raise CommandError("No order went the assignment's way: are there workers with ORDER_PROVIDERS=assignment?")
        if report.missed:
            raise CommandError(f"Missed: {', '.join(report.missed)}.", returncode=1)


async def _attempts(orders: Sequence[Order]) -> dict[str, list[int]]:
    return await benching.attempts_per_step(await connect(lazy=False), orders)


async def _entries() -> Sequence[BankEntry]:
    async with Ledger(settings.SIMULATOR_DATABASE_URL) as ledger:
        return await SimulatedBank(ledger, Temper()).entries()


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 100_000):
        raise ArgumentTypeError(f"must be a whole number from 1 to 100000, not {text!r}")
    return int(text)


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0
    if not 0.01 <= number <= 1_000:
        raise ArgumentTypeError(f"must be a number from 0.01 to 1000, not {text!r}")
    return number

"""`manage.py seed_orders`: a desk of the size of a real shop's, made up within minutes."""

import time
from argparse import ArgumentParser, ArgumentTypeError

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from orders.accounts import create_seed_operators
from orders.services.seeding import seed_orders

MOST = 10_000_000


class Command(BaseCommand):
    help = (
        "Writes made-up orders with all their rows straight into the tables, most of them ended. None has a run in"
        " Temporal, and the bank knows none of their payments: for measuring and training, never beside real orders."
        " The desk stands still meanwhile."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--count", type=_number, default=1_000_000, help="orders in all (1000000)")
        parser.add_argument("--waiting", type=_number, default=20_000, help="of which so many are undecided (20000)")
        parser.add_argument("--seed", type=_number, default=1, help="which years to make up (1)")

    def handle(self, *args: object, count: int, waiting: int, seed: int, **options: object) -> None:
        if not settings.DEBUG:
            raise CommandError("Made-up orders are for demonstrations only: DJANGO_DEBUG is off.")
        if waiting > count:
            raise CommandError(f"--waiting {waiting:,} is more than --count {count:,}.")
        began = time.monotonic()
        try:
            seed_orders(
                count=count,
                waiting=waiting,
                operators=create_seed_operators(),
                at=timezone.now(),
                seed=seed,
                tell=lambda told: self.stderr.write(f"{time.monotonic() - began:6.1f} s  {told}"),
            )
        except ValueError as problem:
            raise CommandError(f"{problem} Another --seed makes up others.") from None
        self.stdout.write(
            f"{count:,} orders, {waiting:,} of them undecided, written in {time.monotonic() - began:.0f} s"
        )


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= MOST):
        raise ArgumentTypeError(f"must be a whole number from 0 to {MOST}, not {text!r}")
    return int(text)

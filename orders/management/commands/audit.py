"""`manage.py audit`: whether the record of what happened is whole."""

from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from orders import cli, proving
from orders.proving import Break, How, Proven

EVER = (date(1, 1, 1), date(9999, 12, 30))


class Command(BaseCommand):
    help = "Proves that events are as they were written."

    def add_arguments(self, parser: ArgumentParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")

        def verb(name: str, handler: Callable[..., None], told: str) -> ArgumentParser:
            added = verbs.add_parser(name, help=told, description=told)
            added.set_defaults(handler=handler)
            return added

        verifying = verb(
            "verify",
            self.verify,
            "Go along the chain of events of each order, or of one, or of those to which something happened in a"
            " period. Names what was changed, is missing, was inserted or reordered; exit status 1 where anything was.",
        )
        verifying.add_argument("--order", metavar="ORDER", help="such as CS-104233, or an id")
        _period(verifying)

    def handle(self, *args: object, handler: Callable[..., None], **options: Any) -> None:
        try:
            handler(**options)
        except cli.NoSuchOrder as unknown:
            raise CommandError(f"--order: {unknown}", returncode=2) from None

    def verify(self, *, order: str | None, since: date | None, until: date | None, **options: Any) -> None:
        if order and (since or until):
            raise CommandError("--order: takes no period; the whole of the order is looked at.", returncode=2)
        orders = events = broken = 0
        for proven in _proofs(order, since, until):
            orders += 1
            events += proven.events
            if proven.broken:
                broken += 1
                self.stdout.write(f"{proven.number}: {_told(proven.broken)}")
        looked_at = f"{events:,} events of {orders:,} orders"
        if broken:
            raise CommandError(f"Looked at {looked_at}: {broken:,} of the orders are not as they were written.")
        self.stdout.write(f"Looked at {looked_at}: all as they were written.")


def _proofs(order: str | None, since: date | None, until: date | None) -> Iterator[Proven]:
    if order:
        return proving.one_order(cli.find(order).pk)
    if since or until:
        first, end = _instants(since, until)
        return proving.touched(since=first, until=end)
    return proving.every_order()


def _told(found: Break) -> str:
    if found.how != How.MISSING:
        return f"event {found.sequence} was {found.how}"
    if found.until == found.sequence:
        return f"event {found.sequence} is missing"
    return f"events {found.sequence} to {found.until} are missing"


def _period(parser: ArgumentParser) -> None:
    parser.add_argument("--since", type=_day, metavar="DATE", help="the first day in UTC, such as 2026-11-01")
    parser.add_argument("--until", type=_day, metavar="DATE", help="the last day, all of it")


def _instants(since: date | None, until: date | None) -> tuple[datetime, datetime]:
    """From the beginning of the one day to the end of the other."""
    first, last = since or EVER[0], until or EVER[1]
    if first > last:
        raise CommandError(f"--until: {last} is before --since, {first}.", returncode=2)
    return datetime.combine(first, time(), UTC), datetime.combine(last + timedelta(days=1), time(), UTC)


def _day(text: str) -> date:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise ArgumentTypeError(f"must be a day such as 2026-11-01, not {text!r}") from None
    if not EVER[0] <= day <= EVER[1]:
        raise ArgumentTypeError(f"must be a day from {EVER[0]} to {EVER[1]}, not {text!r}")
    return day

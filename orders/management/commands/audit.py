"""`manage.py audit`: whether the record of what happened is whole, and a signed copy of it."""

from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from orders import cli, proving, signed_export
from orders.proving import Break, How, Proven

EVER = (date(1, 1, 1), date(9999, 12, 30))


class Command(BaseCommand):
    help = "Proves that events are as they were written, and exports them signed."

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
        exporting = verb(
            "export", self.export, "Write the events of a period as JSON lines, signed with AUDIT_SIGNING_KEY."
        )
        _period(exporting, required=True)
        exporting.add_argument("--output", type=Path, metavar="FILE", help="a new file (else the terminal)")
        checking = verb("verify-export", self.verify_export, "Check such a file. Exit status 1 where it was changed.")
        checking.add_argument("file", type=Path, metavar="FILE")
        checking.add_argument("--public-key", required=True, metavar="KEY", help="in base64, as new-key told it")
        verb("new-key", self.new_key, "Make a key to sign exports with, and the public key to check them by.")

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

    def export(self, *, since: date, until: date, output: Path | None, **options: Any) -> None:
        if not settings.AUDIT_SIGNING_KEY:
            raise CommandError("AUDIT_SIGNING_KEY is not set. manage.py audit new-key makes one.", returncode=2)
        first, end = _instants(since, until)
        lines = signed_export.export(since=first, until=end, signing_key=settings.AUDIT_SIGNING_KEY, at=timezone.now())
        if output is None:
            for line in lines:
                self.stdout.write(line)
            return
        try:
            with output.open("x", encoding="utf-8", newline="\n") as file, _gone_if_unfinished(output):
                file.writelines(f"{line}\n" for line in lines)
        except OSError as problem:
            raise CommandError(f"--output: {output} cannot be written ({problem.strerror}).", returncode=2) from None

    def verify_export(self, *, file: Path, public_key: str, **options: Any) -> None:
        try:
            with file.open("rb") as lines:
                found = signed_export.check(lines, public_key=public_key)
        except OSError as problem:
            raise CommandError(f"{file} cannot be read ({problem.strerror}).", returncode=2) from None
        except ValueError as wrong:
            raise CommandError(f"--public-key: {wrong}.", returncode=2) from None
        except signed_export.NotAsSigned as wrong:
            raise CommandError(f"{file}: {wrong}") from None
        self.stdout.write(
            f"{found.count:,} events from {found.since} to before {found.until}, taken at {found.taken_at}:"
            " all as they were signed."
        )

    def new_key(self, **options: Any) -> None:
        signing, public = signed_export.new_pair()
        self.stdout.write(f"AUDIT_SIGNING_KEY={signing}\npublic key: {public}")


@contextmanager
def _gone_if_unfinished(file: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        file.unlink()
        raise


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


def _period(parser: ArgumentParser, *, required: bool = False) -> None:
    first = "the first day in UTC, such as 2026-11-01"
    parser.add_argument("--since", type=_day, required=required, metavar="DATE", help=first)
    parser.add_argument("--until", type=_day, required=required, metavar="DATE", help="the last day, all of it")


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

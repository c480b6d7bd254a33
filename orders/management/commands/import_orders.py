"""`manage.py import_orders FILE.csv[.gz]`: place the orders that a file holds.

Each order is placed in a transaction of its own. Its number in the file is its reference, which a source has only
once; so the same file, or a run that was cut off, can be run again and nothing is doubled.
"""

import csv
import re
import time
from argparse import ArgumentParser, ArgumentTypeError
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.core.management.base import BaseCommand, CommandError, OutputWrapper
from django.db import reset_queries, transaction
from django.utils import timezone

from orders import imports, money, outage
from orders.imports import Found, Layout, Reason, Row, Table, Unreadable
from orders.models import ActorKind, Order, Product
from orders.services import actors, placing, stocking

GO_ON = "Run the same command again to go on: what is placed already is not placed again."
CHOICES = (
    "source",
    "currency",
    "country",
    "date_format",
    "time_zone",
    "decimal_mark",
)  # options that name a Layout's field
ACTOR = actors.Actor(ActorKind.SYSTEM, "Import")


class Command(BaseCommand):
    help = "Places the orders of a CSV file, plain or gzipped. Safe to run again."
    requires_system_checks = []  # they have nothing to do with the pages, which would be loaded for them

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path, metavar="FILE.csv[.gz]")
        parser.add_argument("--preset", choices=sorted(imports.PRESETS), help="a source whose columns are known")
        parser.add_argument(
            "--map",
            type=_mapping,
            action="append",
            default=[],
            metavar="FIELD=COLUMN",
            help=f"which column holds a field, where it is not called the same: {', '.join(imports.FIELDS)}",
        )
        parser.add_argument("--source", type=_source, help="name of the source; a reference is unique within it")
        parser.add_argument("--currency", type=_currency, help="of the whole file, where it has no such column")
        parser.add_argument("--country", type=_country, help="of the whole file, where it has no such column")
        parser.add_argument(
            "--date-format", type=_date_format, help="as strptime has it, such as %%d.%%m.%%Y; else ISO 8601"
        )
        parser.add_argument("--time-zone", type=_time_zone, help="of instants that name none, such as Europe/Paris")
        parser.add_argument("--decimal-mark", choices=[".", ","], help="of prices (.)")
        parser.add_argument("--encoding", default="", help="such as latin-1; else UTF-8, or UTF-16 with its mark")
        parser.add_argument("--delimiter", type=_delimiter, help="else found out: , ; tab or |")
        parser.add_argument("--rejects", type=Path, help="where to write what is refused (FILE.rejects.csv)")
        parser.add_argument("--create-products", action="store_true", help="stock products that we do not know yet")
        parser.add_argument("--stock-each", type=_units, default=100_000, help="units of each such product (100000)")

    def handle(self, *args: object, file: Path, rejects: Path | None, **options: Any) -> None:
        stock_each = options["stock_each"] if options["create_products"] else None
        try:
            table = imports.open_table(
                file, _layout(options), encoding=options["encoding"], delimiter=options["delimiter"] or ""
            )
            with Rejects(rejects or file.with_name(f"{file.name}.rejects.csv"), table) as refused:
                run = Run(table, refused, stock_each, Progress(self.stdout, table.rows))
                run.place_all()
        except Unreadable as problem:
            raise CommandError(str(problem)) from None
        except outage.AWAY as problem:
            told = str(problem).partition("\n")[0]
            raise CommandError(f"{outage.trouble(problem)} ({told}). {GO_ON}") from None
        except OSError as problem:
            raise CommandError(f"What is refused cannot be written down ({problem.strerror}). {GO_ON}") from None
        except KeyboardInterrupt:
            raise CommandError(f"Stopped. {GO_ON}", returncode=130) from None
        self.stdout.write(report(run.sums))
        if refused.count:
            self.stdout.write(f"What was refused, and why: {refused.path}")
        if run.sums.lines_read and run.sums.lines_refused.total() == run.sums.lines_read:
            lines = "all {:,} lines were" if run.sums.lines_read > 1 else "its only line was"
            raise CommandError(f"Nothing was imported: {lines.format(run.sums.lines_read)} refused.")


@dataclass
class Sums:
    """What became of every line and every order. Each line is taken, there already or refused; so is each order."""

    lines_taken: int = 0
    lines_there: int = 0
    lines_refused: Counter[Reason] = field(default_factory=Counter)
    orders_placed: int = 0
    orders_there: int = 0
    orders_refused: Counter[Reason] = field(default_factory=Counter)
    placed_minor: Counter[str] = field(default_factory=Counter)  # by currency
    there_minor: Counter[str] = field(default_factory=Counter)

    @property
    def lines_read(self) -> int:
        return self.lines_taken + self.lines_there + self.lines_refused.total()

    @property
    def orders_found(self) -> int:
        return self.orders_placed + self.orders_there + self.orders_refused.total()


class Rejects:
    """The file of what is refused: line, reason and the row as it was. It is there only if something was."""

    def __init__(self, path: Path, table: Table) -> None:
        self.path = path
        self.table = table
        self.count = 0

    def __enter__(self) -> Self:
        if self.path.exists() and self.path.samefile(self.table.path):
            raise CommandError("--rejects names the file that is to be imported.")
        try:
            self.file = self.path.open("w", encoding="utf-8", errors="backslashreplace", newline="")
        except OSError as problem:
            raise CommandError(
                f"{self.path} cannot be written ({problem.strerror}): name another with --rejects."
            ) from None
        self.writer = csv.writer(self.file)
        self.writer.writerow(["line", "reason", "detail", *self.table.header])
        return self

    def write(self, row: Row, reason: Reason, told: str) -> None:
        self.count += 1
        self.writer.writerow([row.line, reason, told, *row.cells])

    def __exit__(self, *raised: object) -> None:
        self.file.close()
        if not self.count and self.path.is_file():  # a device stays
            self.path.unlink()


class Progress:
    """How far the import is: one line that changes at a terminal, a line now and then elsewhere."""

    def __init__(self, out: OutputWrapper, rows: int) -> None:
        self.out = out
        self.rows = rows
        self.at_terminal = out.isatty()
        self.told_at = time.monotonic()

    def tell(self, sums: Sums) -> None:
        now = time.monotonic()
        if now - self.told_at < (0.2 if self.at_terminal else 10):
            return
        self.told_at = now
        text = f"{sums.lines_read:,} of {self.rows:,} lines, {sums.orders_placed:,} orders placed"
        self.out.write(text, ending="\r" if self.at_terminal else "\n")
        self.out.flush()


class Run:
    """One import: places what is good, writes down what is not, and adds everything up."""

    def __init__(self, table: Table, rejects: Rejects, stock_each: int | None, progress: Progress) -> None:
        self.table = table
        self.rejects = rejects
        self.stock_each = stock_each
        self.progress = progress
        self.sums = Sums()
        self.known_skus: set[str] = set()

    def place_all(self) -> None:
        for found in imports.orders_of(self.table, now=timezone.now(), refuse=self.refuse_line):
            self.place(found)
            self.progress.tell(self.sums)
            reset_queries()  # with DJANGO_DEBUG on, Django would keep them

    def refuse_line(self, row: Row, reason: Reason, told: str) -> None:
        self.sums.lines_refused[reason] += 1
        self.rejects.write(row, reason, told)

    def refuse_order(self, found: Found, reason: Reason, told: str = "") -> None:
        self.sums.orders_refused[reason] += 1
        for taken in found.taken:
            self.refuse_line(taken.row, reason, told)

    def place(self, found: Found) -> None:
        unknown = self.unknown_products(found)
        if self.stock_each is None:
            self.refuse_unknown(found, unknown)
            unknown = []
        if found.refused or not found.taken:
            self.refuse_order(found, found.refused or Reason.NO_GOOD_LINE)
            return
        new = found.order(self.table.layout.source)
        try:
            with transaction.atomic():
                if unknown:
                    stocking.stock_products(products=unknown)
                order = placing.place_order(new=new, actor=ACTOR, at=timezone.now())
        except placing.InvalidOrder as wrong:
            self.refuse_order(found, Reason.NOT_PLACED, str(wrong))
        except placing.DuplicateReference as there:
            self.compare(found, there.order)
        else:
            self.known_skus |= {product.sku for product in unknown}
            self.sums.lines_taken += len(found.taken)
            self.sums.orders_placed += 1
            self.sums.placed_minor[order.currency] += order.total_minor

    def compare(self, found: Found, there: Order) -> None:
        """See whether the order that has the reference already is this one."""
        total = sum(taken.new.quantity * taken.new.unit_price_minor for taken in found.taken)
        if (total, found.taken[0].customer.currency) != (there.total_minor, there.currency):
            self.refuse_order(
                found, Reason.ANOTHER_ORDER, f"{there}: {money.format_money(there.total_minor, there.currency)}"
            )
            return
        self.sums.lines_there += len(found.taken)
        self.sums.orders_there += 1
        self.sums.there_minor[there.currency] += total

    def unknown_products(self, found: Found) -> list[Product]:
        """The order's goods that we have not got, sorted so that imports side by side cannot lock each other."""
        names = {taken.new.sku: taken.product_name for taken in found.taken}
        if new_to_us := names.keys() - self.known_skus:
            self.known_skus.update(Product.objects.filter(sku__in=new_to_us).values_list("sku", flat=True))
        return [
            Product(sku=sku, name=names[sku], stock=self.stock_each or 0)
            for sku in sorted(names.keys() - self.known_skus)
        ]

    def refuse_unknown(self, found: Found, unknown: Sequence[Product]) -> None:
        skus = {product.sku for product in unknown}
        for taken in [taken for taken in found.taken if taken.new.sku in skus]:
            self.refuse_line(taken.row, Reason.UNKNOWN_PRODUCT, taken.new.sku)
            found.taken.remove(taken)


def report(sums: Sums) -> str:
    """The sums as a table for people."""
    return "\n".join(
        [
            *_column("Lines", sums.lines_read, "taken", sums.lines_taken, sums.lines_there, sums.lines_refused),
            *_column("Orders", sums.orders_found, "placed", sums.orders_placed, sums.orders_there, sums.orders_refused),
            f"Placed: {_amounts(sums.placed_minor)}. There already: {_amounts(sums.there_minor)}.",
        ]
    )


def _column(what: str, all_: int, done: str, taken: int, there: int, refused: Counter[Reason]) -> Iterator[str]:
    yield f"{what:<8}{all_:>11,}"
    yield f"{taken:>19,} {done}"
    yield f"{there:>19,} there already"
    yield f"{refused.total():>19,} refused"
    for reason, times in refused.most_common():
        yield f"{times:>27,} {reason}"


def _amounts(minor: Counter[str]) -> str:
    return ", ".join(money.format_money(sum_, currency) for currency, sum_ in sorted(minor.items())) or "nothing"


def _layout(options: Mapping[str, Any]) -> Layout:
    """The preset, or the bare layout, with what the options say."""
    layout = imports.PRESETS[options["preset"]] if options["preset"] else Layout()
    told = {name: options[name] for name in CHOICES if options[name]}
    return replace(layout, columns={**layout.columns, **dict(options["map"])}, **told)


def _mapping(text: str) -> tuple[str, str]:
    name, _, column = text.partition("=")
    if name not in imports.FIELDS or not column.strip():
        raise ArgumentTypeError(f"must be FIELD=COLUMN, where FIELD is one of {', '.join(imports.FIELDS)}")
    return name, column.strip()


def _source(text: str) -> str:
    if not 0 < len(text) <= 40:
        raise ArgumentTypeError("must have 1 to 40 characters")
    return text


def _currency(text: str) -> str:
    if not money.is_currency(text):
        raise ArgumentTypeError(f"must be an ISO 4217 code such as EUR, not {text!r}")
    return text


def _country(text: str) -> str:
    if not money.country_code(text):
        raise ArgumentTypeError(f"must be a country's English name or ISO 3166 code, not {text!r}")
    return text


def _time_zone(text: str) -> ZoneInfo:
    try:
        return ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ArgumentTypeError(f"must be a time zone such as Europe/Paris, not {text!r}") from None


def _date_format(text: str) -> str:
    try:
        datetime.strptime(datetime.now(UTC).strftime(text), text)  # noqa: DTZ007 - only to see whether it can be read
    except (ValueError, re.error):  # the latter where a part is there twice
        raise ArgumentTypeError(f"must be a format such as %d.%m.%Y, not {text!r}") from None
    return text


def _delimiter(text: str) -> str:
    mark = {"tab": "\t", "\\t": "\t"}.get(text, text)
    if len(mark) != 1 or mark in {'"', "\r", "\n", " ", "\0"}:
        raise ArgumentTypeError("must be one character, or tab")
    return mark


def _units(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 12):
        raise ArgumentTypeError(f"must be a whole number of units, not {text!r}")
    return int(text)

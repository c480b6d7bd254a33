"""Orders out of a CSV file: which column says what, what makes a line good, and which lines make an order.

Nothing here writes. A file is read twice: once from end to end to see that it can be read at all, and once to
place what it holds; so a damaged file leaves nothing behind. Memory grows only with the order numbers seen.
"""

import csv
import gzip
import io
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO, TextIO
from zoneinfo import ZoneInfo

from orders import money
from orders.services.placing import LONG_AGO, MOST_LINES, Address, NewLine, NewOrder

DELIMITERS = (",", ";", "\t", "|")
LONGEST_LINE = 1_000_000
LONGEST_SKU = 40
MOST_UNITS = 2**31 - 1

REQUIRED = ("reference", "sku", "quantity", "unit_price", "placed_at")
OPTIONAL = (
    "description",
    "customer_name",
    "customer_number",
    "customer_email",
    "line1",
    "line2",
    "city",
    "region",
    "postal_code",
)
CONSTANT = ("country", "currency")  # one for the whole file, or a column
FIELDS = (*REQUIRED, *CONSTANT, *OPTIONAL)

NO_TEXT = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
WHOLE_NUMBER = re.compile(r"-?[0-9]{1,10}(\.0{1,6})?")
AMOUNT = re.compile(r"-?[0-9]{1,12}(\.[0-9]{1,6})?")


class Unreadable(Exception):
    """Why nothing of the file can be imported, in one sentence."""


class Reason(StrEnum):
    """Why a line, or a whole order, is refused."""

    RAGGED = "the row has more or fewer fields than the header"
    NO_TEXT = "a field holds characters that are not text"
    NO_REFERENCE = "no order number"
    REPEATED = "the order number stood further up, with others in between"
    CANCELLATION = "a cancellation, not an order"
    NOT_GOODS = "postage, a fee or the like, not goods"
    SKU = "the product number is missing or too long"
    UNKNOWN_PRODUCT = "no such product"
    QUANTITY = "the quantity is not a whole number above zero"
    PRICE = "the price is not an amount above zero"
    DATE = "the date cannot be read, or cannot be right"
    COUNTRY = "no such country"
    CURRENCY = "no such currency"
    MIXED = "customer, address or currency differ from the order's first good line"
    TOO_MANY_LINES = "the order has too many lines"
    NO_GOOD_LINE = "none of its lines is good"
    NOT_PLACED = "the desk refuses the order"
    ANOTHER_ORDER = "the order number is there already, with another total"


@dataclass(frozen=True)
class Layout:
    """How a source writes its orders down. `columns` gives the file's name for each of our fields."""

    source: str = "import"
    columns: Mapping[str, str] = field(default_factory=dict)
    currency: str = ""
    country: str = ""
    date_format: str = ""  # empty: ISO 8601
    time_zone: tzinfo = UTC
    decimal_mark: str = "."
    not_goods: re.Pattern[str] | None = None
    cancellation: re.Pattern[str] | None = None
    country_names: Mapping[str, str] = field(default_factory=dict)


PRESETS = {
    # "Unspecified" and "European Community" stay unknown: a parcel cannot be sent there.
    "online-retail": Layout(
        source="online-retail",
        columns={
            "reference": "InvoiceNo",
            "sku": "StockCode",
            "description": "Description",
            "quantity": "Quantity",
            "placed_at": "InvoiceDate",
            "unit_price": "UnitPrice",
            "customer_number": "CustomerID",
            "country": "Country",
        },
        currency="GBP",
        time_zone=ZoneInfo("Europe/London"),
        not_goods=re.compile(
            r"(POST|DOT|D|M|C2|S|B|PADS|CRUK|BANK CHARGES|AMAZONFEE|ADJUST2?|TEST[0-9]+|gift_[0-9_]+)", re.IGNORECASE
        ),
        cancellation=re.compile(r"C.*"),
        country_names={"EIRE": "IE", "Channel Islands": "JE", "USA": "US", "RSA": "ZA", "Hong Kong": "HK"},
    ),
}


# The file


@dataclass(frozen=True)
class Table:
    """A file whose header has been understood: where each field stands, and how many rows there are."""

    path: Path
    layout: Layout
    encoding: str
    delimiter: str
    header: Sequence[str]
    places: Mapping[str, int]
    rows: int = 0


@dataclass(frozen=True)
class Row:
    line: int
    cells: Sequence[str]


def open_table(path: Path, layout: Layout, *, encoding: str = "", delimiter: str = "") -> Table:
    """Read a file from end to end and understand its header.

    Raises Unreadable where it is not a whole CSV file with the columns that `layout` names.
    """
    if not path.is_file():
        raise Unreadable(f"{path} is not a file." if path.exists() else f"{path} is not there.")
    encoding = encoding or _encoding(path)
    tables = [_headed(path, layout, encoding, mark) for mark in ([delimiter] if delimiter else DELIMITERS)]
    table = min(tables, key=lambda table: (len(_missing(table)), -len(table.header)))
    if missing := _missing(table):
        columns = ", ".join(layout.columns.get(name, name) for name in missing)
        raise Unreadable(
            f"{path} has no column {columns}; it has {', '.join(table.header[:30])}. {_options_for(missing)}"
        )
    if doubled := [name for name, times in Counter(table.header).items() if times > 1 and name in _named(layout)]:
        raise Unreadable(f"{path} has more than one column {', '.join(doubled)}.")
    return replace(table, rows=sum(1 for _ in rows_of(table)))


def rows_of(table: Table) -> Iterator[Row]:
    """Every row but the header and empty lines, with the number of the line on which it begins."""
    for line, cells in _records(table.path, table.encoding, table.delimiter):
        if line > 1 and cells:
            yield Row(line, cells)


def _headed(path: Path, layout: Layout, encoding: str, delimiter: str) -> Table:
    _, cells = next(_records(path, encoding, delimiter, strict=False), (0, []))
    header = [name.strip() for name in cells]
    if not any(header):
        raise Unreadable(f"{path} is empty, or begins with an empty line.")
    wanted = {name: layout.columns.get(name, name) for name in FIELDS}
    places = {name: header.index(column) for name, column in wanted.items() if column in header}
    return Table(path, layout, encoding, delimiter, header, places)


def _missing(table: Table) -> list[str]:
    """The fields whose column the layout names or cannot do without, and the file has not."""
    layout = table.layout
    needed = {*REQUIRED, *layout.columns}
    needed |= {name for name, constant in (("country", layout.country), ("currency", layout.currency)) if not constant}
    return [name for name in FIELDS if name in needed and name not in table.places]


def _options_for(missing: Sequence[str]) -> str:
    """What the person at the terminal can say of columns that are missing."""
    hint = f"Where another column holds it, say so: {' '.join(f'--map {name}=COLUMN' for name in missing)}"
    if once := [f"--{name}" for name in CONSTANT if name in missing]:
        hint += f"; where it is the same in the whole file: {', '.join(once)}"
    return hint + "."


def _named(layout: Layout) -> set[str]:
    return {layout.columns.get(name, name) for name in FIELDS}


def _records(path: Path, encoding: str, delimiter: str, *, strict: bool = True) -> Iterator[tuple[int, list[str]]]:
    """Each record with the number of the line on which it begins."""
    begins = 1
    with _reading(path) as raw:
        try:
            text = io.TextIOWrapper(raw, encoding, errors="surrogatepass", newline="")
            reader = csv.reader(_bounded(path, text), delimiter=delimiter, strict=strict)
            for cells in reader:
                yield begins, cells
                begins = reader.line_num + 1
        except csv.Error as problem:
            raise Unreadable(
                f"{path} cannot be read as CSV from line {begins} on ({problem}): look at its quotes."
            ) from None
        except UnicodeError:
            name = encoding.removesuffix("-sig")
            raise Unreadable(f"{path} is not {name} from line {begins} on: try --encoding latin-1.") from None
        except LookupError:
            raise Unreadable(f"There is no encoding {encoding}.") from None


def _bounded(path: Path, text: TextIO) -> Iterator[str]:
    while line := text.readline(LONGEST_LINE):
        if len(line) == LONGEST_LINE:
            raise Unreadable(f"{path} has a line of {LONGEST_LINE:,} characters or more.")
        yield line


@contextmanager
def _reading(path: Path) -> Iterator[gzip.GzipFile | BinaryIO]:
    """The file's bytes, unpacked where it is packed, whatever its name says."""
    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
        with gzip.open(path, "rb") if packed else path.open("rb") as content:
            yield content
    except (EOFError, gzip.BadGzipFile, zlib.error) as problem:
        raise Unreadable(f"{path} is a damaged gzip file ({problem}).") from None
    except OSError as problem:
        raise Unreadable(f"{path} cannot be read: {problem.strerror}.") from None


def _encoding(path: Path) -> str:
    with _reading(path) as raw:
        return "utf-16" if raw.read(2) in {b"\xff\xfe", b"\xfe\xff"} else "utf-8-sig"


# The orders


@dataclass(frozen=True)
class Customer:
    """What all lines of an order must agree on."""

    name: str
    email: str
    address: Address
    currency: str


@dataclass(frozen=True)
class Taken:
    """A good line."""

    row: Row
    new: NewLine
    product_name: str
    customer: Customer
    placed_at: datetime


@dataclass
class Found:
    """The lines in a row that bear one order number. `refused` says why the order is refused whole."""

    reference: str
    line: int
    refused: Reason | None = None
    taken: list[Taken] = field(default_factory=list)

    def order(self, source: str) -> NewOrder:
        first = self.taken[0]
        return NewOrder(
            source=source,
            reference=self.reference,
            customer_name=first.customer.name,
            customer_email=first.customer.email,
            address=first.customer.address,
            currency=first.customer.currency,
            lines=[taken.new for taken in self.taken],
            placed_at=first.placed_at,
        )


Refuse = Callable[[Row, Reason, str], None]


class BadLine(Exception):
    """Why a line is refused, and what stood there."""

    def __init__(self, reason: Reason, told: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.told = told


def orders_of(table: Table, *, now: datetime, refuse: Refuse) -> Iterator[Found]:
    """Group the rows into orders; each bad row is handed to `refuse`, and so is each row of an order refused here."""
    reader = LineReader(table, now)
    seen: dict[str, int] = {}
    order: Found | None = None
    for row in rows_of(table):
        try:
            reference = reader.reference(row)
            if order is None or reference != order.reference:
                if order:
                    yield order
                order = None
                if reference in seen:
                    raise BadLine(Reason.REPEATED, f"first on line {seen[reference]}")
                seen[reference] = row.line
                order = Found(reference, row.line, reader.refused_whole(reference))
            if order.refused:
                raise BadLine(order.refused)
            _take(order, reader.line(row), refuse)
        except BadLine as bad:
            refuse(row, bad.reason, bad.told)
    if order:
        yield order


def _take(order: Found, taken: Taken, refuse: Refuse) -> None:
    if order.taken and taken.customer != order.taken[0].customer:
        raise BadLine(Reason.MIXED)
    if len(order.taken) == MOST_LINES:
        order.refused = Reason.TOO_MANY_LINES
        for earlier in order.taken:
            refuse(earlier.row, order.refused, "")
        order.taken = []
        raise BadLine(order.refused)
    order.taken.append(taken)


class LineReader:
    """Reads rows by a layout, and refuses those that are not good."""

    def __init__(self, table: Table, now: datetime) -> None:
        self.table = table
        self.layout = table.layout
        self.latest = now + timedelta(days=1)

    def reference(self, row: Row) -> str:
        if len(row.cells) != len(self.table.header):
            raise BadLine(Reason.RAGGED, f"{len(row.cells)} instead of {len(self.table.header)}")
        reference = self._text(row, "reference")
        if not reference:
            raise BadLine(Reason.NO_REFERENCE)
        return reference

    def refused_whole(self, reference: str) -> Reason | None:
        cancelled = self.layout.cancellation and self.layout.cancellation.fullmatch(reference)
        return Reason.CANCELLATION if cancelled else None

    def line(self, row: Row) -> Taken:
        texts = {name: self._text(row, name) for name in FIELDS}
        sku = texts["sku"]
        if self.layout.not_goods and self.layout.not_goods.fullmatch(sku):
            raise BadLine(Reason.NOT_GOODS, sku)
        if not 0 < len(sku) <= LONGEST_SKU:
            raise BadLine(Reason.SKU, sku)
        quantity = self._quantity(texts["quantity"])
        customer = self._customer(texts)
        price = self._price(texts["unit_price"], customer.currency)
        placed_at = self._instant(texts["placed_at"])
        return Taken(row, NewLine(sku, quantity, price), (texts["description"] or sku)[:200], customer, placed_at)

    def _text(self, row: Row, name: str) -> str:
        """A cell with its white space made single spaces; empty where the file has no such column."""
        place = self.table.places.get(name)
        text = " ".join(row.cells[place].split()) if place is not None else ""
        if NO_TEXT.search(text):
            raise BadLine(Reason.NO_TEXT, self.table.header[place or 0])
        return text

    def _quantity(self, text: str) -> int:
        quantity = int(Decimal(text)) if WHOLE_NUMBER.fullmatch(text) else 0
        if not 0 < quantity <= MOST_UNITS:
            raise BadLine(Reason.QUANTITY, text)
        return quantity

    def _price(self, text: str, currency: str) -> int:
        """Minor units; a price with more decimals than the currency has is none."""
        mark = self.layout.decimal_mark
        amount = text.translate({ord("."): mark, ord(mark): "."})
        try:
            price = money.to_minor(Decimal(amount), currency) if AMOUNT.fullmatch(amount) else 0
        except ValueError as problem:
            raise BadLine(Reason.PRICE, str(problem)) from None
        if price <= 0:
            raise BadLine(Reason.PRICE, text)
        return price

    def _instant(self, text: str) -> datetime:
        try:
            style = self.layout.date_format
            read = datetime.strptime(text, style) if style else datetime.fromisoformat(text)  # noqa: DTZ007 - next line
            instant = (read if read.tzinfo else read.replace(tzinfo=self.layout.time_zone)).astimezone(UTC)
        except (ValueError, OverflowError):
            raise BadLine(Reason.DATE, text) from None
        if not LONG_AGO <= instant <= self.latest:
            raise BadLine(Reason.DATE, text)
        return instant

    def _customer(self, texts: Mapping[str, str]) -> Customer:
        country_name = texts["country"] or self.layout.country
        country = self.layout.country_names.get(country_name) or money.country_code(country_name)
        if not country:
            raise BadLine(Reason.COUNTRY, country_name)
        currency = (texts["currency"] or self.layout.currency).upper()
        if not money.is_currency(currency):
            raise BadLine(Reason.CURRENCY, currency)
        number = texts["customer_number"].removesuffix(".0")
        return Customer(
            name=texts["customer_name"] or (f"Customer {number}" if number else "No customer given"),
            email=texts["customer_email"],
            address=Address(
                country=country, **{name: texts[name] for name in ("line1", "line2", "city", "region", "postal_code")}
            ),
            currency=currency,
        )

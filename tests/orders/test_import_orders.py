"""Orders out of a file: each line is accounted for, whatever is wrong with it, and nothing is ever placed twice."""

import csv
import gzip
import os
import re
import signal
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.core.management.base import OutputWrapper
from django.db import connection

from orders import imports
from orders.imports import Reason
from orders.management.commands.import_orders import Progress, Sums
from orders.models import Event, Order, OrderLine, Outbox, Product
from orders.services import placing
from tests.orders.processes import database_away, started, wait_until

COLUMNS = ["reference", "sku", "quantity", "unit_price", "placed_at", "country", "currency", "customer_name"]
GOOD = {
    "reference": "A1",
    "sku": "LAMP",
    "quantity": "2",
    "unit_price": "49.50",
    "placed_at": "2026-03-04 12:30:00",
    "country": "Germany",
    "currency": "EUR",
    "customer_name": "Ann Lee",
}

WriteFile = Callable[..., Path]

pytestmark = pytest.mark.django_db


def _line(**changes: str) -> list[str]:
    return list((GOOD | changes).values())


@pytest.fixture
def write(tmp_path: Path) -> WriteFile:
    """Write a file of such lines, with the columns above unless told otherwise."""

    def write(*lines: Sequence[str], columns: Sequence[str] = COLUMNS, name: str = "orders.csv", **style: Any) -> Path:
        path = tmp_path / name
        encoding = style.pop("encoding", "utf-8")
        with path.open("w", encoding=encoding, errors="surrogatepass", newline="") as file:
            csv.writer(file, **style).writerows([columns, *lines])
        return path

    return write


def _import(path: Path, *options: str) -> str:
    out = StringIO()
    call_command("import_orders", str(path), *options, stdout=out)
    return out.getvalue()


def _refused_whole(path: Path, *options: str) -> str:
    """The report of an import that takes nothing: its exit status says so too."""
    out = StringIO()
    with pytest.raises(CommandError, match=r"^Nothing was imported: .* refused\.") as refused:
        call_command("import_orders", str(path), *options, stdout=out)
    assert refused.value.returncode == 1
    return out.getvalue()


def _rejected(path: Path) -> list[tuple[int, str]]:
    """Line and reason of everything in the rejects file; none where there is no such file."""
    rejects = path.with_name(f"{path.name}.rejects.csv")
    if not rejects.exists():
        return []
    with rejects.open(encoding="utf-8", newline="") as file:
        return [(int(row["line"]), row["reason"]) for row in csv.DictReader(file)]


def _sums(said: str) -> tuple[list[int], list[int]]:
    """What the report says of lines and of orders: read, taken, there already, refused, and each reason."""
    lines, orders = said.split("Orders", 1)
    return tuple(  # type: ignore[return-value]
        [int(number.replace(",", "")) for number in re.findall(r"^(?:Lines)?\s+([\d,]+)\b", part, re.MULTILINE)]
        for part in (lines, orders)
    )


def _adds_up(said: str) -> bool:
    return all(sums[0] == sum(sums[1:4]) and sums[3] == sum(sums[4:]) for sums in _sums(said))


@pytest.fixture(autouse=True)
def _goods(goods: dict[str, Product]) -> None:
    """The shop that the lines above buy from."""


# What is good


def test_lines_in_a_row_with_one_number_become_one_order(write: WriteFile) -> None:
    path = write(
        _line(),
        _line(sku="RUG", quantity="1", unit_price="120"),
        _line(reference="A2", customer_name="Bo", country="CH", currency="chf"),
    )

    said = _import(path)

    first, second = Order.objects.order_by("reference")
    assert (first.source, first.reference, first.total_minor, first.currency) == ("import", "A1", 21_900, "EUR")
    assert [(line.product.sku, line.quantity, line.unit_price_minor) for line in first.lines.all()] == [
        ("LAMP", 2, 4_950),
        ("RUG", 1, 12_000),
    ]
    assert (first.customer_name, first.address_country) == ("Ann Lee", "DE")
    assert first.placed_at == datetime(2026, 3, 4, 12, 30, tzinfo=UTC)
    assert (second.currency, second.address_country, second.total_minor) == ("CHF", "CH", 9_900)
    assert (Event.objects.get(order=first).actor, Outbox.objects.get(order=first).message) == ("Import", "start")
    assert said.splitlines() == [
        "Lines             3",
        "                  3 taken",
        "                  0 there already",
        "                  0 refused",
        "Orders            2",
        "                  2 placed",
        "                  0 there already",
        "                  0 refused",
        "Placed: CHF\N{NO-BREAK SPACE}99.00, €219.00. There already: nothing.",
    ]
    assert not path.with_name("orders.csv.rejects.csv").exists()


def test_the_same_file_again_places_nothing_new(write: WriteFile) -> None:
    path = write(_line(), _line(reference="A2"), _line(reference="A3", quantity="0"))
    _import(path)

    said = _import(path)

    assert Order.objects.count() == 2
    assert _sums(said) == ([3, 0, 2, 1, 1], [3, 0, 2, 1, 1])
    assert "Placed: nothing. There already: €198.00." in said


def test_the_same_file_again_burns_no_order_number(write: WriteFile) -> None:
    path = write(_line(), _line(reference="A2"))
    _import(path)
    _import(path)

    _import(write(_line(reference="A3")))

    numbers = [int(order.number.removeprefix("CS-")) for order in Order.objects.order_by("reference")]
    assert numbers == list(range(numbers[0], numbers[0] + 3))


def test_what_was_added_to_the_file_is_placed(write: WriteFile) -> None:
    _import(write(_line()))

    said = _import(write(_line(), _line(reference="A2")))

    assert _sums(said)[1] == [2, 1, 1, 0]


def test_another_source_may_have_the_same_numbers(write: WriteFile) -> None:
    path = write(_line())
    _import(path)

    _import(path, "--source", "old shop")

    assert set(Order.objects.values_list("source", flat=True)) == {"import", "old shop"}


def test_all_that_a_file_may_say_of_a_customer_arrives(write: WriteFile) -> None:
    more = ["customer_email", "line1", "line2", "city", "region", "postal_code"]
    said = ["ann@example.com", "1 Elm St", "Apt 2", "Austin", "TX", "78704"]

    _import(write([*_line(), *said], columns=[*COLUMNS, *more]))

    order = Order.objects.get()
    assert order.customer_email == "ann@example.com"
    assert placing.address_of(order) == placing.Address("DE", "1 Elm St", "Apt 2", "Austin", "TX", "78704")


def test_columns_may_have_other_names_and_others_may_stand_between(write: WriteFile) -> None:
    columns = ["Order No", "who cares", *COLUMNS[1:]]
    lines = [["A1", "x", *_line()[1:]]]

    _import(write(*lines, columns=columns), "--map", "reference=Order No")

    assert Order.objects.get().reference == "A1"


def test_currency_and_country_may_be_said_once_for_the_whole_file(write: WriteFile) -> None:
    path = write(_line()[:5], columns=COLUMNS[:5])

    _import(path, "--currency", "GBP", "--country", "United Kingdom")

    order = Order.objects.get()
    assert (order.currency, order.address_country, order.customer_name) == ("GBP", "GB", "No customer given")


@pytest.mark.parametrize(
    ("options", "written", "instant"),
    [
        ([], "2026-07-01", "2026-07-01T00:00:00+00:00"),
        ([], "2026-07-01T10:00:00+02:00", "2026-07-01T08:00:00+00:00"),
        (["--time-zone", "Europe/Paris"], "2026-07-01 10:00", "2026-07-01T08:00:00+00:00"),
        (["--time-zone", "Europe/Paris"], "2026-01-01 10:00", "2026-01-01T09:00:00+00:00"),
        (["--date-format", "%d.%m.%Y %H:%M"], "01.07.2026 10:00", "2026-07-01T10:00:00+00:00"),
    ],
)
def test_dates_are_read_as_they_are_meant(write: WriteFile, options: list[str], written: str, instant: str) -> None:
    _import(write(_line(placed_at=written)), *options)

    assert Order.objects.get().placed_at.isoformat() == instant


def test_decimals_may_have_a_comma(write: WriteFile) -> None:
    path = write(_line(unit_price="49,50"), _line(unit_price="1.200"), delimiter=";")

    _import(path, "--decimal-mark", ",")

    assert Order.objects.get().total_minor == 9_900
    assert _rejected(path) == [(3, Reason.PRICE)]


@pytest.mark.parametrize(
    ("style", "options"),
    [
        ({"delimiter": ";"}, []),
        ({"delimiter": "\t"}, []),
        ({"delimiter": "|"}, []),
        ({"delimiter": "^"}, ["--delimiter", "^"]),
        ({"delimiter": "\t"}, ["--delimiter", "tab"]),
        ({"lineterminator": "\n"}, []),
        ({"lineterminator": "\r"}, []),
        ({"quoting": csv.QUOTE_ALL}, []),
        ({"quoting": csv.QUOTE_ALL, "delimiter": ";"}, []),
        ({"encoding": "utf-8-sig"}, []),
        ({"encoding": "utf-16"}, []),
        ({"encoding": "latin-1"}, ["--encoding", "latin-1"]),
        ({"encoding": "cp1252"}, ["--encoding", "cp1252"]),
    ],
)
def test_files_are_read_however_they_were_saved(write: WriteFile, style: dict[str, Any], options: list[str]) -> None:
    path = write(_line(customer_name="Zoë Müller, senior"), **style)

    _import(path, *options)

    assert Order.objects.get().customer_name == "Zoë Müller, senior"


@pytest.mark.parametrize("name", ["orders.csv.gz", "orders.csv"])
def test_a_packed_file_is_known_by_its_content(write: WriteFile, tmp_path: Path, name: str) -> None:
    packed = gzip.compress(write(_line(), name="plain.csv").read_bytes())
    path = tmp_path / name
    path.write_bytes(packed)

    _import(path)

    assert Order.objects.count() == 1


def test_empty_lines_are_no_lines(write: WriteFile) -> None:
    path = write(_line(), [], _line(sku="RUG"), [])

    assert _sums(_import(path))[0] == [2, 2, 0, 0]


def test_text_in_quotes_may_run_over_several_lines(write: WriteFile) -> None:
    path = write(_line(customer_name="Ann\n  Lee"), _line(customer_name="Ann\nLee", quantity="0"))

    _import(path)

    assert Order.objects.get().customer_name == "Ann Lee"
    assert _rejected(path) == [(4, Reason.QUANTITY)]  # the line on which it begins


# What is bad


BAD_LINES = [
    ({"quantity": "0"}, Reason.QUANTITY),
    ({"quantity": "-1"}, Reason.QUANTITY),
    ({"quantity": "-0"}, Reason.QUANTITY),
    ({"quantity": ""}, Reason.QUANTITY),
    ({"quantity": "two"}, Reason.QUANTITY),
    ({"quantity": "1.5"}, Reason.QUANTITY),
    ({"quantity": "1e3"}, Reason.QUANTITY),
    ({"quantity": "NaN"}, Reason.QUANTITY),
    ({"quantity": "1_000"}, Reason.QUANTITY),
    ({"quantity": "٣"}, Reason.QUANTITY),
    ({"quantity": "2147483648"}, Reason.QUANTITY),
    ({"quantity": "9" * 400}, Reason.QUANTITY),
    ({"unit_price": "0"}, Reason.PRICE),
    ({"unit_price": "0.00"}, Reason.PRICE),
    ({"unit_price": "-0"}, Reason.PRICE),
    ({"unit_price": "-2.50"}, Reason.PRICE),
    ({"unit_price": ""}, Reason.PRICE),
    ({"unit_price": "free"}, Reason.PRICE),
    ({"unit_price": "NaN"}, Reason.PRICE),
    ({"unit_price": "sNaN"}, Reason.PRICE),
    ({"unit_price": "Infinity"}, Reason.PRICE),
    ({"unit_price": "1e400"}, Reason.PRICE),
    ({"unit_price": "1,200.00"}, Reason.PRICE),
    ({"unit_price": "€5"}, Reason.PRICE),
    ({"unit_price": "0.001"}, Reason.PRICE),
    ({"unit_price": "1.005"}, Reason.PRICE),
    ({"unit_price": "9" * 13}, Reason.PRICE),
    ({"placed_at": ""}, Reason.DATE),
    ({"placed_at": "yesterday"}, Reason.DATE),
    ({"placed_at": "2026-02-30"}, Reason.DATE),
    ({"placed_at": "2026-13-01 00:00:00"}, Reason.DATE),
    ({"placed_at": "1066-10-14"}, Reason.DATE),
    ({"placed_at": "9999-12-31T23:59:59-12:00"}, Reason.DATE),
    ({"placed_at": "0001-01-01T00:00:00+12:00"}, Reason.DATE),
    ({"country": ""}, Reason.COUNTRY),
    ({"country": "Ruritania"}, Reason.COUNTRY),
    ({"currency": ""}, Reason.CURRENCY),
    ({"currency": "ZZZ"}, Reason.CURRENCY),
    ({"currency": "€"}, Reason.CURRENCY),
    ({"sku": ""}, Reason.SKU),
    ({"sku": "x" * 41}, Reason.SKU),
    ({"sku": "GHOST"}, Reason.UNKNOWN_PRODUCT),
    ({"sku": "lamp"}, Reason.UNKNOWN_PRODUCT),
    ({"sku": "LA\x00MP"}, Reason.NO_TEXT),
    ({"customer_name": "Ann\x00Lee"}, Reason.NO_TEXT),
    ({"customer_name": "Ann \ud83d"}, Reason.NO_TEXT),
    ({"customer_name": "Ann\x1b[2J"}, Reason.NO_TEXT),
    ({"customer_name": "Somebody Else"}, Reason.MIXED),
    ({"country": "France"}, Reason.MIXED),
    ({"currency": "USD"}, Reason.MIXED),
    ({"reference": ""}, Reason.NO_REFERENCE),
    ({"reference": "  "}, Reason.NO_REFERENCE),
    ({"reference": "A\x001"}, Reason.NO_TEXT),
]


@pytest.mark.parametrize(("changes", "reason"), BAD_LINES)
def test_a_bad_line_is_refused_and_its_order_goes_on_with_the_others(
    write: WriteFile, changes: dict[str, str], reason: Reason
) -> None:
    path = write(_line(), _line(**changes), _line(sku="RUG", unit_price="120"))

    said = _import(path)

    order = Order.objects.get()
    assert [line.product.sku for line in order.lines.all()] == ["LAMP", "RUG"]
    assert order.total_minor == 33_900
    assert _rejected(path) == [(3, reason)]
    assert _sums(said) == ([3, 2, 0, 1, 1], [1, 1, 0, 0])


@pytest.mark.parametrize("row", [["A1"], _line()[:-1], [*_line(), "more"], ["", "", ""]])
def test_a_ragged_row_is_refused_and_its_order_goes_on(write: WriteFile, row: list[str]) -> None:
    path = write(_line(), row, _line(sku="RUG"))

    _import(path)

    assert Order.objects.get().lines.count() == 2
    assert _rejected(path) == [(3, Reason.RAGGED)]


def test_a_country_that_is_not_said_uses_that_of_the_file(write: WriteFile) -> None:
    _import(write(_line(country="")), "--country", "AT")

    assert Order.objects.get().address_country == "AT"


def test_an_order_with_no_good_line_is_refused_whole(write: WriteFile) -> None:
    path = write(_line(quantity="0"), _line(unit_price="x"), _line(reference="A2"))

    said = _import(path)

    assert [order.reference for order in Order.objects.all()] == ["A2"]
    assert _rejected(path) == [(2, Reason.QUANTITY), (3, Reason.PRICE)]
    assert _sums(said) == ([3, 1, 0, 2, 1, 1], [2, 1, 0, 1, 1])
    assert Reason.NO_GOOD_LINE in said


def test_a_number_that_turns_up_again_is_refused_with_the_line_where_it_stood_first(write: WriteFile) -> None:
    path = write(_line(), _line(reference="A2"), _line(), _line(), _line(reference="A3"), _line(reference="A2"))

    said = _import(path)

    assert Order.objects.count() == 3
    assert all(order.lines.count() == 1 for order in Order.objects.all())
    assert _rejected(path) == [(4, Reason.REPEATED), (5, Reason.REPEATED), (7, Reason.REPEATED)]
    rejects = path.with_name("orders.csv.rejects.csv").read_text().splitlines()
    assert [row.split(",")[3] for row in rejects[1:]] == ["first on line 2", "first on line 2", "first on line 3"]
    assert _sums(said) == ([6, 3, 0, 3, 3], [3, 3, 0, 0])


def test_an_order_with_too_many_lines_is_refused_whole(write: WriteFile) -> None:
    most = placing.MOST_LINES
    path = write(*[_line()] * (most + 5), *[_line(reference="A2")] * most)

    said = _import(path)

    assert [order.reference for order in Order.objects.all()] == ["A2"]
    assert {reason for _, reason in _rejected(path)} == {Reason.TOO_MANY_LINES}
    assert _sums(said) == ([2 * most + 5, most, 0, most + 5, most + 5], [2, 1, 0, 1, 1])


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"customer_email": "nobody"}, "customer_email"),
        ({"customer_name": "x" * 201}, "customer_name"),
        ({"reference": "r" * 81}, "reference"),
        ({"postal_code": "1" * 21}, "address.postal_code"),
        ({"quantity": "2000000000", "unit_price": "999999999999"}, "total"),
    ],
)
def test_an_order_that_the_desk_refuses_leaves_no_trace_but_in_the_rejects(
    write: WriteFile, changes: dict[str, str], named: str
) -> None:
    columns = [*COLUMNS, "customer_email", "postal_code"]
    row = list((GOOD | {"customer_email": "", "postal_code": ""} | {"sku": "NEW"} | changes).values())
    path = write(row, row, columns=columns)

    said = _refused_whole(path, "--create-products")

    assert not Order.objects.exists()
    assert not Product.objects.filter(sku="NEW").exists()
    assert _rejected(path) == [(2, Reason.NOT_PLACED), (3, Reason.NOT_PLACED)]
    assert named in path.with_name("orders.csv.rejects.csv").read_text()
    assert _sums(said) == ([2, 0, 0, 2, 2], [1, 0, 0, 1, 1])


def test_an_order_that_differs_from_the_one_placed_before_is_not_passed_over_in_silence(write: WriteFile) -> None:
    _import(write(_line()))
    number = Order.objects.get().number
    path = write(_line(), _line(sku="RUG"))

    said = _refused_whole(path)

    assert Order.objects.get().lines.count() == 1
    assert _rejected(path) == [(2, Reason.ANOTHER_ORDER), (3, Reason.ANOTHER_ORDER)]
    assert f"{number}: €99.00" in path.with_name("orders.csv.rejects.csv").read_text()
    assert _sums(said) == ([2, 0, 0, 2, 2], [1, 0, 0, 1, 1])


def test_a_file_of_which_nothing_is_taken_ends_with_a_sentence_and_status_1(write: WriteFile) -> None:
    path = write(_line(quantity="0"), _line(reference="A2", sku="GHOST"))

    with pytest.raises(CommandError) as refused:
        _import(path)

    assert refused.value.returncode == 1
    assert str(refused.value) == "Nothing was imported: all 2 lines were refused."


def test_a_file_with_a_header_only_is_nothing_to_complain_of(write: WriteFile) -> None:
    assert _sums(_import(write())) == ([0, 0, 0, 0], [0, 0, 0, 0])


def test_what_was_refused_can_be_mended_and_imported(write: WriteFile) -> None:
    path = write(_line(quantity="0"), _line(sku="RUG", quantity="x"))
    _refused_whole(path)
    rejects = path.with_name("orders.csv.rejects.csv")
    rejects.write_text(rejects.read_text().replace(",0,", ",1,").replace(",x,", ",1,"))

    said = _import(rejects)

    assert Order.objects.get().lines.count() == 2
    assert _adds_up(said)


# Products


def test_products_we_do_not_know_are_created_when_asked(write: WriteFile) -> None:
    columns = [*COLUMNS, "description"]
    lines = [
        [*_line(sku="VASE"), "Glass  vase\n(blue)"],
        [*_line(sku="BOWL"), ""],
        [*_line(sku="LAMP"), "Another name"],
        [*_line(sku="LONG"), "n" * 300],
    ]

    _import(write(*lines, columns=columns), "--create-products", "--stock-each", "7")

    made = {product.sku: (product.name, product.stock) for product in Product.objects.all()}
    assert made["VASE"] == ("Glass vase (blue)", 7)
    assert made["BOWL"] == ("BOWL", 7)
    assert made["LAMP"] == ("Brass desk lamp", 1_000)
    assert made["LONG"] == ("n" * 200, 7)


def test_created_products_have_plenty_unless_told_otherwise(write: WriteFile) -> None:
    _import(write(_line(sku="VASE")), "--create-products")

    assert Product.objects.get(sku="VASE").stock == 100_000


# The preset


RETAIL = ["InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID", "Country"]


def _retail(**changes: str) -> list[str]:
    row = dict(
        zip(RETAIL, ["700001", "30001", "TIN ROBOT", "3", "2010-07-01 08:15:00", "2.55", "", "EIRE"], strict=True)
    )
    return list((row | changes).values())


def test_the_preset_knows_what_such_a_shop_writes(write: WriteFile) -> None:
    path = write(_retail(CustomerID="17123.0"), _retail(InvoiceNo="700002", Country="Channel Islands"), columns=RETAIL)

    _import(path, "--preset", "online-retail", "--create-products")

    first, second = Order.objects.order_by("reference")
    assert (first.source, first.currency, first.total_minor) == ("online-retail", "GBP", 765)
    assert (first.customer_name, first.customer_email) == ("Customer 17123", "")
    assert (second.customer_name, second.customer_email) == ("No customer given", "")
    assert (first.address_country, second.address_country) == ("IE", "JE")
    assert first.placed_at == datetime(2010, 7, 1, 7, 15, tzinfo=UTC)  # London was on summer time
    assert Product.objects.get(sku="30001").name == "TIN ROBOT"


@pytest.mark.parametrize(
    "code",
    ["POST", "DOT", "M", "m", "D", "C2", "S", "B", "PADS", "CRUK", "BANK CHARGES", "AMAZONFEE", "gift_0001_20"],
)
def test_what_is_not_goods_is_refused(write: WriteFile, code: str) -> None:
    path = write(_retail(), _retail(StockCode=code), columns=RETAIL)

    _import(path, "--preset", "online-retail", "--create-products")

    assert Order.objects.get().lines.count() == 1
    assert _rejected(path) == [(3, Reason.NOT_GOODS)]
    assert not Product.objects.filter(sku=code).exists()


@pytest.mark.parametrize("code", ["DCGS0076", "15056BL", "POSTER", "47503J "])
def test_what_only_looks_like_it_is_goods(write: WriteFile, code: str) -> None:
    path = write(_retail(StockCode=code), columns=RETAIL)

    _import(path, "--preset", "online-retail", "--create-products")

    assert Order.objects.get().lines.get().product.sku == code.strip()


def test_a_cancellation_is_refused_whole_with_each_of_its_lines(write: WriteFile) -> None:
    cancelled = _retail(InvoiceNo="C700002", Quantity="-3")
    path = write(_retail(), cancelled, cancelled, _retail(InvoiceNo="700003"), columns=RETAIL)

    said = _import(path, "--preset", "online-retail", "--create-products")

    assert Order.objects.count() == 2
    assert _rejected(path) == [(3, Reason.CANCELLATION), (4, Reason.CANCELLATION)]
    assert _sums(said) == ([4, 2, 0, 2, 2], [3, 2, 0, 1, 1])


@pytest.mark.parametrize("country", ["Unspecified", "European Community"])
def test_nothing_is_sent_to_where_nobody_knows(write: WriteFile, country: str) -> None:
    path = write(_retail(Country=country), columns=RETAIL)

    _refused_whole(path, "--preset", "online-retail", "--create-products")

    assert _rejected(path) == [(2, Reason.COUNTRY)]


def test_a_preset_can_be_bent(write: WriteFile) -> None:
    columns = [*RETAIL[:-1], "Land"]
    path = write(_retail(), columns=columns)

    _import(path, "--preset", "online-retail", "--create-products", "--map", "country=Land", "--currency", "EUR")

    assert Order.objects.get().currency == "EUR"


# What is wrong with the file


def _bytes_of_a_good_file() -> bytes:
    out = StringIO(newline="")
    csv.writer(out).writerows([COLUMNS, *[_line(reference=f"A{n}") for n in range(300)]])
    return out.getvalue().encode()


GOOD_BYTES = _bytes_of_a_good_file()
HEADER, FIRST, *_ = GOOD_BYTES.split(b"\r\n")
BAD_FILES = {
    "empty": (b"", "is empty"),
    "a mark and nothing else": (b"\xef\xbb\xbf", "is empty"),
    "packed, and empty": (gzip.compress(b""), "is empty"),
    "an empty line first": (b"\r\n" + GOOD_BYTES, "begins with an empty line"),
    "no header": (GOOD_BYTES.partition(b"\r\n")[2], "has no column reference, sku"),
    "a column too few": (
        GOOD_BYTES.replace(b"unit_price", b"price"),
        "has no column unit_price; it has reference, sku, quantity, price, placed_at, country",
    ),
    "a column twice": (HEADER + b",sku\r\n" + FIRST + b",LAMP\r\n", "has more than one column sku"),
    "a quote that is never closed": (GOOD_BYTES + b'A9,"LAMP,2,49.50\r\n', "cannot be read as CSV from line 302 on"),
    "a quote within": (GOOD_BYTES + b'A9,"LA"MP",2,4\r\n', "cannot be read as CSV from line 302 on"),
    "an endless field": (GOOD_BYTES + b'"' + b"x" * 200_000 + b'"', "cannot be read as CSV from line 302 on"),
    "an endless line": (GOOD_BYTES + b"x," * 600_000, "has a line of 1,000,000 characters or more"),
    "another encoding": (GOOD_BYTES + "A9,LAMP,2,1,2026-01-01,DE,EUR,Zoë\r\n".encode("latin-1"), "--encoding latin-1"),
    "half of UTF-16": (HEADER.decode().encode("utf-16") + b"\x00", "is not utf-16"),
    "cut off": (gzip.compress(GOOD_BYTES)[:-20], "is a damaged gzip file"),
    "cut off at once": (gzip.compress(GOOD_BYTES)[:5], "is a damaged gzip file"),
    "flipped": (gzip.compress(GOOD_BYTES)[:-6] + b"\x00\x00\x00\x00\x00\x00", "is a damaged gzip file"),
    "no gzip though it begins so": (b"\x1f\x8bnothing of the kind", "is a damaged gzip file"),
    "a picture": (b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40, "is not utf-8 from line 1 on"),
}


@pytest.mark.parametrize("fault", BAD_FILES)
def test_a_damaged_file_gets_one_sentence_and_leaves_nothing_behind(tmp_path: Path, fault: str) -> None:
    content, sentence = BAD_FILES[fault]
    path = tmp_path / "orders.csv"
    path.write_bytes(content)
    before = Product.objects.count()

    with pytest.raises(CommandError, match=re.escape(sentence)) as refused:
        _import(path, "--create-products")

    assert "\n" not in str(refused.value)
    assert (Order.objects.count(), Product.objects.count()) == (0, before)
    assert [file.name for file in tmp_path.iterdir()] == ["orders.csv"]


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"nowhere\.csv is not there\."):
        _import(tmp_path / "nowhere.csv")


@pytest.mark.parametrize("path", [Path("/dev"), Path("/dev/zero")])
def test_what_is_no_file_is_not_read(path: Path) -> None:
    with pytest.raises(CommandError, match="is not a file"):
        _import(path)


def test_a_file_whose_reading_fails_is_named() -> None:
    with pytest.raises(CommandError, match="/proc/self/mem cannot be read: Input/output error"):
        _import(Path("/proc/self/mem"))


@pytest.mark.parametrize(
    "options",
    [
        ["--map", "reference"],
        ["--map", "colour=Colour"],
        ["--map", "sku="],
        ["--preset", "another-shop"],
        ["--source", ""],
        ["--source", "s" * 41],
        ["--currency", "euro"],
        ["--country", "Ruritania"],
        ["--time-zone", "Mars/Olympus"],
        ["--time-zone", "../../etc/passwd"],
        ["--time-zone", ""],
        ["--delimiter", ""],
        ["--delimiter", ",,"],
        ["--delimiter", '"'],
        ["--delimiter", "\n"],
        ["--decimal-mark", "x"],
        ["--encoding", "klingon"],
        ["--encoding", "base64"],
        ["--stock-each", "-1"],
        ["--stock-each", "1e9"],
        ["--stock-each", "9" * 13],
    ],
)
def test_options_that_make_no_sense_are_refused(write: WriteFile, options: list[str]) -> None:
    path = write(_line())

    with pytest.raises(CommandError):
        _import(path, *options)

    assert not Order.objects.exists()


@pytest.mark.parametrize(
    ("columns", "hint"),
    [
        (
            ["Order No", "SKU", *COLUMNS[2:]],
            "Where another column holds it, say so: --map reference=COLUMN --map sku=COLUMN.",
        ),
        (
            [*COLUMNS[:5], "Land", "currency", "customer_name"],
            "--map country=COLUMN; where it is the same in the whole file: --country.",
        ),
        (
            [*COLUMNS[:5], "x", "y", "z"],
            "--map currency=COLUMN; where it is the same in the whole file: --country, --currency.",
        ),
    ],
)
def test_a_missing_column_comes_with_the_option_that_helps(write: WriteFile, columns: list[str], hint: str) -> None:
    with pytest.raises(CommandError) as refused:
        _import(write(_line(), columns=columns))

    assert str(refused.value).endswith(hint)


def test_a_mapped_column_must_be_there(write: WriteFile) -> None:
    with pytest.raises(CommandError, match="has no column Mail; it has reference, sku"):
        _import(write(_line()), "--map", "customer_email=Mail")


# The rejects file


def test_the_rejects_keep_the_rows_as_they_were(write: WriteFile) -> None:
    path = write(_line(quantity="0", customer_name=' "Ann",\nLee '), [*_line(), "more"], _line(sku="L\x00"))

    _refused_whole(path)

    with path.with_name("orders.csv.rejects.csv").open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["line", "reason", "detail", *COLUMNS]
    assert rows[0] == ["2", Reason.QUANTITY, "0", *_line(quantity="0", customer_name=' "Ann",\nLee ')]
    assert rows[1] == ["4", Reason.RAGGED, "9 instead of 8", *_line(), "more"]
    assert rows[2][3:5] == ["A1", "L\x00"]


def test_the_rejects_may_stand_elsewhere(write: WriteFile, tmp_path: Path) -> None:
    path = write(_line(quantity="0"))

    said = _refused_whole(path, "--rejects", str(tmp_path / "bad.csv"))

    assert f"What was refused, and why: {tmp_path / 'bad.csv'}" in said
    assert (tmp_path / "bad.csv").exists()
    assert not _rejected(path)


@pytest.mark.parametrize(
    ("rejects", "sentence"),
    [
        ("/proc/no/bad.csv", "cannot be written (No such file or directory): name another with --rejects."),
        ("orders.csv", "--rejects names the file that is to be imported."),
    ],
)
def test_nothing_is_placed_where_rejects_cannot_be_written(
    write: WriteFile, tmp_path: Path, rejects: str, sentence: str
) -> None:
    path = write(_line())
    content = path.read_bytes()

    with pytest.raises(CommandError, match=re.escape(sentence)):
        _import(path, "--rejects", str(tmp_path / rejects))

    assert path.read_bytes() == content
    assert not Order.objects.exists()


def test_a_full_disk_is_told_in_one_sentence(write: WriteFile) -> None:
    path = write(_line(quantity="0"))

    with pytest.raises(CommandError, match=r"cannot be written down \(No space left on device\)"):
        _import(path, "--rejects", "/dev/full")


def test_a_device_that_was_named_for_the_rejects_is_not_removed(
    write: WriteFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = os.openpty()
    removed: list[Path] = []
    monkeypatch.setattr(Path, "unlink", removed.append)

    _import(write(_line()), "--rejects", os.ttyname(theirs))

    os.close(ours)
    os.close(theirs)
    assert removed == []


# How far it is


@pytest.mark.parametrize(("terminal", "ending"), [(True, "\r"), (False, "\n")])
def test_it_tells_how_far_it_is(terminal: bool, ending: str) -> None:
    out = StringIO()
    out.isatty = lambda: terminal  # type: ignore[method-assign]
    progress = Progress(OutputWrapper(out), rows=2_000)
    sums = Sums(lines_taken=1_200, orders_placed=70)

    progress.tell(sums)
    progress.told_at -= 11
    progress.tell(sums)

    assert out.getvalue() == f"1,200 of 2,000 lines, 70 orders placed{ending}"


# Cut off in the middle

MANY = 240  # orders: enough for one to be in the middle of


@pytest.fixture
def long_file(write: WriteFile) -> Path:
    lines = [_line(reference=f"A{n}", sku=sku) for n in range(MANY) for sku in ("LAMP", "RUG", f"NEW-{n % 50}")]
    return write(*lines)


def _is_complete() -> bool:
    """Each of the orders once, with its three lines, one event and one word for the engine."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT count(*), count(DISTINCT reference), bool_and(lines = 3 AND events = 1 AND outbox = 1)
            FROM (
                SELECT reference,
                    (SELECT count(*) FROM orders_orderline WHERE order_id = o.id) AS lines,
                    (SELECT count(*) FROM orders_event WHERE order_id = o.id) AS events,
                    (SELECT count(*) FROM orders_outbox WHERE order_id = o.id) AS outbox
                FROM orders_order AS o
            ) AS told
            """
        )
        return bool(cursor.fetchone() == (MANY, MANY, True))


@pytest.mark.django_db(transaction=True)
def test_killed_in_the_middle_and_run_again_it_is_complete_and_nothing_is_doubled(long_file: Path) -> None:
    with started("import_orders", str(long_file), "--create-products") as process:
        wait_until(lambda: Order.objects.count() > 40, process)
        process.kill()
        process.wait()
    before = Order.objects.count()
    assert 40 < before < MANY
    assert OrderLine.objects.count() == 3 * before

    said = _import(long_file, "--create-products")

    assert _is_complete()
    assert _sums(said) == ([3 * MANY, 3 * (MANY - before), 3 * before, 0], [MANY, MANY - before, before, 0])


@pytest.mark.django_db(transaction=True)
def test_stopped_by_hand_it_says_how_to_go_on(long_file: Path) -> None:
    with started("import_orders", str(long_file), "--create-products") as process:
        wait_until(lambda: Order.objects.count() > 20, process)
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=60)[0]

    assert process.returncode == 130
    assert said.strip() == (
        "CommandError: Stopped. Run the same command again to go on: what is placed already is not placed again."
    )
    _import(long_file, "--create-products")
    assert _is_complete()


@pytest.mark.django_db(transaction=True)
def test_a_database_that_goes_away_ends_it_with_a_sentence(long_file: Path) -> None:
    with started("import_orders", str(long_file), "--create-products") as process:
        wait_until(lambda: Order.objects.count() > 20, process)
        with database_away():
            said = process.communicate(timeout=60)[0]

    assert process.returncode == 1
    assert said.startswith("CommandError: The database is away or busy (")
    assert "Traceback" not in said
    _import(long_file, "--create-products")
    assert _is_complete()


@pytest.mark.django_db(transaction=True)
def test_two_at_once_place_each_order_once(long_file: Path, tmp_path: Path) -> None:
    command = ["import_orders", str(long_file), "--create-products", "--rejects"]
    with started(*command, str(tmp_path / "a")) as one, started(*command, str(tmp_path / "b")) as other:
        said = [process.communicate(timeout=100)[0] for process in (one, other)]

    assert (one.returncode, other.returncode) == (0, 0)
    assert _is_complete()
    assert sum(_sums(text)[1][1] for text in said) == MANY
    assert all(_adds_up(text) for text in said)


def test_reading_holds_no_more_than_one_order_at_a_time(long_file: Path) -> None:
    table = imports.open_table(long_file, imports.Layout())
    refused: list[Reason] = []

    orders = imports.orders_of(table, now=datetime.now(UTC), refuse=lambda row, reason, told: refused.append(reason))

    assert next(orders).reference == "A0"
    assert table.rows == 3 * MANY
    assert len(list(orders)) == MANY - 1
    assert refused == []

"""Whatever is typed, sent or configured: it is understood, or refused in the way that its parser promises."""

import csv
import json
import re
from argparse import ArgumentTypeError
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from babel.numbers import list_currencies
from django.core.exceptions import ImproperlyConfigured
from django.http import QueryDict
from django.test import RequestFactory
from hypothesis import assume, example, given
from hypothesis import strategies as st
from pydantic_core import PydanticCustomError
from pytest_django import Settings

from orders import (
    addresses,
    chain,
    cli,
    conventions,
    filters,
    finding,
    imports,
    money,
    paging,
    selectors,
    signed_export,
    webhooks,
)
from orders.api import endpoints, schemas
from orders.api.problems import Problem
from orders.api.reading import StrictJson
from orders.filters import BadFilter, Filter
from orders.forms import RefundForm
from orders.imports import Layout, Unreadable
from orders.management.commands import import_orders
from orders.models import Order
from orders.services import asking
from orders.services.placing import InvalidOrder, NewLine
from orders.services.texts import wrong_with_note, wrong_with_text
from orders.templatetags.desk import mentions
from orders_site import env
from temporal_workers.providers.simulated import News
from temporal_workers.providers.webhooks import body_of, signature

NOW = datetime(2026, 11, 2, 9, 30, tzinfo=UTC)
CURRENCIES = sorted(list_currencies("en"))
# Text as people and programs send it: anything, and what parsers trip over.
ODD = st.sampled_from(
    ["", " ", "0", "-0", "1e400", "1E-400", "NaN", "sNaN", "Infinity", "0E+400", "\u0665", "\ud800", "\x00", "%d%d"]
)
TEXT = st.one_of(st.text(max_size=30), ODD)
DATES = st.datetimes(datetime(2000, 1, 1), datetime(2026, 11, 2), timezones=st.just(UTC))  # noqa: DTZ001 - bounds
JSON: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), TEXT),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXT, inner, max_size=3)),
    max_leaves=6,
)


def objects(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Objects with some of these fields, each as it should be or anything, and perhaps with others."""
    some = st.fixed_dictionaries({}, optional={name: st.one_of(sound, JSON) for name, sound in fields.items()})
    return st.builds(lambda known, more: more | known, some, st.dictionaries(TEXT, JSON, max_size=1))


# Files of orders

CELL = st.one_of(
    TEXT, st.sampled_from(["LAMP", "2", "12.50", "1,250", "2026-11-01", "0001-01-01T00:00+23:59", "DE", "EUR", "C5"])
)


def read_file(path: Path, layout: Layout) -> tuple[list[imports.Found], list[imports.Row], int]:
    table = imports.open_table(path, layout)
    refused: list[imports.Row] = []
    found = list(imports.orders_of(table, now=NOW, refuse=lambda row, _, __: refused.append(row)))
    return found, refused, table.rows


@given(content=st.binary(max_size=200), head=st.sampled_from([b"", b"\x1f\x8b", b"\xff\xfe", b"\xef\xbb\xbf", b'"']))
def test_a_file_of_any_bytes_is_read_or_said_to_be_unreadable(tmp_path: Path, content: bytes, head: bytes) -> None:
    (tmp_path / "orders.csv").write_bytes(head + content)

    with suppress(Unreadable):
        read_file(tmp_path / "orders.csv", Layout())


@given(rows=st.lists(st.lists(CELL, min_size=7, max_size=8), max_size=5), mark=st.sampled_from([".", ","]), style=TEXT)
@example(rows=[["A1", "LAMP", "2", "12.50", "x", "DE", "EUR"]], mark=".", style="%d%d")
def test_every_row_is_either_taken_or_refused(tmp_path: Path, rows: list[list[str]], mark: str, style: str) -> None:
    path = tmp_path / "orders.csv"
    with path.open("w", newline="", encoding="utf-8", errors="surrogatepass") as file:
        csv.writer(file).writerows([[*imports.REQUIRED, *imports.CONSTANT], *rows])

    try:
        layout = Layout(decimal_mark=mark, date_format=import_orders._date_format(style) if style else "")
        found, refused, many = read_file(path, layout)
    except (Unreadable, ArgumentTypeError):  # such as a quote that is never closed
        return

    taken = [line for order in found for line in order.taken]
    assert len(taken) + len(refused) == many
    assert all(line.new.quantity > 0 and line.new.unit_price_minor > 0 for line in taken)


@given(
    reference=st.from_regex(r"[A-Z0-9]{1,9}", fullmatch=True),
    quantity=st.integers(1, imports.MOST_UNITS),
    price=st.integers(1, 10**11),
    currency=st.sampled_from(CURRENCIES),
    at=DATES,
)
def test_a_good_row_says_in_the_order_what_it_said_in_the_file(
    tmp_path: Path, reference: str, quantity: int, price: int, currency: str, at: datetime
) -> None:
    path, amount = tmp_path / "orders.csv", f"{money.to_amount(price, currency):f}"
    with path.open("w", newline="") as file:
        head = [*imports.REQUIRED, *imports.CONSTANT]
        csv.writer(file).writerows([head, [reference, "LAMP", quantity, amount, at.isoformat(), "DE", currency]])

    ((order,), refused, _) = read_file(path, Layout())

    new = order.order("shop")
    assert not refused
    assert (new.reference, new.currency, new.placed_at) == (reference, currency, at)
    assert new.lines == [NewLine("LAMP", quantity, price)]


# What stands in the URL

SENSIBLE = st.sampled_from(["attention", "in_review", "12.50", "0.8", "Germany", "24h", "me", "amount"])
IN_A_URL = st.one_of(TEXT, SENSIBLE).filter(lambda text: "\ud800" not in text)  # which Django replaces there


@given(st.dictionaries(st.sampled_from(filters.NAMES), IN_A_URL, max_size=5))
@example({"amount_from": "0E+400"})
@example({"risk_from": "-0"})
def test_a_filter_is_refused_by_field_or_says_itself_again(asked: dict[str, str]) -> None:
    try:
        wanted = filters.parse(asked)
    except BadFilter as bad:
        wrong = {*bad.errors}
    else:
        wrong = set()
        assert filters.parse(QueryDict(wanted.query())) == wanted
        assert all(filters.parse(QueryDict(chip.without)) != wanted for chip in wanted.chips())
    assert wrong <= asked.keys()


@given(st.one_of(TEXT, st.text(alphabet="q=&%;+a0\ud800", max_size=30)))
def test_a_filter_in_the_api_is_one_that_the_queue_has_or_is_refused(text: str) -> None:
    with suppress(Problem):
        assert isinstance(endpoints._filter(text), Filter)


@given(st.datetimes(datetime(1970, 1, 1), datetime(2199, 1, 1), timezones=st.just(UTC)), st.uuids())  # noqa: DTZ001
def test_a_place_in_a_list_is_read_as_it_was_written(at: datetime, key: object) -> None:
    place = paging.Cursor(at, str(key))
    assert paging.Cursor.parse(str(place), key=paging.ORDER_KEY) == place


@given(st.one_of(TEXT, st.from_regex(r"[\d.]{0,20}~[\d~]{0,20}")), st.sampled_from(filters.QUEUE_SORTS))
def test_what_is_no_place_in_a_list_is_refused(text: str, sort: filters.Sort) -> None:
    for read in (selectors.queue_cursor, selectors.orders_cursor):
        with suppress(paging.BadCursor):
            read(text, sort)


@given(st.one_of(st.text(max_size=60), st.text(alphabet="cs-109 :*&|!<>()'\\\u0130\u00df", max_size=30)))
def test_any_search_is_one_that_postgresql_takes(db: None, text: str) -> None:
    assume("\x00" not in text and text.isprintable())
    if query := finding.prefix_query(text):
        assert list(Order.objects.filter(search=query)[:1]) == []


# Money, dates and places


@given(st.integers(-(10**15), 10**15), st.sampled_from(CURRENCIES), st.sampled_from(["en", "de_DE", "ar_EG", "hi_IN"]))
def test_an_amount_is_the_same_minor_units_again(minor: int, currency: str, locale: str) -> None:
    assert money.to_minor(money.to_amount(minor, currency), currency) == minor
    assert money.format_money(minor, currency, locale=conventions.parsed(locale))


@given(st.one_of(TEXT, st.decimals(allow_nan=True).map(str)), st.sampled_from(["EUR", "JPY", "BHD"]))
@example("0E+400", "EUR")
@example("1E+14", "EUR")
def test_an_amount_to_refund_is_minor_units_or_refused(text: str, currency: str) -> None:
    form = RefundForm(_post(amount=text, reason="Late"), currency=currency)

    if form.is_valid():
        assert money.to_amount(form.cleaned_data["amount"], currency) == Decimal(text.strip())
    else:
        assert form.errors.keys() == {"amount"}


def _post(**fields: str) -> QueryDict:
    data = QueryDict(mutable=True)
    data.update(fields)
    return data


@given(JSON)
@example("0001-01-01T00:00:00+23:59")
def test_an_instant_names_its_zone_or_is_refused(value: object) -> None:
    with suppress(PydanticCustomError):
        assert schemas._instant(value).tzinfo


@given(TEXT)
def test_a_country_is_known_or_not(name: str) -> None:
    assert money.country_code(name) in {"", *money.countries()}
    assert conventions.parsed(name)


PART = st.one_of(TEXT, st.sampled_from(["10969", "SW1A 1AA", "Berlin", "CA"]))


@given(
    st.one_of(st.sampled_from(sorted(money.countries())), TEXT),
    st.dictionaries(st.sampled_from(["line1", "line2", "city", "region", "postal_code"]), PART),
)
def test_what_is_wrong_with_an_address_is_told_of_its_parts(country: str, parts: dict[str, str]) -> None:
    wrong = addresses.wrong_for_country(parts | {"country": country})
    assert wrong.keys() <= {"line1", "city", "region", "postal_code"}


@given(st.sampled_from(sorted(money.countries())))
def test_the_postal_codes_that_are_shown_as_examples_are_right(country: str) -> None:
    with suppress(LookupError):
        for code in addresses.rules_of(country).examples:
            assert "postal_code" not in addresses.wrong_for_country({"country": country, "postal_code": code})


# What programs send

SOUND = objects(
    customer_name=st.just("Ann Lee"),
    address=objects(country=st.just("DE")),
    currency=st.just("EUR"),
    lines=st.lists(objects(sku=st.just("LAMP"), quantity=st.just(1), unit_price_minor=st.just(5)), max_size=2),
    placed_at=DATES.map(str),
    decide_within=st.integers(),
)


def dumped(value: object) -> bytes:
    return json.dumps(value).encode()


@given(st.one_of(st.binary(max_size=40), JSON.map(dumped), SOUND.map(dumped)))
def test_an_order_on_the_command_line_is_read_or_its_fields_are_named(text: bytes) -> None:
    with suppress(InvalidOrder):
        assert cli.new_order(text, at=NOW).placed_at


@given(st.one_of(st.binary(max_size=40), JSON.map(dumped)))
@example(b"[" * 100_000)
def test_the_body_of_a_call_is_json_or_a_problem(body: bytes) -> None:
    request = RequestFactory().post("/api/v1/orders", body, content_type="application/json")
    with suppress(Problem):
        StrictJson().parse_body(request)


NEWS = st.builds(
    News,
    id=st.from_regex(r"evt_[a-z0-9]{1,9}", fullmatch=True),
    key=st.from_regex(r"[a-z0-9-]{1,40}", fullmatch=True),
    type=st.sampled_from([str(kind) for kind in webhooks.TYPES]),
    reference=st.from_regex(r"ch_[a-z0-9]{1,9}", fullmatch=True),
    amount_minor=st.integers(0, 10**12),
    currency=st.sampled_from(["EUR", "JPY"]),
    reason=st.text(st.characters(categories=["L", "N", "P"]), max_size=30),
    at=st.integers(0, 10**10),
)


@given(NEWS)
def test_what_the_bank_says_is_what_is_heard(news: News) -> None:
    heard = webhooks._news(webhooks._fields(body_of(news)))

    assert (heard.id, heard.key, heard.reference) == (news.id, news.key, news.reference)
    assert (heard.says, heard.amount_minor, heard.currency) == (news.type, news.amount_minor, news.currency)


@given(
    st.one_of(
        st.binary(max_size=40),
        JSON.map(dumped),
        objects(id=st.just("evt_1"), type=st.just("succeeded"), amount=st.integers(), currency=TEXT).map(dumped),
    )
)
def test_what_a_bank_could_not_say_is_a_problem(body: bytes) -> None:
    with suppress(Problem):
        webhooks._news(webhooks._fields(body))


@given(body=st.binary(max_size=30), at=st.integers(0, 10**9), place=st.integers(0), header=st.one_of(TEXT, st.none()))
def test_a_signature_counts_only_as_it_was_made(
    settings: Settings, body: bytes, at: int, place: int, header: str | None
) -> None:
    settings.PAYMENT_WEBHOOK_SECRET = ["new", "old"]
    signed = signature(body, "old", at=at)
    webhooks._check_signature(signed, body, now=at)

    spot = place % len(signed)
    other = signed[:spot] + chr(ord(signed[spot]) ^ 1) + signed[spot + 1 :] if header is None else header
    with pytest.raises(Problem):
        webhooks._check_signature(other, body, now=at)
    with pytest.raises(Problem):
        webhooks._check_signature(signed, body + b" ", now=at)


# What people write


@given(st.one_of(st.text(max_size=60), st.text(alphabet="@<>&\"'ab. \n", max_size=40)))
def test_a_note_is_shown_as_it_was_written_with_nothing_but_mentions_marked(text: str) -> None:
    assert isinstance(wrong_with_note(text) + wrong_with_text(text, 20), str)
    shown = mentions(text)

    plain = re.sub(r'<b class="mention">([^<]*)</b>', r"\1", shown)
    assert "<" not in plain
    assert unescape(plain) == text


@given(TEXT)
def test_a_link_to_a_question_is_ours_or_leads_nowhere(db: None, token: str) -> None:
    with pytest.raises(asking.NoSuchQuestion):
        asking.find(token)


# What is signed


@given(st.lists(st.one_of(st.binary(max_size=30), JSON.map(dumped), st.just(b"[" * 9_000)), max_size=3))
@example([b'{"statement": 1e999999999, "signature": ""}'])
@example([b'{"statement": 1e99999999999999999999, "signature": ""}'])
def test_a_file_that_nobody_signed_is_not_as_signed(lines: list[bytes]) -> None:
    _, public = signed_export.new_pair()
    with pytest.raises(signed_export.NotAsSigned):
        signed_export.check(lines, public_key=public)


WITHOUT_FLOATS: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=9), st.decimals(-(10**9), 10**9, places=3)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=8,
)


@given(WITHOUT_FLOATS)
def test_what_is_hashed_is_json_in_one_form(value: object) -> None:
    text = chain.canonical(value)
    assert chain.canonical(chain.read(text)) == text


# Settings

PARSERS: Mapping[str, Any] = {
    "bool": lambda name: env.env_bool(name, False),
    "int": lambda name: env.env_int(name, 1),
    "float": lambda name: env.env_float(name, 1.0),
    "duration": lambda name: env.env_duration(name, "1h"),
    "list": env.env_list,
    "key": env.env_key,
    "keys": env.env_keys,
    "networks": lambda name: env.env_networks(name, "::1"),
    "mailbox": lambda name: env.env_mailbox(name, "a@example.com"),
    "database": lambda name: env.database_from_url(env.env_str(name)),
    "mail server": lambda name: env.mail_server_from_url(env.env_str(name)),
}
SETTING = st.one_of(
    TEXT,
    st.from_regex(r"[0-9]{1,30}[smhd]", fullmatch=True),
    st.from_regex(r"(postgresql|smtps?|smtp\+starttls|file)://[a-z:@\[\]0-9]{0,12}/[a-z%?=]{0,5}", fullmatch=True),
    st.from_regex(r"[a-z<> @.\"]{0,20}", fullmatch=True),
)


@pytest.mark.parametrize("kind", PARSERS)
@given(raw=SETTING.filter(lambda text: "\x00" not in text and "\ud800" not in text))
@example(raw="999999999999d")
@example(raw="postgresql://desk@host:port/orders")
@example(raw="postgresql://[/orders")
def test_a_setting_is_understood_or_stops_the_start_by_name(kind: str, raw: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOME_SETTING", raw)
        with suppress(ImproperlyConfigured):
            PARSERS[kind]("SOME_SETTING")


@given(st.integers(1, 10_000), st.sampled_from("smhd"))
def test_a_span_is_as_long_as_it_says(number: int, unit: str) -> None:
    seconds = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}[unit]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOME_SPAN", f"{number}{unit}")
        assert env.env_duration("SOME_SPAN", "1h") == timedelta(seconds=number * seconds)

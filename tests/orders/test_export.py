"""GET /orders/export/: what the list shows, as a file."""

import csv
from datetime import UTC, datetime

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from orders import exporting
from orders.filters import Filter, Sort
from orders.models import Order
from orders.services.placing import NewLine
from tests.conftest import PlaceOrder
from tests.orders.conftest import SignedIn


def exported(viewer: User, wanted: Filter = Filter()) -> list[dict[str, str]]:  # noqa: B008 - it is frozen
    whole = b"".join(exporting.chunks(wanted, viewer=viewer, at=timezone.now()))
    return list(csv.DictReader(whole.decode("utf-8-sig").splitlines()))


def test_amounts_and_instants_are_exact(alice: User, place: PlaceOrder) -> None:
    at = datetime(2026, 3, 1, 23, 59, 59, 123456, tzinfo=UTC)
    place(currency="JPY", lines=[NewLine("LAMP", 1, 1_250)], placed_at=at)
    place(currency="KWD", lines=[NewLine("LAMP", 1, 1_250)], placed_at=at)
    place(lines=[NewLine("LAMP", 1, 10**15)], placed_at=at)

    rows = exported(alice)

    assert sorted(row["amount"] for row in rows) == ["1.250", "10000000000000.00", "1250"]
    assert {row["placed_at"] for row in rows} == {"2026-03-01T23:59:59.123456+00:00"}


@pytest.mark.parametrize("sort", [None, *Sort])
def test_it_holds_what_the_filter_shows_however_many_chunks_it_takes(
    alice: User, place: PlaceOrder, order_in_review: Order, sort: Sort | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "CHUNK", 2)
    for _ in range(4):
        place()
    place(customer_name="Bo Ek", customer_email="bo@elsewhere.test")

    found = [row["number"] for row in exported(alice, Filter(q="ann", sort=sort))]

    assert len(set(found)) == len(found) == (1 if sort in (Sort.DEADLINE, Sort.RISK) else 5)


@pytest.mark.parametrize("name", ["=1+2", "+49 30", "-2", "@SUM(A1)", "\tx", "＝1"])  # noqa: RUF001 - full width
def test_no_cell_is_a_formula(alice: User, place: PlaceOrder, name: str) -> None:
    order = place()
    Order.objects.filter(pk=order.pk).update(customer_name=name, address_line1=name, outcome=f"Rejected: {name}")

    [row] = exported(alice)

    assert row["customer_name"] == row["address_line1"] == f"'{name}"
    assert row["outcome"] == f"Rejected: {name}"


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("Bob;=1+1;x", "Bob;'=1+1;x"),
        ('Bob; "@SUM(A1)"', 'Bob; "\'@SUM(A1)"'),
        ("Bob\t+1|-1", "Bob\t'+1|'-1"),
        ("Bob\n＝1", "Bob\n'＝1"),  # noqa: RUF001 - full width
        ("a-b = c; d", "a-b = c; d"),
    ],
)
def test_nor_does_one_begin_where_another_separator_is_taken_for_it(text: str, cell: str) -> None:
    assert exporting.harmless(text) == cell


def test_quotes_commas_and_lines_stay_within_their_cell(alice: User, place: PlaceOrder) -> None:
    order = place()
    Order.objects.filter(pk=order.pk).update(customer_name='Lee, "Ann"')

    assert [row["customer_name"] for row in exported(alice)] == ['Lee, "Ann"']


def test_a_viewer_may_not_take_them_away(viewer: User, signed_in: SignedIn, place: PlaceOrder) -> None:
    place()
    at_veras = signed_in(viewer)

    assert at_veras.get("/orders/export/").status_code == 403
    assert "Export as CSV" not in at_veras.get("/orders/").content.decode()


def test_the_list_leads_to_its_own_export(at_alices: Client, place: PlaceOrder) -> None:
    place()

    assert (
        'href="/orders/export/?q=ann&amp;country=DE"'
        in at_alices.get("/orders/", {"country": "DE", "q": "ann"}).content.decode()
    )


def test_the_log_says_who_took_them_and_names_no_customer(at_alices: Client, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "orders.views")

    at_alices.get("/orders/export/", {"q": "Ann Lee", "customer": "ann.lee@example.com", "country": "DE"})

    assert "Orders exported by alice, filtered by: q, country, customer" in caplog.messages


def test_a_filter_that_cannot_be_gives_no_file(at_alices: Client) -> None:
    assert at_alices.get("/orders/export/", {"amount_from": "much"}).status_code == 400

"""GET /orders/: all orders, filtered and searched."""

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from orders import paging, selectors
from orders.filters import ORDERS_SORTS, Filter, Sort
from orders.models import Order
from orders.services import asking
from orders.services.actors import Actor
from tests.conftest import PlaceOrder


def numbers(page: selectors.OrdersPage) -> list[str]:
    return [order.number for order in page.orders]


def test_the_newest_comes_first(at_alices: Client, place: PlaceOrder) -> None:
    first, second = place(), place()

    page = at_alices.get("/orders/").content.decode()

    assert page.index(second.number) < page.index(first.number)
    assert "2 orders" in page


def test_it_can_be_narrowed_to_a_status(at_alices: Client, place: PlaceOrder, order_in_review: Order) -> None:
    placed = place()

    page = at_alices.get("/orders/", {"status": "in_review"}).content.decode()

    assert order_in_review.number in page
    assert placed.number not in page


@pytest.mark.parametrize(
    "text",
    [
        "{number}",
        "{digits}",
        "CS{digits}",
        "cs{digits}",
        "cs {digits}",
        "ann lee",
        "LEE",
        "ann.lee@example.com",
        "ann.l",
        "example",
        "an le",
    ],
)
def test_it_finds_by_number_name_and_mail(place: PlaceOrder, text: str) -> None:
    wanted = place()
    place(customer_name="Bo Ek", customer_email="bo@elsewhere.test")
    text = text.format(number=wanted.number, digits=wanted.number.removeprefix("CS-"))

    assert numbers(selectors.orders_page(at=timezone.now(), wanted=Filter(q=text))) == [wanted.number]


@pytest.mark.parametrize("text", ["'", "a' & b", "!!!", "(((", ":*", "\\", "a:b|c<->d", "' OR 1=1 --", "é" * 99])
def test_what_is_typed_is_never_a_query_language(at_alices: Client, place: PlaceOrder, text: str) -> None:
    place()

    assert at_alices.get("/orders/", {"q": text}).status_code == 200


def test_it_finds_names_with_apostrophes_and_accents(place: PlaceOrder) -> None:
    wanted = place(customer_name="Séan O'Brien", customer_email="")

    assert numbers(selectors.orders_page(at=timezone.now(), wanted=Filter(q="séan o'brien"))) == [wanted.number]


def test_a_word_that_only_looks_like_a_number_of_ours_is_found_as_it_is(place: PlaceOrder) -> None:
    wanted = place(customer_email="cs1992@example.com")

    assert numbers(selectors.orders_page(at=timezone.now(), wanted=Filter(q="cs1992"))) == [wanted.number]


def test_finding_nothing_says_how_to_search(at_alices: Client, place: PlaceOrder) -> None:
    place()

    assert "No orders match" in at_alices.get("/orders/", {"q": "nobody"}).content.decode()


@pytest.mark.parametrize("sort", ORDERS_SORTS)
def test_what_is_put_off_is_among_all_orders_however_they_are_sorted(
    order_in_review: Order, as_alice: Actor, sort: Sort
) -> None:
    now = timezone.now()
    until = now + timedelta(hours=1)
    asking.snooze(order_id=order_in_review.pk, actor=as_alice, at=now, reason="She calls back", until=until)

    page = selectors.orders_page(at=now, wanted=Filter(due="7d", sort=sort))

    assert numbers(page) == [order_in_review.number]


def test_behind_the_last_page_it_leads_back_to_the_list(at_alices: Client, place: PlaceOrder) -> None:
    order = place()

    page = at_alices.get("/orders/", {"older": f"1~{order.pk}"}).content.decode()

    assert "Nothing further" in page
    assert 'href="/orders/"' in page
    assert "No orders yet" not in page


def test_a_status_that_there_is_not_is_told(at_alices: Client) -> None:
    assert "There is no such status." in at_alices.get("/orders/", {"status": "lost"}).content.decode()


def test_pages_go_there_and_back(place: PlaceOrder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paging, "PAGE", 2)
    now = timezone.now()
    orders = [place(placed_at=now) for _ in range(5)]  # ties are told apart by the key
    expected = [order.number for order in sorted(orders, key=lambda order: str(order.pk), reverse=True)]

    page = selectors.orders_page(at=timezone.now())
    seen = numbers(page)
    pages = [page]
    while page.older:
        older = selectors.orders_cursor(str(page.older), None)
        page = selectors.orders_page(at=timezone.now(), older_than=older)
        pages.append(page)
        seen += numbers(page)
    assert seen == expected

    assert pages[0].newer is None
    back = selectors.orders_page(at=timezone.now(), newer_than=pages[1].newer)
    assert numbers(back) == numbers(pages[0])
    assert back.newer is None


def test_counting_stops_at_the_cap(place: PlaceOrder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paging, "COUNT_UP_TO", 2)
    for _ in range(3):
        place()

    assert str(selectors.orders_page(at=timezone.now()).count) == "2+"


def test_links_keep_the_filter(at_alices: Client, place: PlaceOrder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paging, "PAGE", 1)
    place()
    place()

    page = at_alices.get("/orders/", {"q": "ann", "status": "placed"}).content.decode()

    assert "?q=ann&amp;status=placed&amp;older=" in page


@pytest.mark.parametrize("name", ["older", "newer"])
def test_a_place_that_we_never_gave_out_is_a_bad_request(at_alices: Client, name: str) -> None:
    assert at_alices.get("/orders/", {name: "1~not-a-uuid"}).status_code == 400


def test_it_asks_the_database_as_often_for_many_as_for_one(
    at_alices: Client, place: PlaceOrder, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for _ in range(6):
        place()

    with django_assert_max_num_queries(12):  # session, person, preferences, rights (2), orders, counts (4), engine (2)
        at_alices.get("/orders/")


def test_catching_up_brings_only_what_changed(at_alices: Client, place: PlaceOrder) -> None:
    same, changed = place(), place()
    Order.objects.filter(pk=changed.pk).update(version=2)

    told = at_alices.get("/live/orders/", {"shown": f"{same.pk}.1_{changed.pk}.1"}).json()

    rows = [fragment for fragment in told["fragments"] if "orders-" in fragment]
    assert len(rows) == 1
    assert str(changed.pk) in rows[0]


def test_those_that_need_help_can_be_listed_and_each_kind_of_them(
    at_alices: Client, order_in_review: Order, short_order: Order, undeliverable_order: Order
) -> None:
    def listed(status: str) -> set[str]:
        page = at_alices.get("/orders/", {"status": status}).content.decode()
        return {order.number for order in Order.objects.all() if order.number in page}

    assert listed("attention") == {short_order.number, undeliverable_order.number}
    assert listed("stock_short") == {short_order.number}
    assert listed("in_review") == {order_in_review.number}

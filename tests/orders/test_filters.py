"""What lists show: the same filter in the URL, in the queue and among all orders."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.http import QueryDict
from django.test import Client
from django.utils import timezone

from orders import filters, money, paging, selectors
from orders.filters import ORDERS_SORTS, QUEUE_SORTS, Filter, Sort
from orders.models import Order, Payment, Review
from orders.services import reviewing
from orders.services.actors import Actor
from orders.services.placing import Address, NewLine
from tests.conftest import PlaceOrder

WHOLE = Filter(
    q="ann lee",
    status="attention",
    reason="high_risk",
    amount_from=Decimal("12.50"),
    amount_to=Decimal(5_000),
    risk_from=0.8,
    sku="LAMP",
    country="DE",
    placed="24h",
    due="overdue",
    assignee="me",
    customer="ann.lee@example.com",
    asked="leads",
    sort=Sort.AMOUNT,
)


def test_the_url_says_all_of_it_and_is_read_back() -> None:
    assert filters.parse(QueryDict(WHOLE.query())) == WHOLE
    assert set(WHOLE.params()) == set(filters.NAMES)


def test_nothing_in_the_url_is_everything() -> None:
    assert filters.parse(QueryDict("after=1~2&unknown=x")) == Filter()
    assert Filter().query() == ""
    assert not Filter(sort=Sort.AGE).narrows


def test_a_country_is_known_by_its_name_too() -> None:
    assert filters.parse({"country": " germany "}).query() == "country=DE"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("q", "x" * 101),
        ("q", "\x00"),
        ("status", "lost"),
        ("reason", "none"),
        ("amount_from", "much"),
        ("amount_from", "-1"),
        ("amount_from", "NaN"),
        ("amount_to", "1e30"),
        ("amount_from", "1e-30000000"),
        ("risk_from", "1.5"),
        ("risk_from", "nan"),
        ("sku", "x" * 41),
        ("country", "Atlantis"),
        ("placed", "1y"),
        ("due", "soon"),
        ("customer", "x" * 201),
        ("asked", "everybody"),
        ("sort", "luck"),
    ],
)
def test_what_cannot_be_is_told_with_the_name_of_its_field(name: str, value: str) -> None:
    with pytest.raises(filters.BadFilter) as told:
        filters.parse({name: value, "status": value if name == "status" else "placed"})

    assert list(told.value.errors) == [name]


def test_amounts_the_wrong_way_round_are_told() -> None:
    with pytest.raises(filters.BadFilter) as told:
        filters.parse({"amount_from": "100", "amount_to": "20"})

    assert list(told.value.errors) == ["amount_to"]


@pytest.mark.parametrize("path", ["/", "/orders/"])
def test_a_page_says_what_is_wrong_beside_the_field_and_lists_nothing(
    at_alices: Client, order_in_review: Order, path: str
) -> None:
    answer = at_alices.get(path, {"amount_from": "much", "q": "Ann"})

    page = answer.content.decode()
    assert answer.status_code == 422
    assert "Enter the amount as a number" in page
    assert order_in_review.number not in page


@pytest.mark.parametrize("path", ["/", "/orders/"])
def test_what_a_form_sends_empty_is_not_kept_in_the_url(at_alices: Client, path: str) -> None:
    answer = at_alices.get(path, {"q": "ann", "status": "", "sku": ""})

    assert answer.headers["Location"] == f"{path}?q=ann"


def test_what_is_set_is_shown_each_with_a_link_that_removes_it(at_alices: Client, order_in_review: Order) -> None:
    page = at_alices.get("/", {"country": "de", "amount_from": "1000"}).content.decode()

    assert order_in_review.number in page
    assert 'href="?amount_from=1000" aria-label="Remove Country: Germany"' in page
    assert 'href="?country=DE" aria-label="Remove Amount from: 1000"' in page


@pytest.fixture
def others(alice: User, bob: User, place: PlaceOrder, order_in_review: Order, short_order: Order) -> dict[str, Order]:
    """One of each kind, so that a filter that does nothing is seen."""
    now = timezone.now()
    claims = ((order_in_review, alice, now + timedelta(minutes=1)), (short_order, bob, now))  # the second has passed
    for order, user, until in claims:
        Review.objects.filter(order=order).update(claimed_by=user, claimed_at=now, claimed_until=until)
    Order.objects.filter(pk=short_order.pk).update(placed_at=now - timedelta(days=3))
    Review.objects.filter(order=short_order).update(due_at=now - timedelta(minutes=1), level=Review.Level.LEAD)
    Payment.objects.create(
        order=order_in_review,
        idempotency_key="k",
        kind="charge",
        amount_minor=1,
        currency="EUR",
        provider_reference="ch_7Hx2Lq90",
        created_at=now,
    )
    placed = place(
        customer_name="Bo Ek",
        customer_email="bo@elsewhere.test",
        currency="JPY",
        lines=[NewLine("RUG", 1, 900)],
        address=Address("FR", line1="5 rue Cler", city="Paris", postal_code="75007"),
    )
    return {"in review": order_in_review, "short": short_order, "placed": placed}


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (Filter(), {"in review", "short", "placed"}),
        (Filter(status="attention"), {"short"}),
        (Filter(status="placed"), {"placed"}),
        (Filter(amount_from=Decimal(900)), {"in review", "placed"}),
        (Filter(amount_to=Decimal(1_000)), {"short", "placed"}),
        (Filter(risk_from=0.3), {"in review"}),
        (Filter(reason="high_amount"), {"in review"}),
        (Filter(reason="stock_short"), {"short"}),
        (Filter(sku="rug"), {"placed"}),
        (Filter(sku="NONE"), set()),
        (Filter(country="FR"), {"placed"}),
        (Filter(placed="24h"), {"in review", "placed"}),
        (Filter(due="overdue"), {"short"}),
        (Filter(due="30d"), {"in review", "short"}),
        (Filter(customer="Bo@Elsewhere.test"), {"placed"}),
        (Filter(customer="bo e"), {"placed"}),
        (Filter(customer="ek"), set()),
        (Filter(asked="leads"), {"short"}),
        (Filter(assignee="me"), {"in review"}),
        (Filter(assignee="alice"), {"in review"}),
        (Filter(assignee="bob"), set()),
        (Filter(assignee="nobody"), {"short"}),
        (Filter(q="rue cler"), {"placed"}),
        (Filter(q="75007 paris"), {"placed"}),
        (Filter(q="ch_7Hx2Lq90"), {"in review"}),
        (Filter(q="ch_7Hx2"), {"in review"}),
        (Filter(q="ch_7hx"), set()),
        (Filter(status="in_review", country="DE", sku="LAMP", q="ann", risk_from=0.3), {"in review"}),
    ],
    ids=lambda value: value.query() or "all" if isinstance(value, Filter) else "",
)
def test_each_field_narrows_the_queue_and_the_list_of_all_orders(
    others: dict[str, Order], wanted: Filter, found: set[str], alice: User
) -> None:
    now = timezone.now()
    names = {order.pk: name for name, order in others.items()}

    queue = selectors.queue_page(at=now, wanted=wanted, viewer=alice)
    orders = selectors.orders_page(at=now, wanted=wanted, viewer=alice)

    assert {names[order.pk] for order in orders.orders} == found
    assert {names[row.order.pk] for row in queue.rows} == found - {"placed"}
    assert orders.count.number == len(found)


@pytest.mark.parametrize("sort", ORDERS_SORTS)
@pytest.mark.parametrize("wanted", [Filter(due="30d"), Filter(asked="leads"), Filter(assignee="nobody")])
def test_what_is_asked_of_open_reviews_lets_nothing_decided_in_by_any_sort(
    order_in_review: Order, as_bob: Actor, wanted: Filter, sort: Sort
) -> None:
    now = timezone.now()
    reviewing.approve(order_id=order_in_review.pk, actor=as_bob, at=now)
    order_in_review.reviews.update(level=Review.Level.LEAD)

    page = selectors.orders_page(at=now, wanted=replace(wanted, sort=sort))

    assert (list(page.orders), page.count.number) == ([], 0)


@pytest.mark.parametrize("count_up_to", [3, 1_000])
@pytest.mark.parametrize("wanted", [Filter(), Filter(amount_from=Decimal(1)), Filter(due="30d")], ids=Filter.query)
@pytest.mark.parametrize("sort", Sort)
def test_every_sort_goes_page_by_page_without_losing_or_repeating_any(
    place: PlaceOrder,
    others: dict[str, Order],
    sort: Sort,
    wanted: Filter,
    count_up_to: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(paging, "PAGE", 2)
    monkeypatch.setattr(paging, "COUNT_UP_TO", count_up_to)
    now = timezone.now()
    for n in range(5):
        order = place(lines=[NewLine("LAMP", 1 + n // 2, 50_000)])  # ties are told apart by the key
        Order.objects.filter(pk=order.pk).update(status="in_review", placed_at=now - timedelta(hours=n // 2))
        Review.objects.create(
            order=order, opened_at=now, due_at=now + timedelta(hours=n // 2), risk_score=[0.15, 0.3, 0.85][n // 2]
        )
    wanted = replace(wanted, sort=sort)
    keys: dict[Sort, Callable[[Any], Any]] = {
        Sort.DEADLINE: lambda row: row.review.due_at,
        Sort.AMOUNT: lambda row: -row.order.amount,
        Sort.RISK: lambda row: -row.review.risk_score,
        Sort.AGE: lambda row: row.order.placed_at,
        Sort.NEWEST: lambda row: -row.order.placed_at.timestamp(),
    }
    key = keys[sort]

    page = selectors.queue_page(at=now, wanted=wanted)
    seen = list(page.rows)
    while page.next:
        after = selectors.queue_cursor(str(page.next), sort)
        page = selectors.queue_page(at=now, wanted=wanted, after=after)
        seen += page.rows

    assert len({row.order.pk for row in seen}) == len(seen) == 7
    assert [key(row) for row in seen] == sorted(key(row) for row in seen)

    listed = selectors.orders_page(at=now, wanted=wanted)
    there = [order.pk for order in listed.orders]
    while listed.older:
        older = selectors.orders_cursor(str(listed.older), sort)
        listed = selectors.orders_page(at=now, wanted=wanted, older_than=older)
        there += [order.pk for order in listed.orders]
    back = [order.pk for order in listed.orders][::-1]
    while listed.newer:
        newer = selectors.orders_cursor(str(listed.newer), sort)
        listed = selectors.orders_page(at=now, wanted=wanted, newer_than=newer)
        back += [order.pk for order in listed.orders][::-1]

    all_there = {Sort.DEADLINE: 7, Sort.RISK: 6}.get(sort, 7 if wanted.due else 8)
    assert len(set(there)) == len(there) == all_there
    assert back[::-1] == there


@pytest.mark.parametrize(("path", "place"), [("/", "after"), ("/orders/", "older"), ("/orders/", "newer")])
def test_a_place_in_a_list_that_is_sorted_otherwise_is_a_bad_request(at_alices: Client, path: str, place: str) -> None:
    assert at_alices.get(path, {"sort": "amount", place: "1.x~1"}).status_code == 400


def test_every_sort_has_a_name_and_an_order() -> None:
    assert set(QUEUE_SORTS) == set(ORDERS_SORTS) == set(filters.SORTS) == set(Sort)
    assert set(filters.LABELS) == set(filters.NAMES)


@pytest.mark.parametrize(("currency", "minor"), [("EUR", 120_000), ("JPY", 1_200), ("KWD", 1_200_000)])
def test_amounts_are_compared_in_whole_units(place: PlaceOrder, currency: str, minor: int) -> None:
    order = place(currency=currency, lines=[NewLine("LAMP", 1, minor)])

    order.refresh_from_db()

    assert order.amount == money.to_amount(minor, currency) == 1_200

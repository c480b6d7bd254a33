"""Lists are read along their indexes, however many orders there are."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from io import StringIO

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings

from orders import paging, selectors, stuck
from orders.filters import ATTENTION, Filter, Sort
from orders.models import Order


@pytest.fixture
def many(db: None, settings: Settings) -> None:
    settings.DEBUG = True
    call_command("seed_orders", count=4_000, waiting=400, stdout=StringIO(), stderr=StringIO())


@contextmanager
def plans() -> Iterator[list[str]]:
    """The plans of all queries that are made within."""
    found: list[str] = []
    with CaptureQueriesContext(connection) as asked:
        yield found
    with connection.cursor() as cursor:
        for query in asked.captured_queries:
            if query["sql"].startswith(("SELECT", "WITH")):
                cursor.execute("EXPLAIN " + query["sql"])
                found.append("\n".join(line for (line,) in cursor.fetchall()))


def test_each_list_is_read_along_its_index_and_no_table_from_end_to_end(many: None, alice: User) -> None:
    now = timezone.now()
    for one, index in {Filter(): "review_open_by_deadline", Filter(sort=Sort.RISK): "review_open_by_risk"}.items():
        with plans() as queue:
            selectors.queue_page(at=now, wanted=one, viewer=alice)
        assert any(index in plan for plan in queue), queue
        assert not [plan for plan in queue if re.search(r"Seq Scan on orders_(order|review)\b", plan)], queue

    with plans() as orders:
        selectors.orders_page(at=now)
        selectors.orders_page(at=now, wanted=Filter(sort=Sort.AMOUNT))
        selectors.orders_page(at=now, wanted=Filter(q="zebulon"))
    for index in ("order_newest", "order_largest", "order_search"):
        assert any(index in plan for plan in orders), orders


def test_few_are_found_by_what_they_are_and_not_along_the_list(many: None, alice: User) -> None:
    rare = Filter(q="nobodyofthatname", country="AQ")

    with plans() as found:
        selectors.orders_page(at=timezone.now(), wanted=rare)
        selectors.queue_page(at=timezone.now(), wanted=rare, viewer=alice)
        selectors.queue_page(at=timezone.now(), wanted=Filter(status=ATTENTION), viewer=alice)

    assert not [plan for plan in found if re.search(r"order_newest\b", plan)], found
    assert any("review_open_for_help" in plan for plan in found), found


def test_what_stands_still_is_found_without_a_look_at_what_has_ended(many: None) -> None:
    with plans() as found:
        stuck.from_rows(at=timezone.now())

    assert any("order_newest_by_status" in plan for plan in found), found
    assert any("payment_under_way" in plan for plan in found), found
    assert not [plan for plan in found if re.search(r"Seq Scan on orders_(event|payment)\b", plan)], found


@pytest.mark.parametrize("sort", [None, Sort.AGE, Sort.AMOUNT])
def test_what_fits_several_conditions_is_listed_alike_whether_it_is_near_or_anywhere(
    many: None, monkeypatch: pytest.MonkeyPatch, sort: Sort | None
) -> None:
    wanted = Filter(country="DE", amount_from=Decimal(10), q="example.com", sort=sort)
    monkeypatch.setattr(paging, "COUNT_UP_TO", 20)  # there are more

    def pages() -> list[list[Order]]:
        """The first, the second, and back."""
        now = timezone.now()
        first = selectors.orders_page(at=now, wanted=wanted)
        second = selectors.orders_page(at=now, wanted=wanted, older_than=first.older)
        back = selectors.orders_page(at=now, wanted=wanted, newer_than=second.newer)
        return [list(page.orders) for page in (first, second, back)]

    monkeypatch.setattr(selectors, "ALONG", 4_000)
    with plans() as asked:
        near = pages()
    assert any("Subquery Scan on orders_order" in plan for plan in asked), asked
    monkeypatch.setattr(selectors, "ALONG", 60)

    anywhere = pages()

    assert near == anywhere
    assert near[0] == near[2]
    assert [len(page) for page in near] == [paging.PAGE] * 3
    assert {order.address_country for page in near for order in page} == {"DE"}


def test_the_queue_is_listed_alike_whether_what_fits_is_near_or_anywhere(
    many: None, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = Filter(q="example.com")
    monkeypatch.setattr(paging, "COUNT_UP_TO", 20)  # there are more

    def pages() -> list[int]:
        first = selectors.queue_page(at=timezone.now(), wanted=wanted, viewer=alice)
        second = selectors.queue_page(at=timezone.now(), wanted=wanted, viewer=alice, after=first.next)
        return [row.review.pk for page in (first, second) for row in page.rows if row.review]

    with plans() as asked:
        near = pages()
    assert any("Subquery Scan on orders_review" in plan for plan in asked), asked
    monkeypatch.setattr(selectors, "ALONG", paging.PAGE)

    anywhere = pages()

    assert near == anywhere
    assert len(set(near)) == 2 * paging.PAGE

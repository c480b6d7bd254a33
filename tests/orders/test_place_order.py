"""What placing accepts and leaves behind, and that what it refuses leaves nothing."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from orders.models import ActorKind, Event, Order, OrderLine, Outbox, Product
from orders.services import placing
from orders.services.actors import SYSTEM, Actor
from orders.services.placing import Address, DuplicateReference, InvalidOrder, NewLine, NewOrder
from tests.threads import at_once

NOW = datetime(2026, 3, 4, 12, 30, tzinfo=UTC)

GOOD = NewOrder(
    source="web",
    reference="W-1",
    customer_name="Ann Lee",
    customer_email="ann.lee@example.com",
    address=Address("DE", line1="Lindenstr. 4", city="Berlin", postal_code="10969"),
    currency="EUR",
    lines=[NewLine("LAMP", 2, 4_950), NewLine("RUG", 1, 12_000)],
    placed_at=NOW - timedelta(minutes=5),
)

Change = Callable[[NewOrder], NewOrder]

pytestmark = pytest.mark.usefixtures("goods")


def _set(**changes: Any) -> Change:
    return lambda new: replace(new, **changes)


def _address(**changes: str) -> Change:
    return lambda new: replace(new, address=replace(new.address, **changes))


def _line(**changes: Any) -> Change:
    return lambda new: replace(new, lines=[new.lines[0], replace(new.lines[1], **changes)])


def _rows() -> tuple[int, ...]:
    return tuple(model.objects.count() for model in (Order, OrderLine, Event, Outbox))


def test_an_order_is_stored_with_its_lines_its_event_and_word_for_the_engine() -> None:
    buyer = Actor(ActorKind.CUSTOMER, "Ann Lee")

    order = placing.place_order(new=GOOD, actor=buyer, at=NOW)

    order.refresh_from_db()
    assert order.number.startswith("CS-")
    assert (order.status, order.status_at, order.placed_at) == ("placed", NOW, NOW - timedelta(minutes=5))
    assert (order.total_minor, order.currency, order.version) == (21_900, "EUR", 1)
    assert [(line.position, line.product.sku, line.quantity) for line in order.lines.all()] == [
        (1, "LAMP", 2),
        (2, "RUG", 1),
    ]
    event = order.events.get()
    assert (event.sequence, event.type, event.actor_kind, event.actor, event.at) == (
        1,
        "place",
        "customer",
        "Ann Lee",
        NOW,
    )
    message = order.outbox.get()
    assert (message.message, message.delivered_at, message.attempts) == ("start", None, 0)


def test_names_and_mailboxes_are_tidied() -> None:
    new = replace(GOOD, customer_name="  Ann Lee ", customer_email=" Ann.LEE@Example.com ")

    order = placing.place_order(new=new, actor=SYSTEM, at=NOW)

    assert (order.customer_name, order.customer_email) == ("Ann Lee", "ann.lee@example.com")


def test_numbers_never_repeat() -> None:
    numbers = [placing.place_order(new=replace(GOOD, reference=""), actor=SYSTEM, at=NOW).number for _ in range(3)]

    assert len(set(numbers)) == 3


@pytest.mark.parametrize(
    "new",
    [
        _set(customer_email=""),
        _set(customer_name="Zoë 山田 🙂"),
        _set(customer_name="x" * 200),
        _address(line1="", city="", postal_code=""),
        _set(lines=[NewLine("LAMP", 1, 0)]),
        _set(lines=[NewLine("LAMP", 1, 100)] * placing.MOST_LINES),
        _set(decide_within=timedelta(seconds=1)),
        _set(currency="JPY"),
    ],
)
def test_the_odd_but_honest_is_accepted(new: Change) -> None:
    assert placing.place_order(new=new(GOOD), actor=SYSTEM, at=NOW).pk


BAD: list[tuple[Change, str]] = [
    (_set(source="s" * 41), "source"),
    (_set(reference="r" * 81), "reference"),
    (_set(reference="a\nb"), "reference"),
    (_set(customer_name=""), "customer_name"),
    (_set(customer_name="   "), "customer_name"),
    (_set(customer_name="x" * 201), "customer_name"),
    (_set(customer_name="Ann\x00Lee"), "customer_name"),
    (_set(customer_name="Ann\x1b[31m"), "customer_name"),
    (_set(customer_name="\ud83d"), "customer_name"),
    (_set(customer_email="not an address"), "customer_email"),
    (_set(customer_email="a@b@c.com"), "customer_email"),
    (_set(customer_email="a@example.com\r\nBcc: b@example.com"), "customer_email"),
    (_set(customer_email=f"{'a' * 250}@example.com"), "customer_email"),
    (_address(country=""), "address.country"),
    (_address(country="Germany"), "address.country"),
    (_address(country="de"), "address.country"),
    (_address(country="ZZ"), "address.country"),
    (_address(line1="x" * 201), "address.line1"),
    (_address(line2="\x00"), "address.line2"),
    (_address(city="x" * 101), "address.city"),
    (_address(region="\udfff"), "address.region"),
    (_address(postal_code="1" * 21), "address.postal_code"),
    (_set(currency=""), "currency"),
    (_set(currency="eur"), "currency"),
    (_set(currency="EURO"), "currency"),
    (_set(currency="ZZZ"), "currency"),
    (_set(decide_within=timedelta(0)), "decide_within"),
    (_set(decide_within=timedelta(seconds=-1)), "decide_within"),
    (_set(lines=[]), "lines"),
    (_set(lines=[NewLine("LAMP", 1, 1)] * (placing.MOST_LINES + 1)), "lines"),
    (_line(sku="GHOST"), "lines"),
    (_line(sku=""), "lines"),
    (_line(sku="LAMP\x00"), "lines[1].sku"),
    (_line(sku="\ud800"), "lines[1].sku"),
    (_line(sku="x" * 41), "lines[1].sku"),
    (_line(quantity=0), "lines[1].quantity"),
    (_line(quantity=-1), "lines[1].quantity"),
    (_line(quantity=2**31), "lines[1].quantity"),
    (_line(unit_price_minor=-1), "lines[1].unit_price"),
    (_line(unit_price_minor=10**16), "total"),
    (_line(quantity=2**31 - 1, unit_price_minor=10**10), "total"),
    (_set(decide_within=timedelta.max), "decide_within"),
    (_set(source=""), "source"),
    (_set(placed_at=NOW.replace(tzinfo=None)), "placed_at"),
    (_set(placed_at=NOW + timedelta(days=2)), "placed_at"),
    (_set(placed_at=datetime.max.replace(tzinfo=UTC)), "placed_at"),
    (_set(placed_at=datetime.min.replace(tzinfo=UTC)), "placed_at"),
]


@pytest.mark.parametrize(("change", "named"), BAD)
def test_a_bad_order_is_refused_with_its_field_named_and_nothing_left_behind(change: Change, named: str) -> None:
    with pytest.raises(InvalidOrder) as refused:
        placing.place_order(new=change(GOOD), actor=SYSTEM, at=NOW)

    assert list(refused.value.errors) == [named]
    assert named in str(refused.value)
    assert _rows() == (0, 0, 0, 0)


def test_every_bad_field_is_named_at_once() -> None:
    new = replace(GOOD, customer_name="", currency="??", lines=[NewLine("LAMP", 0, -1)])

    with pytest.raises(InvalidOrder) as refused:
        placing.place_order(new=new, actor=SYSTEM, at=NOW)

    assert set(refused.value.errors) == {"customer_name", "currency", "lines[0].quantity", "lines[0].unit_price"}


def test_a_reference_is_taken_once_and_the_second_is_told_what_came_of_the_first() -> None:
    first = placing.place_order(new=GOOD, actor=SYSTEM, at=NOW)
    before = _rows()

    with pytest.raises(DuplicateReference) as refused:
        placing.place_order(new=replace(GOOD, customer_name="Somebody Else"), actor=SYSTEM, at=NOW)

    assert refused.value.order == first
    assert first.number in str(refused.value)
    assert _rows() == before


def test_another_source_may_use_the_same_reference() -> None:
    placing.place_order(new=GOOD, actor=SYSTEM, at=NOW)

    assert placing.place_order(new=replace(GOOD, source="phone"), actor=SYSTEM, at=NOW).pk


def test_orders_without_a_reference_are_never_taken_for_one_another() -> None:
    for _ in range(2):
        placing.place_order(new=replace(GOOD, reference=""), actor=SYSTEM, at=NOW)

    assert Order.objects.count() == 2


@pytest.mark.django_db(transaction=True)
def test_of_many_who_send_the_same_reference_at_once_one_places_it() -> None:
    def send() -> str:
        try:
            return placing.place_order(new=GOOD, actor=SYSTEM, at=NOW).number
        except DuplicateReference as there:
            return there.order.number

    numbers = set(at_once(*[send] * 8))

    assert len(numbers) == 1
    assert _rows() == (1, 2, 1, 1)


def test_goods_that_may_not_be_sold_are_placed_all_the_same_for_the_policy_to_stop() -> None:
    assert placing.place_order(new=replace(GOOD, lines=[NewLine("KNIFE", 1, 900)]), actor=SYSTEM, at=NOW).pk


def test_placing_takes_nothing_from_the_stock() -> None:
    placing.place_order(new=GOOD, actor=SYSTEM, at=NOW)

    assert Product.objects.get(sku="LAMP").stock == 1_000

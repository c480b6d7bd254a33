"""Points for an order that is on its way."""

from datetime import UTC, datetime

import pytest
from django.db import IntegrityError

from orders import timeline
from orders.models import LoyaltyEntry, Order
from orders.services import loyalty
from orders.services.placing import NewLine
from tests.conftest import PlaceOrder


def award(order: Order) -> None:
    loyalty.award_points(order_id=order.pk, at=datetime.now(UTC))


@pytest.fixture
def dispatched(place: PlaceOrder):  # type: ignore[no-untyped-def]
    def dispatched(unit_price_minor: int, currency: str = "EUR") -> Order:
        order = place(lines=[NewLine("LAMP", 1, unit_price_minor)], currency=currency)
        Order.objects.filter(pk=order.pk).update(status="dispatched")
        return order

    return dispatched


@pytest.mark.parametrize(
    ("minor", "currency", "points"), [(123_499, "EUR", 1_234), (100, "EUR", 1), (500, "JPY", 500), (1_999, "KWD", 1)]
)
def test_there_is_a_point_for_each_whole_unit(dispatched, minor: int, currency: str, points: int) -> None:  # type: ignore[no-untyped-def]
    order = dispatched(minor, currency)

    award(order)

    assert LoyaltyEntry.objects.get(order=order).points == points


def test_they_are_given_once_and_told_on_the_timeline(dispatched) -> None:  # type: ignore[no-untyped-def]
    order = dispatched(123_499)

    award(order)
    award(order)

    entry = timeline.tell(order.events.get(type="loyalty_points"))
    assert (entry.title, entry.detail) == ("Loyalty points given", "1,234 points")
    assert LoyaltyEntry.objects.filter(order=order).count() == 1


def test_less_than_one_unit_gives_none(dispatched) -> None:  # type: ignore[no-untyped-def]
    order = dispatched(99)

    award(order)

    assert not LoyaltyEntry.objects.exists()
    assert not order.events.filter(type="loyalty_points").exists()


def test_an_order_that_is_not_on_its_way_gets_none(order_in_review: Order) -> None:
    award(order_in_review)

    assert not LoyaltyEntry.objects.exists()


def test_the_database_refuses_an_entry_without_points(order_in_review: Order) -> None:
    with pytest.raises(IntegrityError, match="loyalty_points_positive"):
        LoyaltyEntry.objects.create(order=order_in_review, points=0, awarded_at=datetime.now(UTC))

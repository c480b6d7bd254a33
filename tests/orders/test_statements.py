"""What is read by queries that were written once is what Django reads."""

import pytest
from django.contrib.auth.models import User
from django.forms.models import model_to_dict
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from orders.models import Order, Review
from orders.statements import COUNTED, Shape, few
from tests.conftest import PlaceOrder

ORDER = Shape(Order, ["version", "number", "id"])
REVIEW = Shape(Review, order=ORDER, claimed_by=Shape(User))


@pytest.fixture
def reviews(place: PlaceOrder, order_in_review: Order, short_order: Order, alice: User) -> list[Review]:
    place()  # which is in no review
    now = timezone.now()
    Review.objects.filter(order=short_order).update(claimed_by=alice, claimed_at=now, claimed_until=now)
    found = Review.objects.select_related("order", "claimed_by").order_by("-id")
    assert {review.claimed_by for review in found} == {alice, None}
    return list(found)


def test_rows_are_read_with_those_they_lead_to_by_one_query(
    reviews: list[Review], django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    with django_assert_num_queries(1):
        found: list[Review] = REVIEW.ask(REVIEW.of(Review.objects.order_by("-id")))
        led_to = [(review.order.number, review.claimed_by) for review in found]

    assert [model_to_dict(review) for review in found] == [model_to_dict(review) for review in reviews]
    assert led_to == [(review.order.number, review.claimed_by) for review in reviews]
    assert found[0].order.customer_name == reviews[0].order.customer_name  # asked for now


def test_rows_come_in_the_order_of_their_keys_and_those_that_are_gone_do_not(
    reviews: list[Review], django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    keys = [review.pk for review in reviews]

    for wanted in (keys, keys[::-1], [keys[0], keys[-1] + 1_000]):
        with django_assert_num_queries(1):
            assert REVIEW.of_keys(wanted) == [review for key in wanted for review in reviews if review.pk == key]
    with django_assert_num_queries(0):
        assert REVIEW.of_keys([]) == []


@pytest.mark.parametrize(("up_to", "found"), [(2, [0, 1]), (1, None)])
def test_few_are_found_while_they_are_counted(reviews: list[Review], up_to: int, found: list[int] | None) -> None:
    counted = Order.objects.filter(reviews__in=reviews).values_list("pk")
    theirs = Review.objects.filter(order__in=COUNTED).order_by("-id").values_list("pk")

    keys = None if found is None else [reviews[place].pk for place in found]
    assert few(counted, up_to=up_to, rows=theirs) == (2, keys)


def test_a_column_that_there_is_not_is_told_by_name() -> None:
    with pytest.raises(ValueError, match="Review has no columns dueat"):
        Shape(Review, ["id", "dueat"])

"""The made-up stream: believable, the same for the same seed, and no burden on a desk that has enough to do."""

import signal
import time
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from orders import accounts, demo, money
from orders.management.commands.demo_orders import Stream
from orders.models import InfoRequest, Order, Product, Review
from orders.services import fulfilling, placing, reviewing
from temporal_workers.providers.simulated import SimulatedCarrier
from tests.orders.processes import database_away, started, wait_until

NOW = datetime(2026, 3, 4, 12, 30, tzinfo=UTC)
MANY = 420


def _placed() -> list[Order]:
    return list(Order.objects.filter(source=demo.SOURCE).order_by("reference"))


def _decide_all() -> None:
    """Let the policy look at every order, and the deadline pass for those in review."""
    for order in _placed():
        reviewing.receive_order(order_id=order.pk, at=NOW)
        reviewing.validate_order(order_id=order.pk, at=NOW)
        reviewing.settle_review(order_id=order.pk, at=NOW + timedelta(days=2))


def test_the_same_seed_makes_up_the_same_orders() -> None:
    def day(seed: int) -> list[placing.NewOrder]:
        return [demo.new_order(n, seed=seed, placed_at=NOW) for n in range(20)]

    assert day(1) == day(1)
    assert day(1) != day(2)


def test_the_shop_has_goods_for_everybody_and_one_that_may_not_be_sold() -> None:
    products = demo.products()

    assert len({product.sku for product in products}) == len(products) == 27
    assert [product.name for product in products if product.forbidden_reason] == ["Gas burner for siphons"]


def test_totals_run_from_eight_to_six_thousand_in_four_currencies() -> None:
    orders = [demo.new_order(n, seed=3, placed_at=NOW) for n in range(MANY)]

    totals = [sum(line.quantity * line.unit_price_minor for line in order.lines) for order in orders]
    amounts = [money.to_amount(total, order.currency) for total, order in zip(totals, orders, strict=True)]
    assert 8 <= min(amounts) < 20
    assert 4_000 < max(amounts) <= 6_000
    assert {order.currency for order in orders} == {"EUR", "GBP", "USD", "CHF"}
    assert {order.address.country for order in orders} == {country.code for country in demo.COUNTRIES} | {"AQ"}
    assert sum(len(order.lines) > 1 for order in orders) > MANY * 0.8


def test_no_mail_can_reach_a_stranger_but_in_the_throw_away_boxes() -> None:
    orders = [demo.new_order(n, seed=3, placed_at=NOW) for n in range(MANY)]

    hosts = {order.customer_email.partition("@")[2] for order in orders}
    assert hosts == {"example.com", "example.net", "example.org", "guerrillamail.com"}


@pytest.mark.django_db
def test_an_empty_desk_gets_a_first_lot_that_looks_like_a_day() -> None:
    Stream(1).open(14)

    orders = sorted(_placed(), key=lambda order: order.placed_at)
    assert len(orders) == 14
    age = orders[-1].status_at - orders[0].placed_at
    assert timedelta(hours=4) < age < timedelta(hours=8)
    assert len({order.placed_at for order in orders}) == 14
    deadlines = {order.decide_within for order in orders}
    assert None in deadlines
    assert len(deadlines) > 8
    assert min(filter(None, deadlines)) <= timedelta(minutes=5)


@pytest.mark.django_db
def test_most_of_it_needs_a_decision_some_pass_and_one_is_stopped() -> None:
    Stream(1).open(14)

    for order in _placed():
        reviewing.receive_order(order_id=order.pk, at=NOW)
        reviewing.validate_order(order_id=order.pk, at=NOW)

    assert Counter(order.status for order in _placed()) == {"in_review": 10, "approved": 3, "blocked": 1}


@pytest.mark.django_db
def test_two_of_the_first_lot_come_to_need_help() -> None:
    Stream(1).open(14)
    for order in _placed():
        for step in (reviewing.receive_order, reviewing.validate_order, fulfilling.reserve_stock):
            step(order_id=order.pk, at=NOW)

    [short] = Order.objects.filter(status="stock_short")
    [stranded] = Order.objects.filter(address_country="AQ")
    assert short.outcome == "Not enough in stock: GRI-NUM (wanted 2, there are 1)"
    assert stranded.status == "reserved"
    assert stranded.address_country in SimulatedCarrier.UNSERVED


@pytest.mark.django_db
def test_every_order_of_a_long_day_can_be_placed_and_paid_for() -> None:
    stream = Stream(7)
    stream.open(0)
    for _ in range(150):
        stream.go_on(10**6)

    assert len(_placed()) == 150
    for order in _placed():
        assert order.total_minor == sum(line.total_minor for line in order.lines.all()) > 0


@pytest.mark.django_db
def test_the_desk_shows_at_first_sight_what_waits_and_who_is_at_what(settings: Settings) -> None:
    settings.CUSTOMERS_GET_MAIL, settings.EMAIL_FILE_PATH, settings.DESK_URL = True, "mails", "https://desk.example"
    stream, now = Stream(1), datetime.now(UTC)
    stream.open(14)
    stream.set_the_scene()
    assert not stream.is_staged  # nothing is in review yet, and nobody is there
    accounts.create_demo_cast()
    for order in _placed():
        reviewing.receive_order(order_id=order.pk, at=now)
        reviewing.validate_order(order_id=order.pk, at=now)

    for _ in range(2):
        stream.set_the_scene()

    assert stream.is_staged
    reviews = Review.objects.filter(decision="")
    assert sorted(reviews.filter(back_at__gt=now).values_list("put_off_by__username", flat=True)) == ["alice", "alice"]
    assert reviews.get(claimed_by__isnull=False).order.notes.count() == 1
    assert [bool(asked.answer) for asked in InfoRequest.objects.order_by("id")] == [False, True]


@pytest.mark.django_db
def test_a_second_start_adds_no_second_lot_and_goes_on_where_it_was() -> None:
    Stream(1).open(14)

    again = Stream(1)
    again.open(14)
    again.go_on(40)

    assert [order.reference for order in _placed()] == [f"1-{n:06}" for n in range(15)]


@pytest.mark.django_db
def test_a_desk_where_all_is_decided_gets_a_new_lot_of_new_orders() -> None:
    Stream(1).open(3)
    _decide_all()

    Stream(1).open(3)

    assert len(_placed()) == 6


@pytest.mark.django_db
def test_none_is_placed_while_enough_wait() -> None:
    stream = Stream(1)
    stream.open(5)

    stream.go_on(5)
    assert len(_placed()) == 5
    stream.go_on(6)
    assert len(_placed()) == 6


@pytest.mark.django_db
def test_an_order_that_is_there_already_is_passed_over() -> None:
    stream = Stream(1)
    stream.open(2)
    stream.n = 0

    for _ in range(3):
        stream.go_on(40)

    assert len(_placed()) == 3


@pytest.mark.django_db
def test_shelves_that_were_filled_are_left_alone() -> None:
    Stream(1).open(1)
    Product.objects.update(stock=3)

    Stream(1).open(1)

    assert set(Product.objects.values_list("stock", flat=True)) == {3}


@pytest.mark.parametrize(
    "options",
    [
        ["--every", "0"],
        ["--every", "-1"],
        ["--every", "nan"],
        ["--every", "inf"],
        ["--every", "soon"],
        ["--first", "-1"],
        ["--first", "1.5"],
        ["--most-waiting", "many"],
        ["--seed", "x"],
    ],
)
def test_options_out_of_all_reason_are_refused(options: list[str]) -> None:
    with pytest.raises(CommandError):
        call_command("demo_orders", *options)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_at_once_and_in_peace(stop: signal.Signals) -> None:
    with started("demo_orders", "--first", "3", "--every", "60") as process:
        wait_until(lambda: len(_placed()) == 3, process)

        process.send_signal(stop)
        said = process.communicate(timeout=30)[0]  # half the time to the next order

    assert process.returncode == 0
    assert "Traceback" not in said


@pytest.mark.django_db(transaction=True)
def test_it_waits_for_a_database_that_went_away_and_says_so_once() -> None:
    with started("demo_orders", "--first", "2", "--every", "0.1") as process:
        wait_until(lambda: len(_placed()) > 2, process)

        with database_away():
            time.sleep(3)
            before = len(_placed())
            assert process.poll() is None
        wait_until(lambda: len(_placed()) > before, process)

        process.terminate()
        said = process.communicate(timeout=30)[0]

    assert said.count("The database is away") == 1
    assert said.count("The database is back") == 1
    assert "Traceback" not in said
    assert [order.reference for order in _placed()] == [f"1-{n:06}" for n in range(len(_placed()))]

"""`manage.py bench assignment`: what it does, and what it makes of what it finds."""

import asyncio
import io
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.auth import authenticate
from django.core.management import CommandError, call_command
from pytest_django.fixtures import Settings

from orders import accounts
from orders.models import Order
from orders.services import fulfilling, reviewing
from orders.services.actors import Actor
from temporal_workers import benching
from temporal_workers.benching import Plan, Report
from temporal_workers.providers import assignment
from temporal_workers.providers.protocols import BankEntry
from temporal_workers.reconciling import Difference
from tests.conftest import PlaceOrder
from tests.temporal_workers.conftest import Engine

PLAN = Plan(orders=4, rate=2.0, decide_after=timedelta(seconds=1))


@pytest.fixture
def providers(queues: None, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.ORDER_PROVIDERS = "assignment"
    settings.ASSIGNMENT_SECONDS = 10.0  # a busy machine takes no call for hung
    settings.REVIEW_EVERY_ORDER = True
    monkeypatch.setattr(assignment, "flaky_call", lambda: asyncio.sleep(0))
    monkeypatch.setattr(benching, "WITHIN", 1_000.0)  # what is tested here is not this machine
    monkeypatch.setattr(benching, "MEDIAN", 1_000.0)


def bench(*arguments: str) -> str:
    said = io.StringIO()
    call_command("bench", "assignment", *arguments, stdout=said, stderr=io.StringIO())
    return said.getvalue()


def test_it_carries_orders_to_their_end_and_tells_what_came_of_them(engine: Engine) -> None:
    said = bench("--orders", "3", "--rate", "10", "--decide-after", "0.1")

    assert said.startswith("3 orders, 10 a second, each approved 0.1 s after it was put to review\n")
    assert "3 completed" in said
    assert "charges         3 with 1 " in said
    assert "0 differences" in said
    assert "MISSED" not in said
    for step in (
        "announce_order",
        "check_order",
        "charge_payment",
        "prepare_package",
        "dispatch_parcel",
        "announce_shipment",
    ):
        assert f"  {step:<18}  1.00     1\n" in said
    assert set(Order.objects.values_list("status", "reviews__decided_by__username")) == {("completed", "bench")}


def test_where_nothing_moves_it_gives_up_and_says_so(
    transactional_db: None, providers: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(benching, "PATIENCE", 0.1)
    said = io.StringIO()

    with pytest.raises(CommandError, match="ORDER_PROVIDERS=assignment"):
        call_command("bench", "assignment", "--orders", "2", "--rate", "100", stdout=said)

    assert "not ended       2 (target: 0, MISSED)" in said.getvalue()


@pytest.mark.parametrize(
    ("argument", "value"), [("--orders", "0"), ("--orders", "x"), ("--rate", "0"), ("--decide-after", "nan")]
)
def test_an_argument_that_makes_no_sense_is_named(argument: str, value: str) -> None:
    with pytest.raises(CommandError, match=argument):
        bench(argument, value)


def test_machine_time_leaves_out_the_time_that_people_took(place: PlaceOrder, as_alice: Actor) -> None:
    order = place()
    began = order.events.get().at

    def after(seconds: float) -> datetime:
        return began + timedelta(seconds=seconds)

    reviewing.receive_order(order_id=order.pk, at=after(1))
    reviewing.validate_order(order_id=order.pk, at=after(2))
    reviewing.approve(order_id=order.pk, actor=as_alice, at=after(100))
    fulfilling.reserve_stock(order_id=order.pk, at=after(103.5))

    assert list(benching.machine_seconds([order])) == [5.5]


def test_charges_are_counted_by_the_ledger_and_only_where_money_moved() -> None:
    once, twice, never = Order(), Order(), Order()
    entries = [
        BankEntry(f"order-{once.pk}:charge", "charge", 5, "EUR"),
        BankEntry(f"order-{once.pk}:refund", "refund", 5, "EUR"),
        BankEntry(f"order-{twice.pk}:charge", "charge", 5, "EUR"),
        BankEntry(f"order-{twice.pk}:charge-2", "charge", 5, "EUR"),
        BankEntry(f"order-{never.pk}:charge", "charge", 5, "EUR", "voided"),
        BankEntry("order-of-somebody-else:charge", "charge", 5, "EUR"),
    ]

    assert benching.charges_per_order([once, twice, never], entries) == {0: 1, 1: 1, 2: 1}


@pytest.mark.parametrize(
    ("seconds", "under_way", "charges", "differences", "missed"),
    [
        ([1.0, 2.0, 3.0, 4.0], 0, {1: 4}, [], []),
        ([1.0, 2.0, 3.0, 15.1], 0, {1: 4}, [], ["within 15 s"]),
        ([4.1, 4.1, 4.1, 4.1], 0, {1: 4}, [], ["median"]),
        ([1.0, 2.0, 3.0], 1, {1: 3, 0: 1}, [], ["not ended", "within 15 s"]),
        ([1.0, 2.0, 3.0, 4.0], 0, {1: 3, 2: 1}, [], ["charges"]),
        ([1.0, 2.0, 3.0, 4.0], 0, {1: 4}, [Difference("k", "amount", "1", "2")], ["bank and desk"]),
        ([], 4, {0: 4}, [], ["not ended", "within 15 s"]),
    ],
)
def test_each_target_that_is_missed_is_named(
    seconds: Sequence[float],
    under_way: int,
    charges: dict[int, int],
    differences: Sequence[Difference],
    missed: list[str],
) -> None:
    report = Report(PLAN, Counter(completed=len(seconds)), under_way, seconds, {}, Counter(charges), differences)

    said = list(report.lines())

    assert report.missed == missed
    assert sum("MISSED" in line for line in said) == len(missed)


def test_its_operator_decides_and_cannot_sign_in(order_in_review: Order) -> None:
    user = accounts.create_bench_operator()

    reviewing.approve(order_id=order_in_review.pk, actor=Actor.operator(user), at=datetime.now(UTC))

    assert accounts.create_bench_operator() == user
    assert authenticate(username="bench", password="") is None

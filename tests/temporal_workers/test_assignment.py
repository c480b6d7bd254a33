"""The assignment's profile: calls that fail or hang two times out of three, and orders that end well all the same."""

import asyncio
import itertools
import threading
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from django.conf import settings as django_settings
from django.db import connection
from pytest_django.fixtures import Settings

from orders.models import Order, Product
from orders.services import reviewing
from orders.services.actors import Actor
from orders.services.placing import NewLine
from temporal_workers.providers import assignment
from temporal_workers.providers.assignment import AssignmentBank, AssignmentShop, bounded
from temporal_workers.providers.protocols import ProviderUnavailable
from temporal_workers.providers.simulated import Ledger, SimulatedBank, Temper
from temporal_workers.workflows import steps
from tests.conftest import PlaceOrder
from tests.temporal_workers.conftest import (
    SECONDS_TO_SETTLE,
    Engine,
    database_url,
    events_of,
    wait_for_status,
    wait_until,
)

ORDER = {"order_id": "o-1", "items": [{"sku": "ABC", "qty": 2}, {"sku": "DEF", "qty": 1}]}
SMALL = [NewLine("LAMP", 1, 20_000)]  # the policy alone would pass it


class Notebook:
    def __init__(self) -> None:
        self.charges: list[tuple[str, int]] = []

    async def charge(self, payment_id: str, amount: int) -> None:
        self.charges.append((payment_id, amount))


CALLS: dict[str, Callable[[], Awaitable[Any]]] = {
    "order_received": lambda: assignment.order_received("o-1"),
    "order_validated": lambda: assignment.order_validated(ORDER),
    "payment_charged": lambda: assignment.payment_charged(ORDER, "p-1", Notebook()),
    "order_shipped": lambda: assignment.order_shipped(ORDER),
    "package_prepared": lambda: assignment.package_prepared(ORDER),
    "carrier_dispatched": lambda: assignment.carrier_dispatched(ORDER),
}
ANSWERS = {
    "order_received": {"order_id": "o-1", "items": [{"sku": "ABC", "qty": 1}]},
    "order_validated": True,
    "payment_charged": {"status": "charged", "amount": 3},
    "order_shipped": "Shipped",
    "package_prepared": "Package ready",
    "carrier_dispatched": "Dispatched",
}


@pytest.fixture
def lucky(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assignment, "flaky_call", lambda: asyncio.sleep(0))


@pytest.mark.parametrize("r", [0.0, 0.329])
async def test_a_third_of_the_calls_fails(monkeypatch: pytest.MonkeyPatch, r: float) -> None:
    monkeypatch.setattr("random.random", lambda: r)

    with pytest.raises(RuntimeError, match="Forced failure"):
        await assignment.flaky_call()


@pytest.mark.parametrize("r", [0.33, 0.669])
async def test_a_third_of_the_calls_hangs_and_is_given_up(monkeypatch: pytest.MonkeyPatch, r: float) -> None:
    monkeypatch.setattr("random.random", lambda: r)

    with pytest.raises(ProviderUnavailable, match=r"no answer within 0\.01 s"):
        await bounded(assignment.flaky_call(), 0.01)


async def test_a_third_of_the_calls_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("random.random", lambda: 0.67)

    await assignment.flaky_call()


@pytest.mark.parametrize("name", CALLS)
async def test_each_function_fails_first(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr("random.random", lambda: 0.0)

    with pytest.raises(RuntimeError, match="Forced failure"):
        await CALLS[name]()


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.usefixtures("lucky")
async def test_each_function_answers_as_the_assignment_says(name: str) -> None:
    assert await CALLS[name]() == ANSWERS[name]


@pytest.mark.usefixtures("lucky")
async def test_an_order_without_items_is_not_valid() -> None:
    with pytest.raises(ValueError, match="No items"):
        await assignment.order_validated({"order_id": "o-1", "items": []})

    assert await AssignmentShop(1).validated(order_id="o-1", items={}) == "No items to validate"


@pytest.mark.usefixtures("lucky", "transactional_db")
async def test_a_charge_that_is_made_again_is_one_in_the_ledger() -> None:
    async with Ledger(database_url()) as ledger:
        bank = AssignmentBank(SimulatedBank(ledger, Temper()), 5)

        answers = [await bank.charge(key="twice", amount_minor=1_299, currency="EUR") for _ in range(2)]

        assert answers[0] == answers[1]
        assert [(e.amount_minor, e.currency) for e in await bank.entries() if e.key == "twice"] == [(1_299, "EUR")]


@pytest.mark.usefixtures("lucky", "transactional_db")
async def test_a_charge_that_was_voided_before_it_came_is_declined() -> None:
    async with Ledger(database_url()) as ledger:
        bank = AssignmentBank(SimulatedBank(ledger, Temper()), 5)

        assert await bank.refund(key="back", of_charge="late", amount_minor=5, currency="EUR") == ""

        assert (await bank.charge(key="late", amount_minor=5, currency="EUR")).declined == "voided"


@pytest.fixture
def providers(queues: None, settings: Settings) -> None:
    settings.ORDER_PROVIDERS = "assignment"
    settings.REVIEW_EVERY_ORDER = True
    settings.ASSIGNMENT_SECONDS = 0.05


def charges(order: Order) -> list[tuple[str, int, str]]:
    with psycopg.connect(django_settings.SIMULATOR_DATABASE_URL) as ledger:
        return ledger.execute(
            "SELECT kind, amount_minor, declined FROM simulator.bank WHERE key LIKE %s ORDER BY at, kind",
            [f"order-{order.pk}:%"],
        ).fetchall()


def approve(order: Order, actor: Actor) -> None:
    reviewing.approve(order_id=order.pk, actor=actor, at=datetime.now(UTC))


def test_orders_are_reviewed_charged_once_and_completed_however_often_calls_fail_and_hang(
    engine: Engine, place: PlaceOrder, as_alice: Actor
) -> None:
    orders = [place(lines=SMALL) for _ in range(5)]

    for order in orders:
        wait_for_status(order, "in_review")
        approve(order, as_alice)

    for order in orders:
        wait_for_status(order, "completed")
        assert charges(order) == [("charge", 20_000, "")]
    assert Product.objects.get(sku="LAMP").stock == 995


class TestNothingInIt:
    """The assignment's first function would have to be another one for this to come about."""

    def test_an_order_that_the_shop_does_not_want_fails_with_its_words(
        self, monkeypatch: pytest.MonkeyPatch, lucky: None, engine: Engine, place: PlaceOrder
    ) -> None:
        async def received(order_id: str) -> dict[str, Any]:
            return {"order_id": order_id, "items": []}

        monkeypatch.setattr(assignment, "order_received", received)

        order = place(lines=SMALL)
        wait_for_status(order, "failed")

        assert order.outcome == "The shop does not want the order: No items to validate"
        assert events_of(order) == ["place", "receive", "fail", "finish_undo"]
        assert charges(order) == []


class Hanging:
    """Calls about some orders hang until they are let go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.hung = threading.Semaphore(0)
        self._orders: set[str] = set()
        self._waiting: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []
        self._received = assignment.order_received
        monkeypatch.setattr(assignment, "order_received", self.received)

    def hang(self, orders: list[Order]) -> None:
        self._orders = {str(order.pk) for order in orders}

    async def received(self, order_id: str) -> dict[str, Any]:
        if order_id in self._orders:
            until = asyncio.Event()
            self._waiting.append((asyncio.get_running_loop(), until))
            self.hung.release()
            await until.wait()
        return await self._received(order_id)

    def let_go(self) -> None:
        self._orders = set()
        for loop, until in self._waiting:
            loop.call_soon_threadsafe(until.set)


class TestThirtyHang:
    @pytest.fixture(autouse=True)
    def few_threads(self, providers: None, settings: Settings) -> None:
        settings.ASSIGNMENT_SECONDS = 60.0
        settings.WORKER_DATABASE_THREADS = 4
        settings.WORKER_PROVIDER_CALLS = 40

    @pytest.fixture
    def hanging(self, monkeypatch: pytest.MonkeyPatch) -> Hanging:
        return Hanging(monkeypatch)

    def test_calls_that_hang_hold_no_thread_and_no_connection(
        self, lucky: None, hanging: Hanging, transactional_db: None, place: PlaceOrder, as_alice: Actor
    ) -> None:
        stuck = [place(lines=SMALL) for _ in range(30)]
        hanging.hang(stuck)
        engine = Engine()
        engine.start()
        try:
            for _ in stuck:
                assert hanging.hung.acquire(timeout=SECONDS_TO_SETTLE)

            other = place(lines=SMALL)
            wait_for_status(other, "in_review")
            approve(other, as_alice)
            wait_for_status(other, "completed")

            threads = [thread for thread in threading.enumerate() if thread.name.startswith("database")]
            connections = connections_of_this_database()
            assert {status_of(order) for order in stuck} == {"received"}
            hanging.let_go()
            for order in stuck:
                wait_for_status(order, "in_review")
        finally:
            hanging.let_go()
            engine.stop()

        assert len(threads) < 20
        assert connections < 20


def status_of(order: Order) -> str:
    order.refresh_from_db()
    return order.status


def connections_of_this_database() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()")
        return int(cursor.fetchone()[0])


async def hangs() -> None:
    await asyncio.sleep(300)


async def raises() -> None:
    raise RuntimeError("Forced failure for testing")


HUNG = "There was no answer within 0.05 s."
FORCED = "Forced failure for testing"
Fault = Callable[[], Awaitable[None]]


class Faults:
    """The assignment's functions, calm but towards the orders named. Orders with different faults run side by side."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._planned: dict[tuple[str, str], Fault] = {}
        for function in CALLS:
            patch.setattr(assignment, function, self._with_faults(function, getattr(assignment, function)))

    def plan(self, order: Order, function: str, fault: Fault) -> None:
        """Have it at every call of the function about the order."""
        self._planned[function, str(order.pk)] = fault

    def _with_faults(self, function: str, calm: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def call(*about: Any) -> Any:
            for (planned, order_id), fault in self._planned.items():
                if planned == function and order_id in str(about[0]):
                    await fault()
            return await calm(*about)

        return call


class TestBudget:
    """Each order is given its fault while its review is open, or before an engine has seen it."""

    @pytest.fixture(autouse=True)
    def three_seconds(self, providers: None, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
        settings.ORDER_BUDGET = timedelta(seconds=3)  # a busy machine needs some of it for what comes before
        # What always fails is tried again as fast as the machine can, and leaves nothing of it to the others.
        monkeypatch.setattr(steps, "_AT_ONCE", replace(steps._AT_ONCE, initial_interval=timedelta(milliseconds=20)))

    @pytest.fixture
    def faults(self, lucky: None, monkeypatch: pytest.MonkeyPatch) -> Faults:
        return Faults(monkeypatch)

    @pytest.fixture
    def in_review(self, engine: Engine, place: PlaceOrder) -> Callable[[int], list[Order]]:
        def in_review(number: int) -> list[Order]:
            orders = [place(lines=SMALL) for _ in range(number)]
            for order in orders:
                wait_for_status(order, "in_review")
            return orders

        return in_review

    def test_an_order_that_runs_out_of_it_before_its_review_fails_with_words_and_nothing_done(
        self,
        faults: Faults,
        transactional_db: None,
        settings: Settings,
        place: PlaceOrder,
        request: pytest.FixtureRequest,
    ) -> None:
        settings.ORDER_BUDGET = timedelta(seconds=1)
        functions, kinds = ("order_received", "order_validated"), {HUNG: hangs, FORCED: raises}
        cases = [(place(lines=SMALL), function, why) for function in functions for why in kinds]
        for order, function, why in cases:
            faults.plan(order, function, kinds[why])

        request.getfixturevalue("engine")

        for order, _, why in cases:
            wait_for_status(order, "failed")
            assert order.outcome == f"It was not done within the 1 s that the machine may take. {why}"
            assert events_of(order) == ["place", "receive", "fail", "finish_undo"]

    def test_an_order_that_runs_out_of_it_later_is_undone(
        self, faults: Faults, in_review: Callable[[int], list[Order]], as_alice: Actor
    ) -> None:
        orders = in_review(4)
        uncharged, charged = orders[:2], orders[2:]
        for function, pair in (("payment_charged", uncharged), ("package_prepared", charged)):
            for order, fault in zip(pair, (hangs, raises), strict=True):
                faults.plan(order, function, fault)

        for order in orders:
            approve(order, as_alice)

        for order in orders:
            wait_for_status(order, "failed")
            assert order.outcome.startswith("It was not done within the 3 s that the machine may take.")
            assert order.reservations.get().state == "released"
        for order in uncharged:
            assert charges(order) == [("charge", 20_000, "voided")]
            assert payments_of(order) == {("charge", "cancelled"), ("refund", "cancelled")}
        for order in charged:
            assert charges(order) == [("charge", 20_000, ""), ("refund", 20_000, "")]
            assert payments_of(order) == {("charge", "succeeded"), ("refund", "succeeded")}
        assert Product.objects.get(sku="LAMP").stock == 1_000

    def test_people_may_take_longer_than_the_machine(
        self, lucky: None, engine: Engine, place: PlaceOrder, as_alice: Actor
    ) -> None:
        order = place(lines=SMALL, decide_within=timedelta(seconds=5))  # the reminder comes after 4 s
        wait_until(lambda: "remind" in events_of(order))

        approve(order, as_alice)

        wait_for_status(order, "completed")

    def test_from_dispatching_on_it_is_not_undone(
        self, faults: Faults, in_review: Callable[[int], list[Order]], as_alice: Actor
    ) -> None:
        orders = in_review(2)
        for order, function in zip(orders, ("carrier_dispatched", "order_shipped"), strict=True):
            tries = itertools.count(1)

            async def in_the_end(tries: Iterator[int] = tries) -> None:
                if next(tries) < 60:
                    await asyncio.sleep(300)

            faults.plan(order, function, in_the_end)

        for order in orders:
            approve(order, as_alice)

        for order in orders:
            wait_for_status(order, "completed")
            assert charges(order) == [("charge", 20_000, "")]


def payments_of(order: Order) -> set[tuple[str, str]]:
    return set(order.payments.values_list("kind", "status"))

"""The bank's messages over real HTTP, to a desk with an engine at work: whenever they arrive, the money is right.

After each test the bank's own ledger and our payments say the same.
"""

import asyncio
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.conf import settings as django_settings
from pytest_django.fixtures import Settings
from pytest_django.live_server_helper import LiveServer

from orders.models import Order, Payment
from orders.services import paying, undoing
from orders.services.actors import Actor
from orders.services.paying import BankNews, Heard
from temporal_workers.providers.simulated import SimulatedBank
from temporal_workers.providers.webhooks import BankLife
from temporal_workers.reconciling import reconcile
from tests.conftest import PlaceOrder
from tests.temporal_workers.conftest import Engine, events_of, wait_for_status, wait_until
from tests.temporal_workers.test_payments import (
    CHARGED_AND_SHIPPED,
    SMALL,
    _entries,
    customer,
    kept_at_the_bank,
    payments_of,
    said_at_the_bank,
)
from tests.temporal_workers.test_runworker import WorkerProcess
from tests.threads import at_once


@pytest.fixture
def providers(queues: None, settings: Settings, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """A bank that asks every customer to confirm, and tells the desk, which listens."""
    settings.STATIC_ROOT = tmp_path  # the server, which is started now, serves none
    live_server: LiveServer = request.getfixturevalue("live_server")
    settings.SIMULATOR_CONFIRM_RATE = 1.0
    settings.PAYMENT_WEBHOOK_SECRET = ["shared"]
    settings.WEBHOOK_URL = f"{live_server.url}/webhooks/payments"


@pytest.fixture(autouse=True)
def _bank_and_desk_agree(transactional_db: None, providers: None) -> Iterator[None]:
    yield
    assert reconcile(lambda: asyncio.run(_entries()), at=datetime.now(UTC)) == []


def news_left_to_tell() -> int:
    with psycopg.connect(django_settings.SIMULATOR_DATABASE_URL) as ledger:
        found = ledger.execute("SELECT count(*) FROM simulator.news").fetchone()
    return found[0] if found else 0


class TestWithAnEngine:
    @pytest.fixture(autouse=True)
    def _running(self, engine: Engine) -> None:
        pass

    @pytest.fixture
    def asked(self, place: PlaceOrder) -> Order:
        order = place(lines=SMALL)
        wait_for_status(order, "awaiting_customer")
        return order

    def test_a_customer_who_confirms_is_charged_and_served(self, asked: Order) -> None:
        customer(asked, "confirm")
        wait_for_status(asked, "completed")

        assert events_of(asked)[-8:] == ["ask_customer", *CHARGED_AND_SHIPPED]
        assert asked.events.get(type="charge").actor == "the bank"
        assert kept_at_the_bank(asked) == 20_000

    def test_a_customer_who_refuses_is_not_charged(self, asked: Order) -> None:
        customer(asked, "refuse")
        wait_for_status(asked, "failed")

        assert asked.outcome == "The payment was declined: refused by the customer"
        assert payments_of(asked) == {"charge": "failed"}
        assert asked.reservations.get().state == "released"

    def test_confirmed_and_cancelled_at_the_same_instant(self, place: PlaceOrder, as_alice: Actor) -> None:
        def cancel(order: Order) -> None:
            undoing.cancel(order_id=order.pk, actor=as_alice, at=datetime.now(UTC), reason="Ordered twice")

        orders = [place(lines=SMALL) for _ in range(5)]
        for order in orders:
            wait_for_status(order, "awaiting_customer")

        for order in orders:
            at_once(partial(customer, order, "confirm"), partial(cancel, order))

        for order in orders:
            wait_for_status(order, "cancelled")
            assert kept_at_the_bank(order) == 0
            assert payments_of(order) in (
                {"charge": "succeeded", "refund": "succeeded"},
                {"charge": "cancelled", "refund": "cancelled"},
            )

    def test_news_after_the_order_was_cancelled_is_late_and_harmless(self, asked: Order, as_alice: Actor) -> None:
        reference = asked.payments.get().provider_reference
        undoing.cancel(order_id=asked.pk, actor=as_alice, at=datetime.now(UTC), reason="Ordered twice")
        wait_for_status(asked, "cancelled")

        news = BankNews("evt_late", Payment.State.FAILED, paying.charge_key(asked.pk), reference, 20_000, "EUR")

        assert paying.hear_bank(news=news, at=datetime.now(UTC)) == Heard.KNOWN
        assert events_of(asked)[-1] == "finish_undo"


class TestDeadline:
    @pytest.fixture
    def providers(self, providers: None, settings: Settings) -> None:
        settings.PAYMENT_CONFIRM_WITHIN = timedelta(seconds=1)

    @pytest.fixture(autouse=True)
    def _running(self, engine: Engine) -> None:
        pass

    def test_a_confirmation_after_the_deadline_takes_the_order_from_the_desk_and_on(self, place: PlaceOrder) -> None:
        order = place(lines=SMALL)
        wait_for_status(order, "unconfirmed")

        customer(order, "confirm")
        wait_for_status(order, "completed")

        review = order.reviews.get()
        assert (review.decision, review.decided_by) == ("settled", None)
        assert events_of(order)[-9:] == ["ask_customer", "halt", *CHARGED_AND_SHIPPED]
        assert kept_at_the_bank(order) == 20_000

    def test_a_refusal_after_the_deadline_fails_the_order(self, place: PlaceOrder) -> None:
        order = place(lines=SMALL)
        wait_for_status(order, "unconfirmed")

        customer(order, "refuse")
        wait_for_status(order, "failed")

        assert order.reviews.get().decision == "settled"

    def test_a_confirmation_at_the_very_deadline_charges_once(self, place: PlaceOrder) -> None:
        orders = [place(lines=SMALL) for _ in range(3)]
        asked = Payment.objects.exclude(confirm_by=None).order_by("confirm_by").select_related("order")
        wait_until(lambda: asked.count() == 3)

        for payment in asked:
            assert payment.confirm_by is not None
            threading.Event().wait((payment.confirm_by - datetime.now(UTC)).total_seconds())
            customer(payment.order, "confirm")

        for order in orders:
            wait_for_status(order, "completed")
            assert events_of(order).count("charge") == 1
            assert said_at_the_bank(order) == [("charge", "", False)]


class TestOrdinaryCharges:
    @pytest.fixture
    def providers(self, providers: None, settings: Settings) -> None:
        settings.SIMULATOR_CONFIRM_RATE = 0.0

    def test_news_that_is_faster_than_our_own_answer_charges_once(
        self, place: PlaceOrder, monkeypatch: pytest.MonkeyPatch, engine: Engine
    ) -> None:
        charge_for_good = SimulatedBank.charge
        order_known = threading.Event()

        async def charge(bank: SimulatedBank, **wanted: Any) -> Any:
            answer = await charge_for_good(bank, **wanted)
            assert await asyncio.to_thread(order_known.wait, 20)  # the answer is on its way while the news arrives
            return answer

        monkeypatch.setattr(SimulatedBank, "charge", charge)
        order = place(lines=SMALL)
        wait_for_status(order, "charged")
        order_known.set()
        wait_for_status(order, "completed")

        assert order.events.get(type="charge").actor == "the bank"
        assert events_of(order)[-8:] == ["charge_requested", *CHARGED_AND_SHIPPED]

    def test_what_the_desk_does_not_take_is_told_again(
        self, place: PlaceOrder, monkeypatch: pytest.MonkeyPatch, engine: Engine
    ) -> None:
        send_for_good, sent = BankLife._send, list[str]()

        def send(life: BankLife, news: Any) -> str:
            sent.append(news.id)
            return "the line was cut" if len(sent) < 3 else send_for_good(life, news)

        monkeypatch.setattr(BankLife, "_send", send)
        order = place(lines=SMALL)
        wait_for_status(order, "completed")
        told = threading.Event()
        monkeypatch.setattr(SimulatedBank, "forget_news", _and_then(SimulatedBank.forget_news, told.set))

        assert told.wait(30)
        assert sent == [sent[0]] * 3
        assert news_left_to_tell() == 0
        assert events_of(order).count("charge") == 1


class TestAnotherSecret:
    @pytest.fixture
    def providers(self, providers: None, settings: Settings) -> None:
        settings.SIMULATOR_CONFIRM_RATE = 0.0

    def test_the_bank_hears_that_it_is_not_believed(
        self, place: PlaceOrder, settings: Settings, monkeypatch: pytest.MonkeyPatch, engine: Engine
    ) -> None:
        wait_for_status(place(lines=SMALL), "completed")
        settings.PAYMENT_WEBHOOK_SECRET = ["another"]  # the bank has read its own by now
        heard, answers = threading.Event(), list[str]()
        send_for_good = BankLife._send

        def send(life: BankLife, news: Any) -> str:
            answers.append(send_for_good(life, news))
            heard.set()
            return answers[-1]

        monkeypatch.setattr(BankLife, "_send", send)
        wait_for_status(place(lines=SMALL), "completed")

        assert heard.wait(20)
        assert set(answers) == {"HTTP Error 401: Unauthorized"}
        assert news_left_to_tell() > 0


class TestKilledWorker:
    @pytest.fixture
    def process(self, transactional_db: None, providers: None, settings: Settings) -> Iterator[WorkerProcess]:
        process = WorkerProcess()
        process._environment |= {
            "SIMULATOR_CONFIRM_RATE": "1",
            "SIMULATOR_SECONDS": "0.6",
            "PAYMENT_WEBHOOK_SECRET": "shared",
            "WEBHOOK_URL": settings.WEBHOOK_URL,
        }
        process.start()
        yield process
        process.kill()

    def test_an_order_whose_customer_confirms_outlives_it_at_each_turn(
        self, process: WorkerProcess, place: PlaceOrder
    ) -> None:
        order = place(lines=SMALL)
        for struck_after in ("charge_requested", "ask_customer", "charge"):
            if struck_after == "charge":
                wait_for_status(order, "awaiting_customer")
                customer(order, "confirm")
            wait_until(order.events.filter(type=struck_after).exists)
            process.kill_and_replace()
        wait_for_status(order, "completed")

        events = events_of(order)
        assert len(events) == len(set(events))
        assert said_at_the_bank(order) == [("charge", "", False)]
        assert kept_at_the_bank(order) == 20_000


def _and_then(work: Callable[..., Any], then: Callable[[], None]) -> Callable[..., Any]:
    async def both(*args: Any) -> None:
        await work(*args)
        then()

    return both

"""Payments as they are: every answer of the bank, the customer's word, deadlines, people, and cancelling meanwhile.

After each the bank's own ledger and our payments say the same.
"""

import asyncio
import io
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from django.conf import settings as django_settings
from django.core.management import CommandError, call_command
from pytest_django.fixtures import Settings

from orders.models import Order, Payment, Product
from orders.services import attending, fulfilling, paying, reviewing, undoing
from orders.services.actors import Actor
from orders.services.placing import NewLine
from temporal_workers.providers.protocols import BankEntry, ProviderUnavailable
from temporal_workers.providers.simulated import Ledger, SimulatedBank, Temper
from temporal_workers.reconciling import reconcile
from tests.conftest import PlaceOrder
from tests.temporal_workers.conftest import Engine, events_of, wait_for_status

SMALL = [NewLine("LAMP", 1, 20_000)]
CHARGED_AND_SHIPPED = [
    "charge",
    "prepare",
    "package_ready",
    "dispatch",
    "confirm_dispatch",
    "loyalty_points",
    "complete",
]


async def _entries() -> list[BankEntry]:
    async with Ledger(django_settings.SIMULATOR_DATABASE_URL) as ledger:
        return list(await SimulatedBank(ledger, Temper()).entries())


def kept_at_the_bank(order: Order) -> int:
    """What the bank has charged and not given back, by its ledger, in minor units."""
    with psycopg.connect(django_settings.SIMULATOR_DATABASE_URL) as ledger:
        found = ledger.execute(
            "SELECT coalesce(sum(CASE kind WHEN 'charge' THEN amount_minor ELSE -amount_minor END), 0)::bigint"
            " FROM simulator.bank WHERE key LIKE %s AND declined = '' AND NOT pending",
            [f"order-{order.pk}:%"],
        ).fetchone()
    return found[0] if found else 0


def said_at_the_bank(order: Order) -> list[tuple[str, str, bool]]:
    """Its charges and refunds: kind, why declined, whether it waits for the customer."""
    with psycopg.connect(django_settings.SIMULATOR_DATABASE_URL) as ledger:
        return ledger.execute(
            "SELECT kind, declined, pending FROM simulator.bank WHERE key LIKE %s ORDER BY at, kind",
            [f"order-{order.pk}:%"],
        ).fetchall()


def payments_of(order: Order) -> dict[str, str]:
    return dict(order.payments.values_list("kind", "status"))


def customer(order: Order, answer: str) -> None:
    call_command("simulate_customer", order.number, answer, stdout=io.StringIO())


@pytest.fixture
def providers(queues: None, settings: Settings) -> None:
    """A bank that asks every customer to confirm, and has forgotten the orders of earlier tests."""
    settings.SIMULATOR_CONFIRM_RATE = 1.0
    with psycopg.connect(django_settings.SIMULATOR_DATABASE_URL) as ledger:
        ledger.execute("DROP SCHEMA IF EXISTS simulator CASCADE")


@pytest.fixture(autouse=True)
def _bank_and_desk_agree(engine: Engine) -> Iterator[None]:
    yield
    assert reconcile(lambda: asyncio.run(_entries()), at=datetime.now(UTC)) == []


@pytest.fixture
def asked(place: PlaceOrder) -> Order:
    """An order whose customer is asked to confirm the payment."""
    order = place(lines=SMALL)
    wait_for_status(order, "awaiting_customer")
    return order


def test_while_the_customer_is_asked_nothing_is_charged_and_the_row_says_until_when(asked: Order) -> None:
    payment = asked.payments.get()

    assert payment.status == "requires_action"
    assert payment.provider_reference.startswith("ch_")
    assert payment.confirm_by is not None
    assert payment.confirm_by - asked.status_at == timedelta(hours=1)
    assert events_of(asked)[-2:] == ["charge_requested", "ask_customer"]
    assert kept_at_the_bank(asked) == 0


def test_a_cancel_while_the_customer_is_asked_voids_the_charge(asked: Order, as_alice: Actor) -> None:
    undoing.cancel(order_id=asked.pk, actor=as_alice, at=datetime.now(UTC), reason="Ordered twice")
    wait_for_status(asked, "cancelled")

    assert events_of(asked)[-4:] == ["cancel", "charge_voided", "release", "finish_undo"]
    assert payments_of(asked) == {"charge": "cancelled", "refund": "cancelled"}
    assert said_at_the_bank(asked) == [("charge", "voided", False)]
    with pytest.raises(CommandError, match="asks for no confirmation"):
        customer(asked, "confirm")


def test_a_cancel_after_a_confirmation_that_we_have_not_heard_of_refunds_it(asked: Order, as_alice: Actor) -> None:
    customer(asked, "confirm")

    undoing.cancel(order_id=asked.pk, actor=as_alice, at=datetime.now(UTC), reason="Ordered twice")
    wait_for_status(asked, "cancelled")

    assert payments_of(asked) == {"charge": "succeeded", "refund": "succeeded"}
    assert said_at_the_bank(asked) == [("charge", "", False), ("refund", "", False)]
    assert kept_at_the_bank(asked) == 0


class TestShortDeadline:
    @pytest.fixture
    def providers(self, providers: None, settings: Settings) -> None:
        settings.PAYMENT_CONFIRM_WITHIN = timedelta(seconds=1)

    @pytest.fixture
    def unconfirmed(self, place: PlaceOrder) -> Order:
        order = place(lines=SMALL)
        wait_for_status(order, "unconfirmed")
        return order

    def test_a_customer_who_does_not_confirm_in_time_is_put_before_people(self, unconfirmed: Order) -> None:
        review = unconfirmed.reviews.get()

        assert (review.kind, review.decision, review.reasons[0]["code"]) == ("attention", "", "unconfirmed")
        assert unconfirmed.outcome == "The customer has not confirmed the payment with the bank."
        assert payments_of(unconfirmed) == {"charge": "requires_action"}

    def test_a_confirmation_that_nobody_told_us_of_is_found_at_the_deadline(self, place: PlaceOrder) -> None:
        order = place(lines=SMALL)
        wait_for_status(order, "awaiting_customer")
        customer(order, "confirm")

        wait_for_status(order, "completed")

        assert "halt" not in events_of(order)
        assert kept_at_the_bank(order) == 20_000

    def test_a_refusal_that_nobody_told_us_of_is_found_at_the_deadline(self, place: PlaceOrder) -> None:
        order = place(lines=SMALL)
        wait_for_status(order, "awaiting_customer")
        customer(order, "refuse")

        wait_for_status(order, "failed")

        assert order.outcome == "The payment was declined: refused by the customer"
        assert payments_of(order) == {"charge": "failed"}
        assert Product.objects.get(sku="LAMP").stock == 1_000

    def test_a_retry_asks_the_customer_again_with_a_new_deadline(
        self, unconfirmed: Order, as_alice: Actor, settings: Settings
    ) -> None:
        before = unconfirmed.payments.get().confirm_by
        settings.PAYMENT_CONFIRM_WITHIN = timedelta(hours=1)

        attending.retry(order_id=unconfirmed.pk, actor=as_alice, at=datetime.now(UTC), note="Called the customer")
        wait_for_status(unconfirmed, "awaiting_customer")

        payment = unconfirmed.payments.get()
        assert payment.confirm_by is not None
        assert before is not None
        assert payment.confirm_by - before > timedelta(minutes=59)
        assert events_of(unconfirmed)[-4:] == ["ask_customer", "halt", "retry", "ask_customer"]
        assert said_at_the_bank(unconfirmed) == [("charge", "", True)]

    def test_a_retry_after_the_confirmation_charges(self, unconfirmed: Order, as_alice: Actor) -> None:
        customer(unconfirmed, "confirm")

        attending.retry(order_id=unconfirmed.pk, actor=as_alice, at=datetime.now(UTC))
        wait_for_status(unconfirmed, "completed")

        assert events_of(unconfirmed)[-8:] == ["retry", *CHARGED_AND_SHIPPED]
        assert kept_at_the_bank(unconfirmed) == 20_000

    def test_an_unconfirmed_order_can_be_cancelled(self, unconfirmed: Order, as_alice: Actor) -> None:
        undoing.cancel(order_id=unconfirmed.pk, actor=as_alice, at=datetime.now(UTC), reason="No answer")
        wait_for_status(unconfirmed, "cancelled")

        assert payments_of(unconfirmed) == {"charge": "cancelled", "refund": "cancelled"}
        assert said_at_the_bank(unconfirmed) == [("charge", "voided", False)]


class TestNobodyHelps:
    @pytest.fixture
    def providers(self, providers: None, settings: Settings) -> None:
        settings.PAYMENT_CONFIRM_WITHIN = timedelta(seconds=1)
        settings.ATTENTION_DEADLINE = timedelta(seconds=1)

    def test_an_order_that_stays_unconfirmed_fails_and_its_charge_is_voided(self, place: PlaceOrder) -> None:
        order = place(lines=SMALL)

        wait_for_status(order, "failed")

        assert payments_of(order) == {"charge": "cancelled", "refund": "cancelled"}
        assert said_at_the_bank(order) == [("charge", "voided", False)]
        assert Product.objects.get(sku="LAMP").stock == 1_000


class TestOrdinaryBank:
    @pytest.fixture
    def providers(self, providers: None, settings: Settings) -> None:
        settings.SIMULATOR_CONFIRM_RATE = 0.0

    @pytest.mark.parametrize("happened", [False, True], ids=["without the charge", "with the charge"])
    def test_a_call_without_an_answer_is_made_again_and_finds_what_was_done(
        self, place: PlaceOrder, monkeypatch: pytest.MonkeyPatch, happened: bool
    ) -> None:
        charge_for_good = SimulatedBank.charge
        asked: list[str] = []

        async def charge(bank: SimulatedBank, **wanted: Any) -> Any:
            asked.append(wanted["key"])
            if len(asked) > 1:
                return await charge_for_good(bank, **wanted)
            if happened:
                await charge_for_good(bank, **wanted)
            raise ProviderUnavailable("timed out")

        monkeypatch.setattr(SimulatedBank, "charge", charge)
        order = place(lines=SMALL)

        wait_for_status(order, "completed")

        assert asked == [paying.charge_key(order.pk)] * 2
        assert said_at_the_bank(order) == [("charge", "", False)]
        assert payments_of(order) == {"charge": "succeeded"}

    def test_a_cancel_before_the_bank_is_asked_cancels_the_charge_without_a_call(
        self, place: PlaceOrder, as_alice: Actor, engine: Engine
    ) -> None:
        engine.stop()
        order = place(lines=SMALL)
        for step in (reviewing.receive_order, reviewing.validate_order, fulfilling.reserve_stock):
            step(order_id=order.pk, at=datetime.now(UTC))
        assert payments_of(order) == {"charge": "created"}

        undoing.cancel(order_id=order.pk, actor=as_alice, at=datetime.now(UTC), reason="Ordered twice")
        successor = Engine()
        successor.start()
        try:
            wait_for_status(order, "cancelled")
        finally:
            successor.stop()

        assert payments_of(order) == {"charge": "cancelled"}
        assert "charge_cancelled" in events_of(order)
        assert asyncio.run(_entries()) == []


class TestCustomersWhoConfirmByThemselves:
    @pytest.fixture
    def providers(self, providers: None, settings: Settings) -> None:
        settings.PAYMENT_CONFIRM_WITHIN = timedelta(seconds=2)
        settings.SIMULATOR_CUSTOMER_SECONDS = 0.2

    def test_they_are_charged(self, place: PlaceOrder) -> None:
        order = place(lines=SMALL)

        wait_for_status(order, "completed")

        assert payments_of(order) == {"charge": "succeeded"}


def test_simulate_customer_says_what_it_cannot_do(place: PlaceOrder) -> None:
    with pytest.raises(CommandError, match="There is no order CS-0"):
        call_command("simulate_customer", "CS-0", "confirm")


def test_a_payment_row_is_never_asked_for_twice(asked: Order) -> None:
    move = paying.begin_charge(order_id=asked.pk, at=datetime.now(UTC))

    assert (move.key, move.confirm_by) == ("", asked.payments.get().confirm_by)
    assert Payment.objects.filter(order=asked).count() == 1

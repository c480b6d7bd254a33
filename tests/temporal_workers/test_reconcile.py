"""`manage.py reconcile`: what bank and desk say of the same payments."""

import io
import json
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import psycopg
import pytest
from django.conf import settings as django_settings
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection
from pytest_django.fixtures import Settings

from orders.models import Order, Outbox, Payment
from orders.services import fulfilling, paying, refunding, reviewing
from orders.services.actors import Actor
from orders.services.placing import NewLine
from temporal_workers.providers.protocols import BankEntry
from temporal_workers.providers.simulated import LEDGERS
from temporal_workers.reconciling import reconcile
from tests.conftest import PlaceOrder
from tests.temporal_workers.conftest import Engine, events_of, wait_for_status, wait_until


@pytest.fixture
def order(place: PlaceOrder, engine: Engine) -> Order:
    order = place(lines=[NewLine("LAMP", 1, 20_000)])
    wait_for_status(order, "completed")
    return order


def at_the_bank(change: str, *parameters: object) -> None:
    with psycopg.connect(django_settings.SIMULATOR_DATABASE_URL) as ledger:
        ledger.execute(change, parameters)


def has(order: Order, *events: str) -> bool:
    return bool(set(events) & set(events_of(order)))


def differences() -> list[dict[str, Any]]:
    said = io.StringIO()
    with suppress(CommandError):
        call_command("reconcile", "--json", stdout=said)
    found: list[dict[str, Any]] = json.loads(said.getvalue())
    return found


def test_without_differences_it_says_so(order: Order) -> None:
    said = io.StringIO()

    call_command("reconcile", stdout=said)

    assert said.getvalue() == "No differences.\n"


def test_a_difference_is_told_in_words_and_by_the_exit_status(order: Order) -> None:
    at_the_bank("UPDATE simulator.bank SET amount_minor = 19999")
    said = io.StringIO()

    with pytest.raises(CommandError, match="1 differ") as error:
        call_command("reconcile", stdout=said)

    assert error.value.returncode == 1
    assert said.getvalue() == f"order-{order.pk}:charge: amount: here 20000, at the bank 19999\n"


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ("UPDATE simulator.bank SET currency = 'USD'", [("currency", "EUR", "USD")]),
        ("UPDATE simulator.bank SET declined = 'voided'", [("state", "moved", "not moved")]),
        ("DELETE FROM simulator.bank", [("missing there", "charge of 20000 EUR", "")]),
    ],
)
def test_each_kind_of_difference_is_found(order: Order, change: str, found: list[tuple[str, str, str]]) -> None:
    at_the_bank(change)

    assert [(one["what"], one["here"], one["there"]) for one in differences()] == found


def test_money_that_the_bank_moved_and_we_know_nothing_of_is_found(order: Order) -> None:
    at_the_bank(
        "INSERT INTO simulator.bank (key, kind, amount_minor, currency, reference) "
        "VALUES ('x', 'charge', 5, 'EUR', 'r')"
    )

    assert differences() == [{"key": "x", "what": "missing here", "here": "", "there": "charge of 5 EUR"}]


def test_money_that_moved_although_we_say_it_did_not_is_found(order: Order) -> None:
    with connection.cursor() as cursor:  # no step that the database would let a payment take
        cursor.execute("ALTER TABLE orders_payment DISABLE TRIGGER orders_payment_steps")
        cursor.execute("UPDATE orders_payment SET status = 'failed' WHERE order_id = %s", [order.pk])
        cursor.execute("ALTER TABLE orders_payment ENABLE TRIGGER orders_payment_steps")

    assert [(one["what"], one["here"], one["there"]) for one in differences()] == [("state", "not moved", "moved")]


def test_a_refund_that_we_know_nothing_of_is_found(order: Order) -> None:
    at_the_bank(
        "INSERT INTO simulator.bank (key, kind, of_charge, amount_minor, currency, reference) "
        "VALUES ('back', 'refund', %s, 5, 'EUR', 'r')",
        f"order-{order.pk}:charge",
    )

    assert differences() == [{"key": "back", "what": "missing here", "here": "", "there": "refund of 5 EUR"}]


def test_an_order_that_was_charged_twice_is_found(order: Order) -> None:
    at_the_bank(
        "INSERT INTO simulator.bank (key, kind, amount_minor, currency, reference) "
        "VALUES (%s, 'charge', 5, 'EUR', 'r')",
        f"order-{order.pk}:again",
    )

    assert [(one["key"], one["what"]) for one in differences()] == [
        (f"order-{order.pk}:again", "missing here"),
        (f"order-{order.pk}", "charged twice"),
    ]


class TestUnderWay:
    """A payment in each of its states here, beside each of the bank's."""

    @pytest.fixture
    def reserved(self, place: PlaceOrder, providers: None) -> Order:
        order = place(lines=[NewLine("LAMP", 1, 20_000)])
        for step in (reviewing.receive_order, reviewing.validate_order, fulfilling.reserve_stock):
            step(order_id=order.pk, at=datetime.now(UTC))
        with psycopg.connect(django_settings.SIMULATOR_DATABASE_URL) as ledger:
            ledger.execute(LEDGERS)
        return order

    @pytest.mark.parametrize(
        ("here", "there", "differs"),
        [
            ("created", "pending", True),
            ("created", "moved", True),
            ("created", "voided", False),
            ("processing", "pending", False),
            ("processing", "moved", False),
            ("processing", "voided", False),
            ("requires_action", "pending", False),
            ("requires_action", "moved", False),
            ("requires_action", "voided", False),
            ("succeeded", "pending", True),
            ("failed", "pending", True),
            ("cancelled", "pending", True),
            ("cancelled", "voided", False),
        ],
    )
    def test_what_may_be_so_at_the_same_time_agrees(
        self, reserved: Order, here: str, there: str, differs: bool
    ) -> None:
        for state in {"created": (), "cancelled": ("cancelled",)}.get(here, ("processing", here)):
            Payment.objects.update(status=state)
        at_the_bank(
            "INSERT INTO simulator.bank (key, kind, amount_minor, currency, reference, declined, pending) "
            "VALUES (%s, 'charge', 20000, 'EUR', 'r', %s, %s)",
            f"order-{reserved.pk}:charge",
            "voided" if there == "voided" else "",
            there == "pending",
        )

        assert [one["what"] for one in differences()] == (["state"] if differs else [])

    def test_a_customer_who_is_asked_although_the_bank_knows_of_nothing_is_found(self, reserved: Order) -> None:
        for state in ("processing", "requires_action"):
            Payment.objects.update(status=state)

        assert [one["what"] for one in differences()] == ["missing there"]

    @pytest.mark.parametrize(("waits", "found"), [(timedelta(minutes=50), []), (timedelta(minutes=70), ["stuck"])])
    def test_a_payment_that_nobody_seems_to_be_at_is_found(
        self, reserved: Order, waits: timedelta, found: list[str]
    ) -> None:
        paying.begin_charge(order_id=reserved.pk, at=datetime.now(UTC))

        assert [one.what for one in reconcile(list, at=datetime.now(UTC) + waits)] == found

    def test_a_refund_that_temporal_has_lost_is_found(self, order: Order, engine: Engine, lead: User) -> None:
        engine.stop()
        refunding.refund(
            order_id=order.pk, amount_minor=5, reason="Late", actor=Actor.operator(lead), at=datetime.now(UTC)
        )
        Outbox.objects.update(delivered_at=datetime.now(UTC))  # and what was delivered is gone
        charged = [BankEntry(f"order-{order.pk}:charge", "charge", 20_000, "EUR")]

        found = reconcile(lambda: charged, at=datetime.now(UTC) + timedelta(hours=2))

        assert [(one.key, one.what) for one in found] == [(f"order-{order.pk}:refund-1", "stuck")]


class TestMoodyBank:
    @pytest.fixture
    def providers(self, providers: None, settings: Settings) -> None:
        settings.SIMULATOR_DECLINE_RATE = 0.3
        settings.SIMULATOR_ERROR_RATE = 0.2
        settings.SIMULATOR_LOST_ANSWER_RATE = 0.2

    def test_after_lost_answers_errors_declines_and_refunds_there_is_no_difference(
        self, place: PlaceOrder, engine: Engine, lead: User
    ) -> None:
        orders = [place(lines=[NewLine("RUG", 1, 5_000)]) for _ in range(6)]
        for order in orders:
            wait_until(partial(has, order, "complete", "finish_undo"))
        charged = [order for order in orders if "charge" in events_of(order)]
        for order in charged:
            refunding.refund(
                order_id=order.pk,
                amount_minor=2_000,
                reason="Came late",
                actor=Actor.operator(lead),
                at=datetime.now(UTC),
            )
        for order in charged:
            wait_until(partial(has, order, "refund"))

        assert differences() == []

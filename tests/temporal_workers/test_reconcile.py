"""`manage.py reconcile`: what bank and desk say of the same payments."""

import io
import json
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any

import psycopg
import pytest
from django.conf import settings as django_settings
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection
from pytest_django.fixtures import Settings

from orders.models import Order
from orders.services import refunding
from orders.services.actors import Actor
from orders.services.placing import NewLine
from tests.conftest import PlaceOrder
from tests.temporal_workers.conftest import Engine, events_of, wait_for_status, wait_until


@pytest.fixture
def providers(queues: None) -> None:
    """A bank that has forgotten the orders of earlier tests."""
    with psycopg.connect(django_settings.SIMULATOR_DATABASE_URL) as ledger:
        ledger.execute("DROP SCHEMA IF EXISTS simulator CASCADE")


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
            wait_until(partial(has, order, "complete", "finish_undo"), seconds=60)
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
            wait_until(partial(has, order, "refund"), seconds=60)

        assert differences() == []

"""Refunds that operators grant, carried out by real workers against a bank that has its moods."""

from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from django.conf import settings as django_settings
from django.contrib.auth.models import User
from django.db import connection

from orders.models import Order, Outbox, Payment
from orders.services import refunding
from orders.services.actors import Actor
from orders.services.placing import NewLine
from temporal_workers.providers.protocols import ProviderUnavailable
from temporal_workers.providers.simulated import SimulatedBank
from tests.conftest import PlaceOrder
from tests.temporal_workers.conftest import Engine, events_of, wait_for_status, wait_until


def refunds_at_the_bank(order: Order) -> list[tuple[str, int]]:
    with psycopg.connect(django_settings.SIMULATOR_DATABASE_URL) as ledger:
        return ledger.execute(
            "SELECT key, amount_minor FROM simulator.bank WHERE of_charge = %s ORDER BY key",
            [f"order-{order.pk}:charge"],
        ).fetchall()


@pytest.fixture
def as_lead(lead: User) -> Actor:
    return Actor.operator(lead)


@pytest.fixture
def order(place: PlaceOrder, engine: Engine) -> Order:
    """A completed order of 200.00 EUR."""
    order = place(lines=[NewLine("LAMP", 1, 20_000)])
    wait_for_status(order, "completed")
    return order


def grant(order: Order, actor: Actor, amount_minor: int) -> Payment:
    return refunding.refund(
        order_id=order.pk, amount_minor=amount_minor, reason="Came late", actor=actor, at=datetime.now(UTC)
    )


def test_a_refund_is_carried_out_and_recorded(order: Order, as_lead: Actor) -> None:
    payment = grant(order, as_lead, 5_000)
    wait_until(lambda: "refund" in events_of(order))

    payment.refresh_from_db()
    order.refresh_from_db()
    assert (payment.status, payment.error) == ("succeeded", "")
    assert payment.provider_reference.startswith("re_")
    assert payment.settled_at is not None
    assert order.status == "completed"
    assert events_of(order)[-2:] == ["refund_requested", "refund"]
    assert refunds_at_the_bank(order) == [(f"order-{order.pk}:refund-1", 5_000)]


def test_an_order_is_refunded_in_parts(order: Order, as_lead: Actor) -> None:
    grant(order, as_lead, 5_000)
    grant(order, as_lead, 15_000)
    wait_until(lambda: events_of(order).count("refund") == 2)

    assert refunds_at_the_bank(order) == [
        (f"order-{order.pk}:refund-1", 5_000),
        (f"order-{order.pk}:refund-2", 15_000),
    ]


def test_the_word_to_the_engine_delivered_twice_refunds_once(order: Order, as_lead: Actor, place: PlaceOrder) -> None:
    grant(order, as_lead, 5_000)
    wait_until(lambda: "refund" in events_of(order))

    Outbox.objects.filter(order=order, message="refund").update(delivered_at=None)
    with connection.cursor() as cursor:
        cursor.execute("NOTIFY orders_outbox")
    wait_for_status(place(lines=[NewLine("RUG", 1, 5_000)]), "completed")

    assert not Outbox.objects.filter(delivered_at=None).exists()
    assert events_of(order).count("refund") == 1
    assert refunds_at_the_bank(order) == [(f"order-{order.pk}:refund-1", 5_000)]


def test_a_bank_that_fails_and_loses_its_answer_is_asked_until_it_answers(
    order: Order, as_lead: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    refund_for_good = SimulatedBank.refund
    asked: list[str] = []

    async def refund(bank: SimulatedBank, **wanted: Any) -> str:
        asked.append(wanted["key"])
        if len(asked) == 1:
            raise ProviderUnavailable("out of order")
        reference = await refund_for_good(bank, **wanted)
        if len(asked) == 2:
            raise ProviderUnavailable("the answer was lost on the way")
        return reference

    monkeypatch.setattr(SimulatedBank, "refund", refund)

    payment = grant(order, as_lead, 5_000)
    wait_until(lambda: "refund" in events_of(order))

    payment.refresh_from_db()
    assert payment.status == "succeeded"
    assert asked == [payment.idempotency_key] * 3
    assert refunds_at_the_bank(order) == [(payment.idempotency_key, 5_000)]


def test_a_bank_that_knows_no_such_charge_fails_the_refund(order: Order, as_lead: Actor) -> None:
    with psycopg.connect(django_settings.SIMULATOR_DATABASE_URL) as ledger:
        ledger.execute("DELETE FROM simulator.bank WHERE key = %s", [f"order-{order.pk}:charge"])

    payment = grant(order, as_lead, 5_000)
    wait_until(lambda: "refund_failed" in events_of(order))

    payment.refresh_from_db()
    assert (payment.status, payment.error) == ("failed", "The bank knows no such charge.")


def test_a_refund_granted_while_no_worker_runs_is_carried_out_later(
    order: Order, as_lead: Actor, engine: Engine
) -> None:
    engine.stop()
    grant(order, as_lead, 5_000)

    successor = Engine()
    successor.start()
    try:
        wait_until(lambda: "refund" in events_of(order))
    finally:
        successor.stop()

    assert refunds_at_the_bank(order) == [(f"order-{order.pk}:refund-1", 5_000)]

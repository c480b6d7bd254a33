"""A change of address against real workers: what the carrier gets is what the row says at dispatch."""

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from django.conf import settings as django_settings

from orders.models import Order
from orders.services import addressing, attending, claiming, placing, reviewing
from orders.services.actors import Actor
from orders.services.placing import Address, NewLine
from orders.services.transitions import ActionRefused
from temporal_workers.providers.protocols import ProviderUnavailable
from temporal_workers.providers.simulated import SimulatedCarrier
from tests.conftest import PlaceOrder
from tests.temporal_workers.conftest import SECONDS_TO_SETTLE, Engine, events_of, wait_for_status
from tests.threads import in_a_thread

PARIS = Address("FR", line1="5 rue Cler", city="Paris", postal_code="75007")


class Gate:
    """Holds up one kind of call to the carrier until it is told to go on."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.open = threading.Event()

    async def passed(self) -> None:
        self.reached.set()
        await asyncio.to_thread(self.open.wait, SECONDS_TO_SETTLE)


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.open.set()


def hold_up(monkeypatch: pytest.MonkeyPatch, call: str, gate: Gate) -> None:
    done_for_good = getattr(SimulatedCarrier, call)

    async def held_up(carrier: SimulatedCarrier, **wanted: Any) -> Any:
        await gate.passed()
        return await done_for_good(carrier, **wanted)

    monkeypatch.setattr(SimulatedCarrier, call, held_up)


def change(order: Order, actor: Actor, address: Address = PARIS) -> bool:
    return addressing.change_address(order_id=order.pk, actor=actor, at=datetime.now(UTC), address=address)


def sent_to(order: Order) -> list[Address]:
    """Where the carrier was told to go, by its own ledger, and that this is what the row and the shipment say."""
    with psycopg.connect(django_settings.SIMULATOR_DATABASE_URL) as ledger:
        rows = ledger.execute(
            "SELECT address FROM simulator.carrier WHERE key LIKE %s AND NOT withdrawn", [f"order-{order.pk}:%"]
        ).fetchall()
    order.refresh_from_db()
    assert [address for (address,) in rows] == [order.shipment.address] == [asdict(placing.address_of(order))]
    return [Address(**address) for (address,) in rows]


def test_a_change_during_the_review_is_where_it_goes(
    place: PlaceOrder, as_alice: Actor, as_bob: Actor, engine: Engine
) -> None:
    order = place()
    wait_for_status(order, "in_review")

    change(order, as_alice)
    claiming.unclaim(order_id=order.pk, actor=as_alice, at=datetime.now(UTC))
    reviewing.approve(order_id=order.pk, actor=as_bob, at=datetime.now(UTC))
    wait_for_status(order, "completed")

    assert sent_to(order) == [PARIS]
    assert events_of(order).count("change_address") == 1


def test_a_change_while_the_package_is_being_made_ready_is_not_lost(
    place: PlaceOrder, as_alice: Actor, gate: Gate, monkeypatch: pytest.MonkeyPatch, engine: Engine
) -> None:
    hold_up(monkeypatch, "prepare", gate)
    order = place(lines=[NewLine("LAMP", 1, 20_000)])
    assert gate.reached.wait(SECONDS_TO_SETTLE)

    change(order, as_alice)
    gate.open.set()
    wait_for_status(order, "completed")

    assert sent_to(order) == [PARIS]


def test_the_last_of_many_changes_is_where_it_goes(
    place: PlaceOrder, as_alice: Actor, gate: Gate, monkeypatch: pytest.MonkeyPatch, engine: Engine
) -> None:
    hold_up(monkeypatch, "prepare", gate)
    order = place(lines=[NewLine("LAMP", 1, 20_000)])
    assert gate.reached.wait(SECONDS_TO_SETTLE)

    for number in range(20):
        change(order, as_alice, replace(PARIS, line1=f"{number} rue Cler"))
    change(order, as_alice)
    gate.open.set()
    wait_for_status(order, "completed")

    assert sent_to(order) == [PARIS]


def test_a_change_that_comes_while_the_carrier_is_called_is_refused(
    place: PlaceOrder, as_alice: Actor, gate: Gate, monkeypatch: pytest.MonkeyPatch, engine: Engine
) -> None:
    hold_up(monkeypatch, "dispatch", gate)
    order = place(lines=[NewLine("LAMP", 1, 20_000)])
    assert gate.reached.wait(SECONDS_TO_SETTLE)

    with pytest.raises(ActionRefused, match="an order that is dispatching can no longer be changed"):
        change(order, as_alice)
    gate.open.set()
    wait_for_status(order, "completed")

    assert [address.city for address in sent_to(order)] == ["Berlin"]
    assert "change_address" not in events_of(order)


def test_a_carrier_that_is_asked_again_hears_the_same_address(
    place: PlaceOrder, as_alice: Actor, monkeypatch: pytest.MonkeyPatch, engine: Engine
) -> None:
    dispatch_for_good = SimulatedCarrier.dispatch
    asked: list[str] = []
    refused: list[ActionRefused] = []

    async def dispatch(carrier: SimulatedCarrier, **wanted: Any) -> Any:
        asked.append(wanted["address"]["city"])
        if len(asked) > 1:
            return await dispatch_for_good(carrier, **wanted)
        await in_a_thread(try_to_change)
        raise ProviderUnavailable("out of order")

    def try_to_change() -> None:
        try:
            change(order, as_alice)
        except ActionRefused as refusal:
            refused.append(refusal)

    monkeypatch.setattr(SimulatedCarrier, "dispatch", dispatch)

    engine.stop()
    order = place(lines=[NewLine("LAMP", 1, 20_000)])
    successor = Engine()
    successor.start()
    try:
        wait_for_status(order, "completed")
    finally:
        successor.stop()

    assert len(refused) == 1
    assert set(asked) == {"Berlin"}
    assert [address.city for address in sent_to(order)] == ["Berlin"]


def test_a_change_while_no_worker_runs_counts_when_one_is_back(
    place: PlaceOrder, as_alice: Actor, gate: Gate, monkeypatch: pytest.MonkeyPatch, engine: Engine
) -> None:
    hold_up(monkeypatch, "prepare", gate)
    order = place(lines=[NewLine("LAMP", 1, 20_000)])
    assert gate.reached.wait(SECONDS_TO_SETTLE)
    stopping = threading.Thread(target=engine.stop)
    stopping.start()

    change(order, as_alice)
    gate.open.set()
    stopping.join()
    successor = Engine()
    successor.start()
    try:
        wait_for_status(order, "completed")
    finally:
        successor.stop()

    assert sent_to(order) == [PARIS]


def test_an_order_that_needs_help_takes_a_change_and_goes_there_after_the_retry(
    place: PlaceOrder, as_alice: Actor, engine: Engine
) -> None:
    order = place(lines=[NewLine("LAMP", 1, 20_000)], address=Address("AQ", line1="1 Scott Way", city="South Pole"))
    wait_for_status(order, "undeliverable")

    change(order, as_alice)
    order.refresh_from_db()
    assert order.status == "undeliverable"
    attending.retry(order_id=order.pk, actor=as_alice, at=datetime.now(UTC))
    wait_for_status(order, "completed")

    assert sent_to(order) == [PARIS]

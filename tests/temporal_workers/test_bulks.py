"""Decisions on many orders, carried out by the worker."""

import threading
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime

import psycopg
import pytest
from django.conf import settings as django_settings
from django.db import connection

from orders.models import Bulk, Order
from orders.services import bulk, reviewing
from orders.services.actors import Actor
from orders.services.transitions import ActionRefused
from orders.states import TERMINAL, Action
from temporal_workers import listening
from temporal_workers.bulks import BulkRunner
from tests import judge
from tests.conftest import PlaceOrder
from tests.temporal_workers.conftest import Engine, wait_for_status, wait_until


def begin(orders: list[Order], actor: Actor, action: Action, note: str = "") -> Bulk:
    chosen = {order.pk: order.version for order in orders}
    return bulk.begin(bulk_id=uuid.uuid4(), action=action, chosen=chosen, actor=actor, at=datetime.now(UTC), note=note)


def is_over(begun: Bulk) -> bool:
    begun.refresh_from_db()
    return begun.finished_at is not None


def query_ledger(query: str) -> list[tuple[object, ...]]:
    with psycopg.connect(django_settings.SIMULATOR_DATABASE_URL) as ledger:
        return ledger.execute(query).fetchall()


def test_orders_decided_at_once_come_to_their_ends_like_any_other(
    engine: Engine, place: PlaceOrder, as_alice: Actor, as_bob: Actor
) -> None:
    orders = [place() for _ in range(4)]
    for order in orders:
        wait_for_status(order, "in_review")

    approved = begin(orders[:3], as_alice, Action.APPROVE)
    rejected = begin(orders[1:], as_bob, Action.REJECT, "Same card")
    wait_until(lambda: is_over(approved) and is_over(rejected))
    wait_until(lambda: not Order.objects.exclude(status__in=TERMINAL).exists())
    wait_until(lambda: not any(order.outbox.filter(delivered_at=None).exists() for order in orders))

    assert approved.refused + rejected.refused == 2
    books = judge.read_books(query_ledger, only=[order.pk for order in orders])
    assert judge.unsafe(books, {"LAMP": 1_000}) == []
    assert judge.unfinished(books) == []


@pytest.fixture
def many(transactional_db: None, place: PlaceOrder) -> list[Order]:
    """Orders that wait for a decision, with no engine."""
    now = datetime.now(UTC)
    orders = [place() for _ in range(12)]
    for order in orders:
        reviewing.receive_order(order_id=order.pk, at=now)
        reviewing.validate_order(order_id=order.pk, at=now)
        order.refresh_from_db()
    return orders


@pytest.fixture
def runners(transactional_db: None) -> Iterator[list[BulkRunner]]:
    """As two workers have them; a test starts what it needs."""
    runners = [BulkRunner(), BulkRunner()]
    yield runners
    for runner in runners:
        runner.stop()
    for thread in threading.enumerate():
        if thread.name == BulkRunner.name:
            thread.join(30)


def test_a_runner_that_loses_the_database_goes_on_where_it_stood(
    many: list[Order], runners: list[BulkRunner], as_alice: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    carry_out = bulk.carry_out
    lost: list[bool] = []

    def carry_out_and_lose_the_server(*, bulk_id: uuid.UUID, at: datetime) -> bool:
        done = carry_out(bulk_id=bulk_id, at=at, most=5)
        if not lost:
            lost.append(True)
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")
        return done

    monkeypatch.setattr(bulk, "carry_out", carry_out_and_lose_the_server)
    begun = begin(many, as_alice, Action.APPROVE)

    runners[0].start()
    wait_until(lambda: is_over(begun))

    assert lost
    assert begun.refused == 0
    assert [order.events.filter(type="approve").count() for order in many] == [1] * 12
    assert [order.outbox.filter(message="approve").count() for order in many] == [1] * 12


def test_several_runners_and_a_person_decide_on_each_order_once(
    many: list[Order], runners: list[BulkRunner], as_alice: Actor, as_bob: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "BATCH", 2)
    begun = begin(many, as_alice, Action.APPROVE)
    by_hand = 0

    for runner in runners:
        runner.start()
    for order in reversed(many):
        try:
            reviewing.reject(order_id=order.pk, actor=as_bob, at=datetime.now(UTC), reason="Fraud")
            by_hand += 1
        except ActionRefused:
            pass
    wait_until(lambda: is_over(begun))

    assert begun.refused == by_hand
    assert [order.events.filter(type__in=["approve", "reject"]).count() for order in many] == [1] * 12
    assert [order.outbox.filter(message__in=["approve", "reject"]).count() for order in many] == [1] * 12


def test_a_runner_that_waits_for_news_stops_when_it_is_told_to(
    runners: list[BulkRunner], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "LOOK_EVERY", 600.0)
    looked = threading.Event()
    monkeypatch.setattr(BulkRunner, "work", lambda _: looked.set())
    runners[0].start()
    assert looked.wait(30)

    runners[0].stop()

    runners[0].join(30)
    assert BulkRunner.name not in [thread.name for thread in threading.enumerate()]

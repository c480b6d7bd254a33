"""The outbox on its way to Temporal: away and back, many relays, killed ones, messages twice."""

import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from django.conf import settings as django_settings
from django.db import connection

from devstack.servers import TemporalServer
from orders.models import Heartbeat, Order, Outbox
from orders.services import relaying, reviewing, undoing
from orders.services.actors import Actor
from orders.services.placing import NewLine
from tests.conftest import PlaceOrder
from tests.servers import dev_server
from tests.temporal_workers.conftest import Engine, events_of, wait_for_status, wait_until
from tests.threads import at_once

CUT_ALL_OTHERS = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
)
NOW = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)


@pytest.fixture
def own_temporal(monkeypatch: pytest.MonkeyPatch) -> Iterator[TemporalServer]:
    with dev_server() as server:
        monkeypatch.setenv("TEMPORAL_ADDRESS", server.address)
        yield server


def test_with_temporal_stopped_the_desk_goes_on_and_nothing_is_lost_or_doubled(
    own_temporal: TemporalServer, place: PlaceOrder, as_alice: Actor, as_bob: Actor, engine: Engine
) -> None:
    approved, rejected = [place() for _ in range(5)], [place() for _ in range(3)]
    for order in [*approved, *rejected]:
        wait_for_status(order, "in_review")

    own_temporal.kill()
    for order in approved:
        reviewing.approve(order_id=order.pk, actor=as_alice, at=datetime.now(UTC))
    for order in rejected:
        reviewing.reject(order_id=order.pk, actor=as_bob, at=datetime.now(UTC), reason="No")
    placed_meanwhile = [place(lines=[NewLine("RUG", 1, 5_000)]) for _ in range(4)]
    cancelled_meanwhile = place()
    undoing.cancel(order_id=cancelled_meanwhile.pk, actor=as_alice, at=datetime.now(UTC), reason="Mistake")
    assert Outbox.objects.filter(delivered_at=None).count() == 5 + 3 + 4 + 2
    own_temporal.start()

    for order in [*approved, *placed_meanwhile]:
        wait_for_status(order, "completed")
    wait_until(lambda: not Outbox.objects.filter(delivered_at=None).exists())
    for order in [*approved, *placed_meanwhile]:
        assert events_of(order).count("charge") == 1
        assert charges_at_the_bank(order) == 1
    for order in rejected:
        order.refresh_from_db()
        assert order.status == "rejected"
        assert charges_at_the_bank(order) == 0
    cancelled_meanwhile.refresh_from_db()
    assert cancelled_meanwhile.status == "cancelled"
    assert events_of(cancelled_meanwhile) == ["place", "cancel"]


def charges_at_the_bank(order: Order) -> int:
    with psycopg.connect(django_settings.SIMULATOR_DATABASE_URL) as ledger:
        found = ledger.execute("SELECT count(*) FROM simulator.bank WHERE key = %s", [f"order-{order.pk}:charge"])
        row = found.fetchone()
    return row[0] if row else 0


def test_workers_started_before_temporal_wait_for_it(
    own_temporal: TemporalServer, place: PlaceOrder, providers: None, transactional_db: None
) -> None:
    own_temporal.kill()
    engine = Engine()
    engine.start()
    order = place(lines=[NewLine("RUG", 1, 5_000)])

    own_temporal.start()
    try:
        wait_for_status(order, "completed")
    finally:
        engine.stop()


def test_the_heartbeat_tells_when_temporal_was_last_reached(engine: Engine, place: PlaceOrder) -> None:
    order = place(lines=[NewLine("RUG", 1, 5_000)])
    wait_for_status(order, "completed")

    beat = Heartbeat.objects.get()

    assert beat.temporal_seen_at is not None
    assert beat.queues == f"{django_settings.TEMPORAL_ORDERS_QUEUE}, {django_settings.TEMPORAL_SHIPPING_QUEUE}"


class Post:
    """Stands where Temporal would, and keeps what was delivered to it."""

    def __init__(self) -> None:
        self.got: list[tuple[str, str]] = []
        self.lock = threading.Lock()

    def __call__(self, messages: Sequence[Outbox]) -> list[str]:
        with self.lock:
            self.got += [(str(message.order_id), message.message) for message in messages]
        return [""] * len(messages)


@pytest.mark.django_db(transaction=True)
class TestOutbox:
    def test_each_orders_messages_arrive_in_their_order(self, order_in_review: Order, as_alice: Actor) -> None:
        reviewing.approve(order_id=order_in_review.pk, actor=as_alice, at=NOW)
        post = Post()

        rounds = [relaying.deliver_outbox(deliver=post, at=NOW) for _ in range(3)]

        assert rounds == [1, 1, 0]
        assert [message for _, message in post.got] == ["start", "approve"]

    def test_many_relays_side_by_side_deliver_each_message_once(self, place: PlaceOrder) -> None:
        for _ in range(40):
            place()
        post = Post()

        def relay() -> None:
            while relaying.deliver_outbox(deliver=post, at=NOW, most=3):
                pass

        at_once(*[relay] * 4)

        assert len(post.got) == 40
        assert len(set(post.got)) == 40
        assert not Outbox.objects.filter(delivered_at=None).exists()

    def test_a_relay_that_dies_in_the_middle_leaves_its_messages(self, place: PlaceOrder) -> None:
        place()

        def die(messages: Sequence[Outbox]) -> list[str]:
            raise ConnectionError("killed")

        with pytest.raises(ConnectionError):
            relaying.deliver_outbox(deliver=die, at=NOW)

        assert Outbox.objects.get().delivered_at is None
        assert relaying.deliver_outbox(deliver=Post(), at=NOW) == 1

    def test_a_message_that_temporal_refuses_stays_with_the_reason_and_holds_up_no_other_order(
        self, place: PlaceOrder
    ) -> None:
        refused, fine = place(), place()
        bad = str(refused.pk)

        relaying.deliver_outbox(
            deliver=lambda messages: ["too large" if str(m.order_id) == bad else "" for m in messages], at=NOW
        )

        assert Outbox.objects.get(order=fine).delivered_at == NOW
        message = Outbox.objects.get(order=refused)
        assert (message.delivered_at, message.last_error, message.attempts) == (None, "too large", 1)


def test_messages_delivered_twice_change_nothing(place: PlaceOrder, as_alice: Actor, engine: Engine) -> None:
    order = place()
    wait_for_status(order, "in_review")
    reviewing.approve(order_id=order.pk, actor=as_alice, at=datetime.now(UTC))
    wait_for_status(order, "completed")
    before = events_of(order)

    Outbox.objects.filter(order=order).update(delivered_at=None)
    with connection.cursor() as cursor:
        cursor.execute("NOTIFY orders_outbox")
    another = place(lines=[NewLine("RUG", 1, 5_000)])
    wait_for_status(another, "completed")

    assert not Outbox.objects.filter(delivered_at=None).exists()
    assert events_of(order) == before


def test_the_relay_outlives_a_database_that_may_only_be_read(place: PlaceOrder, engine: Engine) -> None:
    """What a failover looks like from here: writes fail with an error that is not one of the connection's."""
    name = connection.ops.quote_name(connection.settings_dict["NAME"])
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        cursor.execute(CUT_ALL_OTHERS)
    order = place(lines=[NewLine("RUG", 1, 5_000)])

    with connection.cursor() as cursor:
        cursor.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
        cursor.execute(CUT_ALL_OTHERS)

    wait_for_status(order, "completed")


def test_a_relay_in_unforeseen_trouble_goes_on(
    place: PlaceOrder, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    troubles = iter([ZeroDivisionError("a bug")])
    delivers = relaying.deliver_outbox

    def deliver(**told: Any) -> int:
        for trouble in troubles:
            raise trouble
        return delivers(**told)

    monkeypatch.setattr(relaying, "deliver_outbox", deliver)

    order = place(lines=[NewLine("RUG", 1, 5_000)])

    wait_for_status(order, "completed")
    assert next(troubles, None) is None

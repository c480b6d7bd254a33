"""The hub and its streams, on real notifications."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
import pytest_asyncio
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.test import AsyncClient

from orders import live
from orders.conventions import Conventions
from orders.models import Order
from orders.services import fulfilling, paying, relaying, reviewing
from orders.services.actors import Actor
from tests.conftest import PlaceOrder
from tests.threads import closing

pytestmark = pytest.mark.django_db(transaction=True)

SECONDS = 10

OPERATOR = live.Viewer(may_decide=True, leads=False, conventions=Conventions("UTC", "en"))
VIEWER = replace(OPERATOR, may_decide=False)


async def in_thread(do: Callable[[], Any]) -> Any:
    """Use the ORM from an async test; the thread's connection goes with it."""

    return await sync_to_async(closing(do), thread_sensitive=False)()


def read(frame: bytes | None) -> tuple[str, Any]:
    assert frame is not None
    event, data = "", None
    for line in frame.decode().splitlines():
        if line.startswith("event: "):
            event = line.removeprefix("event: ")
        elif line.startswith("data: "):
            data = json.loads(line.removeprefix("data: "))
    return event, data


async def hear(subscriber: live.Subscriber, wanted: str) -> Any:
    """The data of the next frame of that kind."""
    async with asyncio.timeout(SECONDS):
        while True:
            event, data = read(await subscriber.frames.get())
            if event == wanted:
                return data


@pytest_asyncio.fixture
async def hub() -> AsyncIterator[live.Hub]:
    hub = live.hub()
    yield hub
    await hub.close()


@pytest_asyncio.fixture
async def operator(hub: live.Hub) -> live.Subscriber:
    """An open stream of somebody who may decide, up to date."""
    subscriber = live.Subscriber(OPERATOR)
    hub.subscribe(subscriber)
    await hear(subscriber, "catch-up")
    return subscriber


async def test_a_change_is_told_with_its_rows(
    order_in_review: Order, operator: live.Subscriber, as_alice: Actor
) -> None:
    await in_thread(lambda: reviewing.approve(order_id=order_in_review.pk, actor=as_alice, at=datetime.now(UTC)))

    told = await hear(operator, "change")

    assert told["order"] == str(order_in_review.pk)
    assert told["version"] == order_in_review.version + 1
    assert told["open"] is False
    queue, orders = told["fragments"]
    assert "Approved by alice" in queue
    assert orders.startswith(f'<tr id="orders-{order_in_review.pk}"')


async def test_buttons_go_only_to_those_who_may_press_them(
    hub: live.Hub, operator: live.Subscriber, place: PlaceOrder
) -> None:
    viewer = live.Subscriber(VIEWER)
    hub.subscribe(viewer)

    def put_to_review() -> None:
        order = place()
        reviewing.receive_order(order_id=order.pk, at=datetime.now(UTC))
        reviewing.validate_order(order_id=order.pk, at=datetime.now(UTC))

    await in_thread(put_to_review)

    for subscriber, buttons in ((operator, True), (viewer, False)):
        while not (told := await hear(subscriber, "change"))["open"]:
            pass
        assert ("/approve/" in told["fragments"][0]) is buttons
        assert "csrfmiddlewaretoken" not in told["fragments"][0]


async def test_each_is_told_in_their_own_zone_and_locale(
    hub: live.Hub, order_in_review: Order, as_alice: Actor
) -> None:
    there = replace(OPERATOR, conventions=Conventions("Pacific/Auckland", "de_DE"))
    here, away = live.Subscriber(OPERATOR), live.Subscriber(there)
    for subscriber in (here, away):
        hub.subscribe(subscriber)
        await hear(subscriber, "catch-up")
    at = datetime(2026, 7, 1, 10, 30, tzinfo=UTC)

    await in_thread(lambda: reviewing.approve(order_id=order_in_review.pk, actor=as_alice, at=at))

    for subscriber, instant, amount in ((here, "10:30", "€1,200.00"), (away, "22:30", "1.200,00\N{NO-BREAK SPACE}€")):
        row = (await hear(subscriber, "change"))["fragments"][0]
        assert instant in row
        assert amount in row


async def test_kinds_of_viewers_beyond_the_most_frequent_catch_up(
    hub: live.Hub, operator: live.Subscriber, place: PlaceOrder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "KINDS", 1)
    hub.subscribe(live.Subscriber(OPERATOR))
    rare = live.Subscriber(replace(OPERATOR, conventions=Conventions("Asia/Tokyo", "ja_JP")))
    hub.subscribe(rare)
    await hear(rare, "catch-up")

    placed = await in_thread(place)

    assert (await hear(operator, "change"))["order"] == str(placed.pk)
    await hear(rare, "catch-up")


async def test_an_order_without_a_review_is_told_to_the_list_only(operator: live.Subscriber, place: PlaceOrder) -> None:
    order = await in_thread(place)

    told = await hear(operator, "change")

    assert told["order"] == str(order.pk)
    assert len(told["fragments"]) == 1


async def test_many_events_of_one_transaction_are_told_once(
    order_in_review: Order, operator: live.Subscriber, as_alice: Actor
) -> None:
    def at_once() -> None:
        with transaction.atomic():
            reviewing.approve(order_id=order_in_review.pk, actor=as_alice, at=datetime.now(UTC))
            fulfilling.reserve_stock(order_id=order_in_review.pk, at=datetime.now(UTC))
            paying.begin_charge(order_id=order_in_review.pk, at=datetime.now(UTC))

    await in_thread(at_once)

    told = await hear(operator, "change")
    assert told["version"] == order_in_review.version + 3
    assert operator.frames.empty()


async def test_orders_that_change_together_are_told_in_one_piece(operator: live.Subscriber, place: PlaceOrder) -> None:
    def together() -> set[str]:
        with transaction.atomic():
            return {str(place().pk) for _ in range(3)}

    placed = await in_thread(together)

    piece = b""
    async with asyncio.timeout(SECONDS):
        while not piece.startswith(b"event: change"):
            piece = await operator.frames.get() or b""
    told = [read(frame) for frame in piece.split(b"\n\n") if frame]
    assert {(event, data["order"]) for event, data in told} == {("change", order) for order in placed}


async def test_what_was_rolled_back_is_not_told(
    order_in_review: Order, operator: live.Subscriber, as_alice: Actor, place: PlaceOrder
) -> None:
    def in_vain() -> None:
        with transaction.atomic():
            reviewing.approve(order_id=order_in_review.pk, actor=as_alice, at=datetime.now(UTC))
            transaction.set_rollback(True)

    await in_thread(in_vain)
    placed = await in_thread(place)

    assert (await hear(operator, "change"))["order"] == str(placed.pk)


async def test_after_the_listener_is_cut_all_catch_up_and_go_on(
    hub: live.Hub, operator: live.Subscriber, place: PlaceOrder
) -> None:
    def cut() -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND application_name = 'countersign live'"
            )
            assert cursor.rowcount == 1

    await in_thread(cut)

    await hear(operator, "away")
    await hear(operator, "catch-up")
    assert hub.is_listening
    placed = await in_thread(place)
    assert (await hear(operator, "change"))["order"] == str(placed.pk)


async def test_a_change_that_cannot_be_rendered_does_not_silence_the_next(
    operator: live.Subscriber, place: PlaceOrder, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(live, "orders_row", lambda row: 1 / 0)
        await in_thread(place)
        await hear(operator, "catch-up")

    placed = await in_thread(place)

    assert (await hear(operator, "change"))["order"] == str(placed.pk)


async def test_more_than_a_batch_at_once_is_told_as_one_catch_up(
    operator: live.Subscriber, place: PlaceOrder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "BATCH", 2)

    def flood() -> None:
        with transaction.atomic():
            for _ in range(3):
                place()

    await in_thread(flood)

    await hear(operator, "catch-up")
    assert operator.frames.empty()


async def test_who_does_not_keep_up_is_told_to_catch_up_instead() -> None:
    subscriber = live.Subscriber(OPERATOR)

    for n in range(live.FRAMES_HELD + 1):
        subscriber.offer(live.frame("change", n))

    assert subscriber.frames.qsize() == 1
    assert subscriber.frames.get_nowait() == live.CATCH_UP


async def test_the_state_of_the_desk_is_told_when_it_changes(
    operator: live.Subscriber, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = await hear(operator, "desk")
    assert "No worker is running" in told["fragments"][0]

    def beat() -> None:
        now = datetime.now(UTC)
        relaying.record_heartbeat(worker="w", queues="orders, shipping", started_at=now, temporal_seen_at=now, at=now)

    await in_thread(beat)

    told = await hear(operator, "desk")
    assert "No worker is running" not in told["fragments"][0]


async def test_a_stream_is_never_cached_compressed_or_buffered(alice: User, hub: live.Hub) -> None:
    client = AsyncClient()
    await client.aforce_login(alice)

    answer = await client.get("/live/", headers={"Accept-Encoding": "gzip"})

    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "text/event-stream"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Accel-Buffering"] == "no"
    assert answer.headers["Content-Encoding"] == "identity"
    stream = answer.streaming_content  # type: ignore[attr-defined]
    assert await anext(stream) == live.RETRY
    assert read(await anext(stream))[0] == "catch-up"
    waiting = asyncio.create_task(anext(stream))
    await asyncio.sleep(0)
    waiting.cancel()  # as Django does when the browser goes
    await asyncio.gather(waiting, return_exceptions=True)
    assert hub.subscribers == set()


async def test_a_stranger_gets_no_stream_and_no_redirect(hub: live.Hub) -> None:
    answer = await AsyncClient().get("/live/")

    assert answer.status_code == 401
    assert hub.subscribers == set()


async def welcome() -> bool:
    return True


async def test_a_stream_ends_with_the_session_or_the_right(
    alice: User, hub: live.Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "PING_SECONDS", 0.05)
    monkeypatch.setattr(live, "WELCOME_SECONDS", 0.1)
    client = AsyncClient()
    for take_away in (client.alogout, lambda: in_thread(alice.groups.clear)):
        await client.aforce_login(alice)
        answer = await client.get("/live/")
        stream = answer.streaming_content  # type: ignore[attr-defined]
        assert await anext(stream) == live.RETRY

        await take_away()

        async with asyncio.timeout(SECONDS):
            assert all([frame != b"" async for frame in stream])
        assert hub.subscribers == set()


async def test_a_notification_of_somebody_else_is_passed_over(operator: live.Subscriber, place: PlaceOrder) -> None:
    def notify() -> None:
        with connection.cursor() as cursor:
            cursor.execute("NOTIFY orders_changed, 'not an order'")

    await in_thread(notify)

    placed = await in_thread(place)
    assert (await hear(operator, "change"))["order"] == str(placed.pk)


async def test_streams_end_by_themselves(hub: live.Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "STREAM_SECONDS", (0.3, 0.4))
    monkeypatch.setattr(live, "PING_SECONDS", 0.1)

    async with asyncio.timeout(SECONDS):
        sent = [frame async for frame in live.frames(live.Subscriber(VIEWER), welcome)]

    assert live.PING in sent
    assert hub.subscribers == set()


async def test_streams_end_at_once_when_the_process_stops(hub: live.Hub) -> None:
    stream = live.frames(live.Subscriber(VIEWER), welcome)
    await anext(stream)

    live.end_all_streams()

    async with asyncio.timeout(SECONDS):
        assert [frame async for frame in stream] == []
    assert hub.subscribers == set()


def test_the_listener_uses_the_database_but_not_its_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    database = {
        "NAME": "desk",
        "USER": "",
        "HOST": "db.example",
        "OPTIONS": {"pool": {"min_size": 1}, "sslmode": "require"},
    }
    monkeypatch.setattr(live, "settings", SimpleNamespace(DATABASES={"default": database}))

    assert live.connection_parameters() == {
        "dbname": "desk",
        "host": "db.example",
        "sslmode": "require",
        "connect_timeout": 5,
        "application_name": "countersign live",
    }

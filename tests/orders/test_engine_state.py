"""What the desk says about the engine, from life signs and from what waits."""

from datetime import UTC, datetime, timedelta

import pytest

from orders import engine
from orders.engine import EngineState
from orders.models import Outbox
from orders.services import relaying
from tests.conftest import PlaceOrder

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)

pytestmark = pytest.mark.django_db


def beat(queues: str = "orders, shipping", *, seconds_ago: int = 0, temporal_seconds_ago: int | None = 0) -> None:
    reached = None if temporal_seconds_ago is None else NOW - timedelta(seconds=temporal_seconds_ago)
    relaying.record_heartbeat(
        worker=queues, queues=queues, started_at=NOW, temporal_seen_at=reached, at=NOW - timedelta(seconds=seconds_ago)
    )


def test_it_is_well_while_workers_live_and_reach_temporal() -> None:
    beat()

    assert engine.look(at=NOW).state == EngineState.WELL


def test_a_silent_worker_is_none() -> None:
    beat(seconds_ago=20)

    seen = engine.look(at=NOW)

    assert (seen.state, seen.since) == (EngineState.NO_WORKER, NOW - timedelta(seconds=20))


def test_a_queue_that_nobody_serves_is_named() -> None:
    beat("shipping")

    seen = engine.look(at=NOW)

    assert (seen.state, seen.unserved) == (EngineState.NO_WORKER, "orders")


@pytest.mark.parametrize("seconds", [30, None])
def test_temporal_is_away_when_no_worker_has_reached_it_lately(seconds: int | None) -> None:
    beat(temporal_seconds_ago=seconds)

    assert engine.look(at=NOW).state == EngineState.TEMPORAL_AWAY


def test_messages_that_do_not_get_through_are_told_although_all_seems_well(place: PlaceOrder) -> None:
    beat()
    place()
    Outbox.objects.update(created_at=NOW - timedelta(seconds=40))

    seen = engine.look(at=NOW)

    assert (seen.state, seen.since) == (EngineState.BEHIND, NOW - timedelta(seconds=40))
    assert seen.undelivered.number == 1

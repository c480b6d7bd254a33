"""Each event's hash: written by the database at every door, of everything that the event says."""

import uuid
from datetime import UTC, datetime
from importlib import import_module

import pytest
from django.db import connection

from orders.chain import COLUMNS, FIRST, Said, canonical
from orders.models import Event, Order
from orders.services import reviewing
from orders.services.actors import Actor

NOW = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
ODD = r"""{
    "é": 1.50, "zz": -0.0, "b": 1e3, "a": 12345678901234567890123, "aa": 2.5e-7, "": null,
    "\"\\": "\b\f\n\r\t\u0001\u001f\u007f",
    "text": "Größe / 漢字 🎁 \u2028 </script>", "deep": [true, false, {}, [], {"y": [{"x": "1"}]}], "same": 1, "same": 2
}"""


def _said(order: Order) -> list[Said]:
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {COLUMNS.format('e')} FROM orders_event AS e WHERE order_id = %s ORDER BY sequence",  # noqa: S608
            [order.pk],
        )
        return [Said.of(row) for row in cursor.fetchall()]


def _insert(order: Order, sequence: int, payload: str = "{}") -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO orders_event (order_id, sequence, type, actor_kind, actor, payload, at)"
            " VALUES (%s, %s, 'note', 'system', E'Zoë\t\"Z\"', %s, '2026-11-21 10:00:00.000001+01')",
            [order.pk, sequence, payload],
        )


def test_each_event_is_chained_to_the_one_before_it_whoever_writes_it(order_in_review: Order, as_alice: Actor) -> None:
    reviewing.approve(order_id=order_in_review.pk, actor=as_alice, at=NOW)
    last = order_in_review.events.latest("sequence")
    _insert(order_in_review, last.sequence + 1)
    fields = {"type": "note", "actor_kind": "system", "actor": "x", "at": NOW}
    Event.objects.bulk_create(
        Event(order=order_in_review, sequence=last.sequence + n, payload={"n": n}, **fields) for n in (2, 3)
    )

    events = _said(order_in_review)

    assert len(events) == last.sequence + 3
    assert last.user_id is not None
    previous = FIRST
    for event in events:
        assert event.hash == event.hash_after(previous)
        previous = event.hash
    assert len({event.hash for event in events}) == len(events)


def test_the_database_and_python_write_any_payload_in_one_form(order_in_review: Order) -> None:
    before = _said(order_in_review)[-1]

    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL TIME ZONE 'Asia/Kathmandu'; SET LOCAL DateStyle = 'German'")
    _insert(order_in_review, before.sequence + 1, ODD)

    odd = _said(order_in_review)[-1]
    assert odd.at == "2026-11-21T09:00:00.000001Z"
    assert canonical(odd.payload).startswith('{"": null, "a": 12345678901234567890123, "b": 1000, "')
    assert odd.hash == odd.hash_after(before.hash)


def test_a_hash_is_of_every_column() -> None:
    hashed = {field.column for field in Event._meta.concrete_fields} - {"hash"}

    assert hashed == set(Said.__dataclass_fields__) - {"hash"}
    one = Said(1, str(uuid.UUID(int=7)), 1, "place", "customer", "Ann", None, {}, "2026-11-21T09:00:00.000000Z", b"")
    # Form 1, written down once: it has to be the same in ten years.
    assert one.hash_after(FIRST).hex() == "27360607a91ed413cf5b5181313ad2579183b3954494fb2ef78812ee04df168b"


def test_older_events_get_the_hashes_that_they_would_have_had(order_in_review: Order) -> None:
    hashes = [event.hash for event in _said(order_in_review)]
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica; UPDATE orders_event SET hash = ''")
        cursor.execute("SET LOCAL session_replication_role = origin")
    _insert(order_in_review, len(hashes) + 1)
    assert {event.hash for event in _said(order_in_review)} == {b""}  # those that are new meanwhile wait with the old

    chain = import_module("orders.migrations.0031_older_events_chained").CHAIN
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute(chain, {"orders": [order_in_review.pk]})

    *older, new = _said(order_in_review)
    assert [event.hash for event in older] == hashes
    assert new.hash == new.hash_after(hashes[-1])


@pytest.mark.parametrize("value", [1.5, b"", object()])
def test_what_json_has_no_exact_form_for_is_refused(value: object) -> None:
    with pytest.raises(TypeError, match="JSON has no"):
        canonical({"held": [value]})

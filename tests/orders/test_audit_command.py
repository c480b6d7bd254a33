"""The record of what happened: what somebody with all rights on the database has done to it is found."""

import io
from datetime import UTC, datetime, timedelta

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction

from orders.models import Order
from orders.services import noting
from orders.services.actors import Actor
from tests.conftest import PlaceOrder

NOW = datetime(2020, 1, 15, 9, 0, tzinfo=UTC)
SWAP = (
    "UPDATE orders_event SET sequence = 99 WHERE {{order}} AND sequence = {0};"
    "UPDATE orders_event SET sequence = {0} WHERE {{order}} AND sequence = {1};"
    "UPDATE orders_event SET sequence = {1} WHERE {{order}} AND sequence = 99"
)
INSERT_FOURTH = """
    UPDATE orders_event SET sequence = sequence + 100 WHERE {order} AND sequence >= 4;
    UPDATE orders_event SET sequence = sequence - 99 WHERE {order} AND sequence >= 100;
    INSERT INTO orders_event (order_id, sequence, type, actor_kind, actor, payload, at)
    SELECT order_id, 4, type, actor_kind, actor, payload, at FROM orders_event WHERE {order} AND sequence = 3
"""
TAMPERED = {
    "UPDATE orders_event SET actor = 'alicE' WHERE {order} AND sequence = 5": "event 5 was changed",
    "UPDATE orders_event SET at = at + interval '1us' WHERE {order} AND sequence = 1": "event 1 was changed",
    "UPDATE orders_event SET user_id = NULL WHERE {order} AND sequence = 7": "event 7 was changed",
    "UPDATE orders_event SET payload = '{{}}' WHERE {order} AND sequence = 4": "event 4 was changed",
    "UPDATE orders_event SET hash = '' WHERE {order} AND sequence = 6": "event 6 was changed",
    "DELETE FROM orders_event WHERE {order} AND sequence = 1": "event 1 is missing",
    "DELETE FROM orders_event WHERE {order} AND sequence IN (4, 5)": "events 4 to 5 are missing",
    "DELETE FROM orders_event WHERE {order} AND sequence >= 6": "events 6 to 8 are missing",
    "DELETE FROM orders_event WHERE {order}": "events 1 to 8 are missing",
    SWAP.format(4, 5): "event 4 was reordered",
    SWAP.format(2, 6): "event 2 was reordered",
    INSERT_FOURTH: "event 4 was inserted",
    "UPDATE orders_order SET version = 7 WHERE id = '{id}'": "event 8 was inserted",
}


@pytest.fixture
def order(order_in_review: Order, as_alice: Actor, place: PlaceOrder) -> Order:
    """One with eight events, beside another that nobody touches."""
    place()
    for text in ("one", "two", "three", "four"):
        noting.write_note(order_id=order_in_review.pk, actor=as_alice, at=NOW, text=text)
    order_in_review.refresh_from_db()
    return order_in_review


def _as_a_superuser(statements: str, order: Order) -> None:
    """With the triggers that refuse it turned off."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute(statements.format(order=f"order_id = '{order.pk}'", id=order.pk))
        cursor.execute("SET LOCAL session_replication_role = origin")


def _verify(*words: str) -> str:
    said = io.StringIO()
    call_command("audit", "verify", *words, stdout=said)
    return said.getvalue()


def _found(*words: str) -> list[str]:
    said = io.StringIO()
    with pytest.raises(CommandError, match="1 of the orders are not as they were written") as refused:
        call_command("audit", "verify", *words, stdout=said)
    assert refused.value.returncode == 1
    return said.getvalue().splitlines()


def test_what_was_left_alone_is_whole(order: Order) -> None:
    assert _verify() == f"Looked at {order.version + 1} events of 2 orders: all as they were written.\n"
    assert _verify("--order", order.number).startswith(f"Looked at {order.version} events of 1 orders: all")


def test_what_was_done_to_the_record_is_found(order: Order) -> None:
    assert order.version == 8

    found = {}
    for statements in TAMPERED:
        before = transaction.savepoint()
        _as_a_superuser(statements, order)
        (found[statements],) = _found()
        transaction.savepoint_rollback(before)

    assert found == {statements: f"{order.number}: {told}" for statements, told in TAMPERED.items()}


def test_a_period_proves_the_orders_to_which_something_happened_in_it(order: Order) -> None:
    today = datetime.now(UTC).date()

    assert _verify("--since", str(today)).startswith(f"Looked at {order.version + 1} events of 2 orders")
    assert _verify("--until", "2020-01-14").startswith("Looked at 0 events of 0 orders")
    assert _verify("--since", "2020-01-15", "--until", "2020-01-15").startswith("Looked at 8 events of 1 orders")
    assert _verify("--since", str(today + timedelta(days=1))).startswith("Looked at 0 events of 0 orders")

    _as_a_superuser("DELETE FROM orders_event WHERE {order}", order)
    assert _found("--since", str(today)) == [f"{order.number}: events 1 to 8 are missing"]


def test_a_range_that_makes_no_sense_is_refused(db: None) -> None:
    for words, told in (
        (["--order", "CS-1"], "--order: There is no order CS-1."),
        (["--order", "CS-1", "--since", "2026-11-01"], "--order: takes no period"),
        (["--since", "2026-11-02", "--until", "2026-11-01"], "--until: 2026-11-01 is before --since, 2026-11-02."),
        (["--since", "yesterday"], "argument --since: must be a day such as 2026-11-01, not 'yesterday'"),
        (["--until", "9999-12-31"], "argument --until: must be a day from 0001-01-01 to 9999-12-30"),
    ):
        with pytest.raises(CommandError, match=told):
            _verify(*words)

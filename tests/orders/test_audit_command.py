"""The record of what happened: what somebody with all rights on the database has done to it is found."""

import io
import json
from base64 import b64decode
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from pytest_django import Settings

from orders.models import Order
from orders.services import noting
from orders.services.actors import Actor
from orders_site.env import env_key
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


def _audit(*words: str) -> str:
    said = io.StringIO()
    call_command("audit", *words, stdout=said)
    return said.getvalue()


@pytest.fixture
def public_key(settings: Settings) -> str:
    """Of the key that is set."""
    signing, public = _audit("new-key").splitlines()
    settings.AUDIT_SIGNING_KEY = b64decode(signing.removeprefix("AUDIT_SIGNING_KEY="))
    return public.removeprefix("public key: ")


DAY = ("--since", "2020-01-15", "--until", "2020-01-15")


def test_an_export_has_the_events_of_its_days_and_can_be_checked(order: Order, public_key: str, tmp_path: Path) -> None:
    file = tmp_path / "january.jsonl"

    _audit("export", *DAY, "--output", str(file))

    *events, last = [json.loads(line) for line in file.read_text().splitlines()]
    notes = order.events.filter(sequence__gt=4).order_by("sequence")
    assert [event["id"] for event in events] == [note.pk for note in notes]
    assert [event["hash"] for event in events] == [bytes(note.hash).hex() for note in notes]
    assert [event["previous"] for event in events[1:]] == [event["hash"] for event in events[:-1]]
    assert (events[0]["number"], events[0]["payload"]) == (order.number, notes[0].payload)
    assert last["statement"]["count"] == 4
    assert _audit("verify-export", str(file), "--public-key", public_key).startswith("4 events from 2020-01-15T00:00")


def test_an_export_that_was_changed_is_found(order: Order, public_key: str, tmp_path: Path) -> None:
    file = tmp_path / "january.jsonl"
    whole = _audit("export", *DAY).splitlines(keepends=True)
    another_key = _audit("new-key").splitlines()[1].removeprefix("public key: ")

    def told(lines: list[str], key: str = public_key) -> str:
        file.write_text("".join(lines))
        with pytest.raises(CommandError) as refused:
            _audit("verify-export", str(file), "--public-key", key)
        assert refused.value.returncode == 1
        return str(refused.value).removeprefix(f"{file}: ")

    one, two, three, four, last = whole
    changed = [one, two.replace("alice", "alicE"), three, four, last]
    assert told(changed) == f"Line 2, event 6 of {order.number}, is not what its hash is of."
    assert told([one, two, "{}\n", four, last]) == "Line 3 is no event."
    assert told([one, three, two, four, last]) == "The lines are not those that were signed."
    assert told([one, two, four, last]) == "The lines are not those that were signed."
    assert told([one, two, three]).startswith("The last line is no signed statement")
    assert told([]).startswith("The last line is no signed statement")
    assert told([*whole[:4], last.replace('"count": 4', '"count": 3')]).startswith("The signature is not of this key")
    assert told(whole, another_key).startswith("The signature is not of this key")


def test_an_export_of_a_record_that_was_touched_says_so(order: Order, public_key: str, tmp_path: Path) -> None:
    file = tmp_path / "january.jsonl"
    _as_a_superuser("UPDATE orders_event SET actor = 'bob' WHERE {order} AND sequence = 7", order)
    _audit("export", *DAY, "--output", str(file))

    with pytest.raises(CommandError, match=f"Line 3, event 7 of {order.number}, is not what .* It was so when"):
        _audit("verify-export", str(file), "--public-key", public_key)


def test_nothing_is_exported_or_checked_without_its_key(
    order: Order, public_key: str, tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "january.jsonl"
    file.write_text("mine")
    with pytest.raises(CommandError, match=r"--output: .*january.jsonl cannot be written \(File exists\)"):
        _audit("export", *DAY, "--output", str(file))
    assert file.read_text() == "mine"
    with pytest.raises(CommandError, match="--public-key: must be 32 bytes in base64"):
        _audit("verify-export", str(file), "--public-key", "c2hvcnQ=")
    with pytest.raises(CommandError, match="nowhere cannot be read"):
        _audit("verify-export", str(tmp_path / "nowhere"), "--public-key", public_key)

    settings.AUDIT_SIGNING_KEY = b""
    with pytest.raises(CommandError, match="AUDIT_SIGNING_KEY is not set"):
        _audit("export", *DAY)

    for malformed in ("c2hvcnQ=", "not base64!"):
        monkeypatch.setenv("AUDIT_SIGNING_KEY", malformed)
        with pytest.raises(ImproperlyConfigured, match="AUDIT_SIGNING_KEY must have 32 bytes in base64"):
            env_key("AUDIT_SIGNING_KEY")

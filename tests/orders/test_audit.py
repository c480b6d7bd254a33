"""One order taken away: as JSON, as CSV, on paper."""

import csv
import io
from datetime import UTC, datetime

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from orders.models import Order
from orders.services import noting, paying, reviewing
from orders.services.actors import Actor
from tests.conftest import PlaceOrder
from tests.orders.conftest import SignedIn

NOW = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)


@pytest.fixture
def told(order_in_review: Order, as_alice: Actor) -> Order:
    """A rejected order with a note that was worded anew."""
    note = noting.write_note(order_id=order_in_review.pk, actor=as_alice, at=NOW, text="=1+1")
    noting.edit_note(order_id=note.order_id, note_id=note.pk, actor=as_alice, at=NOW, text="Two, not =1+1")
    reviewing.reject(order_id=order_in_review.pk, actor=as_alice, at=NOW, reason="Stolen card")
    order_in_review.refresh_from_db()
    return order_in_review


def test_the_json_has_every_event_note_and_decision(at_alices: Client, told: Order) -> None:
    answer = at_alices.get(reverse("orders:audit_json", args=[told.pk]))

    audit = answer.json()
    assert answer.headers["Content-Disposition"] == f'attachment; filename="{told.number}-audit.json"'
    assert (audit["taken_by"], audit["order"]["number"], audit["order"]["total_minor"]) == (
        "alice",
        told.number,
        120_000,
    )
    assert [event["sequence"] for event in audit["events"]] == list(range(1, told.version + 1))
    hashes = [bytes(event.hash).hex() for event in told.events.order_by("sequence")]
    assert [event["hash"] for event in audit["events"]] == hashes
    assert audit["events"][-1] | {"payload": None} == {
        "sequence": told.version,
        "at": "2026-11-21T09:00:00Z",
        "type": "reject",
        "about": "decisions",
        "title": "Rejected",
        "detail": "“Stolen card”",
        "actor_kind": "operator",
        "actor": "alice",
        "status_before": "in_review",
        "status_after": "rejected",
        "payload": None,
        "hash": hashes[-1],
    }
    (review,) = audit["reviews"]
    assert (review["decision"], review["decided_by"], review["note"]) == ("rejected", "alice", "Stolen card")
    assert [part["text"] for part in review["risk_parts"]] == ["first order", "€500 or more"]
    assert [(note["text"], note["author"]) for note in audit["notes"]] == [("Two, not =1+1", "alice")]
    assert [line["sku"] for line in audit["lines"]] == ["LAMP"]
    assert "search" not in audit["order"]


def test_the_csv_has_a_line_for_each_event_and_nothing_that_a_spreadsheet_runs(at_alices: Client, told: Order) -> None:
    answer = at_alices.get(reverse("orders:audit_csv", args=[told.pk]))

    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    rows = list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"))))
    assert len(rows) == told.version
    assert rows[-3]["detail"] == "'=1+1"
    assert not [cell for row in rows for cell in row.values() if cell.startswith(("=", "+", "-", "@"))]
    assert rows[-1]["hash"] == bytes(told.events.latest("sequence").hash).hex()
    assert (rows[-1]["status_before"], rows[-1]["status_after"]) == ("in_review", "rejected")


def test_more_events_than_a_page_shows_are_all_there(
    at_alices: Client, told: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orders.selectors.EVENTS_SHOWN", 2)

    assert len(at_alices.get(reverse("orders:audit_json", args=[told.pk])).json()["events"]) == told.version
    page = at_alices.get(reverse("orders:print", args=[told.pk])).content.decode()
    assert "Order came in" in page
    assert "“Stolen card”" in page
    assert "=1+1 → Two, not =1+1" in page
    assert reverse("orders:print", args=[told.pk]) in at_alices.get(told.get_absolute_url()).content.decode()


def test_a_viewer_looks_and_prints_and_takes_no_file_away(viewer: User, signed_in: SignedIn, told: Order) -> None:
    at_veras = signed_in(viewer)

    page = at_veras.get(told.get_absolute_url()).content.decode()

    assert at_veras.get(reverse("orders:print", args=[told.pk])).status_code == 200
    for name in ("orders:audit_json", "orders:audit_csv"):
        assert at_veras.get(reverse(name, args=[told.pk])).status_code == 403
        assert reverse(name, args=[told.pk]) not in page


def test_an_order_that_is_not_there_has_no_audit(at_alices: Client) -> None:
    nobody = "6f1c1f0e-3f8a-4f43-9a55-0d3a1f6f2b11"

    for name in ("audit_json", "audit_csv", "print", "timeline"):
        assert at_alices.get(reverse(f"orders:{name}", args=[nobody])).status_code == 404


def test_an_order_with_payments_and_a_package_can_be_taken_away_too(
    at_alices: Client, place: PlaceOrder, undeliverable_order: Order
) -> None:
    audit = at_alices.get(reverse("orders:audit_json", args=[undeliverable_order.pk])).json()

    assert [payment["idempotency_key"] for payment in audit["payments"]] == [paying.charge_key(undeliverable_order.pk)]
    assert audit["shipment"]["address"]["city"] == "South Pole"
    assert "Needed help" in at_alices.get(reverse("orders:print", args=[undeliverable_order.pk])).content.decode()

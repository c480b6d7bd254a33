"""Notes over the API, and at the terminal: as on the order's page, by the same people."""

import json
import uuid
from datetime import UTC, datetime
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client

from orders.models import Mention, Note, Order
from orders.services import noting
from orders.services.actors import Actor
from tests.api.calls import refused
from tests.api.conftest import Caller

NOW = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)


@pytest.fixture
def desk(caller: Caller, alice: User) -> Client:
    return caller("read", "decide", name="chat bot", user=alice)


def url(order: Order, note: int | None = None) -> str:
    return f"/api/v1/orders/{order.pk}/notes" + (f"/{note}" if note else "")


def write(client: Client, order: Order, body: object, *, key: str = "key-1") -> Any:
    headers = {"Idempotency-Key": key} if key else {}
    return client.post(url(order), json.dumps(body), content_type="application/json", headers=headers)


def edit(client: Client, order: Order, note: int, body: object) -> Any:
    return client.put(url(order, note), json.dumps(body), content_type="application/json")


def test_a_note_is_written_once_and_tells_whom_it_mentions(desk: Client, order_in_review: Order, bob: User) -> None:
    first = write(desk, order_in_review, {"text": " She rang. @bob? "})
    again = write(desk, order_in_review, {"text": " She rang. @bob? "})

    note = order_in_review.notes.get()
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()
    assert first.json()["id"] == note.pk
    assert (first.json()["author"], first.json()["text"], first.json()["mentioned"]) == (
        "alice",
        "She rang. @bob?",
        ["bob"],
    )
    assert Mention.objects.get().user == bob
    assert refused(write(desk, order_in_review, {"text": "Another"}), 409).keys() == {"Idempotency-Key"}


def test_it_is_worded_anew_and_every_wording_is_told(desk: Client, order_in_review: Order, as_bob: Actor) -> None:
    note = write(desk, order_in_review, {"text": "One"}).json()["id"]
    noting.write_note(order_id=order_in_review.pk, actor=as_bob, at=NOW, text="Two")

    changed = edit(desk, order_in_review, note, {"text": "Uno"})
    told = desk.get(url(order_in_review)).json()

    assert (changed.status_code, changed.json()["text"]) == (200, "Uno")
    assert [(each["author"], each["text"]) for each in told["notes"]] == [("bob", "Two"), ("alice", "Uno")]
    assert [former["text"] for former in told["notes"][1]["former"]] == ["One"]
    assert told["next"] is None
    assert edit(desk, order_in_review, note, {"text": "Uno"}).json() == changed.json()


def test_they_are_listed_page_by_page(desk: Client, order_in_review: Order, alice: User) -> None:
    Note.objects.bulk_create(
        Note(order=order_in_review, author=alice, text=str(number), written_at=NOW) for number in range(53)
    )

    first = desk.get(url(order_in_review)).json()
    second = desk.get(url(order_in_review), {"before": first["next"]}).json()

    assert [note["text"] for note in [*first["notes"], *second["notes"]]] == [str(n) for n in reversed(range(53))]
    assert (len(first["notes"]), second["next"]) == (50, None)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "text"),
        ({"text": "  "}, "text"),
        ({"text": "a\x00b"}, "text"),
        ({"text": "x" * 2_001}, "text"),
        ({"text": 5}, "text"),
        ({"text": "@nobody?"}, "text"),
        ({"text": "a", "mood": "b"}, "mood"),
    ],
)
def test_a_note_that_cannot_be_kept_leaves_nothing_behind(
    desk: Client, order_in_review: Order, body: object, field: str
) -> None:
    assert refused(write(desk, order_in_review, body), 422).keys() == {field}
    assert write(desk, order_in_review, {"text": "Sound"}).status_code == 201
    assert order_in_review.notes.count() == 1


def test_only_its_author_may_change_it_on_its_own_order_and_viewers_write_none(
    desk: Client, caller: Caller, viewer: User, order_in_review: Order, as_bob: Actor
) -> None:
    his = noting.write_note(order_id=order_in_review.pk, actor=as_bob, at=NOW, text="Mine").pk
    elsewhere = Order(pk=uuid.uuid4())

    refused(edit(desk, order_in_review, his, {"text": "Yours"}), 403)
    assert refused(edit(desk, order_in_review, his + 1, {"text": "Yours"}), 404).keys() == {"note_id"}
    for answer in (edit(desk, elsewhere, his, {"text": "x"}), write(desk, elsewhere, {"text": "x"})):
        assert refused(answer, 404).keys() == {"order_id"}
    assert refused(desk.get(url(elsewhere)), 404).keys() == {"order_id"}
    refused(write(caller("decide", user=viewer), order_in_review, {"text": "Hello"}), 403)
    refused(write(caller("read", name="screen"), order_in_review, {"text": "Hello"}), 403)
    assert refused(write(desk, order_in_review, {"text": "No key"}, key=""), 422).keys() == {"Idempotency-Key"}
    assert [note.text for note in order_in_review.notes.all()] == ["Mine"]


def test_at_the_terminal_they_are_written_changed_and_read(order_in_review: Order, alice: User, bob: User) -> None:
    def order(*arguments: str) -> str:
        said = StringIO()
        call_command("order", *arguments, stdout=said)
        return said.getvalue()

    number = order_in_review.number
    assert "There are no notes" in order("notes", number)
    written = json.loads(order("note", number, "--as", "alice", "--text", "Rang.\n@bob?", "--json"))["note"]
    assert f"Note {written} on {number} is changed." in order(
        "note", number, "--as", "alice", "--text", "Rang twice.\n@bob?", "--edit", str(written)
    )

    assert "Rang twice. @bob?" in order("notes", number)
    (told,) = json.loads(order("notes", number, "--json"))["notes"]
    assert (told["author"], [former["text"] for former in told["former"]]) == ("alice", ["Rang.\n@bob?"])
    assert Mention.objects.get().user == bob
    for wrong in (("--as", "bob", "--text", "Mine", "--edit", str(written)), ("--as", "alice", "--text", "@nobody")):
        with pytest.raises(CommandError, match=r"Only alice|nobody called"):
            order("note", number, *wrong)
    with pytest.raises(CommandError, match="--edit: there is no note 999999999"):
        order("note", number, "--as", "alice", "--text", "x", "--edit", "999999999")

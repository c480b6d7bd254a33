"""Notes on orders: who may write and change them, every wording kept, and colleagues who are mentioned."""

from datetime import UTC, datetime

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from pytest_django import DjangoAssertNumQueries, Settings

from orders import notes
from orders.models import Mail, Mention, Note, Order
from orders.services import noting, posting
from orders.services.actors import SYSTEM, Actor, NotPermitted
from orders.timeline import tell
from tests.conftest import PlaceOrder
from tests.orders.conftest import SignedIn

NOW = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)


def write(order: Order, actor: Actor, text: str) -> Note:
    return noting.write_note(order_id=order.pk, actor=actor, at=NOW, text=text)


def unseen(user: User) -> int:
    return notes.unseen_count(user.pk).number


def test_a_note_stands_on_the_order_and_in_its_timeline(
    at_alices: Client, signed_in: SignedIn, bob: User, order_in_review: Order
) -> None:
    version = order_in_review.version

    at_alices.post(reverse("orders:note", args=[order_in_review.pk]), {"text": "  Rang them:\nwill call back. "})

    order_in_review.refresh_from_db()
    note = order_in_review.notes.get()
    assert (note.text, note.author.username, note.edited_at) == ("Rang them:\nwill call back.", "alice", None)
    assert order_in_review.version == version + 1
    event = order_in_review.events.latest("sequence")
    assert (event.type, event.actor) == ("note", "alice")
    page = signed_in(bob).get(order_in_review.get_absolute_url()).content.decode()
    assert page.count("Rang them:\nwill call back.") == 2
    assert reverse("orders:edit_note", args=[order_in_review.pk]) not in page


def test_every_wording_is_kept_and_shown(at_alices: Client, order_in_review: Order, as_alice: Actor) -> None:
    note = write(order_in_review, as_alice, "First thought")
    url = reverse("orders:edit_note", args=[order_in_review.pk])

    for text in ("Second thought", "Second thought", "Third thought"):
        at_alices.post(url, {"note": note.pk, "text": text})

    note.refresh_from_db()
    assert note.text == "Third thought"
    edits = order_in_review.events.filter(type="edit_note").order_by("sequence")
    assert [(edit.payload["before"], edit.payload["after"]) for edit in edits] == [
        ("First thought", "Second thought"),
        ("Second thought", "Third thought"),
    ]
    assert tell(edits[0]).title == "Note changed"
    page = at_alices.get(order_in_review.get_absolute_url()).content.decode()
    assert "2 former wordings" in page
    assert "First thought" in page


def test_only_its_author_may_change_a_note_and_only_on_its_order(
    signed_in: SignedIn, bob: User, as_alice: Actor, as_bob: Actor, order_in_review: Order, place: PlaceOrder
) -> None:
    note = write(order_in_review, as_alice, "Mine")
    other = write(place(), as_bob, "Elsewhere")
    url = reverse("orders:edit_note", args=[order_in_review.pk])

    assert signed_in(bob).post(url, {"note": note.pk, "text": "Yours"}).status_code == 403
    assert signed_in(bob).post(url, {"note": other.pk, "text": "Yours"}).status_code == 404
    assert signed_in(bob).post(url, {"text": "Yours"}).status_code == 404
    note.refresh_from_db()
    assert note.text == "Mine"


def test_a_viewer_reads_and_does_not_write(
    viewer: User, signed_in: SignedIn, order_in_review: Order, as_alice: Actor
) -> None:
    write(order_in_review, as_alice, "For all to read")
    url = reverse("orders:note", args=[order_in_review.pk])

    page = signed_in(viewer).get(order_in_review.get_absolute_url()).content.decode()

    assert "For all to read" in page
    assert url not in page
    assert signed_in(viewer).post(url, {"text": "Me too"}).status_code == 403
    for actor in (SYSTEM, Actor.operator(viewer)):
        with pytest.raises(NotPermitted, match="may not write notes"):
            write(order_in_review, actor, "Me too")
    assert order_in_review.notes.count() == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (" \n ", "Write something first."),
        ("n" * 2_001, "Keep the note under 2,000 characters."),
        ("a\x07b", "The note contains a control character."),
        ("ask @bbo about it", "There is nobody called @bbo here. Did you mean @bob?"),
        ("ask @xyzzy.", "There is nobody called @xyzzy here. Use the name with which a colleague signs in."),
        (" ".join(f"@n{n}" for n in range(21)), "Mention 20 colleagues at most."),
    ],
)
def test_what_cannot_be_a_note_is_refused_and_the_text_kept(
    at_alices: Client, bob: User, order_in_review: Order, text: str, said: str
) -> None:
    answer = at_alices.post(reverse("orders:note", args=[order_in_review.pk]), {"text": text})

    page = answer.content.decode()
    assert answer.status_code == 422
    assert said in page
    assert text in page
    assert not Note.objects.exists()
    assert order_in_review.events.count() == order_in_review.version


def test_the_mentioned_have_a_badge_until_they_have_opened_the_order(
    signed_in: SignedIn, bob: User, lead: User, viewer: User, as_alice: Actor, order_in_review: Order
) -> None:
    write(order_in_review, as_alice, "@bob, @Dana: look. Mail went to ann@bob.example, not to @alice. @bob?")
    assert (unseen(bob), unseen(lead), unseen(viewer), Mention.objects.count()) == (1, 1, 0, 2)
    at_bobs = signed_in(bob)
    assert "mentions/" in at_bobs.get("/").content.decode()

    caught_up = at_bobs.get(reverse("orders:catch_up_order", args=[order_in_review.pk]))
    assert '<span class="count">1</span>' in caught_up.json()["fragments"][-1]
    page = at_bobs.get(order_in_review.get_absolute_url()).content.decode()

    assert "for you" in page
    assert '<b class="mention">@bob</b>' in page
    assert (unseen(bob), unseen(lead)) == (0, 1)
    assert "for you" not in at_bobs.get(order_in_review.get_absolute_url()).content.decode()
    listed = at_bobs.get(reverse("orders:mentions")).content.decode()
    assert order_in_review.number in listed
    assert signed_in(viewer).get(reverse("orders:mentions")).content.decode().count("Nobody has mentioned you yet") == 1


def test_to_open_the_order_beside_the_queue_is_to_see_it(
    signed_in: SignedIn, bob: User, as_alice: Actor, order_in_review: Order
) -> None:
    write(order_in_review, as_alice, "For @bob")

    asked = {"order": str(order_in_review.pk)}
    page = signed_in(bob).get("/", asked, headers={"HX-Target": "opened"}).content.decode()

    assert "for you" in page
    assert unseen(bob) == 0


def test_a_change_tells_those_who_are_mentioned_for_the_first_time(
    bob: User, lead: User, as_alice: Actor, order_in_review: Order
) -> None:
    note = write(order_in_review, as_alice, "For @bob")
    noting.see_mentions(order_id=order_in_review.pk, user=bob, at=NOW)

    noting.edit_note(order_id=note.order_id, note_id=note.pk, actor=as_alice, at=NOW, text="For @bob and @dana")

    assert (unseen(bob), unseen(lead)) == (0, 1)


def test_who_has_left_or_may_not_see_orders_cannot_be_mentioned(
    bob: User, as_alice: Actor, order_in_review: Order
) -> None:
    User.objects.create_user("guest")
    User.objects.filter(pk=bob.pk).update(is_active=False)

    for name in ("bob", "guest"):
        with pytest.raises(noting.NoteRefused, match=f"nobody called @{name}"):
            write(order_in_review, as_alice, f"ask @{name}")


def test_a_mail_goes_to_those_who_have_an_address_and_is_no_event_of_the_order(
    settings: Settings, bob: User, lead: User, as_alice: Actor, order_in_review: Order
) -> None:
    settings.CUSTOMERS_GET_MAIL = True
    User.objects.filter(pk=lead.pk).update(email="")

    write(order_in_review, as_alice, "Please look, @bob and @dana")

    mail = order_in_review.mails.get()
    assert (mail.kind, mail.recipient) == ("mentioned", "bob@example.com")
    assert mail.subject == f"You are mentioned on order {order_in_review.number}"
    assert "alice mentions you" in mail.body
    assert "Please look, @bob and @dana" in mail.body
    events = order_in_review.events.count()
    assert posting.post_next_mail(send=lambda _: None, at=NOW) == posting.Outcome.SENT
    assert order_in_review.events.count() == events


def test_without_a_mail_server_there_is_the_badge_alone(bob: User, as_alice: Actor, order_in_review: Order) -> None:
    write(order_in_review, as_alice, "Please look, @bob")

    assert unseen(bob) == 1
    assert not Mail.objects.exists()


def test_many_notes_ask_the_database_no_more_often(
    at_alices: Client,
    bob: User,
    as_alice: Actor,
    order_in_review: Order,
    django_assert_max_num_queries: DjangoAssertNumQueries,
) -> None:
    for n in range(notes.SHOWN + 1):
        note = write(order_in_review, as_alice, f"Note {n} for @bob")
        noting.edit_note(
            order_id=note.order_id, note_id=note.pk, actor=as_alice, at=NOW, text=f"Note {n} for @bob again"
        )

    with django_assert_max_num_queries(3):
        shown = notes.notes_of(order_in_review.pk, seen_by=bob.pk)

    assert (len(shown.notes), shown.more, shown.is_new) == (notes.SHOWN, True, True)
    page = notes.mentions_page(bob)
    assert len(page.mentions) == notes.SHOWN
    assert len(notes.mentions_page(bob, before=page.older).mentions) == 1

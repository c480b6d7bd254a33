"""Notes that colleagues leave each other on an order. Nothing of them is ever lost: every wording is an event.

A note may mention colleagues by `@` and the name with which they sign in. They get a badge that lasts until they have
seen the note, and a mail where they have an address.
"""

import uuid
from collections.abc import Sequence
from datetime import datetime
from difflib import get_close_matches

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models.functions import Lower

from orders.models import Mention, Note
from orders.roles import WRITE_NOTES
from orders.services import mailing
from orders.services.actors import Actor, NotPermitted
from orders.services.texts import MENTIONED, wrong_with_note
from orders.services.transitions import ActionRefused, lock, note_event

MOST_MENTIONED = 20  # in one note
GUESSED_AMONG = 500  # people; among more of them nobody is guessed


class NoteRefused(ActionRefused):
    """The text cannot be a note. The message is for who wrote it."""


def write_note(*, order_id: uuid.UUID, actor: Actor, at: datetime, text: str) -> Note:
    """Leave a note on the order, and tell those whom it mentions.

    Raises NotPermitted, NoteRefused where the text is empty or mentions nobody that there is, Order.DoesNotExist.
    """
    author = _author(actor)
    text, mentioned = _checked(text)
    with transaction.atomic():
        order = lock(order_id)
        note = Note.objects.create(order=order, author=author, text=text, written_at=at)
        note_event(order, "note", actor=actor, at=at, note=note.pk, text=text)
        _mention(note, mentioned, at=at)
    return note


def edit_note(*, order_id: uuid.UUID, note_id: int, actor: Actor, at: datetime, text: str) -> bool:
    """Word a note anew; only its author may. Says whether that changes anything; who is mentioned now is told.

    Raises NotPermitted, NoteRefused as in writing, Order.DoesNotExist, and Note.DoesNotExist where that order has none
    of that number.
    """
    author = _author(actor)
    text, mentioned = _checked(text)
    with transaction.atomic():
        order = lock(order_id)
        note = order.notes.select_related("author").get(pk=note_id)
        if note.author != author:
            raise NotPermitted(f"Only {note.author} may change this note.")
        if text == note.text:
            return False
        before, note.text, note.edited_at = note.text, text, at
        note.save(update_fields=["text", "edited_at"])
        note_event(order, "edit_note", actor=actor, at=at, note=note.pk, before=before, after=text)
        _mention(note, mentioned, at=at)
    return True


def see_mentions(*, order_id: uuid.UUID, user: User, at: datetime) -> int:
    """Note that `user` has seen what mentions them on the order; says how many of those were new."""
    return Mention.objects.filter(note__order=order_id, user=user, seen_at=None).update(seen_at=at)


def _author(actor: Actor) -> User:
    if actor.user is None or not actor.has(WRITE_NOTES):
        raise NotPermitted(f"{actor.name} may not write notes on an order.")
    return actor.user


def _checked(text: str) -> tuple[str, list[User]]:
    text = text.strip()
    if not text:
        raise NoteRefused("Write something first.")
    if wrong := wrong_with_note(text):
        raise NoteRefused(f"The note {wrong}.")
    return text, _mentioned(text)


def _mentioned(text: str) -> list[User]:
    """The colleagues whom the text names, each once, in its order."""
    names = list(dict.fromkeys(name.lower() for name in MENTIONED.findall(text)))
    if len(names) > MOST_MENTIONED:
        raise NoteRefused(f"Mention {MOST_MENTIONED} colleagues at most.")
    # A name may end in signs that may also end a sentence: “ask @bob.”
    spelled = {name: [name[:end] for end in range(len(name), len(name.rstrip(".@+-_")) - 1, -1)] for name in names}
    wanted = {spelling for spellings in spelled.values() for spelling in spellings}
    users = User.objects.filter(is_active=True).annotate(lower=Lower("username")).filter(lower__in=wanted)
    known = {user.username.lower(): user for user in users if user.has_perm("orders.view_order")}
    found = []
    for name, spellings in spelled.items():
        if not any(spelling in known for spelling in spellings):
            raise NoteRefused(_nobody(name.rstrip(".")))
        found.append(next(known[spelling] for spelling in spellings if spelling in known))
    return list(dict.fromkeys(found))


def _nobody(name: str) -> str:
    names = list(User.objects.filter(is_active=True).values_list("username", flat=True)[: GUESSED_AMONG + 1])
    close = get_close_matches(name, names, n=1) if len(names) <= GUESSED_AMONG else []
    if close:
        return f"There is nobody called @{name} here. Did you mean @{close[0]}?"
    return f"There is nobody called @{name} here. Use the name with which a colleague signs in."


def _mention(note: Note, mentioned: Sequence[User], *, at: datetime) -> None:
    """Tell those who were not told of this note before; nobody is told of what they wrote themselves."""
    told = set(note.mentions.values_list("user_id", flat=True)) | {note.author_id}
    new = [user for user in mentioned if user.pk not in told]
    Mention.objects.bulk_create(Mention(note=note, user=user, at=at) for user in new)
    mailing.tell_mentioned(note, new, at=at)

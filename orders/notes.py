"""Notes and mentions, read. Nothing here writes."""

import uuid
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache

from django.contrib.auth.models import User

from orders.models import Event, Mention, Note
from orders.paging import COUNT_UP_TO, Count, capped
from orders.statements import Statement, as_sql, ask

SHOWN = 50


@dataclass(frozen=True)
class Wording:
    """How a note read until `until`."""

    text: str
    until: datetime


@dataclass(frozen=True)
class Told:
    """A note as its page shows it. `is_new` to a person who is mentioned in it and has not seen it."""

    note: Note
    is_own: bool
    is_new: bool
    former: Sequence[Wording] = field(default=())  # the oldest first


@dataclass(frozen=True)
class Notes:
    notes: Sequence[Told]
    more: bool  # whether there are older ones; the timeline has them all
    is_new: bool  # whether one of them, or an older one, mentions who looks and was not seen

    @property
    def older(self) -> int | None:
        """From which on the older ones are."""
        return self.notes[-1].note.pk if self.more else None


def notes_of(order_id: uuid.UUID, *, seen_by: int | None = None, before: int | None = None) -> Notes:
    """The newest first, each with every wording that it had; `seen_by` is the key of who looks, if that is a person."""
    notes = Note.objects.filter(order=order_id).select_related("author").order_by("-id")
    if before is not None:
        notes = notes.filter(id__lt=before)
    found = list(notes[: SHOWN + 1])
    shown = found[:SHOWN]
    mentions = Mention.objects.filter(note__order=order_id, user=seen_by, seen_at=None)
    unseen = set(mentions.values_list("note_id", flat=True)[:COUNT_UP_TO]) if shown else set()
    former = _former_wordings(order_id) if any(note.edited_at for note in shown) else {}
    return Notes(
        [Told(note, note.author_id == seen_by, note.pk in unseen, former.get(note.pk, ())) for note in shown],
        len(found) > SHOWN,
        bool(unseen),
    )


def _former_wordings(order_id: uuid.UUID) -> dict[int, list[Wording]]:
    edits = Event.objects.filter(order=order_id, type="edit_note").order_by("-sequence")[: 4 * SHOWN]
    former: dict[int, list[Wording]] = defaultdict(list)
    for edit in reversed(edits):
        former[edit.payload["note"]].append(Wording(edit.payload["before"], edit.at))
    return former


def mentioned_in(found: Sequence[Note]) -> Mapping[int, list[str]]:
    """For each note the names of those who were told of it, by the note's key."""
    names: dict[int, list[str]] = defaultdict(list)
    told = Mention.objects.filter(note__in=[note.pk for note in found]).order_by("id")
    for note_id, name in told.values_list("note", "user__username"):
        names[note_id].append(name)
    return names


def note_of(order_id: uuid.UUID, note_id: int) -> Told:
    """Raises Note.DoesNotExist where the order has none of that number."""
    note = Note.objects.select_related("author").get(order=order_id, pk=note_id)
    former = _former_wordings(order_id) if note.edited_at else {}
    return Told(note, is_own=False, is_new=False, former=former.get(note.pk, ()))


def unseen_count(user_id: int) -> Count:
    return capped(len(ask(_unseen_statement(user_id))))


@lru_cache(maxsize=1_000)
def _unseen_statement(user_id: int) -> Statement:
    unseen = Mention.objects.filter(user=user_id, seen_at=None).order_by()
    return as_sql(unseen.values_list("pk")[: COUNT_UP_TO + 1])


def unseen_by(order_ids: Collection[uuid.UUID]) -> Mapping[uuid.UUID, list[int]]:
    """The keys of those who are mentioned in notes on the orders and have not seen them."""
    found: dict[uuid.UUID, list[int]] = defaultdict(list)
    unseen = Mention.objects.filter(note__order__in=order_ids, seen_at=None).order_by("user_id")
    for order_id, user_id in unseen.values_list("note__order", "user").distinct()[:COUNT_UP_TO]:
        found[order_id].append(user_id)
    return found


@dataclass(frozen=True)
class MentionsPage:
    mentions: Sequence[Mention]
    older: int | None  # from which on the older ones are


def mentions_page(user: User, *, before: int | None = None, most: int = SHOWN) -> MentionsPage:
    """Where `user` is mentioned, the newest first, seen or not."""
    mentions = Mention.objects.filter(user=user).select_related("note__author", "note__order").order_by("-id")
    if before is not None:
        mentions = mentions.filter(id__lt=before)
    found = list(mentions[: most + 1])
    return MentionsPage(found[:most], found[most - 1].pk if len(found) > most else None)

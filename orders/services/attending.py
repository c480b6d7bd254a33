"""Orders that cannot go on without a person's help: how they come to the desk, and how they go on from there."""

import uuid
from datetime import datetime

from django.conf import settings
from django.db import transaction

from orders.models import Decision, Order, Review
from orders.services.actors import SYSTEM, Actor, authorise
from orders.services.reviewing import close_review, open_review, reminder, why_not_open
from orders.services.texts import wrong_with_note
from orders.services.transitions import ActionRefused, lock, tell_engine, transition
from orders.states import Action, may


def halt(
    order: Order,
    *,
    code: str,
    text: str,
    at: datetime,
    at_deadline: Review.AtDeadline = Review.AtDeadline.EXPIRE,
    **details: object,
) -> None:
    """Put a locked order before people, who see `text`. It has a deadline; `at_deadline` says what happens then."""
    due_at = at + settings.ATTENTION_DEADLINE
    Review.objects.create(
        order=order,
        kind=Review.Kind.ATTENTION,
        opened_at=at,
        due_at=due_at,
        remind_at=reminder(at, due_at),
        at_deadline=at_deadline,
        reasons=[{"code": code, "text": text}],
    )
    transition(
        order, Action.HALT, actor=SYSTEM, at=at, outcome=text[:500], due_at=due_at.isoformat(), reason=text, **details
    )


def retry(*, order_id: uuid.UUID, actor: Actor, at: datetime, note: str = "") -> Order:
    """Let the order try again what it could not do: what was in the way has been put right.

    Raises NotPermitted, AlreadyDecided where somebody or the deadline was first, ActionRefused otherwise.
    """
    authorise(actor, Action.RETRY)
    note = note.strip()
    with transaction.atomic():
        order = lock(order_id)
        review = open_review(order)
        if review is None or not may(order.status_now, Action.RETRY):
            raise why_not_open(order)
        if wrong := wrong_with_note(note):
            raise ActionRefused(f"The note {wrong}.")
        close_review(order, Decision.RETRIED, actor=actor, at=at, note=note)
        transition(order, Action.RETRY, actor=actor, at=at, note=note)
        tell_engine(order, Action.RETRY, at=at, actor=actor.name)
    return order

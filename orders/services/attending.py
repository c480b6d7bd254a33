"""Orders that cannot go on without a person's help: how they come to the desk, and how they go on from there."""

import uuid
from datetime import datetime

from django.conf import settings
from django.db import transaction

from orders.models import ActorKind, Decision, Order, Payment, Review
from orders.roles import KEEP_RUNNING
from orders.services import holding
from orders.services.actors import SYSTEM, Actor, NotPermitted, authorise
from orders.services.addressing import change_address
from orders.services.holding import open_review
from orders.services.placing import Address
from orders.services.reviewing import AlreadyDecided, close_review, reminder, why_not_this_person
from orders.services.texts import wrong_with_note
from orders.services.transitions import ActionRefused, lock, note_event, tell_engine, transition, words
from orders.states import TERMINAL, Action, may


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


def retry(*, order_id: uuid.UUID, actor: Actor, at: datetime, note: str = "", seen: int | None = None) -> Order:
    """Let the order try again what it could not do: what was in the way has been put right.

    `seen` is the version of the order that the actor acts on: to wait for help once more is another matter.

    Raises NotPermitted, AlreadyDecided where somebody or the deadline was first, PageIsStale, InOtherHands,
    NotThisPerson where leads were asked, ActionRefused otherwise.
    """
    authorise(actor, Action.RETRY)
    note = note.strip()
    with transaction.atomic():
        order = lock(order_id)
        review = open_review(order)
        if review is None or not may(order.status_now, Action.RETRY):
            raise _why_not_waiting(order)
        if objection := why_not_this_person(order, review, Action.RETRY, actor=actor, at=at):
            raise objection
        holding.check_seen(order, Action.RETRY, seen=seen)
        if wrong := wrong_with_note(note):
            raise ActionRefused(f"The note {wrong}.")
        close_review(order, Decision.RETRIED, actor=actor, at=at, note=note)
        transition(order, Action.RETRY, actor=actor, at=at, note=note)
        tell_engine(order, Action.RETRY, at=at, actor=actor.name)
    return order


def correct_and_retry(
    *, order_id: uuid.UUID, actor: Actor, at: datetime, address: Address, seen: int | None = None
) -> Order:
    """Let an order that could not be delivered try again with another address: both, or neither.

    Raises what `change_address` and `retry` do, and ActionRefused for the address that the order has already.
    """
    with transaction.atomic():
        order = lock(order_id)
        if not may(order.status_now, Action.RETRY):
            raise _why_not_waiting(order)
        holding.check_seen(order, Action.RETRY, seen=seen)
        if not change_address(order_id=order_id, actor=actor, at=at, address=address):
            raise ActionRefused("That is the address it has already. Correct it, or retry without correcting it.")
        return retry(order_id=order_id, actor=actor, at=at)


def start_again(*, order_id: uuid.UUID, actor: Actor, at: datetime) -> Order:
    """Have the engine take up an order whose run was lost, or ended from outside; a run that is there is left alone.

    It changes nothing of the order: the run finds its place from the row. Of an order that has ended, its refunds that
    have not been made are taken up. Raises NotPermitted, and ActionRefused where there is nothing to carry on.
    """
    if actor.kind == ActorKind.OPERATOR and not actor.has(KEEP_RUNNING):
        raise NotPermitted(f"{actor.name} may not start an order again.")
    with transaction.atomic():
        order = lock(order_id)
        refunds = list(order.payments.filter(kind=Payment.Kind.REFUND, status=Payment.State.PROCESSING))
        if order.status_now in TERMINAL and not refunds:
            raise ActionRefused(f"{order.number} is {words(order.status_now)}: there is nothing to carry on.")
        note_event(order, "start_again", actor=actor, at=at)
        if order.status_now not in TERMINAL:
            tell_engine(order, "start_again", at=at)
            return order
        for refund in refunds:
            tell_engine(order, "refund", at=at, number=refund.idempotency_key.rpartition("-")[2], again="yes")
    return order


def _why_not_waiting(order: Order) -> ActionRefused:
    """Who was first, or that the order waits for no help."""
    helped = order.reviews.select_related("decided_by").filter(kind=Review.Kind.ATTENTION).order_by("-id").first()
    if helped and helped.decision:
        return AlreadyDecided(helped, order.status_now)
    return ActionRefused(f"An order that is {words(order.status_now)} does not wait for help, so there is no retry.")

"""Claims: who has an order in hand while it waits for people, so that no two work on the same one.

Opening an order claims nothing; acting on it does, and so does `claim`. A claim ends with the decision, when it is
given back, or when nothing has been done for CLAIM_IDLE; what was handed over waits for the colleague for
CLAIM_HANDED_OVER. The engine is told of none of it.
"""

import uuid
from collections.abc import Sequence
from datetime import datetime

from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction

from orders.models import Order, Review
from orders.roles import DECIDE_ESCALATED, permission
from orders.services import holding
from orders.services.actors import SYSTEM, Actor, NotPermitted, authorise
from orders.services.holding import holder, open_review
from orders.services.reviewing import checked_note, reviews_of, why_not
from orders.services.texts import wrong_with_text
from orders.services.transitions import ActionRefused, Step, lock, note_event, transition, transition_all
from orders.states import Action

EXPIRED = "claim_expired"


class NotAColleague(ActionRefused):
    """Nobody of that name may decide on the order. The message is for the operator."""


def claim(*, order_id: uuid.UUID, actor: Actor, at: datetime) -> Order:
    """Have the order in hand for CLAIM_IDLE from now; what one has already, for as long again.

    Raises NotPermitted, AlreadyDecided, InOtherHands, NotThisPerson where leads were asked, and ActionRefused where
    the order waits for nobody.
    """
    user = _person(actor, Action.CLAIM)
    with transaction.atomic():
        order, review = _waiting(order_id, Action.CLAIM, actor=actor, at=at)
        is_mine = holder(review, at=at) == user
        holding.take_in_hand(review, actor=actor, at=at)
        if not is_mine:
            transition(order, Action.CLAIM, actor=actor, at=at)
    return order


def renew(*, order_id: uuid.UUID, actor: Actor, at: datetime) -> bool:
    """Have what one has in hand for CLAIM_IDLE from now, and say whether one had; for who is typing. Tells nobody.

    Raises NotPermitted: who may claim no more keeps no order from the others.
    """
    authorise(actor, Action.CLAIM)
    mine = Review.objects.filter(order=order_id, decision="", claimed_by=actor.user, claimed_until__gt=at)
    mine.filter(claimed_until__lt=at + settings.CLAIM_IDLE).update(claimed_until=at + settings.CLAIM_IDLE)
    return mine.exists()


def unclaim(*, order_id: uuid.UUID, actor: Actor, at: datetime) -> Order:
    """Give the order back to all; where nobody has it nothing happens.

    Raises NotPermitted, AlreadyDecided, InOtherHands, and ActionRefused where the order waits for nobody.
    """
    user = _person(actor, Action.UNCLAIM)
    with transaction.atomic():
        order, review = _waiting(order_id, Action.UNCLAIM, actor=actor, at=at)
        if holder(review, at=at) == user:
            holding.let_go(review)
            transition(order, Action.UNCLAIM, actor=actor, at=at)
    return order


def hand_over(*, order_id: uuid.UUID, actor: Actor, at: datetime, to: str, seen: int | None = None) -> Order:
    """Put the order into the hands of the colleague of that user name: one's own, one that nobody has, and as a lead
    anybody's. It waits there for CLAIM_HANDED_OVER.

    Raises NotPermitted, NotAColleague, AlreadyDecided, InOtherHands, NotThisPerson, PageIsStale where the colleague
    who has it may be another than in the version that was `seen`, and ActionRefused where the order waits for nobody.
    """
    _person(actor, Action.HAND_OVER)
    colleague = colleague_named(to)
    with transaction.atomic():
        order, review = _waiting(order_id, Action.HAND_OVER, actor=actor, at=at)
        if refusal := wrong_with_colleague(review, colleague):
            raise refusal
        if holder(review, at=at) not in (None, actor.user, colleague):
            holding.check_seen(order, Action.HAND_OVER, seen=seen, harmless=holding.LEAVES_IN_HAND)
        hand_over_all([(order, review)], colleague, actor=actor, at=at)
    return order


def hand_over_all(
    waits: Sequence[tuple[Order, Review]], colleague: User, *, actor: Actor, at: datetime, **told: object
) -> None:
    """Put locked orders with their open reviews into the colleague's hands; what is there already stays as it is.

    The caller has authorised the actor, and asked of each whether it may be done; `told` is kept on each timeline.
    """
    given = [(order, review, holder(review, at=at)) for order, review in waits]
    given = [(order, review, former) for order, review, former in given if former != colleague]
    holding.put_all_in_hand(
        [review for _, review, _ in given], colleague, since=at, until=at + settings.CLAIM_HANDED_OVER
    )
    steps = [
        Step(order, details={"holder": colleague.get_username(), **_former(former), **told})
        for order, _, former in given
    ]
    transition_all(steps, Action.HAND_OVER, actor=actor, at=at)


def take_over(*, order_id: uuid.UUID, actor: Actor, at: datetime, reason: str = "", seen: int | None = None) -> Order:
    """Take the order out of a colleague's hands into one's own.

    Raises NotPermitted, AlreadyDecided, PageIsStale as in `hand_over`, and ActionRefused where the order waits for
    nobody or the reason is no text.
    """
    user = _person(actor, Action.TAKE_OVER)
    reason = checked_note(Action.TAKE_OVER, reason)
    with transaction.atomic():
        order, review = _waiting(order_id, Action.TAKE_OVER, actor=actor, at=at)
        former = holder(review, at=at)
        if former not in (None, user):
            holding.check_seen(order, Action.TAKE_OVER, seen=seen, harmless=holding.LEAVES_IN_HAND)
        if former != user:
            holding.put_in_hand(review, user, since=at, until=at + settings.CLAIM_IDLE)
            transition(order, Action.TAKE_OVER, actor=actor, at=at, note=reason, **_former(former))
    return order


def end_idle_claims(*, at: datetime, most: int = 100) -> int:
    """Write down of claims that are over that they are, so that every screen hears of it; says of how many.

    They count no longer anyway. An order that somebody works on at this moment is left for the next time.
    """
    over = Review.objects.filter(claimed_by__isnull=False, claimed_until__lte=at)
    ended = 0
    for order_id in list(over.order_by("claimed_until").values_list("order_id", flat=True)[:most]):
        with transaction.atomic():
            order = Order.objects.select_for_update(skip_locked=True, no_key=True).filter(pk=order_id).first()
            review = open_review(order) if order else None
            if not order or not review or not review.claimed_by or holder(review, at=at):
                continue
            former = review.claimed_by
            holding.let_go(review)
            note_event(order, EXPIRED, at=at, actor=SYSTEM, **_former(former))
            ended += 1
    return ended


def _person(actor: Actor, action: Action) -> User:
    authorise(actor, action)
    if actor.user is None:
        raise NotPermitted(f"{actor.name} is nobody who could have an order in hand.")
    return actor.user


def _waiting(order_id: uuid.UUID, action: Action, *, actor: Actor, at: datetime) -> tuple[Order, Review]:
    """The order, locked, and its open review, where this person may do this now."""
    order = lock(order_id)
    reviews = reviews_of([order])[order.pk]
    if refusal := why_not(order, reviews, action, actor=actor, at=at):
        raise refusal
    return order, reviews[0]


def wrong_with_colleague(review: Review, colleague: User) -> NotAColleague | None:
    """Why the open review cannot be put into the colleague's hands."""
    if review.level == Review.Level.LEAD and not colleague.has_perm(DECIDE_ESCALATED):
        return NotAColleague(f"It was escalated, and {colleague.get_username()} is no lead.")
    return None


def colleague_named(name: str) -> User:
    """Raises NotAColleague where nobody of that user name may decide."""
    known = not wrong_with_text(name, 150)
    user = User.objects.filter(username=name, is_active=True).first() if known else None
    if user is None or not user.has_perm(permission(Action.APPROVE)):
        raise NotAColleague("Name a colleague who may decide.")
    return user


def _former(user: User | None) -> dict[str, str]:
    return {"former": user.get_username()} if user else {}

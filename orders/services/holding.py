"""Whether somebody may act on an order at this moment: in whose hands it is, and whether what they saw still holds.

Callers have locked the order's row. A claim is for people at the desk; customers and the engine ask nobody.
"""

import uuid
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime

from django.conf import settings
from django.contrib.auth.models import User

from orders.models import ActorKind, Event, Order, Review
from orders.roles import DECIDE_ESCALATED
from orders.services.actors import Actor
from orders.services.transitions import ActionRefused
from orders.states import CLAIMING, WAITS_FOR_PEOPLE, Action

# What may happen to an order without making a page that was loaded before it untrue.
HARMLESS = frozenset(
    {
        *CLAIMING,
        Action.EXTEND,
        Action.REMIND,
        "claim_expired",
        "mail_sent",
        "mail_refused",
        "note",
        "payment_news_refused",
        "signal_refused",
    }
)
# These decide what an order waits for, so that the engine's own steps count, too: to wait anew is another question.
ANSWERS = frozenset({Action.APPROVE, Action.REJECT, Action.RETRY, Action.EXTEND})
# And what puts it into no other hands, which matters to who takes it out of those that they saw it in.
LEAVES_IN_HAND = HARMLESS - {Action.CLAIM, Action.HAND_OVER, Action.TAKE_OVER, Action.EXTEND}


class InOtherHands(ActionRefused):
    """Somebody else has claimed the order. `review` says who, since when, and until when if they do nothing."""

    def __init__(self, review: Review) -> None:
        who = review.claimed_by.get_username() if review.claimed_by else "Somebody"
        since = f"{review.claimed_at.astimezone(UTC):%H:%M} UTC" if review.claimed_at else "just now"
        super().__init__(f"{who} has it in hand since {since}.")
        self.review = review


class PageIsStale(ActionRefused):
    """Something has happened to the order since the version that was acted on. `event` is the last such thing."""

    def __init__(self, event: Event) -> None:
        what = event.type.replace("_", " ")
        super().__init__(f"Since you looked: {what} by {event.actor}. Look again, then decide.")
        self.event = event


class NeverSeen(ActionRefused):
    """The order has not been at the version that was acted on."""

    def __init__(self, order: Order, seen: int) -> None:
        super().__init__(f"{order.number} is at version {order.version}; nobody can have seen version {seen}.")


IN_NO_HANDS: dict[str, None] = {"claimed_by": None, "claimed_at": None, "claimed_until": None}


def holder(review: Review, *, at: datetime) -> User | None:
    """Who has it in hand now."""
    return review.claimed_by if review.claimed_until and review.claimed_until > at else None


def check_hands(review: Review, *, actor: Actor, at: datetime) -> None:
    """Raises InOtherHands where somebody else than the actor has it in hand."""
    if actor.user is not None and holder(review, at=at) not in (None, actor.user):
        raise InOtherHands(review)


def take_in_hand(review: Review, *, actor: Actor, at: datetime) -> None:
    """Who acts has it in hand from then on, as long as they are at it. Nobody may have it but the actor.

    Without an event of its own: the act has one.
    """
    if actor.user is None:
        return
    mine = holder(review, at=at) == actor.user
    put_in_hand(
        review,
        actor.user,
        since=review.claimed_at if mine and review.claimed_at else at,
        until=max(at + settings.CLAIM_IDLE, review.claimed_until if mine and review.claimed_until else at),
    )


def put_in_hand(review: Review, user: User | None, *, since: datetime | None, until: datetime | None) -> None:
    put_all_in_hand([review], user, since=since, until=until)


def put_all_in_hand(
    reviews: Sequence[Review], user: User | None, *, since: datetime | None, until: datetime | None
) -> None:
    these = Review.objects.filter(pk__in=[review.pk for review in reviews], decision="")
    these.update(claimed_by=user, claimed_at=since, claimed_until=until)
    for review in reviews:
        review.claimed_by, review.claimed_at, review.claimed_until = user, since, until


def let_go(review: Review) -> None:
    put_in_hand(review, None, since=None, until=None)


def open_review(order: Order) -> Review | None:
    """The order's open review, with its people; asked only of an order that waits for people."""
    if order.status_now not in WAITS_FOR_PEOPLE:
        return None
    return order.reviews.select_related("claimed_by", "endorsed_by").filter(decision="").first()


def forget_endorsement(review: Review) -> str:
    """What was approved is not what it was. Answers whose approval that takes away."""
    if review.endorsed_by is None:
        return ""
    Review.objects.filter(pk=review.pk).update(endorsed_by=None, endorsed_at=None)
    return review.endorsed_by.get_username()


def act(order: Order, action: Action | str, *, actor: Actor, at: datetime, seen: int | None) -> Review | None:
    """Check what every act of a person has in common, and have it in the actor's hands from then on, unless others
    have to decide: they would be kept from it.

    Answers with the review that is open, if any. Raises PageIsStale and InOtherHands.
    """
    check_seen(order, action, seen=seen)
    review = open_review(order)
    if review:
        check_hands(review, actor=actor, at=at)
        if review.level != Review.Level.LEAD or actor.has(DECIDE_ESCALATED):
            take_in_hand(review, actor=actor, at=at)
    return review


def check_seen(order: Order, action: Action | str, *, seen: int | None, harmless: Collection[str] = HARMLESS) -> None:
    """Hold the version that the actor saw, where they say it, against what has happened since.

    Raises PageIsStale where something has that matters to the action, NeverSeen for a version that has not been.
    """
    if seen is not None and (refusal := stale([(order, seen)], action, harmless).get(order.pk)):
        raise refusal


def stale(
    seen: Collection[tuple[Order, int]], action: Action | str, harmless: Collection[str] = HARMLESS
) -> Mapping[uuid.UUID, ActionRefused]:
    """Those of the orders to which something that matters to the action has happened since that version."""
    never: dict[uuid.UUID, ActionRefused] = {
        order.pk: NeverSeen(order, version) for order, version in seen if version > order.version
    }
    versions = {order.pk: version for order, version in seen if version < order.version}
    if not versions:
        return never
    since = Event.objects.filter(order__in=versions, sequence__gt=min(versions.values()))
    since = since.exclude(type__in={*harmless} - {action})
    if action not in ANSWERS:
        since = since.exclude(actor_kind=ActorKind.SYSTEM)  # the order has only gone on its way
    return never | {
        event.order_id: PageIsStale(event)
        for event in since.order_by("sequence")
        if event.sequence > versions[event.order_id]
    }

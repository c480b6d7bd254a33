"""The way to a decision: the engine's steps up to the review, and what operators and the deadline make of it.

The engine's steps may run more than once: a step that is already behind the order does nothing, and every step
answers with the status it left.
"""

import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction

from orders import money, policy, wording
from orders.models import ActorKind, Decision, Event, Order, RejectReason, Review
from orders.roles import DECIDE_ESCALATED, EXTEND_FREELY, FIRST_EXTENSION, permission
from orders.services import holding
from orders.services.actors import SYSTEM, Actor, authorise
from orders.services.holding import open_review
from orders.services.texts import wrong_with_note
from orders.services.transitions import (
    ActionRefused,
    Step,
    lock,
    tell_engine_of_all,
    transition,
    transition_all,
    words,
)
from orders.states import NEEDS_ATTENTION, Action, Status, may
from orders.wording import sentence


class AlreadyDecided(ActionRefused):
    """Somebody, or the deadline, was first. `review` says who, what and when; `status` what has become of it."""

    def __init__(self, review: Review, status: Status) -> None:
        nobody = "the customer" if review.decision in (Decision.CANCELLED, Decision.SETTLED) else "the deadline"
        by = review.decided_by.get_username() if review.decided_by else nobody
        super().__init__(f"Already {review.get_decision_display().lower()} by {by}.")
        self.review = review
        self.status = status


class AlreadyEndorsed(ActionRefused):
    """The actor's approval is there, and one person's is not enough."""

    def __init__(self) -> None:
        super().__init__("You have approved it already: a second person has to.")


class NotThisPerson(ActionRefused):
    """The order may be decided on, but not by this person. The message is for them."""


class UnknownReason(ActionRefused):
    """The code stands for none of the reasons that are in use. The message is for the operator."""


class DeadlineRefused(ActionRefused):
    """The new deadline is not later than the present one and now, or too far away, or it is not this person's to move.

    The message is for the operator.
    """


ARRIVED = (Status.DISPATCHED, Status.COMPLETED)


REMINDER = 0.8  # of the time there is to decide
LONGEST_REVIEW = timedelta(days=366)

DECISIONS = {Action.APPROVE: Decision.APPROVED, Action.REJECT: Decision.REJECTED}
NOT_PUT_OFF: dict[str, Any] = {"back_at": None, "waits_for": "", "put_off_by": None}
WANTS_REASON = {Action.REJECT: "the customer and your colleagues", Action.EXTEND: "your colleagues"}


@dataclass(frozen=True)
class Standing:
    """Where an order stands; `due_at` is set while a review is open.

    `remind_at` is when there is something to do before that: to remind of it, or to take back what was put off.
    """

    status: Status
    due_at: datetime | None = None
    remind_at: datetime | None = None


def receive_order(*, order_id: uuid.UUID, at: datetime) -> Status:
    """Take the order up."""
    with transaction.atomic():
        order = lock(order_id)
        if may(order.status_now, Action.RECEIVE):
            transition(order, Action.RECEIVE, actor=SYSTEM, at=at)
        return order.status_now


def validate_order(*, order_id: uuid.UUID, at: datetime) -> Standing:
    """Check that the order is whole, let the policy judge it, and open a review where it asks for one."""
    with transaction.atomic():
        order = lock(order_id)
        if order.status_now == Status.RECEIVED:
            if wrong := _inconsistency(order):
                transition(order, Action.INVALIDATE, actor=SYSTEM, at=at, outcome=wrong)
            else:
                transition(order, Action.VALIDATE, actor=SYSTEM, at=at)
                _apply_policy(order, at=at)
        return _standing(order)


def settle_review(*, order_id: uuid.UUID, at: datetime) -> Standing:
    """Say how the review stands, and do what is due: remind, escalate to leads, or let the order expire or fail."""
    with transaction.atomic():
        order = lock(order_id)
        review = open_review(order)
        if review and review.due_at <= at:
            _do_what_is_due(order, review, at=at)
        elif review:
            if review.remind_at and review.remind_at <= at:
                order.reviews.filter(pk=review.pk).update(remind_at=None)
                transition(order, Action.REMIND, actor=SYSTEM, at=at, due_at=review.due_at.isoformat())
            if review.back_at and review.back_at <= at:
                take_back(order, Action.RESUME, actor=SYSTEM, at=at)
        return _standing(order)


def _do_what_is_due(order: Order, review: Review, *, at: datetime) -> None:
    asks_leads = review.at_deadline == Review.AtDeadline.ESCALATE and review.level == Review.Level.OPERATOR
    if asks_leads or review.at_deadline == Review.AtDeadline.ASK_AGAIN:
        _escalate(order, review, at=at)
        return
    close_review(order, Decision.EXPIRED, actor=SYSTEM, at=at)
    if review.kind == Review.Kind.APPROVAL:
        transition(order, Action.EXPIRE, actor=SYSTEM, at=at, outcome="Nobody decided before the deadline.")
    else:
        outcome = f"{order.outcome.rstrip('.')}. Nobody helped before the deadline."
        transition(order, Action.FAIL, actor=SYSTEM, at=at, outcome=outcome[-500:])


def _escalate(order: Order, review: Review, *, at: datetime) -> None:
    due_at = at + settings.REVIEW_ESCALATION_DEADLINE
    order.reviews.filter(pk=review.pk).update(
        level=Review.Level.LEAD, due_at=due_at, remind_at=reminder(at, due_at), **NOT_PUT_OFF
    )
    holding.let_go(review)
    transition(order, Action.ESCALATE, actor=SYSTEM, at=at, due_at=due_at.isoformat())


def reminder(at: datetime, due_at: datetime) -> datetime:
    """When those who are asked at `at` are reminded of `due_at`."""
    return at + REMINDER * (due_at - at)


def extend(
    *, order_id: uuid.UUID, actor: Actor, at: datetime, due_at: datetime, reason: str, seen: int | None = None
) -> Order:
    """Give the review until `due_at`; `reason` is required. The workflow's timer and every countdown follow.

    `seen` is the version of the order that the actor acts on.

    Raises NotPermitted, AlreadyDecided, PageIsStale, InOtherHands, DeadlineRefused where the time is not later than
    the present deadline and now, or further away than this person may move it, and ActionRefused where there is no
    review or no reason.
    """
    authorise(actor, Action.EXTEND)
    with transaction.atomic():
        order = lock(order_id)
        reviews = reviews_of([order])[order.pk]
        if refusal := why_not(order, reviews, Action.EXTEND, actor=actor, at=at):
            raise refusal
        holding.check_seen(order, Action.EXTEND, seen=seen)
        note = checked_note(Action.EXTEND, reason)
        if refusal := wrong_with_deadline(reviews[0], due_at, actor=actor, at=at):
            raise refusal
        holding.take_in_hand(reviews[0], actor=actor, at=at)
        extend_all([(order, reviews[0], due_at)], actor=actor, at=at, note=note)
    return order


def approve(*, order_id: uuid.UUID, actor: Actor, at: datetime, note: str = "", seen: int | None = None) -> Order:
    """Let the order go on to payment and shipping. Where two people have to approve, the first only endorses it:
    the order that is answered is in review still.

    `seen` is the version of the order that the actor acts on.

    Raises NotPermitted, AlreadyDecided where somebody or the deadline was first, PageIsStale, InOtherHands,
    NotThisPerson where others have to decide, AlreadyEndorsed, ActionRefused otherwise (OrderBusy where the row is
    held by somebody else).
    """
    return _decide(order_id, Action.APPROVE, actor=actor, at=at, note=note, seen=seen)


def reject(
    *, order_id: uuid.UUID, actor: Actor, at: datetime, reason: str = "", code: str = "", seen: int | None = None
) -> Order:
    """Refuse the order, for the reason that leads have given the `code`, in words of one's own, or both.

    `seen` is the version of the order that the actor acts on.

    Raises NotPermitted, UnknownReason, ActionRefused without any reason, AlreadyDecided where somebody or the deadline
    was first, PageIsStale, InOtherHands, NotThisPerson.
    """
    return _decide(order_id, Action.REJECT, actor=actor, at=at, note=reason, code=code, seen=seen)


def _decide(
    order_id: uuid.UUID, action: Action, *, actor: Actor, at: datetime, note: str, seen: int | None, code: str = ""
) -> Order:
    authorise(actor, action)
    with transaction.atomic():
        order = lock(order_id)
        reviews, changed_by = reviews_of([order])[order.pk], who_changed([order])[order.pk]
        if refusal := why_not(order, reviews, action, actor=actor, at=at, changed_by=changed_by):
            raise refusal
        holding.check_seen(order, action, seen=seen)
        named = reason_in_use(code) if code else None
        decide_all(
            [order], action, actor=actor, at=at, note=checked_note(action, note, needed=named is None), named=named
        )
    return order


# What one decision and many at once are made of. Callers hold the orders' locks, and have authorised the actor.


def reviews_of(orders: Collection[Order]) -> Mapping[uuid.UUID, list[Review]]:
    """Each order's reviews with their people, the latest first."""
    found: dict[uuid.UUID, list[Review]] = {order.pk: [] for order in orders}
    people = ("decided_by", "claimed_by", "endorsed_by")
    for review in Review.objects.filter(order__in=found).select_related(*people).order_by("-id"):
        found[review.order_id].append(review)
    return found


def who_changed(orders: Collection[Order]) -> Mapping[uuid.UUID, set[int | str]]:
    """For each order the operators who have changed what an approval of it is about: by the keys of their accounts, or
    by name, where that is all that is known of an older event.
    """
    found: dict[uuid.UUID, set[int | str]] = {order.pk: set() for order in orders}
    changes = Event.objects.filter(order__in=found, type=Action.CHANGE_ADDRESS, actor_kind=ActorKind.OPERATOR)
    for order_id, user_id, name in changes.values_list("order_id", "user", "actor"):
        found[order_id].add(user_id or name)
    return found


def why_not(
    order: Order,
    reviews: Sequence[Review],
    action: Action,
    *,
    actor: Actor,
    at: datetime,
    changed_by: Collection[int | str] = (),
) -> ActionRefused | None:
    """Why this actor may not decide so on this order as it stands; `reviews` are its own, the latest first, and
    `changed_by` are those who have changed it, as `who_changed` finds them, which matters to an approval.
    """
    review = reviews[0] if reviews else None
    if review is None or review.decision or not may(order.status_now, action):
        last = next((review for review in reviews if review.decision), None)
        return AlreadyDecided(last, order.status_now) if last else not_decidable(order)
    return why_not_this_person(order, review, action, actor=actor, at=at, changed_by=changed_by)


def why_not_this_person(
    order: Order,
    review: Review,
    action: Action,
    *,
    actor: Actor,
    at: datetime,
    changed_by: Collection[int | str] = (),
) -> ActionRefused | None:
    """Why others have to do this to the order whose open review this is."""
    if actor.user is None:
        return NotThisPerson("A person has to decide.")
    takes_over = action == Action.TAKE_OVER or (action == Action.HAND_OVER and actor.has(permission(Action.TAKE_OVER)))
    if not takes_over and holding.holder(review, at=at) not in (None, actor.user):
        return holding.InOtherHands(review)
    if action != Action.UNCLAIM and review.level == Review.Level.LEAD and not actor.has(DECIDE_ESCALATED):
        return NotThisPerson(f"It was escalated: a lead has to {'help' if action == Action.RETRY else 'decide'}.")
    if action == Action.EXTEND and review.extended and not actor.has(EXTEND_FREELY):
        return ActionRefused("It was given more time once already: a lead may do so again.")
    if action != Action.APPROVE:
        return None
    if order.placed_by_id == actor.user.pk:
        return NotThisPerson("You placed this order: somebody else has to approve it.")
    if actor.user.pk in changed_by or actor.name in changed_by:
        return NotThisPerson("You changed this order: somebody else has to approve it.")
    if review.endorsed_by_id == actor.user.pk:
        return AlreadyEndorsed()
    return None


def wrong_with_deadline(review: Review, due_at: datetime, *, actor: Actor, at: datetime) -> DeadlineRefused | None:
    """Why this actor may not give the open review until `due_at`."""
    if not max(at, review.due_at) < due_at <= at + LONGEST_REVIEW:
        return DeadlineRefused(
            f"The new deadline must be later than the present one, and at most {LONGEST_REVIEW.days} days away."
        )
    return too_much_time(due_at - max(at, review.due_at), actor=actor)


def too_much_time(more: timedelta, *, actor: Actor) -> DeadlineRefused | None:
    """Why this actor may not give any review so much more time."""
    if more <= FIRST_EXTENSION or actor.has(EXTEND_FREELY):
        return None
    return DeadlineRefused(f"You may give {wording.span(FIRST_EXTENSION)} more at most: ask a lead.")


def reason_in_use(code: str) -> RejectReason:
    """The reason of that code, as leads keep them.

    Raises UnknownReason.
    """
    in_use = {reason.code: reason for reason in RejectReason.objects.filter(active=True)}
    if code not in in_use:
        raise UnknownReason(f"There is no such reason in use. There are: {', '.join(sorted(in_use))}.")
    return in_use[code]


def checked_note(action: Action, note: str, *, needed: bool = True) -> str:
    """What was written, fit to be kept.

    Raises ActionRefused where it is not, and where it is missing and the action needs one.
    """
    note = note.strip()
    if needed and action in WANTS_REASON and not note:
        raise ActionRefused(f"Give a reason: {WANTS_REASON[action]} will want to know why.")
    if wrong := wrong_with_note(note):
        raise ActionRefused(f"The reason {wrong}.")
    return note


def decide_all(
    orders: Sequence[Order],
    action: Action,
    *,
    actor: Actor,
    at: datetime,
    note: str,
    named: RejectReason | None = None,
    **told: object,
) -> None:
    """Decide the open reviews of locked orders; `told` is kept with the note on each timeline.

    Of those that two have to approve the first approval is only that. `named` is why they are rejected.
    """
    if action == Action.APPROVE:
        orders = _endorse(orders, actor=actor, at=at, note=note, **told)
        if not orders:
            return
    Review.objects.filter(order__in=orders, decision="").update(
        decision=DECISIONS[action],
        decided_by=actor.user,
        decided_at=at,
        note=note,
        reject_reason=named,
        **holding.IN_NO_HANDS,
        **NOT_PUT_OFF,
    )
    outcome = ""
    if action == Action.REJECT:
        why = f"{sentence(named.text)} {note}".strip() if named else note
        outcome = f"Rejected: {why}"[:500]
    details = {"note": note, **({"code": named.code, "reason": named.text} if named else {}), **told}
    transition_all([Step(order, outcome, details) for order in orders], action, actor=actor, at=at)
    tell_engine_of_all(orders, action, at=at, actor=actor.name)


def _endorse(orders: Sequence[Order], *, actor: Actor, at: datetime, **told: object) -> list[Order]:
    """Note the first of two approvals where there has to be one; answers with the orders that are left to approve."""
    first = Review.objects.filter(order__in=orders, decision="", needs_two=True, endorsed_by=None)
    endorsed = set(first.values_list("order_id", flat=True))
    if not endorsed:
        return list(orders)
    first.update(endorsed_by=actor.user, endorsed_at=at, **holding.IN_NO_HANDS)
    steps = [Step(order, details=told) for order in orders if order.pk in endorsed]
    transition_all(steps, Action.ENDORSE, actor=actor, at=at)
    return [order for order in orders if order.pk not in endorsed]


def extend_all(
    waits: Sequence[tuple[Order, Review, datetime]], *, actor: Actor, at: datetime, note: str, **told: object
) -> None:
    """Give the open reviews of locked orders until then; `told` is kept with the note on each timeline."""
    steps = []
    for order, review, due_at in waits:
        times = {"due_at": due_at.isoformat(), "due_before": review.due_at.isoformat()}
        steps.append(Step(order, details={**times, "note": note, **told}))
        review.due_at, review.remind_at, review.extended = due_at, reminder(at, due_at), True
    Review.objects.bulk_update([review for _, review, _ in waits], ["due_at", "remind_at", "extended"])
    transition_all(steps, Action.EXTEND, actor=actor, at=at)
    tell_engine_of_all([order for order, _, _ in waits], Action.EXTEND, at=at, actor=actor.name)


def _inconsistency(order: Order) -> str:
    lines = list(order.lines.all())
    if not lines:
        return "The order has no lines."
    if sum(line.total_minor for line in lines) != order.total_minor:
        return "The lines do not add up to the total."
    return ""


def _apply_policy(order: Order, *, at: datetime) -> None:
    verdict = policy.judge(_facts(order), review_everything=settings.REVIEW_EVERY_ORDER)
    reasons = [asdict(reason) for reason in verdict.reasons]
    match verdict.ruling:
        case policy.Ruling.BLOCK:
            outcome = " ".join(reason.text for reason in verdict.reasons)
            transition(order, Action.BLOCK, actor=SYSTEM, at=at, outcome=outcome, reasons=reasons)
        case policy.Ruling.PASS:
            transition(order, Action.CLEAR, actor=SYSTEM, at=at, risk_score=verdict.risk_score)
        case policy.Ruling.REVIEW:
            due_at = at + (order.decide_within or settings.REVIEW_DEADLINE)
            Review.objects.create(
                order=order,
                opened_at=at,
                due_at=due_at,
                remind_at=reminder(at, due_at),
                at_deadline=Review.AtDeadline.ESCALATE if settings.REVIEW_ESCALATES else Review.AtDeadline.EXPIRE,
                reasons=reasons,
                risk_score=verdict.risk_score,
                risk_parts=[asdict(part) for part in verdict.risk_parts],
                needs_two=verdict.needs_two,
            )
            transition(
                order,
                Action.OPEN_REVIEW,
                actor=SYSTEM,
                at=at,
                reasons=reasons,
                risk_score=verdict.risk_score,
                needs_two=verdict.needs_two or None,
                due_at=due_at.isoformat(),
            )


def not_decidable(order: Order) -> ActionRefused:
    if order.status_now in NEEDS_ATTENTION:
        return ActionRefused(f"It is {words(order.status_now)}: it needs help rather than a decision.")
    return ActionRefused(f"An order that is {words(order.status_now)} cannot be decided on.")


def _facts(order: Order) -> policy.Facts:
    lines = list(order.lines.select_related("product"))
    others = Order.objects.filter(customer_email=order.customer_email).exclude(pk=order.pk)
    hour_ago = order.placed_at - timedelta(hours=1)
    known = order.customer_email != ""
    recent = others.filter(placed_at__gte=hour_ago, placed_at__lte=order.placed_at) if known else Order.objects.none()
    return policy.Facts(
        amount=money.to_amount(order.total_minor, order.currency),
        currency=order.currency,
        customer_email=order.customer_email,
        # Two first orders side by side, or one after a rejected one, are first orders still.
        is_first_order=not (known and others.filter(status__in=ARRIVED).exists()),
        orders_in_last_hour=recent.count(),
        most_of_one_product=max(line.quantity for line in lines),
        has_street=bool(order.address_line1),
        forbidden=tuple(
            (line.product.sku, line.product.forbidden_reason) for line in lines if line.product.forbidden_reason
        ),
    )


def _standing(order: Order) -> Standing:
    review = open_review(order)
    if review is None:
        return Standing(order.status_now)
    next_at = min((at for at in (review.remind_at, review.back_at) if at), default=None)
    return Standing(order.status_now, review.due_at, next_at)


def close_review(order: Order, decision: Decision, *, actor: Actor, at: datetime, note: str = "") -> None:
    """Close what is open, if anything; nobody has it in hand then."""
    order.reviews.filter(decision="").update(
        decision=decision,
        decided_by=actor.user,
        decided_at=at,
        note=note,
        **holding.IN_NO_HANDS,
        **NOT_PUT_OFF,
    )


def take_back(order: Order, action: Action, *, actor: Actor, at: datetime, note: str = "") -> None:
    """Have the review of a locked order, which was put off, wait for a decision again."""
    order.reviews.filter(decision="").update(**NOT_PUT_OFF)
    transition(order, action, actor=actor, at=at, note=note)

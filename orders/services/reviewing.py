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
from orders.models import Decision, Order, Review
from orders.roles import DECIDE_ESCALATED, EXTEND_FREELY, FIRST_EXTENSION
from orders.services.actors import SYSTEM, Actor, authorise
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


class AlreadyDecided(ActionRefused):
    """Somebody, or the deadline, was first. `review` says who, what and when; `status` what has become of it."""

    def __init__(self, review: Review, status: Status) -> None:
        nobody = "the customer" if review.decision in (Decision.CANCELLED, Decision.SETTLED) else "the deadline"
        by = review.decided_by.get_username() if review.decided_by else nobody
        super().__init__(f"Already {review.get_decision_display().lower()} by {by}.")
        self.review = review
        self.status = status


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
    transition(order, Action.ESCALATE, actor=SYSTEM, at=at, due_at=due_at.isoformat())


def reminder(at: datetime, due_at: datetime) -> datetime:
    """When those who are asked at `at` are reminded of `due_at`."""
    return at + REMINDER * (due_at - at)


def extend(*, order_id: uuid.UUID, actor: Actor, at: datetime, due_at: datetime, reason: str) -> Order:
    """Give the review until `due_at`; `reason` is required. The workflow's timer and every countdown follow.

    Raises NotPermitted, AlreadyDecided, DeadlineRefused where the time is not later than the present deadline and
    now, or further away than this person may move it, and ActionRefused where there is no review or no reason.
    """
    authorise(actor, Action.EXTEND)
    with transaction.atomic():
        order = lock(order_id)
        reviews = reviews_of([order])[order.pk]
        if refusal := why_not(order, reviews, Action.EXTEND, actor=actor):
            raise refusal
        note = checked_note(Action.EXTEND, reason)
        if refusal := wrong_with_deadline(reviews[0], due_at, actor=actor, at=at):
            raise refusal
        extend_all([(order, reviews[0], due_at)], actor=actor, at=at, note=note)
    return order


def approve(*, order_id: uuid.UUID, actor: Actor, at: datetime, note: str = "") -> Order:
    """Let the order go on to payment and shipping.

    Raises NotPermitted, AlreadyDecided where somebody or the deadline was first, ActionRefused otherwise (OrderBusy
    where the row is held by somebody else).
    """
    return _decide(order_id, Action.APPROVE, actor=actor, at=at, note=note)


def reject(*, order_id: uuid.UUID, actor: Actor, at: datetime, reason: str) -> Order:
    """Refuse the order; `reason` is required.

    Raises NotPermitted, ActionRefused without a reason, AlreadyDecided where somebody or the deadline was first.
    """
    return _decide(order_id, Action.REJECT, actor=actor, at=at, note=reason)


def _decide(order_id: uuid.UUID, action: Action, *, actor: Actor, at: datetime, note: str) -> Order:
    authorise(actor, action)
    with transaction.atomic():
        order = lock(order_id)
        if refusal := why_not(order, reviews_of([order])[order.pk], action, actor=actor):
            raise refusal
        decide_all([order], action, actor=actor, at=at, note=checked_note(action, note))
    return order


# What one decision and many at once are made of. Callers hold the orders' locks, and have authorised the actor.


def reviews_of(orders: Collection[Order]) -> Mapping[uuid.UUID, list[Review]]:
    """Each order's reviews, the latest first."""
    found: dict[uuid.UUID, list[Review]] = {order.pk: [] for order in orders}
    for review in Review.objects.filter(order__in=found).select_related("decided_by").order_by("-id"):
        found[review.order_id].append(review)
    return found


def why_not(order: Order, reviews: Sequence[Review], action: Action, *, actor: Actor) -> ActionRefused | None:
    """Why this actor may not decide so on this order as it stands; `reviews` are its own, the latest first."""
    review = reviews[0] if reviews else None
    if review is None or review.decision or not may(order.status_now, action):
        last = next((review for review in reviews if review.decision), None)
        return AlreadyDecided(last, order.status_now) if last else not_decidable(order)
    if review.level == Review.Level.LEAD and not actor.has(DECIDE_ESCALATED):
        return ActionRefused("It was escalated: a lead has to decide.")
    if action == Action.EXTEND and review.extended and not actor.has(EXTEND_FREELY):
        return ActionRefused("It was given more time once already: a lead may do so again.")
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


def checked_note(action: Action, note: str) -> str:
    """What was written, fit to be kept.

    Raises ActionRefused where it is not, and where it is missing and the action needs one.
    """
    note = note.strip()
    if action in WANTS_REASON and not note:
        raise ActionRefused(f"Give a reason: {WANTS_REASON[action]} will want to know why.")
    if wrong := wrong_with_note(note):
        raise ActionRefused(f"The reason {wrong}.")
    return note


def decide_all(
    orders: Sequence[Order], action: Action, *, actor: Actor, at: datetime, note: str, **told: object
) -> None:
    """Decide the open reviews of locked orders; `told` is kept with the note on each timeline."""
    decided = {"decision": DECISIONS[action], "decided_by": actor.user, "decided_at": at, "note": note}
    Review.objects.filter(order__in=orders, decision="").update(**decided, **NOT_PUT_OFF)
    outcome = f"Rejected: {note}"[:500] if action == Action.REJECT else ""
    transition_all([Step(order, outcome, {"note": note, **told}) for order in orders], action, actor=actor, at=at)
    tell_engine_of_all(orders, action, at=at, actor=actor.name)


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
            )
            transition(
                order,
                Action.OPEN_REVIEW,
                actor=SYSTEM,
                at=at,
                reasons=reasons,
                risk_score=verdict.risk_score,
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


def open_review(order: Order) -> Review | None:
    return order.reviews.filter(decision="").first()


def close_review(order: Order, decision: Decision, *, actor: Actor, at: datetime, note: str = "") -> None:
    order.reviews.filter(decision="").update(
        decision=decision, decided_by=actor.user, decided_at=at, note=note, **NOT_PUT_OFF
    )


def take_back(order: Order, action: Action, *, actor: Actor, at: datetime, note: str = "") -> None:
    """Have the review of a locked order, which was put off, wait for a decision again."""
    order.reviews.filter(decision="").update(**NOT_PUT_OFF)
    transition(order, action, actor=actor, at=at, note=note)

"""Whether an order looks like fraud: asked after the approval, before anything is taken.

Each step may run more than once: the first answer stands.
"""

import uuid
from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.db import transaction

from orders.models import Order
from orders.services.actors import SYSTEM
from orders.services.transitions import lock, note_event, transition
from orders.states import Action, Status
from orders.wording import sentence

CHECKED, UNANSWERED = "fraud_check", "fraud_unanswered"


@dataclass(frozen=True)
class Question:
    """What the fraud check is asked; without a key there is nothing to ask."""

    status: Status
    key: str = ""
    amount_minor: int = 0
    currency: str = ""
    country: str = ""  # where the package goes


def begin_fraud_check(*, order_id: uuid.UUID) -> Question:
    """Say what to ask of an approved order that has not been checked."""
    with transaction.atomic():
        order = lock(order_id)
        if not _is_open(order):
            return Question(order.status_now)
        return Question(
            order.status_now,
            key=f"order-{order.id}:fraud",
            amount_minor=order.total_minor,
            currency=order.currency,
            country=order.address_country,
        )


def record_fraud_check(*, order_id: uuid.UUID, score: float, reason: str, at: datetime) -> Status:
    """Record the answer: a score from 0 to 1, and why. Over FRAUD_LIMIT it fails the order."""
    with transaction.atomic():
        order = lock(order_id)
        if not _is_open(order):
            return order.status_now
        note_event(order, CHECKED, at=at, score=score, reason=reason)
        if score > settings.FRAUD_LIMIT:
            why = f"Looks like fraud, with a score of {score:.2f} where {settings.FRAUD_LIMIT:.2f} is the limit"
            outcome = sentence(f"{why}: {reason}" if reason else why)
            transition(order, Action.FAIL, actor=SYSTEM, at=at, outcome=outcome[:500])
        return order.status_now


def record_no_fraud_answer(*, order_id: uuid.UUID, error: str, at: datetime) -> Status:
    """The check could not be asked: FRAUD_UNANSWERED says whether the approval stands or the order fails."""
    with transaction.atomic():
        order = lock(order_id)
        if not _is_open(order):
            return order.status_now
        if settings.FRAUD_UNANSWERED == "fail":
            outcome = sentence(f"The fraud check could not be asked: {error}"[:499])
            transition(order, Action.FAIL, actor=SYSTEM, at=at, outcome=outcome)
        else:
            note_event(order, UNANSWERED, at=at, error=error[:300])
        return order.status_now


def _is_open(order: Order) -> bool:
    return order.status_now == Status.APPROVED and not order.events.filter(type__in=[CHECKED, UNANSWERED]).exists()

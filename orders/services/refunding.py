"""Refunds that an operator grants on an order that is no longer under way, in part or whole.

The database itself keeps an order's refunds within its charge; what is checked here says so in words.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.contrib.auth.models import User
from django.db import transaction

from orders import conventions, money
from orders.models import Order, Payment
from orders.roles import REFUND_LIMITS, Role
from orders.services import holding, mailing
from orders.services.actors import Actor, NotPermitted
from orders.services.paying import MoneyMove
from orders.services.texts import wrong_with_note
from orders.services.transitions import ActionRefused, lock, note_event, tell_engine, words
from orders.states import TERMINAL, Status

CAME_TO_NOTHING = (Payment.State.FAILED, Payment.State.CANCELLED)


class AmountRefused(ActionRefused):
    """The amount is none that this person may refund on this order. The message is for the operator."""


class AlreadyRefunded(ActionRefused):
    """Somebody has refunded since the order was looked at. `payment` says how much."""

    def __init__(self, payment: Payment) -> None:
        amount = conventions.amount(payment.amount_minor, payment.currency)
        super().__init__(f"{amount} has been refunded since you opened this page, so your refund was not carried out.")
        self.payment = payment


@dataclass(frozen=True)
class Refundable:
    """What is left of an order's charge, in minor units; `number` is that of the next refund, from 1."""

    left_minor: int
    refunded_minor: int
    number: int


def refundable(order: Order, payments: Sequence[Payment]) -> Refundable | None:
    """What may go back of an order that has ended; None where nothing was charged, or it is still under way."""
    charge = next((p for p in payments if (p.kind, p.status) == (Payment.Kind.CHARGE, Payment.State.SUCCEEDED)), None)
    if charge is None or order.status_now not in TERMINAL:
        return None
    refunds = [payment for payment in payments if payment.kind == Payment.Kind.REFUND]
    refunded = sum(refund.amount_minor for refund in refunds if refund.status not in CAME_TO_NOTHING)
    return Refundable(charge.amount_minor - refunded, refunded, len(refunds) + 1)


def may_refund(user: User) -> bool:
    return user.is_active and (user.is_superuser or bool(_roles(user) & REFUND_LIMITS.keys()))


def most_refundable(user: User, left: Refundable, currency: str) -> int:
    """How many minor units of `currency` this person may refund now. Limits hold for all refunds of an order."""
    limits = [REFUND_LIMITS[role] for role in _roles(user) & REFUND_LIMITS.keys()]
    if user.is_superuser or None in limits:
        return left.left_minor
    limit = max((money.to_minor(amount, currency) for amount in limits if amount is not None), default=0)
    return max(0, min(left.left_minor, limit - left.refunded_minor))


def refund(
    *,
    order_id: uuid.UUID,
    amount_minor: int,
    reason: str,
    actor: Actor,
    at: datetime,
    number: int | None = None,
    seen: int | None = None,
) -> Payment:
    """Store a refund of `amount_minor` minor units of the order's currency, and have the engine carry it out.

    `number` says which refund of the order it is meant to be, so that a form sent twice refunds once; `seen` is the
    version of the order that the actor acts on.

    Raises NotPermitted, AlreadyRefunded where there is a refund of that number, PageIsStale, AmountRefused, and
    ActionRefused where the order is under way or was not charged, or the reason is missing or no text.
    """
    user = actor.user
    if user is None or not may_refund(user):
        raise NotPermitted(f"{actor.name} may not refund an order.")
    reason = reason.strip()
    with transaction.atomic():
        order = lock(order_id)
        payments = list(order.payments.all())
        left = refundable(order, payments)
        if left is None:
            raise ActionRefused(_why_not(order))
        if number is not None and number != left.number:
            raise _not_the_next(payments, number)
        holding.check_seen(order, "refund_requested", seen=seen)
        if not reason:
            raise ActionRefused("Give a reason: the customer and your colleagues will want to know why.")
        if wrong := wrong_with_note(reason):
            raise ActionRefused(f"The reason {wrong}.")
        _check_amount(amount_minor, left, most_refundable(user, left, order.currency), order.currency)
        payment = Payment.objects.create(
            order=order,
            idempotency_key=refund_key(order.pk, left.number),
            kind=Payment.Kind.REFUND,
            amount_minor=amount_minor,
            currency=order.currency,
            status=Payment.State.PROCESSING,
            created_at=at,
        )
        note_event(
            order,
            "refund_requested",
            actor=actor,
            at=at,
            amount_minor=amount_minor,
            currency=order.currency,
            note=reason,
        )
        tell_engine(order, "refund", at=at, number=str(left.number))
    return payment


def refund_key(order_id: uuid.UUID, number: int) -> str:
    return f"order-{order_id}:refund-{number}"


def find_refund(*, order_id: uuid.UUID, number: int) -> MoneyMove:
    """The refund to ask the provider for; without a key it is settled already.

    Raises Order.DoesNotExist and Payment.DoesNotExist.
    """
    order = Order.objects.get(pk=order_id)
    payment = order.payments.get(idempotency_key=refund_key(order_id, number))
    if payment.status != Payment.State.PROCESSING:
        return MoneyMove(order.status_now)
    charge = order.payments.get(kind=Payment.Kind.CHARGE, status=Payment.State.SUCCEEDED)
    return MoneyMove(
        order.status_now, payment.idempotency_key, payment.amount_minor, payment.currency, charge.idempotency_key
    )


def settle_refund(*, order_id: uuid.UUID, number: int, reference: str, at: datetime) -> Status:
    """Record the provider's answer; an empty `reference` says that it knows no charge to refund."""
    with transaction.atomic():
        order = lock(order_id)
        payment = order.payments.get(idempotency_key=refund_key(order_id, number))
        if payment.status != Payment.State.PROCESSING:
            return order.status_now
        payment.status = Payment.State.SUCCEEDED if reference else Payment.State.FAILED
        payment.provider_reference = reference
        payment.error = "" if reference else "The bank knows no such charge."
        payment.settled_at = at
        payment.save(update_fields=["status", "provider_reference", "error", "settled_at"])
        note_event(
            order,
            "refund" if reference else "refund_failed",
            at=at,
            amount_minor=payment.amount_minor,
            currency=payment.currency,
            reference=reference,
        )
        if reference:
            mailing.tell_of_refund(order, payment, at=at)
        return order.status_now


def _roles(user: User) -> set[Role]:
    return {Role(name) for name in user.groups.values_list("name", flat=True) if name in set(Role)}


def _why_not(order: Order) -> str:
    if order.status_now not in TERMINAL:
        return f"An order that is {words(order.status_now)} is still under way: cancel it instead."
    return "Nothing was charged for this order, so there is nothing to refund."


def _not_the_next(payments: Sequence[Payment], number: int) -> ActionRefused:
    refunds = [payment for payment in payments if payment.kind == Payment.Kind.REFUND]
    if 1 <= number <= len(refunds):
        return AlreadyRefunded(refunds[number - 1])
    return ActionRefused("The number of the refund is not the next one. Open the page again.")


def _check_amount(amount_minor: int, left: Refundable, most_minor: int, currency: str) -> None:
    if amount_minor <= 0:
        raise AmountRefused("The amount must be more than zero.")
    if amount_minor > left.left_minor:
        shown = conventions.amount(left.left_minor, currency)
        raise AmountRefused(f"Only {shown} is left to refund.")
    if amount_minor > most_minor:
        shown = conventions.amount(most_minor, currency)
        raise AmountRefused(f"You may refund up to {shown} more on this order. Ask a lead for the rest.")

"""The charge: the engine's steps before and after the bank is called.

Each may run more than once: a step that is already behind the order does nothing, and every step answers with the
status it left.
"""

import uuid
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction

from orders.models import Payment
from orders.services.actors import SYSTEM
from orders.services.transitions import lock, note_event, transition
from orders.states import Action, Status, may


@dataclass(frozen=True)
class MoneyMove:
    """A charge or refund to ask the provider for; None of it where there is nothing to move."""

    status: Status
    key: str = ""
    amount_minor: int = 0
    currency: str = ""
    of_charge: str = ""  # a refund names the provider's reference, or the key, of its charge


def begin_charge(*, order_id: uuid.UUID, at: datetime) -> MoneyMove:
    """Store the charge and its idempotency key before anybody calls the provider."""
    with transaction.atomic():
        order = lock(order_id)
        if order.status_now != Status.RESERVED:
            return MoneyMove(order.status_now)
        payment, created = Payment.objects.get_or_create(
            idempotency_key=f"order-{order.id}:charge",
            defaults={
                "order": order,
                "kind": Payment.Kind.CHARGE,
                "amount_minor": order.total_minor,
                "currency": order.currency,
                "status": Payment.State.PROCESSING,
                "created_at": at,
            },
        )
        if created:
            note_event(order, "charge_requested", at=at, amount_minor=payment.amount_minor, currency=order.currency)
        return MoneyMove(order.status_now, payment.idempotency_key, payment.amount_minor, payment.currency)


def record_charge(*, order_id: uuid.UUID, reference: str, declined: str, at: datetime) -> Status:
    """Record the provider's answer: a reference, or why it declined.

    A charge that comes home to an order that is being cancelled is recorded all the same: its refund follows.
    """
    with transaction.atomic():
        order = lock(order_id)
        settled = Payment.objects.filter(
            idempotency_key=f"order-{order.id}:charge", status=Payment.State.PROCESSING
        ).update(
            status=Payment.State.FAILED if declined else Payment.State.SUCCEEDED,
            provider_reference=reference,
            error=declined[:300],
            settled_at=at,
        )
        if not settled:
            return order.status_now
        if declined and may(order.status_now, Action.FAIL):
            transition(order, Action.FAIL, actor=SYSTEM, at=at, outcome=f"The payment was declined: {declined}"[:500])
        elif may(order.status_now, Action.CHARGE) and not declined:
            transition(
                order,
                Action.CHARGE,
                actor=SYSTEM,
                at=at,
                amount_minor=order.total_minor,
                currency=order.currency,
                reference=reference,
            )
        else:
            note_event(order, "charge_declined" if declined else "charge_arrived", at=at, reference=reference)
        return order.status_now

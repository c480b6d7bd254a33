"""Cancelling, failing, and giving back what was taken. Each step of it may run more than once."""

import uuid
from datetime import datetime

from django.conf import settings
from django.db import transaction
from django.db.models import F

from orders.models import Decision, Event, Order, Payment, Product, Reservation, Shipment
from orders.services import holding
from orders.services.actors import SYSTEM, Actor, authorise
from orders.services.paying import MoneyMove
from orders.services.reviewing import close_review
from orders.services.shipping import Retry
from orders.services.texts import wrong_with_note
from orders.services.transitions import ActionRefused, lock, note_event, tell_engine, transition, words
from orders.states import Action, Status, may

# Of a charge in one of these the bank knows more than we do.
UNANSWERED = (Payment.State.PROCESSING, Payment.State.REQUIRES_ACTION)


class AlreadyCancelled(ActionRefused):
    """Somebody was first. `event` says who and when."""

    def __init__(self, event: Event) -> None:
        super().__init__(f"Already cancelled by {event.actor}.")
        self.event = event


def cancel(*, order_id: uuid.UUID, actor: Actor, at: datetime, reason: str, seen: int | None = None) -> Order:
    """Stop the order; what was done already is undone.

    `seen` is the version of the order that the actor acts on.

    Raises NotPermitted, AlreadyCancelled where somebody was first, PageIsStale, InOtherHands, and ActionRefused from
    the point of no return on.
    """
    authorise(actor, Action.CANCEL)
    reason = reason.strip()
    with transaction.atomic():
        order = lock(order_id)
        if cancelled := order.events.filter(type=Action.CANCEL).first():
            raise AlreadyCancelled(cancelled)
        if not may(order.status_now, Action.CANCEL):
            raise ActionRefused(f"An order that is {words(order.status_now)} can no longer be cancelled.")
        holding.act(order, Action.CANCEL, actor=actor, at=at, seen=seen)
        if wrong := wrong_with_note(reason):
            raise ActionRefused(f"The reason {wrong}.")
        close_review(order, Decision.CANCELLED, actor=actor, at=at, note=reason)
        outcome = f"Cancelled: {reason}"[:500] if reason else "Cancelled."
        transition(order, Action.CANCEL, actor=actor, at=at, outcome=outcome, note=reason)
        tell_engine(order, Action.CANCEL, at=at, actor=actor.name)
    return order


def fail_order(*, order_id: uuid.UUID, reason: str, at: datetime, unless_charged: bool = False) -> Status:
    """A step has failed for good: begin to undo, unless the order is being undone or has ended already.

    `unless_charged` is for the charge itself: the bank may have told of it by itself since.
    """
    with transaction.atomic():
        order = lock(order_id)
        if unless_charged and order.status_now == Status.CHARGED:
            return order.status_now
        if may(order.status_now, Action.FAIL):
            close_review(order, Decision.EXPIRED, actor=SYSTEM, at=at)
            transition(order, Action.FAIL, actor=SYSTEM, at=at, outcome=reason[:500])
        return order.status_now


def release_stock(*, order_id: uuid.UUID, at: datetime) -> Status:
    """Give back exactly what the order holds."""
    with transaction.atomic():
        order = lock(order_id)
        held = list(order.reservations.filter(state=Reservation.State.HELD).order_by("product_id"))
        if not held:
            return order.status_now
        for reservation in held:
            Product.objects.filter(pk=reservation.product_id).update(stock=F("stock") + reservation.quantity)
        order.reservations.filter(pk__in=[reservation.pk for reservation in held]).update(
            state=Reservation.State.RELEASED
        )
        note_event(order, "release", at=at, units=sum(reservation.quantity for reservation in held))
        return order.status_now


def begin_refund(*, order_id: uuid.UUID, at: datetime) -> MoneyMove:
    """Store the refund of the order's charge before anybody calls the provider.

    A charge whose answer we never saw, or that waits for the customer, is refunded by its key: the provider knows
    whether there is anything to undo, and voids it otherwise. One that nobody has asked for is cancelled without a
    call.
    """
    with transaction.atomic():
        order = lock(order_id)
        if order.payments.filter(kind=Payment.Kind.CHARGE, status=Payment.State.CREATED).update(
            status=Payment.State.CANCELLED, settled_at=at
        ):
            note_event(order, "charge_cancelled", at=at)
        charge = order.payments.filter(
            kind=Payment.Kind.CHARGE, status__in=[Payment.State.SUCCEEDED, *UNANSWERED]
        ).first()
        if charge is None:
            return MoneyMove(order.status_now)
        refund, _ = Payment.objects.get_or_create(
            idempotency_key=_refund_key(order),
            defaults={
                "order": order,
                "kind": Payment.Kind.REFUND,
                "amount_minor": charge.amount_minor,
                "currency": charge.currency,
                "status": Payment.State.PROCESSING,
                "created_at": at,
            },
        )
        if refund.status != Payment.State.PROCESSING:
            return MoneyMove(order.status_now)
        return MoneyMove(
            order.status_now,
            refund.idempotency_key,
            refund.amount_minor,
            refund.currency,
            charge.idempotency_key,
        )


def record_refund(*, order_id: uuid.UUID, reference: str, at: datetime) -> Status:
    """Record the refund; an empty `reference` says that the provider had never charged."""
    with transaction.atomic():
        order = lock(order_id)
        refund = order.payments.filter(idempotency_key=_refund_key(order), status=Payment.State.PROCESSING)
        if reference:
            refunded = refund.update(status=Payment.State.SUCCEEDED, provider_reference=reference, settled_at=at)
            charge_is = Payment.State.SUCCEEDED
        else:
            refunded = refund.update(status=Payment.State.CANCELLED, error="Nothing had been charged.", settled_at=at)
            charge_is = Payment.State.CANCELLED
        order.payments.filter(kind=Payment.Kind.CHARGE, status__in=UNANSWERED).update(status=charge_is, settled_at=at)
        if refunded and reference:
            note_event(
                order,
                "refund",
                at=at,
                amount_minor=order.total_minor,
                currency=order.currency,
                reference=reference,
            )
        elif refunded:
            note_event(order, "charge_voided", at=at)
        return order.status_now


def note_undo_trouble(*, order_id: uuid.UUID, entry: str, attempt: int, error: str, at: datetime) -> Retry:
    """Record that something could not be undone yet, and say when to try again: for days, if need be."""
    after = min(settings.UNDO_RETRY_AFTER * 4 ** min(attempt - 1, 10), settings.UNDO_RETRY_MOST)
    with transaction.atomic():
        order = lock(order_id)
        told = order.events.filter(type="undo_failed", payload__entry=entry, payload__attempt=attempt)
        if not told.exists():
            note_event(
                order,
                "undo_failed",
                at=at,
                entry=entry,
                attempt=attempt,
                error=error,
                retry_at=(at + after).isoformat(),
            )
        return Retry(order.status_now, attempt, at + after)


def finish_undo(*, order_id: uuid.UUID, at: datetime) -> Status:
    """End the order, unless there is still something to undo: then it stays, and stands among those that need help."""
    with transaction.atomic():
        order = lock(order_id)
        if may(order.status_now, Action.FINISH_UNDO) and not _is_left_to_undo(order):
            transition(order, Action.FINISH_UNDO, actor=SYSTEM, at=at, outcome=order.outcome)
        return order.status_now


def _is_left_to_undo(order: Order) -> bool:
    """Whether the order holds goods, money is under way or kept, or a package may still leave."""
    charges = order.payments.filter(kind=Payment.Kind.CHARGE)
    refunds = order.payments.filter(idempotency_key=_refund_key(order))
    is_kept = charges.filter(status=Payment.State.SUCCEEDED).exists() and not refunds.exists()
    packed = Shipment.objects.filter(order=order).exclude(
        status__in=[Shipment.State.DISPATCHED, Shipment.State.RECALLED]
    )
    return (
        order.reservations.filter(state=Reservation.State.HELD).exists()
        or is_kept
        or refunds.filter(status=Payment.State.PROCESSING).exists()
        or charges.filter(status__in=[Payment.State.CREATED, *UNANSWERED]).exists()
        or packed.exists()
    )


def _refund_key(order: Order) -> str:
    return f"order-{order.id}:refund"

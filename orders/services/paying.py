"""The charge: the engine's steps before and after the bank is called, and what the bank says by itself.

Each may run more than once: a step that is already behind the order does nothing, and every step answers with the
status it left.
"""

import logging
import uuid
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from django.conf import settings
from django.db import transaction

from orders import money
from orders.models import PAYMENT_STEPS, ActorKind, Decision, Order, Payment
from orders.services.actors import SYSTEM, Actor
from orders.services.attending import halt
from orders.services.reviewing import close_review
from orders.services.transitions import lock, note_event, tell_engine, transition
from orders.states import Action, Status, may

logger = logging.getLogger(__name__)

BANK = Actor(ActorKind.SYSTEM, "the bank")

NEWS = "payment_news"  # to the engine: look at the row


@dataclass(frozen=True)
class MoneyMove:
    """A charge or refund to ask the provider for; None of it where there is nothing to move.

    `confirm_by` is set while the customer is asked: until then there is nothing to do but wait for news.
    """

    status: Status
    key: str = ""
    amount_minor: int = 0
    currency: str = ""
    of_charge: str = ""  # a refund names the provider's reference, or the key, of its charge
    confirm_by: datetime | None = None


@dataclass(frozen=True)
class BankNews:
    """What the bank tells of a charge by itself. `says` is requires_action, succeeded or failed; `why` it failed."""

    id: str
    says: Payment.State
    key: str
    reference: str
    amount_minor: int
    currency: str
    why: str = ""


class Heard(StrEnum):
    """What became of the bank's news."""

    RECORDED = "recorded"
    KNOWN = "known"  # it changes nothing: heard before, or overtaken
    REFUSED = "refused"  # it contradicts what we know; the order's timeline tells of it
    UNKNOWN = "unknown"  # of no charge of ours


def charge_key(order_id: uuid.UUID) -> str:
    return f"order-{order_id}:charge"


def create_charge(order: Order, *, at: datetime) -> Payment:
    """The charge of a locked order, with its idempotency key: found, or stored as one that nobody has asked for yet.

    Made with the reservation, so that each order that the bank may be asked about has it, and an order that is
    cancelled before that is not asked about at all.
    """
    payment, _ = Payment.objects.get_or_create(
        idempotency_key=charge_key(order.id),
        defaults={
            "order": order,
            "kind": Payment.Kind.CHARGE,
            "amount_minor": order.total_minor,
            "currency": order.currency,
            "created_at": at,
        },
    )
    return payment


def begin_charge(*, order_id: uuid.UUID, at: datetime) -> MoneyMove:
    """Say what to ask the bank for, noted before anybody asks; without a key there is nothing to ask.

    While the customer is asked that is so until `confirm_by`; then the bank is asked once more, under the same key.
    """
    with transaction.atomic():
        order = lock(order_id)
        if order.status_now not in (Status.RESERVED, Status.AWAITING_CUSTOMER):
            return MoneyMove(order.status_now)
        payment = create_charge(order, at=at)
        if order.status_now == Status.AWAITING_CUSTOMER and payment.confirm_by and at < payment.confirm_by:
            return MoneyMove(order.status_now, confirm_by=payment.confirm_by)
        if payment.status == Payment.State.CREATED:
            payment.status = Payment.State.PROCESSING
            payment.save(update_fields=["status"])
            note_event(order, "charge_requested", at=at, amount_minor=payment.amount_minor, currency=order.currency)
        return MoneyMove(order.status_now, payment.idempotency_key, payment.amount_minor, payment.currency)


def record_charge(
    *, order_id: uuid.UUID, reference: str, declined: str, at: datetime, needs_customer: bool = False
) -> MoneyMove:
    """Record the bank's answer: a reference, why it declined, or that the customer has to confirm first.

    A charge that comes home to an order that is being cancelled is recorded all the same: its refund follows. One that
    still waits for the customer at its deadline puts the order before people.
    """
    says = Payment.State.SUCCEEDED
    if needs_customer:
        says = Payment.State.REQUIRES_ACTION
    elif declined:
        says = Payment.State.FAILED
    with transaction.atomic():
        order = lock(order_id)
        payment = order.payments.filter(idempotency_key=charge_key(order_id)).first()
        if payment is None:
            return MoneyMove(order.status_now)
        if says in PAYMENT_STEPS.get(payment.status, ()):
            _take(order, payment, says, reference=reference, why=declined, actor=SYSTEM, at=at)
        elif says == payment.status == Payment.State.REQUIRES_ACTION:
            _still_waiting(order, payment, at=at)
        waits = order.status_now == Status.AWAITING_CUSTOMER
        return MoneyMove(order.status_now, confirm_by=payment.confirm_by if waits else None)


def hear_bank(*, news: BankNews, at: datetime) -> Heard:
    """Take what the bank says of a charge, whenever it arrives and however often.

    Only what follows from our own row is believed; what contradicts it changes nothing and is noted.

    Raises OrderBusy.
    """
    found = Payment.objects.filter(idempotency_key=news.key, kind=Payment.Kind.CHARGE).first()
    if found is None:
        logger.warning("The bank tells of a charge that is none of ours: %s, %s", news.key, news.says)
        return Heard.UNKNOWN
    with transaction.atomic():
        order = lock(found.order_id)
        payment = order.payments.get(pk=found.pk)
        if wrong := _contradiction(payment, news):
            _note_refused(order, news, wrong, at=at)
            return Heard.REFUSED
        if news.says not in PAYMENT_STEPS.get(payment.status, ()):
            return Heard.KNOWN
        _take(order, payment, news.says, reference=news.reference, why=news.why, actor=BANK, at=at)
        tell_engine(order, NEWS, at=at, actor=BANK.name)
        return Heard.RECORDED


def _take(
    order: Order, payment: Payment, says: Payment.State, *, reference: str, why: str, actor: Actor, at: datetime
) -> None:
    """Move the charge of a locked order to where the bank says that it is, and the order with it."""
    payment.status = says
    payment.provider_reference = reference
    payment.error = why[:300]
    payment.settled_at = None if says == Payment.State.REQUIRES_ACTION else at
    if says == Payment.State.FAILED:
        # What was to be undone has not been done. It goes first: no refund may be more than its charge.
        order.payments.filter(kind=Payment.Kind.REFUND, status=Payment.State.PROCESSING).update(
            status=Payment.State.CANCELLED, error="Nothing had been charged.", settled_at=at
        )
    payment.save(update_fields=["status", "provider_reference", "error", "settled_at"])
    match says:
        case Payment.State.REQUIRES_ACTION:
            _ask_customer(order, payment, actor=actor, at=at)
        case Payment.State.FAILED if may(order.status_now, Action.FAIL):
            close_review(order, Decision.SETTLED, actor=actor, at=at)
            transition(order, Action.FAIL, actor=actor, at=at, outcome=f"The payment was declined: {why}"[:500])
        case Payment.State.SUCCEEDED if may(order.status_now, Action.CHARGE):
            close_review(order, Decision.SETTLED, actor=actor, at=at)
            transition(
                order,
                Action.CHARGE,
                actor=actor,
                at=at,
                amount_minor=order.total_minor,
                currency=order.currency,
                reference=reference,
            )
        case _:
            type_ = "charge_declined" if says == Payment.State.FAILED else "charge_arrived"
            note_event(order, type_, actor=actor, at=at, reference=reference)


def _ask_customer(order: Order, payment: Payment, *, actor: Actor, at: datetime) -> None:
    """Give the customer time to confirm, unless the order has gone another way meanwhile."""
    if not may(order.status_now, Action.ASK_CUSTOMER):
        return
    payment.confirm_by = at + settings.PAYMENT_CONFIRM_WITHIN
    payment.save(update_fields=["confirm_by"])
    transition(order, Action.ASK_CUSTOMER, actor=actor, at=at, confirm_by=payment.confirm_by.isoformat())


def _still_waiting(order: Order, payment: Payment, *, at: datetime) -> None:
    """The bank has been asked again, and waits for the customer as before."""
    if order.status_now == Status.RESERVED:
        _ask_customer(order, payment, actor=SYSTEM, at=at)
    elif order.status_now == Status.AWAITING_CUSTOMER and payment.confirm_by and payment.confirm_by <= at:
        halt(order, code="unconfirmed", text="The customer has not confirmed the payment with the bank.", at=at)


def _contradiction(payment: Payment, news: BankNews) -> str:
    """What the bank says and cannot be so, by our own row."""
    if (news.amount_minor, news.currency) != (payment.amount_minor, payment.currency):
        theirs = money.format_money(news.amount_minor, news.currency)
        return f"it is about {theirs}, and the charge is {money.format_money(payment.amount_minor, payment.currency)}"
    if payment.provider_reference not in ("", news.reference):
        return f"it is about another charge, {news.reference}"
    overtaken = {
        Payment.State.REQUIRES_ACTION: {Payment.State.SUCCEEDED, Payment.State.FAILED, Payment.State.CANCELLED},
        Payment.State.FAILED: {Payment.State.CANCELLED},
    }
    may_be = news.says == payment.status or news.says in PAYMENT_STEPS.get(payment.status, ())
    if may_be or payment.status in overtaken.get(news.says, ()):
        return ""
    return f"it says {news.says.replace('_', ' ')} of a charge that is {payment.status.replace('_', ' ')}"


def _note_refused(order: Order, news: BankNews, wrong: str, *, at: datetime) -> None:
    """Once for each piece of news, however often it is sent."""
    if order.events.filter(type="payment_news_refused", payload__news=news.id).exists():
        return
    note_event(order, "payment_news_refused", actor=BANK, at=at, news=news.id, reason=wrong)
    logger.warning("%s: the bank's news is not believed: %s", order.number, wrong, extra={"order": order.number})

"""Signals that somebody sends to Temporal by hand: the same door as a click, with the rights of whom they name."""

import uuid
from collections.abc import Mapping
from datetime import datetime, timedelta

from django.contrib.auth.models import User
from django.db import transaction

from orders.models import Order
from orders.services import addressing, attending, reviewing, undoing
from orders.services.actors import Actor, NotPermitted
from orders.services.placing import Address
from orders.services.texts import wrong_with_text
from orders.services.transitions import ActionRefused, OrderBusy, lock, note_event
from orders.states import Action, Status

AGAIN = timedelta(minutes=1)  # so long the engine may take to deliver one signal a second time


def obey_signal(
    *,
    order_id: uuid.UUID,
    action: Action,
    actor: str,
    reason: str,
    due_at: datetime | None,
    address: Mapping[str, str],
    at: datetime,
) -> Status:
    """Do what the signal asks for, with the rights of the user named `actor`.

    What is refused leaves the order as it is and says why on its timeline. Answers with the order's status.

    Raises OrderBusy.
    """
    who = _person(actor)
    try:
        if who is None:
            raise NotPermitted('Name an active user, such as --input \'{"actor": "alice"}\'.')
        _carry_out(order_id, action, who, reason=reason, due_at=due_at, address=address, at=at)
    except OrderBusy:
        raise  # the engine tries again
    except (ActionRefused, NotPermitted, addressing.InvalidAddress) as refusal:
        _tell_refusal(order_id, action, who, ascii(actor)[:150], str(refusal), at=at)
    return Order.objects.get(pk=order_id).status_now


def _person(name: str) -> Actor | None:
    known = not wrong_with_text(name, 150)
    user = User.objects.filter(username=name, is_active=True).first() if known else None
    return Actor.operator(user) if user else None


def _carry_out(
    order_id: uuid.UUID,
    action: Action,
    who: Actor,
    *,
    reason: str,
    due_at: datetime | None,
    address: Mapping[str, str],
    at: datetime,
) -> None:
    match action:
        case Action.APPROVE:
            reviewing.approve(order_id=order_id, actor=who, at=at, note=reason)
        case Action.REJECT:
            reviewing.reject(order_id=order_id, actor=who, at=at, reason=reason)
        case Action.CANCEL:
            undoing.cancel(order_id=order_id, actor=who, at=at, reason=reason)
        case Action.RETRY:
            attending.retry(order_id=order_id, actor=who, at=at, note=reason)
        case Action.EXTEND:
            if due_at is None or due_at.tzinfo is None:
                raise ActionRefused('Say until when, with its time zone, such as "due_at": "2026-03-04T12:30:00Z".')
            reviewing.extend(order_id=order_id, actor=who, at=at, due_at=due_at, reason=reason)
        case Action.CHANGE_ADDRESS:
            addressing.change_address(order_id=order_id, actor=who, at=at, address=_address(address))
        case _:
            raise ActionRefused(f"No person may {action}.")


def _address(parts: Mapping[str, str]) -> Address:
    try:
        return Address(**parts)
    except TypeError:
        names = ", ".join(Address.__dataclass_fields__)
        raise ActionRefused(f'Say where to: "address" takes {names}; country is required.') from None


def _tell_refusal(
    order_id: uuid.UUID, action: Action, who: Actor | None, named: str, why: str, *, at: datetime
) -> None:
    with transaction.atomic():
        order = lock(order_id)
        same = (action, Action.ENDORSE) if action == Action.APPROVE else (action,)
        if who and order.events.filter(type__in=same, actor=who.name, at__gte=at - AGAIN).exists():
            return  # the same signal a second time, or the same person's click
        note_event(order, "signal_refused", at=at, action=action, by=named, why=why)

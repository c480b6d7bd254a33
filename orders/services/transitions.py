"""What every write to an order is made of: the row's lock, the step along the transition table, the event, the word
to the engine. Triggers on events and outbox send the NOTIFY, so that none can be forgotten.

The row decides every race. Callers open the transaction, and pass in who does it and when.
"""

import logging
import uuid
from datetime import datetime
from functools import partial

from django.db import OperationalError, transaction
from django.db.models import F
from psycopg.errors import LockNotAvailable

from orders.models import ActorKind, Event, Order, Outbox
from orders.services import mailing
from orders.services.actors import SYSTEM, Actor
from orders.states import Action, Status, next_status

logger = logging.getLogger(__name__)


class ActionRefused(Exception):
    """The order is not, or no longer, in a state that allows the action. The message is for the operator."""


class OrderBusy(ActionRefused):
    """Somebody else has held the order's row for longer than this connection waits for a lock."""

    def __init__(self) -> None:
        super().__init__("Somebody else is working on this order at this moment. Try again.")


def lock(order_id: uuid.UUID) -> Order:
    """Lock the order's row until the transaction ends.

    Raises Order.DoesNotExist, and OrderBusy where the connection has a `lock_timeout` and it has passed.
    """
    try:
        return Order.objects.select_for_update(no_key=True).get(pk=order_id)
    except OperationalError as error:
        if isinstance(error.__cause__, LockNotAvailable):
            raise OrderBusy from error
        raise


def transition(
    order: Order, action: Action, *, actor: Actor, at: datetime, outcome: str = "", **details: object
) -> None:
    """Move a locked order along the transition table, with its event, and a mail where the customer is told of it.

    `outcome` is what its page says of it now.

    Raises IllegalTransition where the table has no such step.
    """
    before, after = order.status_now, next_status(order.status_now, action)
    since, outcome = (order.status_at, outcome or order.outcome) if after == before else (at, outcome)
    moved = Order.objects.filter(pk=order.pk, status=before, version=order.version).update(
        status=after, status_at=since, version=F("version") + 1, outcome=outcome
    )
    if moved != 1:
        raise RuntimeError(f"{order} was changed by somebody without the lock")
    order.status, order.status_at, order.outcome = after, since, outcome
    order.version += 1
    told = {name: value for name, value in details.items() if value not in ("", None)}
    write_event(order, action, actor=actor, at=at, **{"from": before, "to": after}, **told)
    mailing.tell_customer(order, action, at=at)


def note_event(order: Order, type_: str, *, at: datetime, actor: Actor = SYSTEM, **details: object) -> None:
    """Record what happened to a locked order without a change of status."""
    Order.objects.filter(pk=order.pk, version=order.version).update(version=F("version") + 1)
    order.version += 1
    write_event(order, type_, actor=actor, at=at, **details)


def write_event(order: Order, type_: str, *, actor: Actor, at: datetime, **payload: object) -> None:
    Event.objects.create(
        order=order,
        sequence=order.version,
        type=type_,
        actor_kind=actor.kind,
        actor=actor.name,
        payload=payload,
        at=at,
    )
    transaction.on_commit(partial(_log_event, order.number, type_, actor, dict(payload)), robust=True)


def _log_event(number: str, type_: str, actor: Actor, payload: dict[str, object]) -> None:
    """One line for what has happened. What people wrote, and who the customer is, stays out of it."""
    who = actor.kind.value if actor.kind == ActorKind.CUSTOMER else actor.name
    change = f": {payload['from']} -> {payload['to']}" if "to" in payload else ""
    attempt = payload.get("attempt")
    which = f", attempt {attempt}" if attempt else ""
    keys = {"order": number, "step": type_, "actor": who, "attempt": attempt}
    logger.log(_level(type_), "%s %s%s%s, by %s", number, type_, which, change, who, extra=keys)


def _level(type_: str) -> int:
    if type_ == "place":  # an import places hundreds of thousands; each is told of when the engine takes it up
        return logging.DEBUG
    return logging.WARNING if type_.endswith("_failed") else logging.INFO


def tell_engine(order: Order, message: str, *, at: datetime, **payload: str) -> None:
    Outbox.objects.create(order=order, message=message, payload=payload, created_at=at)


def words(status: Status) -> str:
    return status.replace("_", " ")

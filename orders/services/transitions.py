"""What every write to an order is made of: the row's lock, the step along the transition table, the event, the word
to the engine. Triggers on events and outbox send the NOTIFY, so that none can be forgotten.

The row decides every race. Callers open the transaction, and pass in who does it and when.
"""

import logging
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

from django.db import OperationalError, connection, transaction
from django.db.models import F
from psycopg.errors import LockNotAvailable

from orders import tracing
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


@dataclass(frozen=True)
class Step:
    """A step of one order: what its page says of it now (empty: what it said), and what its event tells."""

    order: Order
    outcome: str = ""
    details: Mapping[str, object] = field(default_factory=dict)


def transition(
    order: Order, action: Action, *, actor: Actor, at: datetime, outcome: str = "", **details: object
) -> None:
    """Move a locked order along the transition table, with its event, and a mail where the customer is told of it.

    `outcome` is what its page says of it now.

    Raises IllegalTransition where the table has no such step.
    """
    transition_all([Step(order, outcome, details)], action, actor=actor, at=at)


def transition_all(steps: Sequence[Step], action: Action, *, actor: Actor, at: datetime) -> None:
    """Do the same for many locked orders, in as many queries as for one.

    Raises IllegalTransition where the table has no such step for one of them.
    """
    befores = [step.order.status_now for step in steps]
    afters = [next_status(before, action) for before in befores]
    for step, before, after in zip(steps, befores, afters, strict=True):
        if after == before:
            step.order.outcome = step.outcome or step.order.outcome
        else:
            step.order.status, step.order.status_at, step.order.outcome = after, at, step.outcome
    _move([step.order for step in steps], befores)
    told = [
        {"from": before, "to": after} | {name: value for name, value in step.details.items() if value not in ("", None)}
        for step, before, after in zip(steps, befores, afters, strict=True)
    ]
    orders = [step.order for step in steps]
    write_events(orders, action, told, actor=actor, at=at)
    mailing.tell_customers(orders, action, at=at)


def _move(orders: Sequence[Order], befores: Sequence[Status]) -> None:
    with connection.cursor() as cursor:
        # raw SQL: a conditional update of many rows, each to values of its own
        cursor.execute(
            """
            UPDATE orders_order AS moved
            SET status = step.status, status_at = step.status_at, outcome = step.outcome, version = moved.version + 1
            FROM unnest(%s::uuid[], %s::integer[], %s::text[], %s::text[], %s::timestamptz[], %s::text[])
                AS step (id, version, before, status, status_at, outcome)
            WHERE moved.id = step.id AND moved.version = step.version AND moved.status = step.before
            """,
            [
                [order.pk for order in orders],
                [order.version for order in orders],
                [str(before) for before in befores],
                [str(order.status) for order in orders],
                [order.status_at for order in orders],
                [order.outcome for order in orders],
            ],
        )
        if cursor.rowcount != len(orders):
            names = ", ".join(str(order) for order in orders[:5])
            raise RuntimeError(f"Changed by somebody without the lock: {names}")
    for order in orders:
        order.version += 1


def note_event(order: Order, type_: str, *, at: datetime, actor: Actor = SYSTEM, **details: object) -> None:
    """Record what happened to a locked order without a change of status."""
    Order.objects.filter(pk=order.pk, version=order.version).update(version=F("version") + 1)
    order.version += 1
    write_event(order, type_, actor=actor, at=at, **details)


def write_event(order: Order, type_: str, *, actor: Actor, at: datetime, **payload: object) -> None:
    write_events([order], type_, [payload], actor=actor, at=at)


def write_events(
    orders: Sequence[Order], type_: str, payloads: Sequence[Mapping[str, object]], *, actor: Actor, at: datetime
) -> None:
    Event.objects.bulk_create(
        Event(
            order=order,
            sequence=order.version,
            type=type_,
            actor_kind=actor.kind,
            actor=actor.name,
            user=actor.user,
            payload=payload,
            at=at,
        )
        for order, payload in zip(orders, payloads, strict=True)
    )
    for order, payload in zip(orders, payloads, strict=True):
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
    tell_engine_of_all([order], message, at=at, **payload)


def tell_engine_of_all(orders: Iterable[Order], message: str, *, at: datetime, **payload: str) -> None:
    """A message for each order's own workflow."""
    span = tracing.traceparent()  # the relay, in another process, goes on with this trace
    Outbox.objects.bulk_create(
        Outbox(order=order, message=message, payload=payload, created_at=at, traceparent=span) for order in orders
    )


def words(status: Status) -> str:
    return status.replace("_", " ")

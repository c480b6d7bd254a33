"""The package: the engine's steps before and after the warehouse and the carrier are called.

Each may run more than once: a step that is already behind the order does nothing, and every step answers with the
status it left.
"""

import uuid
from dataclasses import asdict, dataclass, field
from datetime import datetime

from django.conf import settings
from django.db import transaction

from orders.models import Order, Reservation, Review, Shipment
from orders.services.actors import SYSTEM
from orders.services.attending import halt
from orders.services.placing import address_of
from orders.services.transitions import lock, note_event, transition
from orders.states import Action, Status, may


@dataclass(frozen=True)
class Parcel:
    """What the warehouse or the carrier is asked for; without a key there is nothing to ask."""

    status: Status
    key: str = ""
    recipient: str = ""
    address: dict[str, str] = field(default_factory=dict)
    tries: int = 0  # failed ones under this key
    withdraw: list[str] = field(default_factory=list)  # keys under which no package may go any more


@dataclass(frozen=True)
class Recall:
    """What is left to ask the carrier for before a package counts as taken back."""

    status: Status
    withdraw: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Retry:
    """When to try again; None where nobody tries by itself any more."""

    status: Status
    attempt: int
    retry_at: datetime | None = None


def dispatch_key(order_id: uuid.UUID, number: int) -> str:
    """The carrier's idempotency key; each time that a person sends the package off again there is a new one."""
    return f"order-{order_id}:dispatch" + (f"-{number}" if number > 1 else "")


def begin_package(*, order_id: uuid.UUID, at: datetime) -> Parcel:
    """Open the shipment, with its idempotency key, before anybody calls the warehouse."""
    with transaction.atomic():
        order = lock(order_id)
        if may(order.status_now, Action.PREPARE):
            Shipment.objects.create(order=order, idempotency_key=dispatch_key(order.pk, 1), created_at=at)
            transition(order, Action.PREPARE, actor=SYSTEM, at=at)
        waits = Shipment.objects.filter(order=order, status=Shipment.State.PREPARING).exists()
        return Parcel(order.status_now, f"order-{order.id}:package" if waits else "")


def record_package(*, order_id: uuid.UUID, at: datetime) -> Status:
    """The package stands ready for the carrier."""
    with transaction.atomic():
        order = lock(order_id)
        if Shipment.objects.filter(order=order, status=Shipment.State.PREPARING).update(status=Shipment.State.PREPARED):
            note_event(order, "package_ready", at=at)
        return order.status_now


def begin_dispatch(*, order_id: uuid.UUID, at: datetime) -> Parcel:
    """Pass the point of no return, and fix the address that the carrier gets."""
    with transaction.atomic():
        order = lock(order_id)
        if may(order.status_now, Action.DISPATCH):
            Shipment.objects.filter(order=order).update(
                status=Shipment.State.DISPATCHING, address=asdict(address_of(order))
            )
            transition(order, Action.DISPATCH, actor=SYSTEM, at=at)
        if order.status_now != Status.DISPATCHING:
            return Parcel(order.status_now)
        shipment = order.shipment
        return Parcel(
            order.status_now,
            shipment.idempotency_key,
            order.customer_name,
            shipment.address or {},
            tries=shipment.tries,
            withdraw=_former_keys(shipment),
        )


def record_dispatch_failure(
    *, order_id: uuid.UUID, key: str, tries: int, reason: str, refused: bool, at: datetime
) -> Retry:
    """Record that the carrier did not take the package, and say when to try again.

    `key` and `tries` name the attempt, so that it counts once; without a key it is the present one. After
    `DISPATCH_TRIES`, or where the carrier `refused` for good, people are asked: nothing is undone by itself.
    """
    with transaction.atomic():
        order = lock(order_id)
        shipment = Shipment.objects.filter(order=order).first()
        if order.status_now != Status.DISPATCHING or shipment is None:
            return Retry(order.status_now, 0, at + settings.DISPATCH_RETRY_AFTER)
        if key and (key, tries) != (shipment.idempotency_key, shipment.tries):
            return Retry(order.status_now, shipment.tries, at)
        attempt = shipment.tries + 1
        again = not refused and attempt < settings.DISPATCH_TRIES
        retry_at = at + settings.DISPATCH_RETRY_AFTER * 2 ** (attempt - 1) if again else None
        told = {"retry_at": retry_at.isoformat()} if retry_at else {}
        note_event(order, "dispatch_failed", at=at, reason=reason, attempt=attempt, **told)
        if again:
            Shipment.objects.filter(pk=shipment.pk).update(tries=attempt)
        else:
            Shipment.objects.filter(pk=shipment.pk).update(
                status=Shipment.State.PREPARED,
                tries=0,
                number=shipment.number + 1,
                idempotency_key=dispatch_key(order.pk, shipment.number + 1),
            )
            halt(order, code="undeliverable", text=reason, at=at, at_deadline=Review.AtDeadline.ASK_AGAIN)
        return Retry(order.status_now, attempt, retry_at)


def _former_keys(shipment: Shipment) -> list[str]:
    return [dispatch_key(shipment.order_id, number) for number in range(1, shipment.number)]


def recall_package(*, order_id: uuid.UUID, at: datetime) -> Recall:
    """Take back a package that the carrier has not got; name what the carrier has to be asked for first."""
    with transaction.atomic():
        order = lock(order_id)
        shipment = Shipment.objects.filter(order=order).first()
        if shipment is None or shipment.status in (Shipment.State.DISPATCHED, Shipment.State.RECALLED):
            return Recall(order.status_now)
        if withdraw := _former_keys(shipment):
            return Recall(order.status_now, withdraw)
        _recall(order, at=at)
        return Recall(order.status_now)


def record_recall(*, order_id: uuid.UUID, carrier: str, tracking_number: str, at: datetime) -> Status:
    """Record the carrier's answer: all came back, or, with a `carrier`, this package has gone and its goods with it."""
    with transaction.atomic():
        order = lock(order_id)
        if not carrier:
            _recall(order, at=at)
        elif _dispatched(order, carrier, tracking_number, at=at):
            note_event(order, "recall_failed", at=at, carrier=carrier, tracking_number=tracking_number)
        return order.status_now


def _recall(order: Order, *, at: datetime) -> None:
    open_ = Shipment.objects.filter(order=order).exclude(
        status__in=[Shipment.State.DISPATCHED, Shipment.State.RECALLED]
    )
    if open_.update(status=Shipment.State.RECALLED):
        note_event(order, "recall", at=at)


def _dispatched(order: Order, carrier: str, tracking_number: str, *, at: datetime) -> bool:
    """The carrier has the package, and what was held for the order is gone; False where that was known."""
    sent = (
        Shipment.objects.filter(order=order)
        .exclude(status=Shipment.State.DISPATCHED)
        .update(status=Shipment.State.DISPATCHED, carrier=carrier, tracking_number=tracking_number, dispatched_at=at)
    )
    if sent:
        order.reservations.filter(state=Reservation.State.HELD).update(state=Reservation.State.SHIPPED)
    return bool(sent)


def record_dispatch(*, order_id: uuid.UUID, carrier: str, tracking_number: str, at: datetime) -> Status:
    """The carrier has the package: what was held for the order is gone."""
    with transaction.atomic():
        order = lock(order_id)
        if may(order.status_now, Action.CONFIRM_DISPATCH):
            _dispatched(order, carrier, tracking_number, at=at)
            transition(
                order,
                Action.CONFIRM_DISPATCH,
                actor=SYSTEM,
                at=at,
                carrier=carrier,
                tracking_number=tracking_number,
            )
        return order.status_now

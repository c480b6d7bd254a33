"""The package: the engine's steps before and after the warehouse and the carrier are called.

Each may run more than once: a step that is already behind the order does nothing, and every step answers with the
status it left.
"""

import uuid
from dataclasses import asdict, dataclass, field
from datetime import datetime

from django.db import transaction

from orders.models import Reservation, Shipment
from orders.services.actors import SYSTEM
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


def begin_package(*, order_id: uuid.UUID, at: datetime) -> Parcel:
    """Open the shipment, with its idempotency key, before anybody calls the warehouse."""
    with transaction.atomic():
        order = lock(order_id)
        if may(order.status_now, Action.PREPARE):
            Shipment.objects.create(order=order, idempotency_key=f"order-{order.id}:dispatch", created_at=at)
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
        return Parcel(order.status_now, shipment.idempotency_key, order.customer_name, shipment.address or {})


def record_dispatch(*, order_id: uuid.UUID, carrier: str, tracking_number: str, at: datetime) -> Status:
    """The carrier has the package: what was held for the order is gone."""
    with transaction.atomic():
        order = lock(order_id)
        if may(order.status_now, Action.CONFIRM_DISPATCH):
            Shipment.objects.filter(order=order).update(
                status=Shipment.State.DISPATCHED,
                carrier=carrier,
                tracking_number=tracking_number,
                dispatched_at=at,
            )
            Reservation.objects.filter(order=order, state=Reservation.State.HELD).update(
                state=Reservation.State.SHIPPED
            )
            transition(
                order,
                Action.CONFIRM_DISPATCH,
                actor=SYSTEM,
                at=at,
                carrier=carrier,
                tracking_number=tracking_number,
            )
        return order.status_now

"""Stock, money, package: the engine's steps after approval.

Each may run more than once: a step that is already behind the order does nothing, and every step answers with the
status it left.
"""

import uuid
from dataclasses import asdict, dataclass, field
from datetime import datetime

from django.db import transaction
from django.db.models import F

from orders.models import Payment, Product, Reservation, Shipment
from orders.services.actors import SYSTEM
from orders.services.placing import address_of
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


@dataclass(frozen=True)
class Parcel:
    """What the warehouse or the carrier is asked for; without a key there is nothing to ask."""

    status: Status
    key: str = ""
    recipient: str = ""
    address: dict[str, str] = field(default_factory=dict)


def reserve_stock(*, order_id: uuid.UUID, at: datetime) -> Status:
    """Hold the order's goods; short stock fails the order and holds nothing."""
    with transaction.atomic():
        order = lock(order_id)
        if not may(order.status_now, Action.RESERVE):
            return order.status_now
        wanted: dict[int, int] = {}
        for line in order.lines.all():
            wanted[line.product_id] = wanted.get(line.product_id, 0) + line.quantity
        products = Product.objects.select_for_update(no_key=True).filter(pk__in=wanted).order_by("pk")
        short = [product for product in products if product.stock < wanted[product.pk]]
        if short:
            outcome = "Not enough in stock: " + ", ".join(
                f"{product.sku} (wanted {wanted[product.pk]}, there are {product.stock})" for product in short[:5]
            )
            transition(order, Action.FAIL, actor=SYSTEM, at=at, outcome=outcome[:500])
            return order.status_now
        for product_id, quantity in wanted.items():
            Product.objects.filter(pk=product_id).update(stock=F("stock") - quantity)
        Reservation.objects.bulk_create(
            Reservation(order=order, product_id=product_id, quantity=quantity)
            for product_id, quantity in wanted.items()
        )
        transition(order, Action.RESERVE, actor=SYSTEM, at=at, units=sum(wanted.values()))
        return order.status_now


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


def complete_order(*, order_id: uuid.UUID, at: datetime) -> Status:
    with transaction.atomic():
        order = lock(order_id)
        if may(order.status_now, Action.COMPLETE):
            transition(order, Action.COMPLETE, actor=SYSTEM, at=at)
        return order.status_now

"""Holding stock and closing the order: the engine's first step after approval and its last.

Each may run more than once: a step that is already behind the order does nothing, and every step answers with the
status it left.
"""

import uuid
from datetime import datetime

from django.db import transaction
from django.db.models import F

from orders.models import Product, Reservation
from orders.services.actors import SYSTEM
from orders.services.attending import halt
from orders.services.paying import create_charge
from orders.services.transitions import lock, transition
from orders.states import Action, Status, may


def reserve_stock(*, order_id: uuid.UUID, at: datetime) -> Status:
    """Hold the order's goods. Where there are too few nothing is held, and people are asked."""
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
            halt(order, code="stock_short", text=outcome, at=at)
            return order.status_now
        for product_id, quantity in wanted.items():
            Product.objects.filter(pk=product_id).update(stock=F("stock") - quantity)
        Reservation.objects.bulk_create(
            Reservation(order=order, product_id=product_id, quantity=quantity)
            for product_id, quantity in wanted.items()
        )
        create_charge(order, at=at)
        transition(order, Action.RESERVE, actor=SYSTEM, at=at, units=sum(wanted.values()))
        return order.status_now


def complete_order(*, order_id: uuid.UUID, at: datetime) -> Status:
    with transaction.atomic():
        order = lock(order_id)
        if may(order.status_now, Action.COMPLETE):
            transition(order, Action.COMPLETE, actor=SYSTEM, at=at)
        return order.status_now

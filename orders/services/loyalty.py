"""Points for customers, once their package is on its way."""

import uuid
from datetime import datetime

from django.db import transaction

from orders import money
from orders.models import LoyaltyEntry
from orders.services.transitions import lock, note_event
from orders.states import Status


def award_points(*, order_id: uuid.UUID, at: datetime) -> Status:
    """Give a point for each whole unit of the order's total, once. A total of less than one gives none."""
    with transaction.atomic():
        order = lock(order_id)
        points = int(money.to_amount(order.total_minor, order.currency))
        if order.status_now != Status.DISPATCHED or not points:
            return order.status_now
        _, created = LoyaltyEntry.objects.get_or_create(order=order, defaults={"points": points, "awarded_at": at})
        if created:
            note_event(order, "loyalty_points", at=at, points=points)
        return order.status_now

"""Stock that orders hold, and the packages that it goes out in."""

from django.db import models
from django.db.models import Q

from orders.models.orders import Order, Product


class Reservation(models.Model):
    """Stock that an order holds, has given back, or has sent away."""

    class State(models.TextChoices):
        HELD = "held"
        RELEASED = "released"
        SHIPPED = "shipped"

    order = models.ForeignKey(Order, on_delete=models.PROTECT, related_name="reservations")
    product = models.ForeignKey(Product, on_delete=models.PROTECT, related_name="reservations")
    quantity = models.PositiveIntegerField()
    state = models.CharField(max_length=10, choices=State.choices, default=State.HELD)

    class Meta:
        ordering = ["order", "product"]
        constraints = [
            models.CheckConstraint(condition=Q(quantity__gte=1), name="reservation_quantity_positive"),
            models.CheckConstraint(
                condition=Q(state__in=["held", "released", "shipped"]), name="reservation_state_known"
            ),
            models.UniqueConstraint(fields=["order", "product"], name="reservation_once_per_product"),
        ]

    def __str__(self) -> str:
        return f"{self.quantity} of {self.product_id}, {self.state}"


class Shipment(models.Model):
    """The package of an order. The address is what the carrier was given, copied at dispatch.

    After a person's retry the carrier is asked under a new key, and the former ones are taken back: `number` counts
    them. `tries` are the failed ones under the present key.
    """

    class State(models.TextChoices):
        PREPARING = "preparing"
        PREPARED = "prepared"
        DISPATCHING = "dispatching"
        DISPATCHED = "dispatched"
        RECALLED = "recalled"

    order = models.OneToOneField(Order, on_delete=models.PROTECT, related_name="shipment")
    idempotency_key = models.CharField(max_length=80, unique=True)
    status = models.CharField(max_length=20, choices=State.choices, default=State.PREPARING)
    carrier = models.CharField(max_length=60, blank=True)
    tracking_number = models.CharField(max_length=80, blank=True)
    address = models.JSONField(null=True, blank=True)
    number = models.PositiveSmallIntegerField(default=1)
    tries = models.PositiveSmallIntegerField(default=0)
    created_at = models.DateTimeField()
    dispatched_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["created_at", "id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(status__in=["preparing", "prepared", "dispatching", "dispatched", "recalled"]),
                name="shipment_status_known",
            )
        ]

    def __str__(self) -> str:
        return self.idempotency_key

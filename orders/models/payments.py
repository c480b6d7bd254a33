"""Money that moves, and the points that it earns."""

from collections.abc import Mapping

from django.db import models
from django.db.models import Q

from orders.models.orders import Order


class Payment(models.Model):
    """One movement of money, asked of the provider under a key that was stored before the first call."""

    class Kind(models.TextChoices):
        CHARGE = "charge"
        REFUND = "refund"

    class State(models.TextChoices):
        CREATED = "created"  # wanted, with its key; nobody has asked the bank yet
        PROCESSING = "processing"  # the bank is being asked: whether it has acted is unknown
        REQUIRES_ACTION = "requires_action"  # the bank waits for the customer's word
        SUCCEEDED = "succeeded"  # the money has moved
        FAILED = "failed"  # the bank, or the customer, said no
        CANCELLED = "cancelled"  # nothing moved, and nothing will under that key

    order = models.ForeignKey(Order, on_delete=models.PROTECT, related_name="payments")
    idempotency_key = models.CharField(max_length=80, unique=True)
    kind = models.CharField(max_length=10, choices=Kind.choices)
    amount_minor = models.BigIntegerField()
    currency = models.CharField(max_length=3)
    status = models.CharField(max_length=20, choices=State.choices, default=State.CREATED)
    provider_reference = models.CharField(max_length=80, blank=True)
    error = models.CharField(max_length=300, blank=True)
    created_at = models.DateTimeField()
    confirm_by = models.DateTimeField(null=True, blank=True, help_text="Until when the customer has to confirm it.")
    settled_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["created_at", "id"]
        constraints = [
            models.CheckConstraint(condition=Q(kind__in=["charge", "refund"]), name="payment_kind_known"),
            models.CheckConstraint(
                condition=Q(
                    status__in=[
                        "created",
                        "processing",
                        "requires_action",
                        "succeeded",
                        "failed",
                        "cancelled",
                    ]
                ),
                name="payment_status_known",
            ),
            models.CheckConstraint(condition=Q(amount_minor__gte=0), name="payment_amount_not_negative"),
            models.UniqueConstraint(
                fields=["order"],
                condition=Q(kind="charge", status="succeeded"),
                name="payment_one_charge_per_order",
            ),
        ]
        indexes = [
            models.Index(
                fields=["provider_reference"],
                name="payment_reference",
                opclasses=["varchar_pattern_ops"],
                condition=~Q(provider_reference=""),
            ),
            models.Index(
                "status",
                "created_at",
                "id",
                name="payment_under_way",
                condition=Q(status__in=["processing", "requires_action"]),
            ),
        ]

    def __str__(self) -> str:
        return self.idempotency_key


# What may follow what in the life of a payment. The others are final; a trigger in the database holds the same table.
PAYMENT_STEPS: Mapping[str, frozenset[str]] = {
    Payment.State.CREATED: frozenset({Payment.State.PROCESSING, Payment.State.CANCELLED}),
    Payment.State.PROCESSING: frozenset(
        {Payment.State.REQUIRES_ACTION, Payment.State.SUCCEEDED, Payment.State.FAILED, Payment.State.CANCELLED}
    ),
    Payment.State.REQUIRES_ACTION: frozenset({Payment.State.SUCCEEDED, Payment.State.FAILED, Payment.State.CANCELLED}),
}


class LoyaltyEntry(models.Model):
    """The points that an order earned its customer: one for each whole unit of its total."""

    order = models.OneToOneField(Order, on_delete=models.PROTECT, related_name="loyalty")
    points = models.BigIntegerField()
    awarded_at = models.DateTimeField()

    class Meta:
        ordering = ["order"]
        verbose_name_plural = "loyalty entries"
        constraints = [models.CheckConstraint(condition=Q(points__gte=1), name="loyalty_points_positive")]

    def __str__(self) -> str:
        return f"{self.points} for {self.order_id}"

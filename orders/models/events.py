"""What happened to orders, for ever."""

from django.conf import settings
from django.contrib.postgres.indexes import BrinIndex
from django.db import models
from django.db.models import Q

from orders.models.orders import Order
from orders.states import COMES_BACK


class ActorKind(models.TextChoices):
    """What kind of somebody did it."""

    OPERATOR = "operator"
    CUSTOMER = "customer"
    SYSTEM = "system"


class Event(models.Model):
    """What happened to an order, in order.

    Triggers chain each to the one before it by `hash` (orders/chain.py), and refuse change and deletion.
    """

    id = models.BigAutoField(primary_key=True)
    order = models.ForeignKey(Order, on_delete=models.PROTECT, related_name="events")
    sequence = models.PositiveIntegerField()
    type = models.CharField(max_length=40)
    actor_kind = models.CharField(max_length=10, choices=ActorKind.choices)
    actor = models.CharField(max_length=150, help_text="As they were called then.")
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        related_name="+",
        null=True,
        blank=True,
        db_index=False,
        help_text="Whose account it was done with; of older events only the name is known.",
    )
    payload = models.JSONField(default=dict)
    at = models.DateTimeField()
    hash = models.BinaryField(
        max_length=32,
        db_default=b"",
        editable=False,
        help_text="What it says, and the hash of the order's event before it; written by the database alone.",
    )

    class Meta:
        ordering = ["order", "sequence"]
        constraints = [
            models.UniqueConstraint(fields=["order", "sequence"], name="event_sequence_once_per_order"),
            models.CheckConstraint(condition=Q(sequence__gte=1), name="event_sequence_from_one"),
            models.CheckConstraint(condition=Q(actor_kind__in=ActorKind.values), name="event_actor_kind_known"),
        ]
        indexes = [
            models.Index("id", name="event_came_back", condition=Q(type__in=[*map(str, COMES_BACK)])),
            BrinIndex(fields=["at"], name="event_at", autosummarize=True),  # for periods: audits, not pages
        ]

    def __str__(self) -> str:
        return f"{self.order_id} #{self.sequence} {self.type}"

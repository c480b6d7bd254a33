"""What the engine is to be told, and who is there to tell it."""

from django.db import models
from django.db.models import Q

from orders.models.orders import Order


class Outbox(models.Model):
    """What the engine has yet to be told. Written with the change itself, delivered by the relay."""

    id = models.BigAutoField(primary_key=True)
    order = models.ForeignKey(Order, on_delete=models.PROTECT, related_name="outbox")
    message = models.CharField(max_length=20, help_text="`start`, or the name of a signal.")
    payload = models.JSONField(default=dict)
    created_at = models.DateTimeField()
    delivered_at = models.DateTimeField(null=True, blank=True)
    attempts = models.PositiveIntegerField(default=0)
    last_error = models.CharField(max_length=300, blank=True)
    traceparent = models.CharField(max_length=55, blank=True, db_default="", help_text="The span that wrote it.")

    class Meta:
        ordering = ["id"]
        verbose_name_plural = "outbox"
        indexes = [models.Index("order", "id", name="outbox_undelivered", condition=Q(delivered_at=None))]

    def __str__(self) -> str:
        return f"{self.message} for {self.order_id}"


class Heartbeat(models.Model):
    """The life sign of one worker process, and when it last reached Temporal."""

    worker = models.CharField(max_length=120, primary_key=True)
    queues = models.CharField(max_length=120)
    build = models.CharField(max_length=120, blank=True, db_default="", help_text="WORKER_BUILD_ID, if it has one.")
    started_at = models.DateTimeField()
    seen_at = models.DateTimeField()
    temporal_seen_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["worker"]

    def __str__(self) -> str:
        return self.worker


class Drift(models.Model):
    """What the reconciler found when it looked last: one row. `orders` are the first of those that stand still."""

    looked_at = models.DateTimeField()
    number = models.PositiveIntegerField()
    orders = models.JSONField(default=list)

    class Meta:
        ordering = ["pk"]
        verbose_name_plural = "drift"
        constraints = [models.CheckConstraint(condition=Q(pk=1), name="drift_is_one_row")]

    def __str__(self) -> str:
        return f"{self.number} at {self.looked_at}"

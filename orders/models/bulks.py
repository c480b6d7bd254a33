"""Decisions on many orders at once."""

import uuid

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.urls import reverse

from orders.models.orders import Order
from orders.models.reviews import RejectReason


class Bulk(models.Model):
    """One decision on many orders, each as it was when the decision was made. A worker carries it out.

    Every event that comes of it bears its id. It is over once `finished_at` is set.
    """

    class Action(models.TextChoices):
        APPROVE = "approve"
        REJECT = "reject"
        EXTEND = "extend"
        HAND_OVER = "hand_over"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    action = models.CharField(max_length=10, choices=Action.choices)
    note = models.TextField(blank=True, help_text="The reason, for each of the orders.")
    reject_reason = models.ForeignKey(RejectReason, on_delete=models.PROTECT, related_name="+", null=True, blank=True)
    more = models.DurationField(null=True, blank=True, help_text="How much time an extension gives.")
    colleague = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        related_name="+",
        null=True,
        blank=True,
        help_text="Whom the orders are handed over to.",
    )
    size = models.PositiveIntegerField(help_text="How many orders.")
    refused = models.PositiveIntegerField(default=0, help_text="How many were refused; known once it is finished.")
    endorsed = models.PositiveIntegerField(
        default=0, db_default=0, help_text="How many need one more person to approve; known once it is finished."
    )
    made_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    made_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-made_at", "-id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(action__in=["approve", "reject", "extend", "hand_over"]), name="bulk_action_known"
            ),
            models.CheckConstraint(condition=Q(size__gte=1), name="bulk_not_empty"),
        ]
        indexes = [
            models.Index(F("made_at").desc(), F("id").desc(), name="bulk_newest"),
            models.Index("made_by", F("made_at").desc(), F("id").desc(), name="bulk_newest_of_person"),
            models.Index("made_at", "id", name="bulk_unfinished", condition=Q(finished_at=None)),
        ]

    def __str__(self) -> str:
        return f"{self.action} {self.size}"

    def get_absolute_url(self) -> str:
        return reverse("orders:bulk", args=[self.id])


class BulkMember(models.Model):
    """One of the orders of a bulk, and what became of it there; without a `result` it waits to be done."""

    class Result(models.TextChoices):
        DONE = "done"
        ENDORSED = "endorsed"  # approved by the first of two
        REFUSED = "refused"

    id = models.BigAutoField(primary_key=True)
    bulk = models.ForeignKey(Bulk, on_delete=models.PROTECT, related_name="members")
    position = models.PositiveIntegerField()
    order = models.ForeignKey(Order, on_delete=models.PROTECT, related_name="+")
    seen = models.PositiveIntegerField(help_text="The order's version when the decision was made.")
    result = models.CharField(max_length=10, choices=Result.choices, blank=True)
    why = models.CharField(max_length=300, blank=True, help_text="Why it was refused.")
    at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["bulk", "position"]
        constraints = [
            models.UniqueConstraint(fields=["bulk", "position"], name="bulk_member_position_once"),
            models.UniqueConstraint(fields=["bulk", "order"], name="bulk_member_order_once"),
            models.CheckConstraint(
                condition=Q(result__in=["", "done", "endorsed", "refused"]), name="bulk_member_result_known"
            ),
            models.CheckConstraint(
                condition=Q(result="", at=None) | (~Q(result="") & ~Q(at=None)), name="bulk_member_result_has_instant"
            ),
        ]
        indexes = [models.Index("bulk", "position", name="bulk_member_waiting", condition=Q(result=""))]

    def __str__(self) -> str:
        return f"{self.bulk_id} #{self.position}"

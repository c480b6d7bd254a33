"""What colleagues write on orders, and whom they mention."""

from django.conf import settings
from django.db import models
from django.db.models import F, Q

from orders.models.orders import Order


class Note(models.Model):
    """What a colleague wrote on an order, as it reads now. Every wording that it had is in the order's events."""

    order = models.ForeignKey(Order, on_delete=models.PROTECT, related_name="notes")
    author = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    text = models.TextField()
    written_at = models.DateTimeField()
    edited_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["id"]
        constraints = [models.CheckConstraint(condition=~Q(text=""), name="note_not_empty")]
        indexes = [models.Index("order", F("id").desc(), name="note_newest_of_order")]

    def __str__(self) -> str:
        return f"Note {self.pk} on {self.order_id}"


class Mention(models.Model):
    """A colleague named in a note: a badge until they have seen it."""

    note = models.ForeignKey(Note, on_delete=models.PROTECT, related_name="mentions")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    at = models.DateTimeField()
    seen_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["id"]
        constraints = [models.UniqueConstraint(fields=["note", "user"], name="mention_once_per_note")]
        indexes = [
            models.Index("user", F("id").desc(), name="mention_newest_of_user"),
            models.Index("user", name="mention_unseen", condition=Q(seen_at=None)),
        ]

    def __str__(self) -> str:
        return f"{self.user_id} in note {self.note_id}"

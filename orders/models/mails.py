"""What customers and colleagues are told by mail."""

from django.db import models
from django.db.models import Q

from orders.models.orders import Order


class Mail(models.Model):
    """What the customer, or a colleague, is told of one event, whose sequence it bears. Written with the event, sent
    by a worker.

    While `next_try_at` is set it waits to be sent; without it and without `sent_at` it was refused for good.
    """

    class Kind(models.TextChoices):
        CONFIRMED = "confirmed"
        CONFIRM_PAYMENT = "confirm_payment"
        SHIPPED = "shipped"
        NOT_ACCEPTED = "not_accepted"
        CANCELLED = "cancelled"
        FAILED = "failed"
        REFUNDED = "refunded"
        MENTIONED = "mentioned"  # to a colleague, not to the customer
        QUESTION = "question"

    order = models.ForeignKey(Order, on_delete=models.PROTECT, related_name="mails")
    sequence = models.PositiveIntegerField()
    kind = models.CharField(max_length=20, choices=Kind.choices)
    recipient = models.CharField(max_length=254)
    subject = models.CharField(max_length=200)
    body = models.TextField()
    message_id = models.CharField(max_length=320, unique=True, help_text="The same each time it is sent.")
    created_at = models.DateTimeField()
    sent_at = models.DateTimeField(null=True, blank=True)
    next_try_at = models.DateTimeField(null=True, blank=True)
    attempts = models.PositiveIntegerField(default=0)
    last_error = models.CharField(max_length=300, blank=True)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["order", "sequence", "recipient"], name="mail_once_per_event"),
            models.CheckConstraint(
                condition=Q(
                    kind__in=[
                        "confirmed",
                        "confirm_payment",
                        "shipped",
                        "not_accepted",
                        "cancelled",
                        "failed",
                        "refunded",
                        "mentioned",
                        "question",
                    ],
                ),
                name="mail_kind_known",
            ),
            models.CheckConstraint(condition=Q(sent_at=None) | Q(next_try_at=None), name="mail_sent_or_waiting"),
        ]
        indexes = [models.Index("next_try_at", "id", name="mail_waiting", condition=~Q(next_try_at=None))]

    def __str__(self) -> str:
        return self.message_id

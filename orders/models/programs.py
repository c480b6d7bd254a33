"""Programs that call the API, and what they asked for once."""

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from orders.models.bulks import Bulk
from orders.models.notes import Note
from orders.models.orders import Order
from orders.models.payments import Payment


class ApiScope(models.TextChoices):
    """What a client of the API may ask for."""

    READ = "read"
    PLACE = "place"
    DECIDE = "decide"


class ApiClient(models.Model):
    """A program that calls the API. Of its token only the hash is kept; it decides as `user`, with that role."""

    name = models.CharField(max_length=40, unique=True, help_text="Also the source of the orders that it places.")
    token_hash = models.CharField(max_length=64, unique=True, editable=False)
    scopes = ArrayField(models.CharField(max_length=10, choices=ApiScope.choices))
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", null=True, blank=True
    )
    created_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True, help_text="To the minute.")

    class Meta:
        ordering = ["name"]
        verbose_name = "API client"
        constraints = [
            models.CheckConstraint(condition=Q(scopes__contained_by=ApiScope.values), name="api_client_scopes_known"),
            models.CheckConstraint(
                condition=~Q(scopes__contains=["decide"]) | Q(user__isnull=False), name="api_client_decides_as_somebody"
            ),
        ]

    def __str__(self) -> str:
        return self.name


class IdempotencyKey(models.Model):
    """The name that a client gave to one request, and what came of it: an order placed, a refund of one or a note on
    one, or a decision on many.
    """

    client = models.ForeignKey(ApiClient, on_delete=models.PROTECT, related_name="+")
    key = models.CharField(max_length=80)
    body_hash = models.CharField(max_length=64)
    order = models.ForeignKey(Order, on_delete=models.PROTECT, related_name="+", null=True, blank=True)
    refund = models.ForeignKey(Payment, on_delete=models.PROTECT, related_name="+", null=True, blank=True)
    note = models.ForeignKey(Note, on_delete=models.PROTECT, related_name="+", null=True, blank=True)
    bulk = models.ForeignKey(Bulk, on_delete=models.PROTECT, related_name="+", null=True, blank=True)
    created_at = models.DateTimeField()

    class Meta:
        ordering = ["client", "key"]
        constraints = [
            models.UniqueConstraint(fields=["client", "key"], name="idempotency_key_once_per_client"),
            models.CheckConstraint(
                condition=Q(order__isnull=False) | Q(bulk__isnull=False), name="idempotency_key_stands_for_something"
            ),
        ]

    def __str__(self) -> str:
        return self.key

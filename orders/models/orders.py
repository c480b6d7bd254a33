"""Orders and what is ordered."""

import uuid
from decimal import Decimal
from functools import cache

from django.conf import settings
from django.contrib.postgres.indexes import GinIndex
from django.contrib.postgres.search import SearchVector, SearchVectorField
from django.db import models
from django.db.models import Case, F, Q, Value, When
from django.db.models.functions import Cast, Concat, Upper
from django.urls import reverse

from orders.money import unusual_decimals
from orders.roles import RIGHTS
from orders.states import CLAIMING, HUMAN_ACTIONS, PUTTING_OFF, WAITS_FOR_PEOPLE, Status

# The few among all orders that wait for people: a list of them never touches the others.
_WAITING = Q(status__in=sorted(WAITS_FOR_PEOPLE))


@cache
def _page_of_any() -> str:
    """The address of an order's page with a place for its key: lists name very many."""
    none = uuid.UUID(int=0)
    return reverse("orders:order", args=[none]).replace(str(none), "{}")


class Product(models.Model):
    """Goods we sell. `stock` is what is free to be reserved; what orders hold is in `Reservation`."""

    sku = models.CharField(max_length=40, unique=True)
    name = models.CharField(max_length=200)
    stock = models.BigIntegerField(default=0)
    forbidden_reason = models.CharField(
        max_length=200, blank=True, help_text="Why this may not be sold; empty: it may."
    )

    class Meta:
        ordering = ["sku"]
        constraints = [models.CheckConstraint(condition=Q(stock__gte=0), name="product_stock_not_negative")]

    def __str__(self) -> str:
        return f"{self.sku} {self.name}"


class Order(models.Model):
    """One customer's order. `version` is the sequence of its last event."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    number = models.CharField(
        max_length=20,
        unique=True,
        editable=False,
        db_default=Concat(
            Value("CS-"),
            Cast(models.Func(Value("orders_number"), function="nextval"), models.CharField()),
            output_field=models.CharField(),
        ),
    )
    source = models.CharField(max_length=40, help_text="Where the order came from.")
    reference = models.CharField(max_length=80, blank=True, help_text="Its number there; unique within the source.")
    status = models.CharField(max_length=20, choices=[(s, s) for s in Status], default=Status.PLACED)
    status_at = models.DateTimeField(help_text="Since when it has this status.")
    outcome = models.CharField(max_length=500, blank=True, help_text="Why it ended as it did, in an operator's words.")
    version = models.PositiveIntegerField(default=0)
    customer_name = models.CharField(max_length=200)
    customer_email = models.CharField(max_length=254, blank=True)
    card_fingerprint = models.CharField(
        max_length=64,
        blank=True,
        default="",
        db_default="",
        help_text="Tells one card from another, as the bank does; never the card's number.",
    )
    address_line1 = models.CharField(max_length=200, blank=True)
    address_line2 = models.CharField(max_length=200, blank=True)
    address_city = models.CharField(max_length=100, blank=True)
    address_region = models.CharField(max_length=100, blank=True)
    address_postal_code = models.CharField(max_length=20, blank=True)
    address_country = models.CharField(max_length=2, help_text="ISO 3166-1 alpha-2.")
    currency = models.CharField(max_length=3, help_text="ISO 4217.")
    total_minor = models.BigIntegerField()
    amount = models.GeneratedField(
        expression=Case(
            *(
                When(currency__in=currencies, then=F("total_minor") * Value(Decimal(1).scaleb(-decimals)))
                for decimals, currencies in unusual_decimals().items()
            ),
            default=F("total_minor") * Value(Decimal("0.01")),
            output_field=models.DecimalField(max_digits=20, decimal_places=4),
        ),
        output_field=models.DecimalField(max_digits=20, decimal_places=4),
        db_persist=True,
        help_text="The total in whole units of its currency, as lists compare it.",
    )
    decide_within = models.DurationField(null=True, blank=True, help_text="A promise of its own; empty: the desk's.")
    placed_at = models.DateTimeField()
    placed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        related_name="+",
        null=True,
        blank=True,
        help_text="Who placed it, where that is somebody with an account here: they cannot approve it.",
    )
    search = models.GeneratedField(
        expression=SearchVector(
            models.Func(
                Concat(
                    "number",
                    Value(" "),
                    "reference",
                    Value(" "),
                    "customer_name",
                    Value(" "),
                    "customer_email",
                    Value(" "),
                    "address_line1",
                    Value(" "),
                    "address_line2",
                    Value(" "),
                    "address_postal_code",
                    Value(" "),
                    "address_city",
                    Value(" "),
                    "address_region",
                ),
                Value("@.-_+/"),
                Value("      "),
                function="translate",
                output_field=models.TextField(),
            ),
            config="simple",
        ),
        output_field=SearchVectorField(),
        db_persist=True,
    )

    class Meta:
        ordering = ["-placed_at", "-id"]
        permissions = [
            *((f"{action}_order", f"Can {action} an order") for action in (*HUMAN_ACTIONS, *CLAIMING, *PUTTING_OFF)),
            *((right.codename, f"Can {right.told}") for right in RIGHTS),
        ]
        constraints = [
            models.CheckConstraint(condition=Q(status__in=list(Status)), name="order_status_known"),
            models.CheckConstraint(condition=Q(total_minor__gte=0), name="order_total_not_negative"),
            models.CheckConstraint(condition=Q(currency__regex=r"^[A-Z]{3}$"), name="order_currency_iso"),
            models.CheckConstraint(condition=Q(address_country__regex=r"^[A-Z]{2}$"), name="order_country_iso"),
            models.UniqueConstraint(
                fields=["source", "reference"],
                condition=~Q(reference=""),
                name="order_reference_once_per_source",
            ),
        ]
        indexes = [
            models.Index(F("placed_at").desc(), F("id").desc(), name="order_newest"),
            models.Index("status", F("placed_at").desc(), F("id").desc(), name="order_newest_by_status"),
            models.Index(
                "customer_email",
                F("placed_at").desc(),
                name="order_same_email",
                condition=~Q(customer_email=""),
            ),
            models.Index(
                "card_fingerprint", F("placed_at").desc(), name="order_same_card", condition=~Q(card_fingerprint="")
            ),
            models.Index(Upper("customer_name"), F("placed_at").desc(), name="order_same_name"),
            models.Index(
                Upper("address_line1"),
                "address_postal_code",
                "address_country",
                F("placed_at").desc(),
                name="order_same_address",
                condition=~Q(address_line1=""),
            ),
            models.Index(F("amount").desc(), F("id").desc(), name="order_largest"),
            models.Index("address_country", F("placed_at").desc(), F("id").desc(), name="order_newest_by_country"),
            models.Index("address_country", "amount", name="order_country_amount"),
            GinIndex("search", name="order_search"),
            models.Index(F("placed_at").desc(), F("id").desc(), name="order_waiting_newest", condition=_WAITING),
            models.Index(F("amount").desc(), F("id").desc(), name="order_waiting_largest", condition=_WAITING),
            models.Index("address_country", name="order_waiting_country", condition=_WAITING),
            GinIndex("search", name="order_waiting_search", condition=_WAITING),
        ]

    def __str__(self) -> str:
        return self.number

    def get_absolute_url(self) -> str:
        return _page_of_any().format(self.id)

    @property
    def status_now(self) -> Status:
        return Status(self.status)


class OrderLine(models.Model):
    order = models.ForeignKey(Order, on_delete=models.PROTECT, related_name="lines", db_index=False)
    product = models.ForeignKey(Product, on_delete=models.PROTECT, related_name="+", db_index=False)
    position = models.PositiveSmallIntegerField()
    quantity = models.PositiveIntegerField()
    unit_price_minor = models.BigIntegerField()

    class Meta:
        ordering = ["order", "position"]
        constraints = [
            models.CheckConstraint(condition=Q(quantity__gte=1), name="line_quantity_positive"),
            models.CheckConstraint(condition=Q(unit_price_minor__gte=0), name="line_price_not_negative"),
            models.UniqueConstraint(fields=["order", "position"], name="line_position_once_per_order"),
        ]
        # Which orders have a product is read from it alone.
        indexes = [models.Index("product", "order", name="line_product")]

    def __str__(self) -> str:
        return f"{self.quantity} of {self.product_id}"

    @property
    def total_minor(self) -> int:
        return self.quantity * self.unit_price_minor

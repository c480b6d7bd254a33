"""The tables. What must never be untrue is a constraint here; nothing in this module writes.

A column that came later has a `db_default`: while a new version starts, the one before still writes.

Money is whole minor units (cents) beside a currency; `_at` is an instant in UTC.
"""

import uuid
from collections.abc import Mapping
from decimal import Decimal

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.contrib.postgres.search import SearchVector, SearchVectorField
from django.db import models
from django.db.models import Case, F, Q, Value, When
from django.db.models.functions import Cast, Concat, Upper
from django.urls import reverse

from orders.money import unusual_decimals
from orders.roles import RIGHTS
from orders.states import CLAIMING, COMES_BACK, HUMAN_ACTIONS, PUTTING_OFF, WAITS_FOR_PEOPLE, Status

# The few among all orders that wait for people: a list of them never touches the others.
_WAITING = Q(status__in=sorted(WAITS_FOR_PEOPLE))


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
            GinIndex("search", name="order_search"),
            models.Index(F("placed_at").desc(), F("id").desc(), name="order_waiting_newest", condition=_WAITING),
            models.Index(F("amount").desc(), F("id").desc(), name="order_waiting_largest", condition=_WAITING),
            models.Index("address_country", name="order_waiting_country", condition=_WAITING),
            GinIndex("search", name="order_waiting_search", condition=_WAITING),
        ]

    def __str__(self) -> str:
        return self.number

    def get_absolute_url(self) -> str:
        return reverse("orders:order", args=[self.id])

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


class Decision(models.TextChoices):
    """How a review ended."""

    APPROVED = "approved"
    REJECTED = "rejected"
    RETRIED = "retried"
    SETTLED = "settled"  # by itself: what was waited for has come
    EXPIRED = "expired"
    CANCELLED = "cancelled"


class RejectReason(models.Model):
    """A reason for which orders are rejected, in leads' words. A retired one stays with the orders that it was for."""

    code = models.SlugField(max_length=40, unique=True)
    text = models.CharField(max_length=80, unique=True)
    active = models.BooleanField(default=True)

    class Meta:
        ordering = ["text"]

    def __str__(self) -> str:
        return self.text


class Review(models.Model):
    """A question put to people, with a deadline: may the order go on, or how can it. Open while `decision` is empty.

    At the deadline it is over, or leads are asked, with a second deadline; `level` says who is asked now. What is
    past the point of no return is asked for again at each deadline, and never over by itself.

    A claim says who has it in hand; it counts while `claimed_until` lies ahead. Where it needs two people,
    `endorsed_by` is the first of them.
    """

    class Kind(models.TextChoices):
        APPROVAL = "approval"
        ATTENTION = "attention"

    class AtDeadline(models.TextChoices):
        EXPIRE = "expire"
        ESCALATE = "escalate"
        ASK_AGAIN = "ask_again"

    class Level(models.TextChoices):
        OPERATOR = "operator"
        LEAD = "lead"

    order = models.ForeignKey(Order, on_delete=models.PROTECT, related_name="reviews")
    kind = models.CharField(max_length=10, choices=Kind.choices, default=Kind.APPROVAL)
    opened_at = models.DateTimeField()
    due_at = models.DateTimeField()
    at_deadline = models.CharField(max_length=10, choices=AtDeadline.choices, default=AtDeadline.EXPIRE)
    level = models.CharField(max_length=10, choices=Level.choices, default=Level.OPERATOR)
    remind_at = models.DateTimeField(null=True, blank=True, help_text="Empty once it was done.")
    extended = models.BooleanField(default=False, db_default=False, help_text="Whether it was given more time.")
    back_at = models.DateTimeField(null=True, blank=True, help_text="Until when it is put off; empty: it is not.")
    waits_for = models.TextField(
        blank=True, default="", db_default="", help_text="What the customer was asked, or why it is put off."
    )
    put_off_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", null=True, blank=True, db_index=False
    )
    reasons = models.JSONField(default=list, help_text='[{"code": …, "text": …}]')
    risk_score = models.FloatField(default=0)
    risk_parts = models.JSONField(
        default=list,
        db_default=Value([], models.JSONField()),
        help_text='[{"text": …, "weight": …}], as the rules weighed it then.',
    )
    decision = models.CharField(max_length=10, choices=Decision.choices, blank=True)
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", null=True, blank=True
    )
    decided_at = models.DateTimeField(null=True, blank=True)
    note = models.TextField(blank=True)
    reject_reason = models.ForeignKey(RejectReason, on_delete=models.PROTECT, related_name="+", null=True, blank=True)
    claimed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", null=True, blank=True
    )
    claimed_at = models.DateTimeField(null=True, blank=True)
    claimed_until = models.DateTimeField(null=True, blank=True)
    needs_two = models.BooleanField(default=False, db_default=False, help_text="Two different people have to approve.")
    endorsed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", null=True, blank=True
    )
    endorsed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["due_at", "id"]
        constraints = [
            models.UniqueConstraint(fields=["order"], condition=Q(decision=""), name="review_one_open_per_order"),
            models.CheckConstraint(condition=Q(decision__in=["", *Decision.values]), name="review_decision_known"),
            models.CheckConstraint(
                condition=Q(at_deadline__in=["expire", "escalate", "ask_again"]), name="review_at_deadline_known"
            ),
            models.CheckConstraint(condition=Q(kind__in=["approval", "attention"]), name="review_kind_known"),
            models.CheckConstraint(condition=Q(level__in=["operator", "lead"]), name="review_level_known"),
            models.CheckConstraint(
                condition=Q(decision="", decided_at=None, decided_by=None) | (~Q(decision="") & ~Q(decided_at=None)),
                name="review_decided_entirely_or_not",
            ),
            models.CheckConstraint(
                condition=Q(back_at=None) | Q(decision="", back_at__lte=F("due_at")), name="review_back_by_its_deadline"
            ),
            models.CheckConstraint(
                condition=Q(claimed_by=None, claimed_at=None, claimed_until=None)
                | Q(decision="", claimed_by__isnull=False, claimed_at__isnull=False, claimed_until__isnull=False),
                name="review_claimed_entirely_or_not_and_only_while_open",
            ),
            models.CheckConstraint(
                condition=Q(endorsed_by=None, endorsed_at=None)
                | Q(needs_two=True, endorsed_by__isnull=False, endorsed_at__isnull=False),
                name="review_endorsed_entirely_or_not",
            ),
            models.CheckConstraint(
                condition=~Q(needs_two=True, decision="approved")
                | (Q(endorsed_by__isnull=False) & ~Q(endorsed_by=F("decided_by"))),
                name="review_approved_by_two_where_it_needs_two",
            ),
        ]
        indexes = [
            models.Index("due_at", "id", name="review_open_by_deadline", condition=Q(decision="")),
            # What needs help and what leads are asked are few among those, and every page of the queue counts them.
            models.Index("due_at", "id", name="review_open_for_help", condition=Q(decision="", kind="attention")),
            models.Index("due_at", "id", name="review_open_to_leads", condition=Q(decision="", level="lead")),
            models.Index("risk_score", "id", name="review_open_by_risk", condition=Q(decision="")),
            models.Index("risk_score", "id", name="review_by_risk", condition=Q(kind="approval")),
            models.Index("decided_by", "decided_at", "id", name="review_decided_by", condition=~Q(decided_by=None)),
            # All that the team's figures are made of, so that they are read from the index alone.
            models.Index(
                fields=["decided_at"],
                include=["decided_by", "decision", "level", "opened_at", "due_at"],
                name="review_decided",
                condition=~Q(decided_at=None),
            ),
            GinIndex(fields=["reasons"], opclasses=["jsonb_path_ops"], name="review_reasons"),
            models.Index("back_at", "id", name="review_put_off", condition=~Q(back_at=None)),
            models.Index("put_off_by", "back_at", "id", name="review_put_off_by", condition=~Q(put_off_by=None)),
            models.Index("claimed_until", name="review_claimed", condition=Q(claimed_by__isnull=False)),
        ]

    def __str__(self) -> str:
        return f"Review {self.pk} of {self.order_id}"

    @property
    def approvals_needed(self) -> int:
        """How many people have to approve it still."""
        if self.decision or self.kind != Review.Kind.APPROVAL:
            return 0
        return 2 if self.needs_two and self.endorsed_by_id is None else 1


class InfoRequest(models.Model):
    """What the customer was asked about a review, by mail, and what they answered, once, on a page of their own."""

    review = models.ForeignKey(Review, on_delete=models.PROTECT, related_name="questions")
    question = models.TextField()
    asked_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    asked_at = models.DateTimeField()
    answer_by = models.DateTimeField(help_text="What the customer was told; later answers count, too.")
    answer = models.TextField(blank=True)
    answered_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(answer="", answered_at=None) | (~Q(answer="") & ~Q(answered_at=None)),
                name="info_request_answered_entirely_or_not",
            )
        ]

    def __str__(self) -> str:
        return f"Question {self.pk} on review {self.review_id}"


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


class ActorKind(models.TextChoices):
    """What kind of somebody did it."""

    OPERATOR = "operator"
    CUSTOMER = "customer"
    SYSTEM = "system"


class Event(models.Model):
    """What happened to an order, in order. Append-only: a trigger in the database refuses change and deletion."""

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

    class Meta:
        ordering = ["order", "sequence"]
        constraints = [
            models.UniqueConstraint(fields=["order", "sequence"], name="event_sequence_once_per_order"),
            models.CheckConstraint(condition=Q(sequence__gte=1), name="event_sequence_from_one"),
            models.CheckConstraint(condition=Q(actor_kind__in=ActorKind.values), name="event_actor_kind_known"),
        ]
        indexes = [models.Index("id", name="event_came_back", condition=Q(type__in=[*map(str, COMES_BACK)]))]

    def __str__(self) -> str:
        return f"{self.order_id} #{self.sequence} {self.type}"


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

    class Meta:
        ordering = ["id"]
        verbose_name_plural = "outbox"
        indexes = [models.Index("order", "id", name="outbox_undelivered", condition=Q(delivered_at=None))]

    def __str__(self) -> str:
        return f"{self.message} for {self.order_id}"


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


class SavedView(models.Model):
    """A filter under a name, as a tab above the queue: of one person, or shared with everybody."""

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="views")
    name = models.CharField(max_length=40)
    query = models.CharField(max_length=1_000, help_text="As the URL has it after the question mark.")
    is_shared = models.BooleanField(default=False)
    created_at = models.DateTimeField()

    class Meta:
        ordering = ["name", "id"]
        constraints = [
            models.UniqueConstraint(fields=["owner", "name"], name="view_name_once_per_owner"),
            models.UniqueConstraint(fields=["name"], condition=Q(is_shared=True), name="view_name_once_among_shared"),
            models.CheckConstraint(condition=~Q(name="") & ~Q(query=""), name="view_says_something"),
        ]

    def __str__(self) -> str:
        return self.name


class Heartbeat(models.Model):
    """The life sign of one worker process, and when it last reached Temporal."""

    worker = models.CharField(max_length=120, primary_key=True)
    queues = models.CharField(max_length=120)
    started_at = models.DateTimeField()
    seen_at = models.DateTimeField()
    temporal_seen_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["worker"]

    def __str__(self) -> str:
        return self.worker


class Preferences(models.Model):
    """How one person is shown instants and amounts; who has none is shown them as the desk writes them."""

    user = models.OneToOneField(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="preferences")
    zone = models.CharField(max_length=60, help_text="An IANA time zone.")
    locale = models.CharField(max_length=30, help_text="A CLDR locale.")

    class Meta:
        ordering = ["user"]
        verbose_name_plural = "preferences"

    def __str__(self) -> str:
        return f"{self.zone}, {self.locale}"


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

"""What people are asked about an order, and what customers are asked for them."""

from django.conf import settings
from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models import F, Q, Value

from orders.models.orders import Order


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

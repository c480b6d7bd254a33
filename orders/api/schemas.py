"""What goes in and comes out. Money in minor units (cents) beside its currency; instants in UTC."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from ninja import Schema
from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from orders.models import Order, OrderLine, Payment
from orders.services.texts import wrong_with_note

WholeNumber = Annotated[int, Field(strict=True)]
Text = Annotated[str, Field(strict=True)]

EXAMPLE: dict[str, Any] = {
    "reference": "web-10001",
    "customer_name": "Ann Lee",
    "customer_email": "ann.lee@example.com",
    "address": {"line1": "Lindenstr. 4", "city": "Berlin", "postal_code": "10969", "country": "DE"},
    "currency": "EUR",
    "lines": [{"sku": "LAMP", "quantity": 2, "unit_price_minor": 60_000}],
}
EXAMPLE_ORDER: dict[str, Any] = {
    **EXAMPLE,
    "address": {"line2": "", "region": "", **EXAMPLE["address"]},
    "id": "6f1c1f0e-3f8a-4f43-9a55-0d3a1f6f2b11",
    "number": "CS-104233",
    "source": "shop",
    "status": "in_review",
    "status_at": "2026-11-02T09:30:01Z",
    "outcome": "",
    "total_minor": 120_000,
    "placed_at": "2026-11-02T09:30:00Z",
    "version": 4,
}


EXAMPLE_LIVE: dict[str, Any] = {
    "order_id": "6f1c1f0e-3f8a-4f43-9a55-0d3a1f6f2b11",
    "number": "CS-104233",
    "status": "in_review",
    "step": "In review",
    "since": "2026-11-02T09:30:01Z",
    "deadline": "2026-11-03T09:30:01Z",
    "put_off_until": None,
    "waits_for": "",
    "outcome": "",
    "has_ended": False,
    "doing": "Waiting for a decision",
    "attempt": 0,
    "last_error": "",
    "next_try_at": None,
    "to_undo": [],
    "problem": "",
    "engine_seen_at": "2026-11-02T09:30:04Z",
    "engine_away_since": None,
}
EXAMPLE_REFUND: dict[str, Any] = {
    "order_id": "6f1c1f0e-3f8a-4f43-9a55-0d3a1f6f2b11",
    "amount_minor": 1_250,
    "currency": "EUR",
    "status": "processing",
    "error": "",
    "requested_at": "2026-11-05T14:02:11Z",
}
EXAMPLE_PROBLEM: dict[str, Any] = {
    "type": "about:blank",
    "title": "Unprocessable Entity",
    "status": 422,
    "detail": "The order was not placed.",
    "errors": [{"field": "address.country", "message": "is not an ISO 3166 country code, such as DE"}],
}


def _sound_note(note: str) -> str:
    if wrong := wrong_with_note(note):
        raise PydanticCustomError("note", wrong)
    return note.strip()


def _instant(value: object) -> datetime:
    try:
        at = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        at = None
    if at is None:
        raise PydanticCustomError("instant", "is not an instant such as 2026-11-05T09:30:00Z")
    if at.tzinfo is None:
        raise PydanticCustomError("instant", "names no time zone")
    return at


Note = Annotated[str, Field(strict=True), AfterValidator(_sound_note)]
Reason = Annotated[Note, Field(min_length=1)]
Instant = Annotated[datetime, BeforeValidator(_instant)]


class In(Schema):
    model_config = ConfigDict(extra="forbid")


class AddressIn(In):
    country: Text = Field(description="ISO 3166-1 alpha-2.")
    line1: Text = ""
    line2: Text = ""
    city: Text = ""
    region: Text = ""
    postal_code: Text = ""


class LineIn(In):
    sku: Text
    quantity: WholeNumber = Field(description="1 or more.")
    unit_price_minor: WholeNumber = Field(description="In the currency's smallest unit: 1250 is 12.50 EUR.")


class OrderIn(In):
    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [EXAMPLE]})

    customer_name: Text
    customer_email: Text = ""
    address: AddressIn
    currency: Text = Field(description="ISO 4217.")
    lines: list[LineIn] = Field(description="1 to 1,000.")
    reference: Text = Field("", description="Your own number; a client has each only once.")
    card_fingerprint: Text = Field("", description="What tells one card from another at your bank; never its number.")
    decide_within_seconds: Annotated[int, Field(strict=True, ge=1, le=366 * 86_400)] | None = Field(
        None, description="How long a review may wait for a decision; else what the desk has set."
    )


class LineOut(Schema):
    sku: str
    quantity: int
    unit_price_minor: int


class AddressOut(Schema):
    country: str
    line1: str
    line2: str
    city: str
    region: str
    postal_code: str


class OrderSummary(Schema):
    id: UUID
    number: str
    source: str
    reference: str
    status: str
    status_at: datetime
    outcome: str = Field(description="Why it ended as it did; empty before.")
    version: int = Field(description="Grows with every event.")
    customer_name: str
    customer_email: str
    currency: str
    total_minor: int
    placed_at: datetime


class OrdersOut(Schema):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "orders": [{k: v for k, v in EXAMPLE_ORDER.items() if k not in ("address", "lines")}],
                    "next": "1793611800000000~6f1c1f0e-3f8a-4f43-9a55-0d3a1f6f2b11",
                }
            ]
        }
    )

    orders: list[OrderSummary]
    next: str | None = Field(description="Give it as `cursor` to get the orders before these; null at the end.")


class OrderOut(OrderSummary):
    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE_ORDER]})

    address: AddressOut
    lines: list[LineOut]

    @staticmethod
    def of(order: Order, lines: Sequence[OrderLine]) -> "OrderOut":
        return OrderOut(
            **{name: getattr(order, name) for name in OrderSummary.model_fields},
            address=AddressOut(**{name: getattr(order, f"address_{name}") for name in AddressOut.model_fields}),
            lines=[
                LineOut(sku=line.product.sku, quantity=line.quantity, unit_price_minor=line.unit_price_minor)
                for line in lines
            ],
        )


class LiveOut(Schema):
    """Where an order stands at this moment."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE_LIVE]})

    order_id: UUID
    number: str
    status: str
    step: str = Field(description="The status in words.")
    since: datetime
    deadline: datetime | None = Field(description="Until when a person has to decide, while one has to.")
    put_off_until: datetime | None = Field(description="Until when it is out of the queue; null where it is not.")
    waits_for: str = Field(description="What the customer was asked, or why it is put off.")
    outcome: str = Field(description="Why it ended as it did; empty before.")
    has_ended: bool
    doing: str = Field(description="What is being done, in words; empty once it has ended.")
    attempt: int = Field(description="Which try at it is under way or comes next; 0 where none is known of.")
    last_error: str = Field(description="Why the try before failed, in words.")
    next_try_at: datetime | None = Field(description="When the next try is; null while one is under way.")
    to_undo: list[str] = Field(description="What is undone if it is stopped, or still has to be, in this order.")
    problem: str = Field(description="Why nothing carries the order on; empty where something does.")
    engine_seen_at: datetime | None = Field(description="What Temporal said is from then; null where it was not asked.")
    engine_away_since: datetime | None = Field(description="Since when Temporal does not answer.")


class Seen(In):
    version: Annotated[int, Field(strict=True, ge=0)] | None = Field(
        default=None,
        description="The order's `version` that you decided on: refused where something has happened since that matters"
        ". Without it, whatever has happened.",
    )


class ResumeIn(Seen):
    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"version": 6}]})


class NoteIn(Seen):
    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"note": "Called the customer."}]})

    note: Note = ""


class RejectIn(Seen):
    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"code": "card", "reason": "The bank called.", "version": 4}]}
    )

    code: Text = Field("", description="Of one of the reasons that the desk keeps, such as `fraud`.")
    reason: Note = Field(
        default="", validate_default=True, description="In your own words; needed where there is no `code`."
    )

    @field_validator("reason")
    @classmethod
    def _one_of_both(cls, reason: str, others: ValidationInfo) -> str:
        if not reason and not others.data.get("code"):
            raise PydanticCustomError("reason", "is missing, and so is a code")
        return reason


class ExtendIn(Seen):
    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"due_at": "2026-11-05T09:30:00Z", "reason": "She calls back tomorrow."}]},
    )

    due_at: Instant = Field(description="Later than the present deadline, and at most 366 days away.")
    reason: Reason


class WaitIn(Seen):
    until: Instant = Field(description="Later than now, and not after the deadline, which goes on running.")
    due_at: Instant | None = Field(None, description="A new deadline, where that moves along, as in `extend`.")


class AskIn(WaitIn):
    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"question": "Which flat is it?", "until": "2026-11-03T08:00:00Z"}]},
    )

    question: Reason = Field(description="The customer gets it by mail as it stands.")


class SnoozeIn(WaitIn):
    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"reason": "She calls back.", "until": "2026-11-03T08:00:00Z"}]},
    )

    reason: Reason


class ChangeAddressIn(Seen):
    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"address": EXAMPLE["address"]}]})

    address: AddressIn = Field(description="All of it: what is left out is empty then.")


class RefundIn(Seen):
    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"amount_minor": 1_250, "reason": "It came a week late."}]}
    )

    amount_minor: WholeNumber = Field(description="In the order's currency: 1250 is 12.50 EUR. Part or all of it.")
    reason: Reason


class RefundOut(Schema):
    """A refund as it stands; its status is `processing` until the bank has answered."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE_REFUND]})

    order_id: UUID
    amount_minor: int
    currency: str
    status: str
    error: str = Field(description="Why it failed; else empty.")
    requested_at: datetime

    @staticmethod
    def of(payment: Payment) -> "RefundOut":
        names = ("order_id", "amount_minor", "currency", "status", "error")
        return RefundOut(**{name: getattr(payment, name) for name in names}, requested_at=payment.created_at)


class OptionalReasonIn(Seen):
    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"reason": "Ordered by mistake."}]})

    reason: Note = ""


class FieldError(Schema):
    field: str
    message: str


class ProblemOut(Schema):
    """RFC 9457, as application/problem+json."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE_PROBLEM]})

    type: str
    title: str
    status: int
    detail: str
    errors: list[FieldError]

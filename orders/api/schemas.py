"""What goes in and comes out. Money in minor units (cents) beside its currency; instants in UTC."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from ninja import Schema
from pydantic import AfterValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from orders.models import Order, OrderLine
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
    "outcome": "",
    "has_ended": False,
}


def _sound_note(note: str) -> str:
    if wrong := wrong_with_note(note):
        raise PydanticCustomError("note", wrong)
    return note.strip()


Note = Annotated[str, Field(strict=True), AfterValidator(_sound_note)]


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
    outcome: str = Field(description="Why it ended as it did; empty before.")
    has_ended: bool


class NoteIn(In):
    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"note": "Called the customer."}]})

    note: Note = ""


class ReasonIn(In):
    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"reason": "The card is not theirs."}]})

    reason: Annotated[Note, Field(min_length=1)]


class OptionalReasonIn(In):
    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"reason": "Ordered by mistake."}]})

    reason: Note = ""


class FieldError(Schema):
    field: str
    message: str


class ProblemOut(Schema):
    """RFC 9457, as application/problem+json."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[FieldError]

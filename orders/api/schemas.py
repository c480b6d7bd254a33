"""What goes in and comes out. Money in minor units (cents) beside its currency; instants in UTC."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from ninja import Schema
from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from orders.bulk_selectors import BulkPage
from orders.live_state import endorsed_by
from orders.models import Bulk, Order, OrderLine, Payment, Review
from orders.notes import Told
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
    "approvals_needed": 2,
    "endorsed_by": "",
}
_OF_ONE_ORDER = ("address", "lines", "approvals_needed", "endorsed_by")  # what a list of orders leaves out

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
    "doing": "Endorsed by alice: one more person has to approve",
    "approvals_needed": 1,
    "endorsed_by": "alice",
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
EXAMPLE_NOTE: dict[str, Any] = {
    "id": 17,
    "author": "alice",
    "text": "She rang. @bob, do you know?",
    "written_at": "2026-11-02T10:12:40Z",
    "edited_at": "2026-11-02T10:14:02Z",
    "mentioned": ["bob"],
    "former": [{"text": "She rang.", "until": "2026-11-02T10:14:02Z"}],
}
EXAMPLE_CHOSEN: dict[str, Any] = {
    "id": "6f1c1f0e-3f8a-4f43-9a55-0d3a1f6f2b11",
    "number": "CS-104233",
    "version": 4,
    "approvals_needed": 1,
}
EXAMPLE_PREVIEW: dict[str, Any] = {
    "action": "approve",
    "fit": [EXAMPLE_CHOSEN],
    "unfit": [
        {
            "why": "Already rejected by bob.",
            "orders": [
                {
                    "id": "0b8e3c1a-52d0-4a34-8d8c-9a1c22c1b7aa",
                    "number": "CS-104230",
                    "version": 6,
                    "approvals_needed": 0,
                }
            ],
        }
    ],
    "unknown": [],
}
EXAMPLE_BULK: dict[str, Any] = {
    "id": "b47f6f0e-8a11-4b58-8a0c-2f7a5f0d9c01",
    "action": "approve",
    "made_by": "alice",
    "made_at": "2026-11-02T10:20:00Z",
    "finished_at": "2026-11-02T10:20:01Z",
    "size": 1,
    "done": 1,
    "endorsed": 0,
    "refused": 0,
    "results": [
        {
            "order_id": "6f1c1f0e-3f8a-4f43-9a55-0d3a1f6f2b11",
            "number": "CS-104233",
            "result": "done",
            "why": "",
            "at": "2026-11-02T10:20:01Z",
        }
    ],
    "next": None,
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
                    "orders": [{k: v for k, v in EXAMPLE_ORDER.items() if k not in _OF_ONE_ORDER}],
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
    approvals_needed: int = Field(description="How many people have to approve it still; 0 where none has to.")
    endorsed_by: str = Field(description="Who was the first of two to approve, while the second is awaited.")

    @staticmethod
    def of(order: Order, lines: Sequence[OrderLine], review: Review | None) -> "OrderOut":
        return OrderOut(
            **{name: getattr(order, name) for name in OrderSummary.model_fields},
            address=AddressOut(**{name: getattr(order, f"address_{name}") for name in AddressOut.model_fields}),
            lines=[
                LineOut(sku=line.product.sku, quantity=line.quantity, unit_price_minor=line.unit_price_minor)
                for line in lines
            ],
            approvals_needed=review.approvals_needed if review else 0,
            endorsed_by=endorsed_by(review),
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
    approvals_needed: int = Field(description="How many people have to approve it still; 0 where none has to.")
    endorsed_by: str = Field(description="Who was the first of two to approve, while the second is awaited.")
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


class NoteTextIn(In):
    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"text": "She rang. @bob, do you know?"}]}
    )

    text: Reason = Field(description="At most 2,000 characters; `@` and a name tells that colleague.")


class WordingOut(Schema):
    text: str
    until: datetime


class NoteOut(Schema):
    """A note as it reads now; `former` are the wordings that it had, the oldest first."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE_NOTE]})

    id: int
    author: str
    text: str
    written_at: datetime
    edited_at: datetime | None
    mentioned: list[str] = Field(description="Which colleagues were told of it.")
    former: list[WordingOut]

    @staticmethod
    def of(told: Told, mentioned: Sequence[str]) -> "NoteOut":
        names = ("id", "text", "written_at", "edited_at")
        return NoteOut(
            **{name: getattr(told.note, name) for name in names},
            author=told.note.author.get_username(),
            mentioned=list(mentioned),
            former=[WordingOut(text=wording.text, until=wording.until) for wording in told.former],
        )


class NotesOut(Schema):
    model_config = ConfigDict(json_schema_extra={"examples": [{"notes": [EXAMPLE_NOTE], "next": None}]})

    notes: list[NoteOut]
    next: int | None = Field(description="Give it as `before` to get the notes before these; null at the end.")


# Many at once


class BulkPreviewIn(In):
    """Which orders: by their ids, or all that wait and fit a filter."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"action": "approve", "filter": "country=DE&amount_to=500"}]}
    )

    action: Bulk.Action
    orders: list[UUID] = Field(default_factory=list, description="At most 5,000.")
    filter: Text = Field("", description="Instead: as the queue's URL has it after the question mark.")


class ChosenOut(Schema):
    id: UUID
    number: str
    version: int
    approvals_needed: int = Field(description="2 where yours would be the first of two approvals.")


class UnfitOut(Schema):
    why: str
    orders: list[ChosenOut]


class BulkPreviewOut(Schema):
    """What a decision would do now. Begin it with the `fit` ones, each in its `version`."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE_PREVIEW]})

    action: str
    fit: list[ChosenOut]
    unfit: list[UnfitOut] = Field(description="Those to which it cannot be done, by why not.")
    unknown: list[UUID] = Field(description="Ids that are no order's.")


class ChosenIn(In):
    id: UUID
    version: Annotated[int, Field(strict=True, ge=0, lt=2**31)] = Field(description="The one that you decided on.")


class BulkIn(In):
    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "action": "extend",
                    "orders": [{"id": "6f1c1f0e-3f8a-4f43-9a55-0d3a1f6f2b11", "version": 4}],
                    "more_seconds": 14_400,
                    "reason": "The carrier is on strike.",
                }
            ]
        },
    )

    action: Bulk.Action
    orders: Annotated[list[ChosenIn], Field(min_length=1)] = Field(description="At most 5,000, each once.")
    code: Text = Field("", validate_default=True, description="To reject: of a reason that the desk keeps.")
    reason: Note = Field(
        "", validate_default=True, description="Needed to extend, and to reject where there is no `code`."
    )
    more_seconds: Annotated[int, Field(strict=True, ge=1, le=366 * 86_400)] | None = Field(
        None, validate_default=True, description="To extend: each from its own deadline or, past that, from now."
    )
    to: Text = Field("", validate_default=True, description="To hand over: the colleague's user name.")

    @field_validator("orders")
    @classmethod
    def _each_once(cls, orders: list[ChosenIn]) -> list[ChosenIn]:
        if len({order.id for order in orders}) < len(orders):
            raise PydanticCustomError("orders", "names an order twice")
        return orders

    @field_validator("code", "reason", "more_seconds", "to")
    @classmethod
    def _as_the_action_asks(cls, value: Any, others: ValidationInfo) -> Any:
        action, name = others.data.get("action"), str(others.field_name)
        if action is None:
            return value
        if value and name not in _TAKEN[action]:
            raise PydanticCustomError("unasked", "is not asked for here")
        if not value and name in _NEEDED[action]:
            raise PydanticCustomError("missing", "is missing")
        if not value and name == "reason" and action == Bulk.Action.REJECT and not others.data.get("code"):
            raise PydanticCustomError("missing", "is missing, and so is a code")
        return value


_TAKEN: dict[str, frozenset[str]] = {
    Bulk.Action.APPROVE: frozenset({"reason"}),
    Bulk.Action.REJECT: frozenset({"code", "reason"}),
    Bulk.Action.EXTEND: frozenset({"reason", "more_seconds"}),
    Bulk.Action.HAND_OVER: frozenset({"to"}),
}
_NEEDED: dict[str, frozenset[str]] = {
    Bulk.Action.APPROVE: frozenset(),
    Bulk.Action.REJECT: frozenset(),
    Bulk.Action.EXTEND: frozenset({"reason", "more_seconds"}),
    Bulk.Action.HAND_OVER: frozenset({"to"}),
}


class ResultOut(Schema):
    order_id: UUID
    number: str
    result: str = Field(description="`waiting`, `done`, `endorsed` (one more person has to approve) or `refused`.")
    why: str = Field(description="Why it was refused.")
    at: datetime | None


class BulkOut(Schema):
    """How far a decision on many has come. It is over once `finished_at` is set."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE_BULK]})

    id: UUID
    action: str
    made_by: str
    made_at: datetime
    finished_at: datetime | None
    size: int
    done: int
    endorsed: int
    refused: int
    results: list[ResultOut] = Field(description="A hundred at a time, in the sequence in which they were chosen.")
    next: int | None = Field(description="Give it as `after` to get the results behind these; null at the end.")

    @staticmethod
    def of(page: BulkPage) -> "BulkOut":
        bulk, progress = page.progress.bulk, page.progress
        return BulkOut(
            **{name: getattr(bulk, name) for name in ("id", "action", "made_at", "finished_at", "size")},
            **{name: getattr(progress, name) for name in ("done", "endorsed", "refused")},
            made_by=bulk.made_by.get_username(),
            results=[
                ResultOut(
                    order_id=member.order_id,
                    number=member.order.number,
                    result=member.result or "waiting",
                    why=member.why,
                    at=member.at,
                )
                for member in page.members
            ],
            next=page.next,
        )


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

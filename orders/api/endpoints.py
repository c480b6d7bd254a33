"""The API's addresses. Each reads through `selectors` and changes through `services`, as the pages do."""

import hashlib
import json
from datetime import timedelta
from functools import cached_property
from http import HTTPStatus
from itertools import chain, product
from typing import Annotated, Any
from uuid import UUID

from django.core.exceptions import TooManyFieldsSent
from django.http import HttpRequest, QueryDict, StreamingHttpResponse
from django.utils import timezone
from ninja import Header, NinjaAPI, Schema, Status
from ninja.openapi.schema import OpenAPISchema
from pydantic import Field

from orders import bulk_selectors, filters, notes, paging, selectors
from orders.api import problems, waiting
from orders.api.problems import PROBLEM_TYPE, Problem
from orders.api.reading import StrictJson, Token, caller, decider
from orders.api.schemas import (
    AskIn,
    BulkIn,
    BulkOut,
    BulkPreviewIn,
    BulkPreviewOut,
    ChangeAddressIn,
    ChosenOut,
    ExtendIn,
    LiveOut,
    NoteIn,
    NoteOut,
    NotesOut,
    NoteTextIn,
    OptionalReasonIn,
    OrderIn,
    OrderOut,
    OrdersOut,
    OrderSummary,
    ProblemOut,
    RefundIn,
    RefundOut,
    RejectIn,
    ResumeIn,
    SnoozeIn,
    UnfitOut,
)
from orders.filters import Filter
from orders.live_state import LiveState, live_state
from orders.models import ApiScope, Bulk, Order
from orders.services import addressing, asking, attending, bulk, clients, noting, reviewing, undoing
from orders.services.placing import Address, NewLine, NewOrder
from orders.states import Action
from orders.states import Status as States

READ, PLACE, DECIDE = (Token(scope) for scope in (ApiScope.READ, ApiScope.PLACE, ApiScope.DECIDE))
Key = Annotated[str, Field(min_length=1, max_length=80, pattern=r"^[!-~]+$"), Header(alias="Idempotency-Key")]
REFUSALS: dict[Any, Any] = dict.fromkeys((400, 401, 403, 404, 409, 413, 415, 422), ProblemOut)


class Api(NinjaAPI):
    def get_openapi_schema(self, **_: Any) -> OpenAPISchema:
        """Made once: it takes long, and anybody may ask for it."""
        return self._described

    @cached_property
    def _described(self) -> OpenAPISchema:
        """As the framework makes it, with the scopes, and with refusals under their own type of content."""
        schema = super().get_openapi_schema(path_prefix="/api/v1/")
        for path, view in self.default_router.path_operations.items():
            for operation in view.operations:
                for token, method in product(operation.auth_callbacks, operation.methods):
                    schema["paths"][f"/api/v1{path}"][method.lower()]["security"] = [{"Token": [token.scope]}]
        for operations in schema["paths"].values():
            for operation in operations.values():
                for status, response in operation["responses"].items():
                    if int(status) >= HTTPStatus.BAD_REQUEST and "content" in response:
                        response["content"] = {PROBLEM_TYPE: response["content"].pop("application/json")}
        return schema


api = Api(title="Countersign", version="1", docs_url=None, urls_namespace="api", parser=StrictJson())
problems.handle_in(api)


@api.post("/orders", auth=PLACE, response={200: OrderOut, 201: OrderOut, **REFUSALS}, summary="Place an order")
def place(request: HttpRequest, new: OrderIn, key: Key) -> Status[OrderOut]:
    """The same key with the same body answers the same order again, with 200; with another body 409."""
    fields = new.model_dump(exclude={"decide_within_seconds", "address", "lines"})
    order, created = clients.place_once(
        client=caller(request),
        key=key,
        body_hash=_hash(new),
        new=NewOrder(
            **fields,
            source=caller(request).name,
            address=Address(**new.address.model_dump()),
            lines=[NewLine(**line.model_dump()) for line in new.lines],
            placed_at=(now := timezone.now()),
            decide_within=timedelta(seconds=new.decide_within_seconds) if new.decide_within_seconds else None,
        ),
        at=now,
    )
    return Status(201 if created else 200, _order(order.pk))


@api.get("/orders/{order_id}", auth=READ, response={200: OrderOut, **REFUSALS}, summary="Get an order")
def order(request: HttpRequest, order_id: UUID) -> OrderOut:
    return _order(order_id)


@api.get("/orders", auth=READ, response={200: OrdersOut, **REFUSALS}, summary="List orders, newest first")
def orders(request: HttpRequest, status: States | None = None, search: str = "", cursor: str = "") -> OrdersOut:
    """Fifty at a time. `search` takes beginnings of words in the number, reference, customer's name or e-mail."""
    try:
        place = paging.Cursor.parse(cursor, key=paging.ORDER_KEY) if cursor else None
    except paging.BadCursor:
        raise Problem(422, "Some fields are not as they should be.", {"cursor": "is not one that we gave"}) from None
    wanted = Filter(q=search, status=status or "")
    page = selectors.orders_page(at=timezone.now(), wanted=wanted, older_than=place)
    return OrdersOut(
        orders=[OrderSummary.model_validate(order) for order in page.orders],
        next=str(page.older) if page.older else None,
    )


@api.post("/orders/{order_id}/approve", auth=DECIDE, response={200: LiveOut, **REFUSALS}, summary="Approve an order")
def approve(request: HttpRequest, order_id: UUID, said: NoteIn | None = None) -> LiveState:
    """Where two people have to approve it, the first approval leaves it in review."""
    said = said or NoteIn()
    actor = decider(request)
    reviewing.approve(order_id=order_id, actor=actor, at=timezone.now(), note=said.note, seen=said.version)
    return live_state(order_id)


@api.post("/orders/{order_id}/reject", auth=DECIDE, response={200: LiveOut, **REFUSALS}, summary="Reject an order")
def reject(request: HttpRequest, order_id: UUID, said: RejectIn) -> LiveState:
    reviewing.reject(
        order_id=order_id,
        actor=decider(request),
        at=timezone.now(),
        reason=said.reason,
        code=said.code,
        seen=said.version,
    )
    return live_state(order_id)


@api.post("/orders/{order_id}/cancel", auth=DECIDE, response={200: LiveOut, **REFUSALS}, summary="Cancel an order")
def cancel(request: HttpRequest, order_id: UUID, said: OptionalReasonIn | None = None) -> LiveState:
    said = said or OptionalReasonIn()
    actor = decider(request)
    undoing.cancel(order_id=order_id, actor=actor, at=timezone.now(), reason=said.reason, seen=said.version)
    return live_state(order_id)


@api.post("/orders/{order_id}/retry", auth=DECIDE, response={200: LiveOut, **REFUSALS}, summary="Let it try again")
def retry(request: HttpRequest, order_id: UUID, said: NoteIn | None = None) -> LiveState:
    """For an order that waits for help (`stock_short`, `unconfirmed`, `undeliverable`), once that was given."""
    said = said or NoteIn()
    attending.retry(order_id=order_id, actor=decider(request), at=timezone.now(), note=said.note, seen=said.version)
    return live_state(order_id)


@api.post(
    "/orders/{order_id}/address", auth=DECIDE, response={200: OrderOut, **REFUSALS}, summary="Change where it goes"
)
def change_address(request: HttpRequest, order_id: UUID, said: ChangeAddressIn) -> OrderOut:
    """Until the carrier is called, and again where the carrier did not take it. The same address changes nothing."""
    address = Address(**said.address.model_dump())
    addressing.change_address(
        order_id=order_id, actor=decider(request), at=timezone.now(), address=address, seen=said.version
    )
    return _order(order_id)


@api.post(
    "/orders/{order_id}/extend", auth=DECIDE, response={200: LiveOut, **REFUSALS}, summary="Give a review more time"
)
def extend(request: HttpRequest, order_id: UUID, said: ExtendIn) -> LiveState:
    """The deadline of an open review moves to `due_at`."""
    reviewing.extend(
        order_id=order_id,
        actor=decider(request),
        at=timezone.now(),
        due_at=said.due_at,
        reason=said.reason,
        seen=said.version,
    )
    return live_state(order_id)


@api.post(
    "/orders/{order_id}/ask", auth=DECIDE, response={200: LiveOut, **REFUSALS}, summary="Ask the customer by mail"
)
def ask(request: HttpRequest, order_id: UUID, said: AskIn) -> LiveState:
    """It leaves the queue until the customer has answered, until `until`, or until it is resumed."""
    wanted = said.model_dump(exclude={"version"})
    asking.ask(order_id=order_id, actor=decider(request), at=timezone.now(), **wanted, seen=said.version)
    return live_state(order_id)


@api.post("/orders/{order_id}/snooze", auth=DECIDE, response={200: LiveOut, **REFUSALS}, summary="Put an order off")
def snooze(request: HttpRequest, order_id: UUID, said: SnoozeIn) -> LiveState:
    """It leaves the queue until `until`, or until it is resumed."""
    wanted = said.model_dump(exclude={"version"})
    asking.snooze(order_id=order_id, actor=decider(request), at=timezone.now(), **wanted, seen=said.version)
    return live_state(order_id)


@api.post(
    "/orders/{order_id}/resume", auth=DECIDE, response={200: LiveOut, **REFUSALS}, summary="Take back what is put off"
)
def resume(request: HttpRequest, order_id: UUID, said: ResumeIn | None = None) -> LiveState:
    said = said or ResumeIn()
    asking.resume(order_id=order_id, actor=decider(request), at=timezone.now(), seen=said.version)
    return live_state(order_id)


@api.post(
    "/orders/{order_id}/refund",
    auth=DECIDE,
    response={200: RefundOut, 201: RefundOut, **REFUSALS},
    summary="Refund an order that has ended",
)
def refund(request: HttpRequest, order_id: UUID, wanted: RefundIn, key: Key) -> Status[RefundOut]:
    """The same key with the same body answers the same refund again, with 200; with another body 409."""
    payment, created = clients.refund_once(
        client=caller(request),
        key=key,
        body_hash=_hash(wanted, refund=str(order_id)),
        order_id=order_id,
        amount_minor=wanted.amount_minor,
        reason=wanted.reason,
        seen=wanted.version,
        actor=decider(request),
        at=timezone.now(),
    )
    return Status(201 if created else 200, RefundOut.of(payment))


@api.get("/orders/{order_id}/notes", auth=READ, response={200: NotesOut, **REFUSALS}, summary="Read an order's notes")
def list_notes(
    request: HttpRequest, order_id: UUID, before: Annotated[int, Field(ge=1, le=2**62)] | None = None
) -> NotesOut:
    """Fifty at a time, the newest first."""
    selectors.order_version(order_id)
    found = notes.notes_of(order_id, before=before)
    mentioned = notes.mentioned_in([told.note for told in found.notes])
    return NotesOut(notes=[NoteOut.of(told, mentioned[told.note.pk]) for told in found.notes], next=found.older)


@api.post(
    "/orders/{order_id}/notes",
    auth=DECIDE,
    response={200: NoteOut, 201: NoteOut, **REFUSALS},
    summary="Write a note on an order",
)
def write_note(request: HttpRequest, order_id: UUID, said: NoteTextIn, key: Key) -> Status[NoteOut]:
    """The same key with the same body answers the same note again, with 200; with another body 409."""
    note, created = clients.write_note_once(
        client=caller(request),
        key=key,
        body_hash=_hash(said, note=str(order_id)),
        order_id=order_id,
        text=said.text,
        actor=decider(request),
        at=timezone.now(),
    )
    return Status(201 if created else 200, _note(order_id, note.pk))


@api.put(
    "/orders/{order_id}/notes/{note_id}",
    auth=DECIDE,
    response={200: NoteOut, **REFUSALS},
    summary="Word a note anew",
)
def edit_note(
    request: HttpRequest, order_id: UUID, note_id: Annotated[int, Field(ge=1, le=2**62)], said: NoteTextIn
) -> NoteOut:
    """Only its author may; the former wording is kept."""
    noting.edit_note(order_id=order_id, note_id=note_id, actor=decider(request), at=timezone.now(), text=said.text)
    return _note(order_id, note_id)


@api.post(
    "/bulk/preview",
    auth=DECIDE,
    response={200: BulkPreviewOut, **REFUSALS},
    summary="See what a decision on many would do",
)
def preview_bulk(request: HttpRequest, wanted: BulkPreviewIn) -> BulkPreviewOut:
    """Nothing is changed."""
    now, actor, chosen = timezone.now(), decider(request), dict.fromkeys(wanted.orders)
    if bool(wanted.orders) == bool(wanted.filter):
        raise Problem(422, "Name orders, or a filter.", {"orders": "is missing, or is there beside a filter"})
    if wanted.filter and actor.user:
        fitting, most = _filter(wanted.filter), bulk.MOST + 1
        chosen = dict.fromkeys(bulk_selectors.waiting_orders(wanted=fitting, viewer=actor.user, at=now, most=most))
    looked = bulk.forecast(order_ids=chosen, action=Action(wanted.action), actor=actor, at=now)

    def told(order: Order) -> ChosenOut:
        reviews = looked.reviews[order.pk]
        needed = reviews[0].approvals_needed if reviews else 0
        return ChosenOut(id=order.pk, number=order.number, version=order.version, approvals_needed=needed)

    found = {order.pk for order in (*looked.fit, *chain.from_iterable(looked.unfit.values()))}
    return BulkPreviewOut(
        action=wanted.action,
        fit=[told(order) for order in looked.fit],
        unfit=[UnfitOut(why=why, orders=[told(order) for order in orders]) for why, orders in looked.unfit.items()],
        unknown=[order_id for order_id in chosen if order_id not in found],
    )


@api.post("/bulk", auth=DECIDE, response={200: BulkOut, 201: BulkOut, **REFUSALS}, summary="Decide on many orders")
def begin_bulk(request: HttpRequest, wanted: BulkIn, key: Key) -> Status[BulkOut]:
    """It is begun, and carried out by itself: what became of each order is at `/bulk/{bulk_id}`.

    The same key with the same body answers the same bulk again, with 200; with another body 409.
    """
    more = timedelta(seconds=wanted.more_seconds) if wanted.more_seconds else None
    try:
        begun, created = clients.begin_bulk_once(
            client=caller(request),
            key=key,
            body_hash=_hash(wanted),
            action=Action(wanted.action),
            chosen={order.id: order.version for order in wanted.orders},
            actor=decider(request),
            at=timezone.now(),
            note=wanted.reason,
            code=wanted.code,
            more=more,
            to=wanted.to,
        )
    except reviewing.DeadlineRefused as refusal:
        raise Problem(422, "Nothing was begun.", {"more_seconds": str(refusal)}) from None
    return Status(201 if created else 200, BulkOut.of(bulk_selectors.bulk_page(begun)))


@api.get("/bulk/{bulk_id}", auth=READ, response={200: BulkOut, **REFUSALS}, summary="See what became of each order")
def see_bulk(request: HttpRequest, bulk_id: UUID, after: Annotated[int, Field(ge=0, le=99_999)] = 0) -> BulkOut:
    """One's own; of a lead, everybody's."""
    user = decider(request).user
    if user is None:
        raise Bulk.DoesNotExist
    return BulkOut.of(bulk_selectors.bulk_page(bulk_selectors.bulk_seen_by(user, bulk_id), after=after))


@api.get("/orders/{order_id}/live", auth=READ, response={200: LiveOut, **REFUSALS}, summary="See where an order stands")
def live(request: HttpRequest, order_id: UUID) -> LiveState:
    """Asks Temporal as well; where that does not answer, what is known and since when."""
    return live_state(order_id, ask_engine=True)


@api.get("/orders/{order_id}/wait", auth=READ, response={200: LiveOut, **REFUSALS}, summary="Wait until it has ended")
def wait(
    request: HttpRequest, order_id: UUID, seconds: Annotated[int, Field(ge=1, le=25)] = 25
) -> StreamingHttpResponse:
    """Answers as soon as the order has ended; else, after `seconds`, where it stands then."""
    live_state(order_id)
    return waiting.answer_at_the_end(order_id, seconds=seconds)


def _filter(text: str) -> Filter:
    """As the queue's URL has it. What is misspelled or there twice is refused: left alone, it would let in more orders
    than whoever wrote it thinks.

    Raises Problem.
    """
    try:
        asked = QueryDict(text.encode())
        if not asked.keys() - _BESIDE_THE_FILTER <= {*filters.NAMES} or any(len(told) > 1 for _, told in asked.lists()):
            raise filters.BadFilter({})
        return filters.parse(asked)
    except (filters.BadFilter, UnicodeEncodeError, TooManyFieldsSent):
        raise Problem(422, "The filter makes no sense.", {"filter": "is not one that the queue could have"}) from None


_BESIDE_THE_FILTER = {"order", "after"}  # in the queue's URL


def _hash(body: Schema, **beside: str) -> str:
    """What tells one request from another that has the same key."""
    return hashlib.sha256(json.dumps(body.model_dump(mode="json") | beside, sort_keys=True).encode()).hexdigest()


def _note(order_id: UUID, note_id: int) -> NoteOut:
    told = notes.note_of(order_id, note_id)
    return NoteOut.of(told, notes.mentioned_in([told.note])[note_id])


def _order(order_id: UUID) -> OrderOut:
    detail = selectors.order_detail(order_id)
    return OrderOut.of(detail.order, detail.lines, detail.review)

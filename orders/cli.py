"""What `manage.py order` reads and says: a new order from JSON, an order as text and as JSON.

Nothing here writes. Amounts in JSON are minor units beside a currency; instants are ISO 8601 in UTC.
"""

import json
import uuid
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from django.utils import timezone

from orders import timeline, wording
from orders.bulk_selectors import Progress
from orders.live_state import LiveState, doing
from orders.models import Bulk, BulkMember, Event, Order, Payment, Review, Shipment
from orders.money import country_name, format_money
from orders.notes import Told
from orders.selectors import OrderDetail
from orders.services.bulk import Forecast
from orders.services.placing import Address, InvalidOrder, NewLine, NewOrder
from orders.services.texts import wrong_with_text
from orders.states import TERMINAL, Action, on_main_road
from orders.templatetags.desk import decided, exactly, payment_status, to_the_second

ADDRESS_PARTS = ("line1", "line2", "city", "region", "postal_code", "country")

MOST_BYTES = 1_000_000  # a thousand lines are a tenth of it


class NoSuchOrder(Exception):
    """The name given is of no order. The message is for people."""


def find(name: str) -> Order:
    """The order of that number, such as CS-104233, or id.

    Raises NoSuchOrder.
    """
    try:
        named: dict[str, str | uuid.UUID] = {"pk": uuid.UUID(name)}
    except ValueError:
        named = {"number": name.strip().upper()}
    if not wrong_with_text(name, 40) and (found := Order.objects.filter(**named).first()):
        return found
    shown = plain(name[:40])
    raise NoSuchOrder(f"There is no order {shown}. Name it by its number, such as CS-104233, or by its id.")


# Reading


def new_order(text: bytes, *, at: datetime) -> NewOrder:
    """Read an order from JSON, with the fields of `NewOrder`; `decide_within` in seconds, `placed_at` if not now.

    Raises InvalidOrder naming each field that is missing, unknown or of another kind than it has to be.
    """
    reader = _Reader(_parsed(text))
    address, lines = reader.take("address", dict, {}), reader.take("lines", list, [])
    read_address = _Reader(address, "address.", reader.errors)
    read_lines = [
        _Reader(line if isinstance(line, dict) else {}, f"lines[{index}].", reader.errors)
        for index, line in enumerate(lines)
    ]
    new = NewOrder(
        source=reader.take("source", str, "command line"),
        reference=reader.take("reference", str, ""),
        customer_name=reader.take("customer_name", str),
        customer_email=reader.take("customer_email", str, ""),
        card_fingerprint=reader.take("card_fingerprint", str, ""),
        address=Address(
            country=read_address.take("country", str),
            **{part: read_address.take(part, str, "") for part in ("line1", "line2", "city", "region", "postal_code")},
        ),
        currency=reader.take("currency", str),
        lines=[
            NewLine(line.take("sku", str), line.take("quantity", int), line.take("unit_price_minor", int))
            for line in read_lines
        ],
        placed_at=_instant(reader, at),
        decide_within=_seconds(reader),
    )
    for part in (reader, read_address, *read_lines):
        part.refuse_what_is_left()
    if reader.errors:
        raise InvalidOrder(reader.errors)
    return new


class _Reader:
    """One object of the JSON. What is wrong with it is gathered in `errors`, which its parts share."""

    def __init__(self, found: Mapping[str, Any], path: str = "", errors: dict[str, str] | None = None) -> None:
        self.left = dict(found)
        self.path = path
        self.errors = errors if errors is not None else {}

    def take(self, name: str, kind: type, default: Any = None) -> Any:
        """The field's value; where there is none or of another kind, an empty one and an error, or the default."""
        if name not in self.left or self.left[name] is None:
            self.left.pop(name, None)
            if default is None:
                self.errors[self.path + name] = "is missing"
                return kind()
            return default
        value = self.left.pop(name)
        if not isinstance(value, kind) or isinstance(value, bool):
            what = {str: "text", int: "a whole number", dict: "an object", list: "a list"}[kind]
            self.errors[self.path + name] = f"must be {what}"
            return kind()
        return value

    def refuse_what_is_left(self) -> None:
        for name in sorted(self.left)[:5]:
            shown = plain(name[:40].encode("utf-8", "replace").decode())
            self.errors[f"{self.path}{shown}"] = "is not a field of an order"


def _parsed(text: bytes) -> dict[str, Any]:
    if len(text) > MOST_BYTES:
        raise InvalidOrder({"order": f"has more than {MOST_BYTES:,} bytes"})
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as wrong:
        raise InvalidOrder({"order": f"is not JSON ({wrong})"}) from None
    if not isinstance(found, dict):
        raise InvalidOrder({"order": "must be one JSON object"})
    return found


def _instant(reader: _Reader, at: datetime) -> datetime:
    text = reader.take("placed_at", str, "")
    if not text:
        return at
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        reader.errors.setdefault("placed_at", "is not an instant such as 2026-03-04T12:30:00Z")
        return at


def _seconds(reader: _Reader) -> timedelta | None:
    if reader.left.get("decide_within") is None:
        reader.left.pop("decide_within", None)
        return None
    seconds = reader.take("decide_within", int)
    try:
        return timedelta(seconds=seconds)
    except OverflowError:
        reader.errors["decide_within"] = "is too large"
        return None


# Saying


def order_json(detail: OrderDetail, live: LiveState) -> dict[str, Any]:
    """All that the order page shows, the timeline oldest first."""
    order, review, shipment = detail.order, detail.review, detail.shipment
    return {
        **summary_json(order),
        "step": _step(detail),
        "doing": _doing(detail),
        "live": live_json(live),
        "source": order.source,
        "reference": order.reference,
        "placed_at": _iso(order.placed_at),
        "total_minor": order.total_minor,
        "currency": order.currency,
        "customer": {
            "name": order.customer_name,
            "email": order.customer_email,
            "address": {part: getattr(order, f"address_{part}") for part in ADDRESS_PARTS},
        },
        "review": _review_json(review) if review else None,
        "lines": [
            {
                "sku": line.product.sku,
                "product": line.product.name,
                "quantity": line.quantity,
                "unit_price_minor": line.unit_price_minor,
                "total_minor": line.total_minor,
            }
            for line in detail.lines
        ],
        "payments": [payment_json(payment) for payment in detail.payments],
        "shipment": _shipment_json(shipment) if shipment else None,
        "timeline": [event_json(event) for event in reversed(detail.events)],
        "earlier_events": detail.earlier_events,
    }


def live_json(live: LiveState) -> dict[str, Any]:
    """What is being done at this moment, as the API says it."""
    return {
        "doing": live.doing,
        "approvals_needed": live.approvals_needed,
        "endorsed_by": live.endorsed_by,
        "attempt": live.attempt,
        "last_error": live.last_error,
        "next_try_at": _iso(live.next_try_at),
        "deadline": _iso(live.deadline),
        "put_off_until": _iso(live.put_off_until),
        "waits_for": live.waits_for,
        "to_undo": list(live.to_undo),
        "problem": live.problem,
        "engine_seen_at": _iso(live.engine_seen_at),
        "engine_away_since": _iso(live.engine_away_since),
    }


def summary_json(order: Order) -> dict[str, Any]:
    return {
        "order": order.number,
        "id": str(order.pk),
        "status": order.status,
        "status_words": wording.STATUS_WORDS[order.status_now],
        "status_at": _iso(order.status_at),
        "has_ended": order.status_now in TERMINAL,
        "outcome": order.outcome,
        "version": order.version,
    }


def event_json(event: Event) -> dict[str, Any]:
    entry = timeline.tell(event)
    return {
        "sequence": event.sequence,
        "type": event.type,
        "title": entry.title,
        "detail": entry.detail,
        "actor": event.actor,
        "actor_kind": event.actor_kind,
        "status": event.payload.get("to"),
        "at": _iso(event.at),
    }


def event_line(event: Event) -> str:
    entry = timeline.tell(event)
    by = f" by {entry.who}" if entry.who else ""
    return plain(f"{to_the_second(entry.at)}  {entry.title}{by}{f'  {entry.detail}' if entry.detail else ''}")


def note_json(told: Told) -> dict[str, Any]:
    note = told.note
    return {
        "note": note.pk,
        "author": note.author.get_username(),
        "text": note.text,
        "written_at": _iso(note.written_at),
        "edited_at": _iso(note.edited_at),
        "former": [{"text": wording.text, "until": _iso(wording.until)} for wording in told.former],
    }


def note_line(told: Told) -> str:
    note = told.note
    changed = f", changed {to_the_second(note.edited_at)}" if note.edited_at else ""
    who = f"{note.pk}  {to_the_second(note.written_at)}  {note.author.get_username()}{changed}"
    return plain(f"{who}: {' '.join(note.text.split())}")


def forecast_json(looked: Forecast, begun: Bulk | None) -> dict[str, Any]:
    return {
        "bulk": str(begun.pk) if begun else None,
        "fit": [order.number for order in looked.fit],
        "unfit": [{"why": why, "orders": [order.number for order in orders]} for why, orders in looked.unfit.items()],
    }


def forecast_text(action: Action, looked: Forecast, begun: Bulk | None) -> str:
    number = len(looked.fit)
    told = f"{wording.many(action, number)}: begun. See manage.py order results {begun.pk}." if begun else ""
    told = told or (f"{wording.many(action, number)}? Nothing has happened yet." if number else "Nothing can be done.")
    needs_two = sum(looked.reviews[order.pk][0].approvals_needed == 2 for order in looked.fit)
    first = [f"Of {needs_two:,} it is the first approval: one more person has to approve."] if needs_two else []
    refused = [f"Not {', '.join(order.number for order in orders)}: {why}" for why, orders in looked.unfit.items()]
    return "\n".join(plain(line) for line in [told, *(first if action == Action.APPROVE else []), *refused])


def bulk_json(progress: Progress) -> dict[str, Any]:
    found = progress.bulk
    return {
        "bulk": str(found.pk),
        "action": found.action,
        "made_by": found.made_by.get_username(),
        "made_at": _iso(found.made_at),
        "finished_at": _iso(found.finished_at),
        "size": found.size,
        "done": progress.done,
        "endorsed": progress.endorsed,
        "refused": progress.refused,
    }


def bulk_text(progress: Progress) -> str:
    found, numbers = progress.bulk, {name: getattr(progress, name) for name in ("done", "endorsed", "refused")}
    if not progress.is_over:
        return f"{progress.behind:,} of {found.size:,}"
    return f"{wording.became(wording.MANY_DONE[found.action], size=found.size, **numbers)}."


def member_json(member: BulkMember) -> dict[str, Any]:
    return {"order": member.order.number, "result": member.result or "waiting", "why": member.why}


def member_line(member: BulkMember) -> str:
    why = "one more person has to approve" if member.result == BulkMember.Result.ENDORSED else member.why
    return plain(f"  {member.order.number}  {member.result or 'waiting'}{f': {why}' if why else ''}")


def order_text(detail: OrderDetail, live: LiveState) -> str:
    """The order page for a terminal."""
    return "\n".join(plain(line) for line in _order_lines(detail, live))


def summary_text(order: Order) -> str:
    return f"{order.number} is {wording.STATUS_WORDS[order.status_now].lower()}."


def endorsed_text(order: Order) -> str:
    return f"{order.number} is endorsed: a second person must approve it."


def address_text(order: Order, *, changed: bool) -> str:
    return plain(f"{order.number} goes {'' if changed else 'already '}to {_ship_to(order)}.")


def deadline_text(order: Order, due_at: datetime) -> str:
    return f"{order.number} waits until {exactly(due_at)}."


def put_off_text(order: Order, until: datetime) -> str:
    return f"{order.number} is out of the queue until {exactly(until)}."


def refund_text(order: Order, refund: Payment) -> str:
    return f"{format_money(refund.amount_minor, refund.currency)} of {order.number} is being refunded."


def _order_lines(detail: OrderDetail, live: LiveState) -> Iterator[str]:
    order, review, shipment = detail.order, detail.review, detail.shipment
    status = order.status_now
    yield f"{order.number}  {wording.STATUS_WORDS[status]}  {format_money(order.total_minor, order.currency)}"
    yield f"Since     {exactly(order.status_at)}"
    yield f"Step      {_step(detail)}: " + " ".join(
        part for part in (wording.sentence(order.outcome), _doing(detail)) if part
    )
    yield from _live_lines(live)
    if review and not review.decision:
        left = wording.countdown(review.due_at - timezone.now())
        yield f"Deadline  {exactly(review.due_at)} ({left})"
    elif review:
        yield f"Review    {decided(review)}{f': {review.note}' if review.note else ''}"
    if review and review.endorsed_by and review.endorsed_at:
        yield f"Endorsed  by {review.endorsed_by.get_username()} at {exactly(review.endorsed_at)}"
    for reason in review.reasons if review else []:
        yield f"          {reason['text']}"
    reference = f" as {order.reference}" if order.reference else ""
    yield f"Placed    {exactly(order.placed_at)} from {order.source}{reference}"
    yield f"Customer  {order.customer_name}{f', {order.customer_email}' if order.customer_email else ''}"
    yield f"Ship to   {_ship_to(order)}"
    for line in detail.lines:
        each = format_money(line.unit_price_minor, order.currency)
        yield f"Line      {line.quantity} x {each}  {line.product.sku}  {line.product.name}"
    for payment in detail.payments:
        amount = format_money(payment.amount_minor, payment.currency)
        told = " · ".join(part for part in (payment.provider_reference, payment.error) if part)
        yield f"Payment   {payment.get_kind_display()} {amount}, {payment_status(payment)}{f'  {told}' if told else ''}"
    if shipment:
        told = " · ".join(part for part in (shipment.carrier, shipment.tracking_number) if part)
        yield f"Package   {shipment.get_status_display()}{f'  {told}' if told else ''}"
    yield "Timeline"
    if detail.earlier_events:
        yield f"  {detail.earlier_events} earlier"
    for event in reversed(detail.events):
        yield f"  {event_line(event)}"


def _live_lines(live: LiveState) -> Iterator[str]:
    if live.attempt > 1 or live.last_error:
        when = f", next try {wording.next_try(live.next_try_at - timezone.now())}" if live.next_try_at else ""
        yield f"Now       {live.told}{when}"
    if live.put_off_until:
        yield f"Put off   until {exactly(live.put_off_until)}: {' '.join(live.waits_for.split())}"
    if live.to_undo:
        yield f"To undo   {', '.join(live.to_undo)}"
    if live.problem:
        yield f"Problem   {live.problem} See manage.py stuck."
    if live.engine_away_since:
        known = f"; what it said is from {to_the_second(live.engine_seen_at)}" if live.engine_seen_at else ""
        yield f"Temporal  does not answer since {to_the_second(live.engine_away_since)}{known}"


def plain(line: str) -> str:
    """One line, whatever a customer or a note has in it: nothing that a terminal would act on."""
    return "".join(character if character.isprintable() or character == "\xa0" else " " for character in line)


def _ship_to(order: Order) -> str:
    town = f"{order.address_postal_code} {order.address_city}".strip()
    address = [order.address_line1, order.address_line2, town, order.address_region]
    return ", ".join(part for part in [*address, country_name(order.address_country)] if part)


def _step(detail: OrderDetail) -> str:
    """The step on the bar where the order stands or was stopped."""
    status = detail.order.status_now
    bar = wording.steps(
        status,
        left_from=timeline.left_main_road_from(detail.events),
        reviewed=detail.was_reviewed,
    )
    return next((step.name for step in bar if step.state in ("live", "stopped")), bar[-1].name)


def _doing(detail: OrderDetail) -> str:
    order = detail.order
    back = sum(p.amount_minor for p in detail.payments if (p.kind, p.status) == ("refund", "succeeded"))
    refunded = format_money(back, order.currency) if back and not on_main_road(order.status_now) else ""
    return doing(order.status_now, detail.review, refunded=refunded)


def _review_json(review: Review) -> dict[str, Any]:
    return {
        "opened_at": _iso(review.opened_at),
        "due_at": _iso(review.due_at),
        "reasons": review.reasons,
        "approvals_needed": review.approvals_needed,
        "endorsed_by": review.endorsed_by.get_username() if review.endorsed_by else "",
        "endorsed_at": _iso(review.endorsed_at),
        "decision": review.decision,
        "decided_by": review.decided_by.get_username() if review.decided_by else "",
        "decided_at": _iso(review.decided_at),
        "note": review.note,
    }


def payment_json(payment: Payment) -> dict[str, Any]:
    return {
        "kind": payment.kind,
        "amount_minor": payment.amount_minor,
        "currency": payment.currency,
        "status": payment.status,
        "reference": payment.provider_reference,
        "error": payment.error,
        "settled_at": _iso(payment.settled_at),
    }


def _shipment_json(shipment: Shipment) -> dict[str, Any]:
    return {
        "status": shipment.status,
        "carrier": shipment.carrier,
        "tracking_number": shipment.tracking_number,
        "dispatched_at": _iso(shipment.dispatched_at),
    }


def _iso(at: datetime | None) -> str | None:
    return at.astimezone(UTC).isoformat() if at else None

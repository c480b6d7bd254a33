"""All that is known of one order, for whoever has to answer for it: as JSON, as a table, and to be printed.

Amounts in minor units beside a currency; instants in UTC. Nothing here writes.
"""

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.db.models import Model

from orders import timeline
from orders.exporting import harmless
from orders.models import Event, Mail, Note, Order, OrderLine, Payment, Review, Shipment
from orders.timeline import Entry

COLUMNS = (
    "sequence",
    "at",
    "type",
    "about",
    "title",
    "detail",
    "actor_kind",
    "actor",
    "status_before",
    "status_after",
    "payload",
    "hash",
)
# Never taken along: a body may hold the customer's own link, and the search text says nothing that is not said.
LEFT_OUT = {"search", "body", "token"}


@dataclass(frozen=True)
class Audit:
    """An order with all that belongs to it, the oldest first."""

    order: Order
    lines: Sequence[OrderLine]
    reviews: Sequence[Review]
    payments: Sequence[Payment]
    shipment: Shipment | None
    notes: Sequence[Note]
    mails: Sequence[Mail]
    events: Sequence[Event]

    @property
    def entries(self) -> list[Entry]:
        return [timeline.tell(event) for event in self.events]


def audit_of(order_id: UUID) -> Audit:
    """Every event of it, however many.

    Raises Order.DoesNotExist.
    """
    order = Order.objects.get(pk=order_id)
    return Audit(
        order=order,
        lines=list(order.lines.select_related("product").order_by("position")),
        reviews=list(order.reviews.select_related("decided_by").order_by("id")),
        payments=list(order.payments.order_by("created_at", "id")),
        shipment=Shipment.objects.filter(order=order).first(),
        notes=list(order.notes.select_related("author").order_by("id")),
        mails=list(order.mails.order_by("id")),
        events=list(order.events.order_by("sequence")),
    )


def as_json(audit: Audit, *, at: datetime, by: str) -> dict[str, Any]:
    return {
        "taken_at": _plain(at),
        "taken_by": by,
        "order": _fields(audit.order),
        "lines": [_fields(line) | {"sku": line.product.sku, "product": line.product.name} for line in audit.lines],
        "reviews": [_fields(review) for review in audit.reviews],
        "payments": [_fields(payment) for payment in audit.payments],
        "shipment": _fields(audit.shipment) if audit.shipment else None,
        "notes": [_fields(note) | {"author": note.author.get_username()} for note in audit.notes],
        "mails": [_fields(mail) for mail in audit.mails],
        "events": [dict(zip(COLUMNS, _row(event), strict=True)) for event in audit.events],
    }


def as_csv(audit: Audit) -> Iterator[str]:
    """The events, a line each, with nothing in them that a spreadsheet would run; a mark tells it of UTF-8."""
    yield "\N{BOM}" + _line(COLUMNS)
    for event in audit.events:
        *cells, payload, hash_ = _row(event)
        shown = json.dumps(payload, ensure_ascii=False, sort_keys=True)
        yield _line([harmless("" if cell is None else str(cell)) for cell in (*cells, shown, hash_)])


def _row(event: Event) -> tuple[Any, ...]:
    entry = timeline.tell(event)
    before, after = event.payload.get("from"), event.payload.get("to")
    return (
        event.sequence,
        _plain(event.at),
        event.type,
        entry.about.value,
        entry.title,
        entry.detail,
        event.actor_kind,
        event.actor,
        before,
        after,
        event.payload,
        bytes(event.hash).hex(),
    )


def _line(cells: Sequence[object]) -> str:
    text = io.StringIO()
    csv.writer(text).writerow(cells)
    return text.getvalue()


def _fields(row: Model) -> dict[str, Any]:
    """The row's own columns, people by their names."""
    told = {}
    for field in row._meta.concrete_fields:  # noqa: SLF001 - is how a model tells of itself
        if field.name in LEFT_OUT:
            continue
        value = getattr(row, field.name if field.related_model is not None and field.name != "order" else field.attname)
        told[field.name] = str(value) if isinstance(value, Model) else _plain(value)
    return told


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return value if isinstance(value, (str, int, float, bool, list, dict)) or value is None else str(value)

"""Orders that share something with an order: its customer, mailbox, address or card. Nothing here writes.

Each likeness has an index of its own, sorted by time, and is looked up to a cap: the newest of a customer with
thousands of orders cost no more than those of a new one.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import CharField, Q, Value

from orders.models import Order
from orders.states import Status

EACH = 10  # of one likeness
SHOWN = 12


@dataclass(frozen=True)
class Related:
    """Another order, how it fared, and what the two share."""

    id: uuid.UUID
    number: str
    status: Status
    outcome: str
    total_minor: int
    currency: str
    placed_at: datetime
    shares: tuple[str, ...]  # in words, the most telling first


@dataclass(frozen=True)
class RelatedOrders:
    """`more` where a likeness has more orders than were looked at."""

    orders: Sequence[Related]
    more: bool = False


def related_orders(order: Order) -> RelatedOrders:
    """Those that share most first, then the newest. One query."""
    found: dict[uuid.UUID, dict[str, Any]] = {}
    shares: dict[uuid.UUID, list[str]] = {}
    each: dict[str, int] = {}
    likenesses = _likenesses(order)
    for row in _newest_of_each(order, likenesses):
        found[row["pk"]] = row
        shares.setdefault(row["pk"], []).append(row["shared"])
        each[row["shared"]] = each.get(row["shared"], 0) + 1
    related = [
        Related(
            id=key,
            number=row["number"],
            status=Status(row["status"]),
            outcome=row["outcome"],
            total_minor=row["total_minor"],
            currency=row["currency"],
            placed_at=row["placed_at"],
            shares=tuple(word for word in likenesses if word in shares[key]),
        )
        for key, row in found.items()
    ]
    related.sort(key=lambda other: (-len(other.shares), -other.placed_at.timestamp(), other.number))
    more = len(related) > SHOWN or any(number > EACH for number in each.values())
    return RelatedOrders(related[:SHOWN], more)


def _likenesses(order: Order) -> dict[str, Q]:
    """What another order may share with this one, in words, and how it is looked up; the most telling first."""
    known: dict[str, tuple[str, Q]] = {
        "card": (order.card_fingerprint, Q(card_fingerprint=order.card_fingerprint) & ~Q(card_fingerprint="")),
        "e-mail": (order.customer_email, Q(customer_email=order.customer_email) & ~Q(customer_email="")),
        "address": (
            order.address_line1,
            Q(
                address_line1__iexact=order.address_line1,
                address_postal_code=order.address_postal_code,
                address_country=order.address_country,
            )
            & ~Q(address_line1=""),
        ),
        "name": (order.customer_name, Q(customer_name__iexact=order.customer_name)),
    }
    return {word: same for word, (value, same) in known.items() if value}


def _newest_of_each(order: Order, likenesses: dict[str, Q]) -> list[dict[str, Any]]:
    columns = ("pk", "number", "status", "outcome", "total_minor", "currency", "placed_at")
    lists = [
        Order.objects.exclude(pk=order.pk)
        .filter(same)
        .annotate(shared=Value(word, output_field=CharField()))
        .order_by("-placed_at")
        .values(*columns, "shared")[: EACH + 1]
        for word, same in likenesses.items()
    ]
    first, *others = lists
    return list(first.union(*others, all=True) if others else first)

"""Whether the events of orders are as they were written: each order's chain, from its first event to its version.

A stream however many there are; nothing here writes.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from itertools import chain, groupby
from typing import Any
from uuid import UUID

from django.db import connection, transaction

from orders.chain import COLUMNS, FIRST, Said

AT_A_TIME = 2_000  # events that are held

# An order is touched by its events, and by its own two instants where somebody has taken the events away.
TOUCHED = """
    SELECT order_id FROM orders_event WHERE at >= %(since)s AND at < %(until)s
    UNION SELECT id FROM orders_order WHERE placed_at >= %(since)s AND placed_at < %(until)s
    UNION SELECT id FROM orders_order WHERE status_at >= %(since)s AND status_at < %(until)s
"""


class How(StrEnum):
    """What was done to an event."""

    CHANGED = "changed"
    MISSING = "missing"
    INSERTED = "inserted"
    REORDERED = "reordered"


@dataclass(frozen=True)
class Break:
    """Where a chain stops to hold. What comes after `sequence` is not proven."""

    sequence: int
    how: How
    until: int = 0  # the last one that is missing


@dataclass(frozen=True)
class Proven:
    """An order whose chain was gone along."""

    number: str
    events: int
    broken: Break | None


def every_order() -> Iterator[Proven]:
    return _prove("true", {})


def one_order(order_id: UUID) -> Iterator[Proven]:
    return _prove("o.id = %(order)s", {"order": order_id})


def touched(*, since: datetime, until: datetime) -> Iterator[Proven]:
    """The whole chains of the orders to which something happened from `since`, and before `until`."""
    return _prove(f"o.id IN ({TOUCHED})", {"since": since, "until": until})


def _prove(which: str, values: dict[str, UUID | datetime]) -> Iterator[Proven]:
    """One query, and so one moment of the desk, for all of it."""
    query = f"""
        SELECT o.id, o.number, o.version, {COLUMNS.format("e")}
        FROM orders_order AS o LEFT JOIN orders_event AS e ON e.order_id = o.id
        WHERE {which} ORDER BY o.id, e.sequence, e.id
    """  # noqa: S608 - of this module's own words
    with transaction.atomic(), connection.chunked_cursor() as cursor:
        # raw SQL: by the bytes that the hashes are of, in a stream
        cursor.execute(query, values)
        stream = chain.from_iterable(iter(lambda: cursor.fetchmany(AT_A_TIME), []))
        for (_, number, version), rows in groupby(stream, key=lambda row: row[:3]):
            events = _Counted(rows)
            broken = first_break(events, version)
            for _ in events:  # what comes after a break
                pass
            yield Proven(number, events.count, broken)


class _Counted:
    """The events among an order's rows; without any, it has one row of nothing."""

    def __init__(self, rows: Iterator[Any]) -> None:
        self._rows = rows
        self.count = 0

    def __iter__(self) -> Iterator[Said]:
        for row in self._rows:
            if row[3] is not None:
                self.count += 1
                yield Said.of(row[3:])


def first_break(events: Iterable[Said], version: int) -> Break | None:
    """Where the chain of an order of that version breaks first, if it does. Events come by their sequence."""
    last, hash_ = 0, FIRST
    rest = iter(events)
    for event in rest:
        if event.sequence > last + 1:
            return Break(last + 1, How.MISSING, until=event.sequence - 1)
        if event.sequence <= last:
            return Break(event.sequence, How.INSERTED)
        if event.hash != event.hash_after(hash_):
            return Break(event.sequence, _how(event, hash_, rest))
        last, hash_ = event.sequence, event.hash
    if last < version:
        return Break(last + 1, How.MISSING, until=version)
    return Break(version + 1, How.INSERTED) if last > version else None


def _how(event: Said, before: bytes, rest: Iterator[Said]) -> How:
    """What was done to the event that does not follow on `before`: as it was, does it, or another, stand elsewhere?"""
    belongs_elsewhere = another_belongs_here = False
    for other in rest:
        another_belongs_here |= other.hash == other.hash_after(before, sequence=event.sequence)
        places = (other.sequence, other.sequence + 1)  # `other` may have been moved itself
        belongs_elsewhere |= any(event.hash == event.hash_after(other.hash, sequence=place) for place in places)
    if belongs_elsewhere:
        return How.REORDERED
    return How.INSERTED if another_belongs_here else How.CHANGED

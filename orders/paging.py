"""Long lists by the page: places in them by key, and counts that are capped."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db.models import Q, QuerySet

from orders.statements import few

PAGE = 50
COUNT_UP_TO = 1_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class BadCursor(ValueError):
    """The place to go on from is not one that we gave out."""


@dataclass(frozen=True)
class Cursor:
    """A place in a list that is sorted by an instant, or a number, and then by a key."""

    at: datetime | Decimal
    key: str

    def __str__(self) -> str:
        if isinstance(self.at, Decimal):
            return f"{self.at:f}~{self.key}"
        return f"{(self.at - EPOCH) // timedelta(microseconds=1)}~{self.key}"

    @classmethod
    def parse(cls, text: str, *, key: str, of: type[datetime] | type[Decimal] = datetime) -> "Cursor":
        """Read what `str()` wrote; `key` is the pattern of the list's key, and `of` what it is sorted by.

        Raises BadCursor for anything else.
        """
        number = r"\d{1,16}" if of is datetime else r"\d{1,16}(?:\.\d{1,17})?"
        match = re.fullmatch(rf"({number})~({key})", text, re.ASCII)
        if not match:
            raise BadCursor(text)
        if of is Decimal:
            return cls(Decimal(match[1]), match[2])
        return cls(EPOCH + timedelta(microseconds=int(match[1])), match[2])


REVIEW_KEY = r"\d{1,18}"
ORDER_KEY = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"


@dataclass(frozen=True)
class Count:
    """How many there are; `more` where counting stopped at the cap."""

    number: int
    more: bool = False

    def __str__(self) -> str:
        return f"{self.number:,}" + ("+" if self.more else "")

    def __bool__(self) -> bool:
        return self.number > 0


def capped(number: int) -> Count:
    """Of what was counted up to one more than the cap."""
    return Count(min(number, COUNT_UP_TO), number > COUNT_UP_TO)


def capped_count(rows: QuerySet[Any, Any]) -> Count:
    return capped(rows.order_by()[: COUNT_UP_TO + 1].count())


@dataclass(frozen=True)
class By:
    """How a list of reviews or orders is sorted: by a column, and then by the key of a review or of an order."""

    column: str  # from the row
    key: str
    descending: bool = False
    of: type[datetime] | type[Decimal] = datetime
    of_reviews: bool = False  # whose key it is

    def parse(self, text: str) -> Cursor:
        """Raises BadCursor."""
        return Cursor.parse(text, key=REVIEW_KEY if self.of_reviews else ORDER_KEY, of=self.of)

    def after(self, rows: QuerySet[Any, Any], place: Cursor | None, *, backwards: bool = False) -> QuerySet[Any, Any]:
        """Sorted, from behind that place on; `backwards`, from before it on towards the beginning."""
        if self.of_reviews:
            rows = rows.select_related("order")
        falling = self.descending != backwards
        if place:
            than = "lt" if falling else "gt"
            level = Q((self.column, place.at), (f"{self.key}__{than}", place.key))
            # The first condition lets an index begin there; alone, the second would not.
            rows = rows.filter((f"{self.column}__{than}e", place.at))
            rows = rows.filter(Q((f"{self.column}__{than}", place.at)) | level)
        sign = "-" if falling else ""
        return rows.order_by(f"{sign}{self.column}", f"{sign}{self.key}")

    def count_and_find_few(
        self, keys: QuerySet[Any, Any], rows: QuerySet[Any, Any], place: Cursor | None, *, backwards: bool = False
    ) -> tuple[Count, list[Any] | None]:
        """How many keys there are, and where those are few, the keys of the page of `rows` from that place on."""
        page = self.after(rows, place, backwards=backwards).values_list("pk", flat=True)
        number, found = few(keys[: COUNT_UP_TO + 1], up_to=COUNT_UP_TO, rows=page)
        return capped(number), None if found is None else found[: PAGE + 1]

    def place(self, row: Any) -> Cursor:
        value, key = row, row
        for name in self.column.split("__"):
            value = getattr(value, name)
        for name in self.key.split("__"):
            key = getattr(key, name)
        return Cursor(value if self.of is datetime else Decimal(str(value)), str(key))

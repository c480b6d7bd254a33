"""Lists of orders as a CSV file, chunk by chunk, however long they are.

Each chunk goes on where the last one ended, so no query is long and nothing is held on the server meanwhile. What is
changed while the file is written stands in it as it is when its chunk is read.
"""

import csv
import io
import re
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime

from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.db import connection

from orders import money, selectors
from orders.filters import Filter
from orders.models import Order

CHUNK = 2_000

COLUMNS = (
    "number",
    "source",
    "reference",
    "status",
    "status_at",
    "placed_at",
    "customer_name",
    "customer_email",
    "address_line1",
    "address_line2",
    "address_postal_code",
    "address_city",
    "address_region",
    "address_country",
    "currency",
    "amount",
    "outcome",
    "id",
)

# A spreadsheet takes a cell that begins so for a formula, and runs it: such a cell gets an apostrophe before it.
DANGEROUS = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")  # the last four are full-width
# Where it splits lines at something else than commas, quotes hold nothing together and a cell begins after that.
DANGEROUS_LATER = re.compile(r'([;|\t\r\n][ \xa0"]*)(?=[=+\-@\uff1d\uff0b\uff0d\uff20])')


def harmless(text: str) -> str:
    """The text as a cell that no spreadsheet runs, as OWASP recommends it."""
    text = DANGEROUS_LATER.sub(r"\1'", text)
    return f"'{text}" if text.startswith(DANGEROUS) else text


def cells(order: Order) -> list[str]:
    """The order's row: the amount exactly, with the currency's decimals; instants in UTC, to the microsecond."""
    exact = {
        "amount": f"{money.to_amount(order.total_minor, order.currency):f}",
        "status_at": order.status_at.astimezone(UTC).isoformat(),
        "placed_at": order.placed_at.astimezone(UTC).isoformat(),
    }
    return [exact.get(name) or harmless(str(getattr(order, name))) for name in COLUMNS]


def chunks(wanted: Filter, *, viewer: User, at: datetime) -> Iterator[bytes]:
    """The file, in its list's order. It begins with a mark by which spreadsheets know UTF-8."""
    yield "\N{BOM}".encode() + _lines([list(COLUMNS)])
    for orders in selectors.walk(wanted, at=at, viewer=viewer, at_a_time=CHUNK):
        yield _lines([cells(order) for order in orders])


async def stream(wanted: Filter, *, viewer: User, at: datetime) -> AsyncIterator[bytes]:
    """The same for the web, which waits for the database in a thread, and gives the connection back each time."""
    parts = chunks(wanted, viewer=viewer, at=at)

    def following() -> bytes | None:
        try:
            return next(parts, None)
        finally:
            connection.close()

    while (part := await sync_to_async(following, thread_sensitive=False)()) is not None:
        yield part


def _lines(rows: list[list[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()

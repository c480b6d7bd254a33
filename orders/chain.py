"""What the hash of an event is of, in the form that a trigger in the database writes too. Nothing here reads or writes.

Form 1 is the SHA-256 of a JSON list in UTF-8: the number 1; the hash of the order's event before it in hexadecimal, or
"" for the first; id, order, sequence, type, kind of actor, actor, account or null, payload; and the instant in UTC, as
2026-11-21T09:00:00.000000Z. The JSON has ", " and ": " between its parts; an object's keys stand by their length in
bytes, those of one length by their bytes; numbers have no exponent, and keep the digits behind their point; strings are
as they are, but for quote, backslash and what lies below U+0020: \\b, \\f, \\n, \\r, \\t, and \\u00XX for the rest.
"""

import hashlib
import json
from dataclasses import dataclass, replace
from decimal import Decimal

FORM = 1
FIRST = b""  # what stands for the event before an order's first

# Of an orders_event: what a Said is made of, as text that no setting of the session changes.
COLUMNS = """
    {0}.id, {0}.order_id::text, {0}.sequence, {0}.type, {0}.actor_kind, {0}.actor, {0}.user_id, {0}.payload::text,
    to_char({0}.at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), {0}.hash
"""


@dataclass(frozen=True, slots=True)
class Said:
    """An event as it is written: what `hash` is of, and what it is. `at` is in the form's words."""

    id: int
    order_id: str
    sequence: int
    type: str
    actor_kind: str
    actor: str
    user_id: int | None
    payload: object
    at: str
    hash: bytes

    @classmethod
    def of(cls, row: tuple[object, ...]) -> "Said":
        """From a row of COLUMNS."""
        said = cls(*row)  # type: ignore[arg-type]
        return replace(said, payload=read(str(said.payload)))

    def hash_after(self, previous: bytes, *, sequence: int | None = None) -> bytes:
        """What its hash has to be after this one; with a sequence, where it would be right if it stood there."""
        said = [
            FORM,
            previous.hex(),
            self.id,
            self.order_id,
            self.sequence if sequence is None else sequence,
            self.type,
            self.actor_kind,
            self.actor,
            self.user_id,
            self.payload,
            self.at,
        ]
        return hashlib.sha256(canonical(said).encode()).digest()


def read(text: str) -> object:
    """JSON with its numbers digit by digit. Raises ValueError where it is none, or has an exponent."""
    return json.loads(text, parse_int=Decimal, parse_float=_digits)


def _digits(number: str) -> Decimal:
    if "e" in number.lower():  # ten characters could stand for a billion digits
        raise ValueError(f"{number} has an exponent")
    return Decimal(number)


def canonical(value: object) -> str:
    """JSON in the one form that is hashed and signed. Raises TypeError for what JSON does not have, floats too."""
    match value:
        case str():
            return json.dumps(value, ensure_ascii=False)
        case None | bool():
            return json.dumps(value)
        case int() | Decimal():
            return format(value, "f") if isinstance(value, Decimal) else str(value)
        case dict():
            parts = sorted(value.items(), key=lambda part: (len(part[0].encode()), part[0].encode()))
            return "{" + ", ".join(f"{canonical(key)}: {canonical(held)}" for key, held in parts) + "}"
        case list():
            return "[" + ", ".join(map(canonical, value)) + "]"
    raise TypeError(f"JSON has no {type(value).__name__}.")

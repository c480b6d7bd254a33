"""The events of a period as JSON lines that anybody can check who has the public key.

One event a line, by instant and id, each with its hash and that of the order's event before it, so that the form in
`orders.chain` can be worked out from the line alone. The last line says what was exported: the period, how many
events, the SHA-256 of all lines before it, and the Ed25519 signature of that statement in canonical form.
"""

import hashlib
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from django.db import connection, transaction

from orders.chain import COLUMNS, Said, canonical, read

AT_A_TIME = 2_000  # events that are held
FIELDS = ("id", "order", "sequence", "type", "actor_kind", "actor", "user", "payload", "at", "hash")

QUERY = f"""
    SELECT o.number, {COLUMNS.format("e")}, coalesce((
        SELECT hash FROM orders_event AS p
        WHERE p.order_id = e.order_id AND p.sequence < e.sequence ORDER BY p.sequence DESC LIMIT 1
    ), '')
    FROM orders_event AS e JOIN orders_order AS o ON o.id = e.order_id
    WHERE e.at >= %s AND e.at < %s ORDER BY e.at, e.id
"""  # noqa: S608 - of our own words


class NotAsSigned(Exception):
    """The file is not what the desk has signed. The message says what is wrong with it."""


@dataclass(frozen=True)
class Statement:
    """What was exported; instants as texts in UTC."""

    count: int
    since: str
    until: str
    taken_at: str


def new_pair() -> tuple[str, str]:
    """A key to sign with, and the public one to check by, both in base64."""
    key = Ed25519PrivateKey.generate()
    return _text(key.private_bytes_raw()), public_key_of(key.private_bytes_raw())


def public_key_of(signing_key: bytes) -> str:
    return _text(Ed25519PrivateKey.from_private_bytes(signing_key).public_key().public_bytes_raw())


def export(*, since: datetime, until: datetime, signing_key: bytes, at: datetime) -> Iterator[str]:
    """The lines, without their ends: what happened from `since`, and before `until`, as it stands at one moment."""
    count, digest = 0, hashlib.sha256()
    for row in _events(since, until):
        line = _line(row)
        count += 1
        digest.update(f"{line}\n".encode())
        yield line
    statement = {
        "count": count,
        "since": _instant(since),
        "until": _instant(until),
        "taken_at": _instant(at),
        "sha256": digest.hexdigest(),
        "public_key": public_key_of(signing_key),
    }
    signature = Ed25519PrivateKey.from_private_bytes(signing_key).sign(canonical(statement).encode())
    yield canonical({"statement": statement, "signature": _text(signature)})


def check(lines: Iterable[bytes], *, public_key: str) -> Statement:
    """What the file says that it is, once everything in it has proven right.

    Raises NotAsSigned, and ValueError where the key is none.
    """
    try:
        key = Ed25519PublicKey.from_public_bytes(b64decode(public_key, validate=True))
    except ValueError:
        raise ValueError("must be 32 bytes in base64, as manage.py audit new-key tells them") from None
    number, last, digest, wrong = 0, b"", hashlib.sha256(), ""
    for number, line in enumerate(lines, start=1):
        if number > 1:
            digest.update(last)
            wrong = wrong or _wrong_with(last, number - 1)
        last = line
    statement = _signed(last, key)
    if statement["sha256"] != digest.hexdigest() or statement["count"] != number - 1:
        raise NotAsSigned(wrong or "The lines are not those that were signed.")
    if wrong:
        raise NotAsSigned(f"{wrong} It was so when the file was signed.")
    return Statement(number - 1, statement["since"], statement["until"], statement["taken_at"])


def _signed(line: bytes, key: Ed25519PublicKey) -> dict[str, Any]:
    try:
        last: Any = read(line.decode())
        statement, signature = last["statement"], b64decode(last["signature"], validate=True)
        said = canonical(statement).encode()
    except (ValueError, KeyError, TypeError, RecursionError):
        raise NotAsSigned("The last line is no signed statement: the file is cut off, or something else.") from None
    try:
        key.verify(signature, said)
    except InvalidSignature:
        raise NotAsSigned("The signature is not of this key, or the last line was changed.") from None
    return dict(statement)


def _wrong_with(line: bytes, number: int) -> str:
    """Nothing, where the event is what its hash is of."""
    try:
        told: Any = read(line.decode())
        values = dict(zip(Said.__dataclass_fields__, (told[name] for name in FIELDS), strict=True))
        said = Said(**values | {"hash": bytes.fromhex(told["hash"])})
        if said.hash == said.hash_after(bytes.fromhex(told["previous"])):
            return ""
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return f"Line {number} is no event."
    return f"Line {number}, event {said.sequence} of {told.get('number')}, is not what its hash is of."


def _events(since: datetime, until: datetime) -> Iterator[Any]:
    with transaction.atomic(), connection.chunked_cursor() as cursor:
        # raw SQL: by the bytes that the hashes are of, in a stream
        cursor.execute(QUERY, [since, until])
        yield from chain.from_iterable(iter(lambda: cursor.fetchmany(AT_A_TIME), []))


def _line(row: Any) -> str:
    number, *columns, previous = row
    said = Said.of(tuple(columns))
    values = (getattr(said, name) for name in Said.__dataclass_fields__)
    told = dict(zip(FIELDS, values, strict=True)) | {"hash": said.hash.hex()}
    return canonical(told | {"number": number, "previous": previous.hex()})


def _instant(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _text(key: bytes) -> str:
    return b64encode(key).decode()

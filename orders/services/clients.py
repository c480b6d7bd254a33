"""Programs that call the API: their tokens, and what they ask for exactly once: to place an order, to refund, to write
a note, to decide on many.
"""

import hashlib
import secrets
import uuid
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth.models import User
from django.db import connection, transaction
from django.db.models import Q

from orders.models import ActorKind, ApiClient, ApiScope, Bulk, IdempotencyKey, Note, Order, Payment
from orders.services import bulk
from orders.services.actors import Actor
from orders.services.noting import write_note
from orders.services.placing import NewOrder, place_order
from orders.services.refunding import refund
from orders.states import Action

USE_NOTED_EVERY = timedelta(minutes=1)


class CannotCreate(Exception):
    """The client lacks something, or its name is taken."""


class KeyReused(Exception):
    """The key stands for another request."""

    def __init__(self, before: IdempotencyKey) -> None:
        on = before.order.number if before.order else f"{before.bulk.size:,} orders" if before.bulk else "nothing"
        super().__init__(f"The key has been used for another request, on {on}.")


def create_client(*, name: str, scopes: Collection[ApiScope], user: User | None, at: datetime) -> str:
    """Let a program in; answers its token, which is kept nowhere.

    Raises CannotCreate.
    """
    if not scopes:
        raise CannotCreate("A client without a scope could do nothing.")
    if ApiScope.DECIDE in scopes and user is None:
        raise CannotCreate("A client that decides does so as a user: name one.")
    token = secrets.token_urlsafe(32)
    _, created = ApiClient.objects.get_or_create(
        name=name,
        defaults={"token_hash": _hash(token), "scopes": sorted(scopes), "user": user, "created_at": at},
    )
    if not created:
        raise CannotCreate(f"There is a client called {name} already.")
    return token


def revoke(*, client_id: int, at: datetime) -> None:
    """Let the token count no longer; a second time changes nothing."""
    ApiClient.objects.filter(pk=client_id, revoked_at=None).update(revoked_at=at)


def client_with_token(*, token: str, at: datetime) -> ApiClient | None:
    """Whose token it is, where it counts; its use is noted, once a minute at most."""
    client = ApiClient.objects.select_related("user").filter(token_hash=_hash(token), revoked_at=None).first()
    if client:
        not_lately = Q(last_used_at=None) | Q(last_used_at__lt=at - USE_NOTED_EVERY)
        ApiClient.objects.filter(not_lately, pk=client.pk).update(last_used_at=at)
    return client


def place_once(*, client: ApiClient, key: str, body_hash: str, new: NewOrder, at: datetime) -> tuple[Order, bool]:
    """Place the order that the client calls `key`, or find the one it placed before; says whether it is new.

    Raises KeyReused where the key stands for another body, and what `place_order` raises.
    """
    with transaction.atomic():
        if (before := _used_before(client, key, body_hash)) and before.order:
            return before.order, False
        order = place_order(new=new, actor=Actor(ActorKind.SYSTEM, client.name, client.user), at=at)
        IdempotencyKey.objects.create(client=client, key=key, body_hash=body_hash, order=order, created_at=at)
    return order, True


def refund_once(
    *,
    client: ApiClient,
    key: str,
    body_hash: str,
    order_id: uuid.UUID,
    amount_minor: int,
    reason: str,
    actor: Actor,
    at: datetime,
    seen: int | None = None,
) -> tuple[Payment, bool]:
    """Grant the refund that the client calls `key`, or find the one it had before; says whether it is new.

    `amount_minor` is in minor units of the order's currency. Raises KeyReused where the key stands for another body,
    and what `refund` raises.
    """
    with transaction.atomic():
        if (before := _used_before(client, key, body_hash)) and before.refund:
            return before.refund, False
        payment = refund(order_id=order_id, amount_minor=amount_minor, reason=reason, actor=actor, at=at, seen=seen)
        IdempotencyKey.objects.create(
            client=client, key=key, body_hash=body_hash, order_id=order_id, refund=payment, created_at=at
        )
    return payment, True


def write_note_once(
    *, client: ApiClient, key: str, body_hash: str, order_id: uuid.UUID, text: str, actor: Actor, at: datetime
) -> tuple[Note, bool]:
    """Write the note that the client calls `key`, or find the one it wrote before; says whether it is new.

    Raises KeyReused where the key stands for another body, and what `write_note` raises.
    """
    with transaction.atomic():
        if (before := _used_before(client, key, body_hash)) and before.note:
            return before.note, False
        note = write_note(order_id=order_id, actor=actor, at=at, text=text)
        IdempotencyKey.objects.create(
            client=client, key=key, body_hash=body_hash, order_id=order_id, note=note, created_at=at
        )
    return note, True


def begin_bulk_once(
    *,
    client: ApiClient,
    key: str,
    body_hash: str,
    action: Action,
    chosen: Mapping[uuid.UUID, int],
    actor: Actor,
    at: datetime,
    **asked: Any,
) -> tuple[Bulk, bool]:
    """Begin the decision on many that the client calls `key`, or find the one it began before; says whether it is new.

    `asked` is what `bulk.begin` takes besides. Raises KeyReused where the key stands for another body, and what
    `bulk.begin` raises.
    """
    with transaction.atomic():
        if (before := _used_before(client, key, body_hash)) and before.bulk:
            return before.bulk, False
        begun = bulk.begin(bulk_id=uuid.uuid4(), action=action, chosen=chosen, actor=actor, at=at, **asked)
        IdempotencyKey.objects.create(client=client, key=key, body_hash=body_hash, bulk=begun, created_at=at)
    return begun, True


def _used_before(client: ApiClient, key: str, body_hash: str) -> IdempotencyKey | None:
    """What came of the request that the client called `key`; until the transaction ends nobody else may use the key.

    Raises KeyReused.
    """
    with connection.cursor() as cursor:
        # raw SQL: an advisory lock
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"key:{client.pk}:{key}"])
    before = (
        IdempotencyKey.objects.select_related("order", "refund", "note", "bulk").filter(client=client, key=key).first()
    )
    if before and before.body_hash != body_hash:
        raise KeyReused(before)
    return before


def _hash(token: str) -> str:
    """A token is 256 random bits: nothing slower than SHA-256 is needed to keep it from being guessed."""
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()

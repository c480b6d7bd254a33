"""The outbox on its way out, and the workers' life signs."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import F

from orders.models import Heartbeat, Outbox


def deliver_outbox(*, deliver: Callable[[Sequence[Outbox]], Sequence[str]], at: datetime, most: int = 50) -> int:
    """Hand undelivered messages to `deliver`, each order's in their order, and mark those that arrived.

    Rows stay locked while `deliver` runs, so many relays can work side by side and a killed one leaves its
    messages undelivered. `deliver` answers for each message with what went wrong, empty where it arrived; what it
    raises leaves everything as it was.

    Returns how many arrived.
    """
    with transaction.atomic():
        # raw SQL: the ORM locks no rows of which it asks for the first only
        heads = Outbox.objects.raw(
            """
            SELECT * FROM orders_outbox AS message
            WHERE delivered_at IS NULL AND NOT EXISTS (
                SELECT FROM orders_outbox AS earlier
                WHERE earlier.order_id = message.order_id AND earlier.delivered_at IS NULL AND earlier.id < message.id
            )
            ORDER BY attempts, id LIMIT %s FOR UPDATE SKIP LOCKED
            """,
            [most],
        )
        messages = list(heads)
        answers = deliver(messages) if messages else []
        for message, wrong in zip(messages, answers, strict=True):
            Outbox.objects.filter(pk=message.pk, delivered_at=None).update(
                attempts=F("attempts") + 1,
                last_error=wrong.replace("\0", "")[:300],
                delivered_at=None if wrong else at,
            )
        return sum(not wrong for wrong in answers)


def record_heartbeat(
    *,
    worker: str,
    queues: str,
    started_at: datetime,
    temporal_seen_at: datetime | None,
    at: datetime,
    build: str = "",
) -> None:
    """Keep the life sign of one worker process, and forget those silent for a day."""
    Heartbeat.objects.bulk_create(
        [
            Heartbeat(
                worker=worker,
                queues=queues,
                build=build[:120],
                started_at=started_at,
                seen_at=at,
                temporal_seen_at=temporal_seen_at,
            )
        ],
        update_conflicts=True,
        unique_fields=["worker"],
        update_fields=["seen_at", "temporal_seen_at"],
    )
    Heartbeat.objects.filter(seen_at__lt=at - timedelta(days=1)).delete()


def forget_heartbeat(*, worker: str) -> None:
    Heartbeat.objects.filter(worker=worker).delete()

"""What the reconciler found last: how the rows and the engine's runs differ."""

from collections.abc import Sequence
from datetime import datetime

from orders.models import Drift, Order
from orders.stuck import Stuck

MOST = 200  # orders that are kept; more than that is one trouble


def record(*, found: Sequence[Stuck], at: datetime) -> int:
    """Keep what was found in place of what was found before, unless that is from later; say how many orders it is."""
    versions = dict(Order.objects.filter(pk__in=[one.order_id for one in found[:MOST]]).values_list("pk", "version"))
    orders = [
        {
            "order_id": str(one.order_id),
            "number": one.number,
            "version": versions.get(one.order_id, 0),
            "why": one.why.value,
            "told": one.told,
            "since": one.since.isoformat(),
        }
        for one in found[:MOST]
    ]
    Drift.objects.bulk_create([Drift(pk=1, looked_at=at, number=len(found), orders=orders)], ignore_conflicts=True)
    Drift.objects.filter(pk=1, looked_at__lt=at).update(looked_at=at, number=len(found), orders=orders)
    return len(found)

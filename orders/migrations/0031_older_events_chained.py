"""Hashes for the events of before, some thousand orders at a time, an order's events together.

The desk runs on meanwhile: writers wait for one batch at most. What was interrupted goes on when it is run again.
"""

from uuid import UUID

from django.db import migrations, transaction

BATCH = 2_000  # orders

CHAIN = """
WITH RECURSIVE chained AS (
    SELECT first.order_id, first.sequence, first.id, orders_event_hash('', first.event) AS hash
    FROM unnest(%(orders)s::uuid[]) AS batch (order_id) CROSS JOIN LATERAL (
        SELECT event.order_id, event.sequence, event.id, event FROM orders_event AS event
        WHERE event.order_id = batch.order_id ORDER BY event.sequence LIMIT 1
    ) AS first
    UNION ALL
    SELECT next.order_id, next.sequence, next.id, orders_event_hash(chained.hash, next.event)
    FROM chained CROSS JOIN LATERAL (
        SELECT event.order_id, event.sequence, event.id, event FROM orders_event AS event
        WHERE event.order_id = chained.order_id AND event.sequence > chained.sequence ORDER BY event.sequence LIMIT 1
    ) AS next
)
UPDATE orders_event SET hash = chained.hash FROM chained
WHERE orders_event.order_id = chained.order_id AND orders_event.sequence = chained.sequence AND orders_event.hash = ''
    AND orders_event.order_id = ANY(%(orders)s::uuid[])  -- or each batch would be sought in the whole table
"""


def chain_older_events(apps, schema_editor):
    """Nobody may change events, for which there is a trigger; it is off within each batch, and nobody writes then."""
    orders = apps.get_model("orders", "Order").objects.order_by("pk").values_list("pk", flat=True)
    last = UUID(int=0)
    while batch := list(orders.filter(pk__gt=last)[:BATCH]):
        with transaction.atomic(), schema_editor.connection.cursor() as cursor:
            cursor.execute("ALTER TABLE orders_event DISABLE TRIGGER orders_event_append_only")
            cursor.execute(CHAIN, {"orders": batch})
            cursor.execute("ALTER TABLE orders_event ENABLE TRIGGER orders_event_append_only")
        last = batch[-1]


class Migration(migrations.Migration):

    atomic = False

    dependencies = [
        ('orders', '0030_event_hashes'),
    ]

    operations = [
        migrations.RunPython(chain_older_events, migrations.RunPython.noop),
    ]

"""Each event carries the SHA-256 of what it says and of the order's event before it: see orders/chain.py."""

import django.contrib.postgres.indexes
from django.conf import settings
from django.db import migrations, models

HASH = """
CREATE FUNCTION orders_event_hash(previous bytea, event orders_event) RETURNS bytea LANGUAGE sql STABLE AS $$
    SELECT sha256(convert_to(json_build_array(
        1, encode(previous, 'hex'), event.id, event.order_id, event.sequence, event.type, event.actor_kind, event.actor,
        event.user_id, event.payload, to_char(event.at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
    )::text, 'UTF8'))
$$;
"""

# Of an order whose older events have no hash yet, the new ones wait with them for the next migration.
CHAIN = """
CREATE FUNCTION orders_event_chain() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    previous bytea;
BEGIN
    SELECT hash INTO previous FROM orders_event
    WHERE order_id = NEW.order_id AND sequence < NEW.sequence ORDER BY sequence DESC LIMIT 1;
    NEW.hash := CASE WHEN previous = '' THEN '' ELSE orders_event_hash(coalesce(previous, ''), NEW) END;
    RETURN NEW;
END $$;
CREATE TRIGGER orders_event_chain BEFORE INSERT ON orders_event FOR EACH ROW EXECUTE FUNCTION orders_event_chain();
"""


class Migration(migrations.Migration):

    dependencies = [
        ('orders', '0029_lists_of_few'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddField(
            model_name='event',
            name='hash',
            field=models.BinaryField(db_default=b'', help_text="What it says, and the hash of the order's event before it; written by the database alone.", max_length=32),
        ),
        migrations.AddIndex(
            model_name='event',
            index=django.contrib.postgres.indexes.BrinIndex(autosummarize=True, fields=['at'], name='event_at'),
        ),
        migrations.RunSQL(HASH, "DROP FUNCTION orders_event_hash(bytea, orders_event)"),
        migrations.RunSQL(CHAIN, "DROP TRIGGER orders_event_chain ON orders_event; DROP FUNCTION orders_event_chain()"),
    ]

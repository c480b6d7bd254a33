"""What the database does by itself: it keeps events for ever as they were written, and sends the NOTIFYs."""

from django.db import migrations

APPEND_ONLY = """
CREATE FUNCTION orders_event_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'Events are append-only: % refused.', TG_OP USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER orders_event_append_only BEFORE UPDATE OR DELETE ON orders_event
    FOR EACH ROW EXECUTE FUNCTION orders_event_refuse_change();
"""

# PostgreSQL sends equal notifications of one transaction once.
NOTIFY = """
CREATE FUNCTION orders_event_notify() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('orders_changed', NEW.order_id::text);
    RETURN NULL;
END $$;
CREATE TRIGGER orders_event_notify AFTER INSERT ON orders_event
    FOR EACH ROW EXECUTE FUNCTION orders_event_notify();

CREATE FUNCTION orders_outbox_notify() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('orders_outbox', '');
    RETURN NULL;
END $$;
CREATE TRIGGER orders_outbox_notify AFTER INSERT ON orders_outbox
    FOR EACH STATEMENT EXECUTE FUNCTION orders_outbox_notify();
"""


class Migration(migrations.Migration):
    dependencies = [("orders", "0001_initial")]

    operations = [
        migrations.RunSQL(
            APPEND_ONLY,
            "DROP TRIGGER orders_event_append_only ON orders_event; DROP FUNCTION orders_event_refuse_change();",
        ),
        migrations.RunSQL(
            NOTIFY,
            "DROP TRIGGER orders_event_notify ON orders_event; DROP FUNCTION orders_event_notify();"
            "DROP TRIGGER orders_outbox_notify ON orders_outbox; DROP FUNCTION orders_outbox_notify();",
        ),
    ]

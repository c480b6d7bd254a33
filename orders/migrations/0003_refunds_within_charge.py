"""An order's refunds never exceed its charge: the database holds it, whoever writes and however many at once."""

from django.db import migrations

# Refunds that came to nothing do not count, nor do charges. The lock on the order's row, which services hold
# already, lets of two refunds at the same instant the second see the first.
REFUNDS_WITHIN_CHARGE = """
CREATE FUNCTION orders_payment_refunds_within_charge() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM orders_order WHERE id = ANY (ARRAY[OLD.order_id, NEW.order_id]) ORDER BY id FOR NO KEY UPDATE;
    IF EXISTS (
        SELECT FROM orders_payment
        WHERE order_id = ANY (ARRAY[OLD.order_id, NEW.order_id]) AND status NOT IN ('failed', 'cancelled')
        GROUP BY order_id, currency
        HAVING coalesce(sum(amount_minor) FILTER (WHERE kind = 'refund'), 0)
             > coalesce(sum(amount_minor) FILTER (WHERE kind = 'charge'), 0)
    ) THEN
        RAISE EXCEPTION 'The refunds of an order may not exceed its charge.'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'payment_refunds_within_charge',
                  DETAIL = 'payment_refunds_within_charge';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER orders_payment_refunds_within_charge AFTER INSERT OR UPDATE OR DELETE ON orders_payment
    FOR EACH ROW EXECUTE FUNCTION orders_payment_refunds_within_charge();
"""


class Migration(migrations.Migration):
    dependencies = [("orders", "0002_triggers")]

    operations = [
        migrations.RunSQL(
            REFUNDS_WITHIN_CHARGE,
            "DROP TRIGGER orders_payment_refunds_within_charge ON orders_payment;"
            "DROP FUNCTION orders_payment_refunds_within_charge();",
        ),
    ]

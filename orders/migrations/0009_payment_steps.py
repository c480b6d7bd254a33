"""A payment goes only from one state to the next: the database holds it, whoever writes."""

from django.db import migrations

# The table is PAYMENT_STEPS in orders/models.py. A state that stays as it is has not gone anywhere.
PAYMENT_STEPS = """
CREATE FUNCTION orders_payment_refuse_step() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'A payment that is % cannot become %.', OLD.status, NEW.status
        USING ERRCODE = 'check_violation', CONSTRAINT = 'payment_step_legal', DETAIL = 'payment_step_legal';
END $$;
CREATE TRIGGER orders_payment_steps BEFORE UPDATE OF status ON orders_payment
    FOR EACH ROW
    WHEN (
        OLD.status IS DISTINCT FROM NEW.status
        AND (OLD.status, NEW.status) NOT IN (
            ('created', 'processing'),
            ('created', 'cancelled'),
            ('processing', 'requires_action'),
            ('processing', 'succeeded'),
            ('processing', 'failed'),
            ('processing', 'cancelled'),
            ('requires_action', 'succeeded'),
            ('requires_action', 'failed'),
            ('requires_action', 'cancelled')
        )
    )
    EXECUTE FUNCTION orders_payment_refuse_step();
"""


class Migration(migrations.Migration):
    dependencies = [("orders", "0008_mails")]

    operations = [
        migrations.RunSQL(
            PAYMENT_STEPS,
            "DROP TRIGGER orders_payment_steps ON orders_payment; DROP FUNCTION orders_payment_refuse_step();",
        ),
    ]

"""What lists of orders are filtered, sorted and searched by."""

import django.contrib.postgres.indexes
import django.contrib.postgres.search
import django.db.models.expressions
import django.db.models.functions.text
import orders.states
from decimal import Decimal
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('orders', '0014_preferences'),
    ]

    operations = [
        migrations.AddField(
            model_name='order',
            name='amount',
            field=models.GeneratedField(db_persist=True, expression=models.Case(models.When(currency__in=['ADP', 'AFN', 'ALL', 'BIF', 'BYR', 'CLP', 'DJF', 'ESP', 'GNF', 'IQD', 'IRR', 'ISK', 'ITL', 'JPY', 'KMF', 'KPW', 'KRW', 'LAK', 'LBP', 'LUF', 'MGA', 'MGF', 'MMK', 'MRO', 'PYG', 'RSD', 'RWF', 'SLL', 'SOS', 'STD', 'SYP', 'TMM', 'TRL', 'UGX', 'UYI', 'VND', 'VUV', 'XAF', 'XOF', 'XPF', 'YER', 'ZMK', 'ZWD'], then=django.db.models.expressions.CombinedExpression(models.F('total_minor'), '*', models.Value(Decimal('1')))), models.When(currency__in=['BHD', 'JOD', 'KWD', 'LYD', 'OMR', 'TND'], then=django.db.models.expressions.CombinedExpression(models.F('total_minor'), '*', models.Value(Decimal('0.001')))), models.When(currency__in=['CLF', 'UYW'], then=django.db.models.expressions.CombinedExpression(models.F('total_minor'), '*', models.Value(Decimal('0.0001')))), default=django.db.models.expressions.CombinedExpression(models.F('total_minor'), '*', models.Value(Decimal('0.01'))), output_field=models.DecimalField(decimal_places=4, max_digits=20)), help_text='The total in whole units of its currency, as lists compare it.', output_field=models.DecimalField(decimal_places=4, max_digits=20)),
        ),
        # What is made of other columns cannot be altered, only made anew.
        migrations.RemoveIndex(model_name='order', name='order_search'),
        migrations.RemoveField(model_name='order', name='search'),
        migrations.AddField(
            model_name='order',
            name='search',
            field=models.GeneratedField(db_persist=True, expression=django.contrib.postgres.search.SearchVector(models.Func(django.db.models.functions.text.Concat('number', models.Value(' '), 'reference', models.Value(' '), 'customer_name', models.Value(' '), 'customer_email', models.Value(' '), 'address_line1', models.Value(' '), 'address_line2', models.Value(' '), 'address_postal_code', models.Value(' '), 'address_city', models.Value(' '), 'address_region'), models.Value('@.-_+/'), models.Value('      '), function='translate', output_field=models.TextField()), config='simple'), output_field=django.contrib.postgres.search.SearchVectorField()),
        ),
        migrations.AddIndex(
            model_name='order',
            index=django.contrib.postgres.indexes.GinIndex(models.F('search'), name='order_search'),
        ),
        migrations.AddIndex(
            model_name='order',
            index=models.Index(models.OrderBy(models.F('amount'), descending=True), models.OrderBy(models.F('id'), descending=True), name='order_largest'),
        ),
        migrations.AddIndex(
            model_name='order',
            index=models.Index(models.F('address_country'), models.OrderBy(models.F('placed_at'), descending=True), models.OrderBy(models.F('id'), descending=True), name='order_newest_by_country'),
        ),
        migrations.AddIndex(
            model_name='order',
            index=models.Index(models.OrderBy(models.F('placed_at'), descending=True), models.OrderBy(models.F('id'), descending=True), condition=models.Q(('status__in', [orders.states.Status['IN_REVIEW'], orders.states.Status['STOCK_SHORT'], orders.states.Status['UNCONFIRMED'], orders.states.Status['UNDELIVERABLE']])), name='order_waiting_newest'),
        ),
        migrations.AddIndex(
            model_name='order',
            index=models.Index(models.OrderBy(models.F('amount'), descending=True), models.OrderBy(models.F('id'), descending=True), condition=models.Q(('status__in', [orders.states.Status['IN_REVIEW'], orders.states.Status['STOCK_SHORT'], orders.states.Status['UNCONFIRMED'], orders.states.Status['UNDELIVERABLE']])), name='order_waiting_largest'),
        ),
        migrations.AddIndex(
            model_name='order',
            index=django.contrib.postgres.indexes.GinIndex(models.F('search'), condition=models.Q(('status__in', [orders.states.Status['IN_REVIEW'], orders.states.Status['STOCK_SHORT'], orders.states.Status['UNCONFIRMED'], orders.states.Status['UNDELIVERABLE']])), name='order_waiting_search'),
        ),
        migrations.AddIndex(
            model_name='payment',
            index=models.Index(condition=models.Q(('provider_reference', ''), _negated=True), fields=['provider_reference'], name='payment_reference', opclasses=['varchar_pattern_ops']),
        ),
        migrations.AddIndex(
            model_name='review',
            index=models.Index(models.F('risk_score'), models.F('id'), condition=models.Q(('decision', '')), name='review_open_by_risk'),
        ),
        migrations.AddIndex(
            model_name='review',
            index=models.Index(models.F('risk_score'), models.F('id'), condition=models.Q(('kind', 'approval')), name='review_by_risk'),
        ),
    ]

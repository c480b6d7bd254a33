"""manage.py seed_orders: made-up orders in any number, as whole as real ones."""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.models import Count, F, Max, Sum
from django.test import Client
from django.utils import timezone
from psycopg.errors import StringDataRightTruncation
from pytest_django import Settings

from orders import proving, seeds, stuck
from orders.models import Event, Order, Outbox, Review
from orders.states import NEEDS_ATTENTION, TERMINAL, Status


def what_tables_have() -> set[tuple[str, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT 'index', indexdef FROM pg_indexes WHERE tablename LIKE 'orders_%'"
            " UNION ALL SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint"
            " WHERE conrelid::regclass::text LIKE 'orders_%'"
            " UNION ALL SELECT tgname, tgenabled::text FROM pg_trigger WHERE NOT tgisinternal"
        )
        return set(cursor.fetchall())


def seed(settings: Settings, **options: int) -> None:
    settings.DEBUG = True
    call_command("seed_orders", **{"count": 300, "waiting": 100} | options, stdout=StringIO(), stderr=StringIO())


def test_they_are_whole_and_pages_show_them(db: None, settings: Settings, at_alices: Client) -> None:
    before = what_tables_have()

    seed(settings)

    assert what_tables_have() == before
    assert Order.objects.count() == 300
    assert Order.objects.exclude(status__in=TERMINAL).count() == Review.objects.filter(decision="").count() == 100
    assert Order.objects.filter(status__in=NEEDS_ATTENTION).exists()
    assert not Outbox.objects.exists()
    assert not Order.objects.annotate(n=Count("events"), last=Max("events__sequence")).exclude(
        n=F("version"), last=F("version")
    )
    totals = Order.objects.annotate(sum=Sum(F("lines__quantity") * F("lines__unit_price_minor")))
    assert not totals.exclude(sum=F("total_minor"))
    last = Event.objects.filter(payload__has_key="to").order_by("order_id", "-sequence").distinct("order_id")
    assert {event.order_id: event.payload["to"] for event in last} == dict(Order.objects.values_list("pk", "status"))
    assert {proven.broken for proven in proving.every_order()} == {None}
    charged = Order.objects.filter(payments__kind="charge", payments__status="succeeded")
    assert set(charged.values_list("status", flat=True)) <= {Status.COMPLETED, Status.UNDELIVERABLE}
    assert stuck.from_rows(at=timezone.now()) == []
    for status in set(Order.objects.values_list("status", flat=True)):
        order = Order.objects.filter(status=status)[0]
        assert order.number in at_alices.get(order.get_absolute_url()).content.decode()


def test_what_fails_half_way_leaves_nothing_behind(
    db: None, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = what_tables_have()
    monkeypatch.setattr(seeds, "BATCH", 50)
    monkeypatch.setattr(seeds, "HELP", dict.fromkeys(seeds.HELP, "x" * 501))  # of orders in the last batches

    with pytest.raises(StringDataRightTruncation, match="too long"):
        seed(settings)

    assert what_tables_have() == before
    assert not Order.objects.exists()


def test_a_seed_is_sown_once(db: None, settings: Settings) -> None:
    seed(settings, count=10, waiting=2)

    with pytest.raises(CommandError, match="seed 1 are here already"):
        seed(settings, count=10, waiting=2)
    seed(settings, count=10, waiting=0, seed=2)
    assert Order.objects.count() == 20


def test_it_is_not_for_a_desk_that_is_in_use(db: None, settings: Settings) -> None:
    settings.DEBUG = False

    with pytest.raises(CommandError, match="DJANGO_DEBUG is off"):
        call_command("seed_orders", count=1, waiting=0)


def test_no_more_can_wait_than_there_are(db: None, settings: Settings) -> None:
    with pytest.raises(CommandError, match="--waiting 100 is more than --count 1"):
        seed(settings, count=1)

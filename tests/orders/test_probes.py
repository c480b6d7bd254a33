"""What load balancers and Prometheus are told."""

from datetime import UTC, datetime, timedelta

import pytest
from django.conf import settings as django_settings
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder
from django.test import Client
from prometheus_client.parser import text_string_to_metric_families
from pytest_django.fixtures import Settings

from orders.models import Order
from orders.services import relaying, reviewing
from orders.services.actors import Actor

TOKEN = "scrape-me-if-you-can"


def beat(*, reached: bool = True) -> None:
    now = datetime.now(UTC)
    relaying.record_heartbeat(
        worker="w",
        queues=f"{django_settings.TEMPORAL_ORDERS_QUEUE}, {django_settings.TEMPORAL_SHIPPING_QUEUE}",
        started_at=now,
        temporal_seen_at=now if reached else None,
        at=now,
    )


class TestReadiness:
    def test_all_is_well_where_workers_carry_orders_on(self, client: Client, db: None) -> None:
        beat()

        answer = client.get("/readyz")

        assert answer.status_code == 200
        assert answer.json() == {"state": "ready", "checks": {"database": "ok", "migrations": "ok", "engine": "ok"}}

    @pytest.mark.parametrize(("workers", "told"), [(False, "no worker"), (True, "Temporal is away")])
    def test_without_an_engine_it_stays_in_service(self, client: Client, db: None, *, workers: bool, told: str) -> None:
        if workers:
            beat(reached=False)

        answer = client.get("/readyz")

        assert answer.status_code == 200
        assert answer.json()["state"] == "degraded"
        assert answer.json()["checks"]["engine"] == told

    def test_a_message_that_does_not_arrive_is_told(self, client: Client, order_in_review: Order) -> None:
        beat()
        order_in_review.outbox.update(created_at=datetime.now(UTC) - timedelta(minutes=5))

        assert client.get("/readyz").json()["checks"]["engine"] == "messages do not arrive"

    def test_a_database_that_lacks_a_migration_takes_it_out_of_service(self, client: Client, db: None) -> None:
        MigrationRecorder.Migration.objects.filter(app="orders").order_by("-id")[0].delete()

        answer = client.get("/readyz")

        assert answer.status_code == 503
        assert answer.json() == {"state": "unready", "checks": {"database": "ok", "migrations": "1 to be applied"}}

    def test_a_database_that_answers_nothing_takes_it_out_of_service(self, client: Client, db: None) -> None:
        with connection.cursor() as cursor, pytest.raises(Exception, match="division by zero"):
            cursor.execute("SELECT 1 / 0")  # from now on it refuses all in this transaction

        answer = client.get("/readyz")

        assert answer.status_code == 503
        assert answer.json() == {"state": "unready", "checks": {"database": "does not answer"}}


class TestMetrics:
    @pytest.fixture(autouse=True)
    def _token(self, settings: Settings) -> None:
        settings.METRICS_TOKEN = TOKEN

    def scrape(self, client: Client) -> dict[tuple[str, str], float]:
        """Every sample by its name and its labels' values."""
        answer = client.get("/metrics", headers={"authorization": f"Bearer {TOKEN}"})
        assert answer.status_code == 200
        assert answer.headers["Content-Type"].startswith("text/plain; version=")
        return {
            (sample.name, " ".join(sample.labels.values())): sample.value
            for family in text_string_to_metric_families(answer.content.decode())
            for sample in family.samples
        }

    def test_without_a_token_of_its_own_the_desk_has_no_such_page(
        self, client: Client, db: None, settings: Settings
    ) -> None:
        settings.METRICS_TOKEN = ""

        assert client.get("/metrics").status_code == 404
        assert client.get("/metrics", headers={"authorization": "Bearer "}).status_code == 404

    @pytest.mark.parametrize("given", ["", "Bearer", "Bearer wrong", f"Basic {TOKEN}", "Bearer schlüssel"])
    def test_who_does_not_know_the_token_is_told_nothing(self, client: Client, given: str) -> None:
        answer = client.get("/metrics", headers={"authorization": given})

        assert answer.status_code == 401
        assert b"countersign_" not in answer.content

    def test_open_orders_are_told_by_status_and_ended_ones_are_not(
        self, client: Client, order_in_review: Order, expired_order: Order
    ) -> None:
        assert expired_order.status == "expired"
        found = self.scrape(client)

        assert found["countersign_orders", "in_review"] == 0
        assert ("countersign_orders", "expired") not in found

    def test_the_longest_in_a_status_and_what_is_overdue_are_told(self, client: Client, order_in_review: Order) -> None:
        now = datetime.now(UTC)
        Order.objects.filter(pk=order_in_review.pk).update(status_at=now - timedelta(hours=2))
        order_in_review.reviews.update(due_at=now - timedelta(minutes=1))

        found = self.scrape(client)

        assert found["countersign_orders", "in_review"] == 1
        assert 7_200 <= found["countersign_oldest_order_seconds", "in_review"] < 7_300
        assert found["countersign_overdue_reviews", ""] == 1

    def test_decisions_are_told_and_how_many_came_in_time(
        self, client: Client, order_in_review: Order, as_alice: Actor
    ) -> None:
        reviewing.approve(order_id=order_in_review.pk, actor=as_alice, at=datetime.now(UTC))

        found = self.scrape(client)

        assert found["countersign_decisions_last_hour", "approved"] == 1
        assert found["countersign_decisions_last_hour", "rejected"] == 0
        assert found["countersign_reviews_due_last_hour", ""] == 1
        assert found["countersign_reviews_in_time_last_hour", ""] == 1

    def test_what_waits_for_the_engine_and_who_serves_it_is_told(self, client: Client, order_in_review: Order) -> None:
        beat()
        order_in_review.outbox.update(created_at=datetime.now(UTC) - timedelta(seconds=90))

        found = self.scrape(client)

        assert found["countersign_outbox_messages", ""] == order_in_review.outbox.count() > 0
        assert 90 <= found["countersign_outbox_oldest_seconds", ""] < 120
        assert found["countersign_workers", django_settings.TEMPORAL_ORDERS_QUEUE] == 1
        assert found["countersign_temporal_unreached_seconds", ""] < 30

    def test_answers_are_timed_by_view_and_never_by_address(self, client: Client, order_in_review: Order) -> None:
        before = self.scrape(client).get(("countersign_request_seconds_count", "GET 302 orders:order"), 0)

        client.get(f"/orders/{order_in_review.pk}/")
        client.generic("BREW", "/nothing-here/")
        found = self.scrape(client)

        assert found["countersign_request_seconds_count", "GET 302 orders:order"] == before + 1
        assert found["countersign_request_seconds_count", "other 404 none"] >= 1
        assert str(order_in_review.pk) not in str(found)

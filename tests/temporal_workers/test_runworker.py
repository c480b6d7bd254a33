"""The worker as a process: how it stops, and what it survives."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from django.db import connection, transaction

from devstack.servers import free_port
from orders.models import Heartbeat, Order
from orders.services import reviewing, undoing
from orders.services.actors import Actor
from orders.services.placing import NewLine
from temporal_workers.telemetry import expose_figures
from tests import judge
from tests.conftest import PlaceOrder
from tests.temporal_workers.conftest import database_url, events_of, wait_for_status, wait_until

ROOT = Path(__file__).parents[2]


class WorkerProcess:
    """`manage.py runworker all`, on this test's database and queues, with shorter bounds."""

    def __init__(self, **environment: str) -> None:
        self.figures_at = f"127.0.0.1:{free_port()}"
        self._environment = os.environ | {
            "DATABASE_URL": database_url(),
            "SIMULATOR_DATABASE_URL": django_settings.SIMULATOR_DATABASE_URL,
            "SIMULATOR_SECONDS": "0.6",
            "TEMPORAL_ORDERS_QUEUE": django_settings.TEMPORAL_ORDERS_QUEUE,
            "TEMPORAL_SHIPPING_QUEUE": django_settings.TEMPORAL_SHIPPING_QUEUE,
            "WORKER_METRICS_BIND": self.figures_at,
            **environment,
        }
        self._process: subprocess.Popen[str] | None = None
        self._said: list[str] = []

    def start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.temporal_workers.brisk_worker"],
            cwd=ROOT,
            env=self._environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.wait_for_line("Serving queue shipping")

    def wait_for_line(self, text: str) -> None:
        assert self._process is not None
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self._said.append(line)
            if text in line:
                return
        raise AssertionError(f"the worker ended without saying {text!r}:\n{''.join(self._said)}")

    def signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def wait(self) -> int:
        """Let it end, and give its exit status."""
        assert self._process is not None
        _, rest = self._process.communicate(timeout=40)
        self._said.append(rest)
        return self._process.returncode

    def kill_and_replace(self) -> None:
        self.signal(signal.SIGKILL)
        self.wait()
        self.start()

    def kill(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self.signal(signal.SIGKILL)
            self.wait()


@pytest.fixture
def worker_process(transactional_db: None, queues: None) -> Iterator[WorkerProcess]:
    process = WorkerProcess()
    process.start()
    yield process
    process.kill()


def test_the_first_sigterm_drains_and_the_order_goes_on_elsewhere(
    worker_process: WorkerProcess, place: PlaceOrder
) -> None:
    order = place(lines=[NewLine("RUG", 1, 5_000)])
    wait_until(lambda: "charge_requested" in events_of(order))

    worker_process.signal(signal.SIGTERM)

    assert worker_process.wait() == 0
    assert not Heartbeat.objects.exists()
    worker_process.start()
    wait_for_status(order, "completed")
    assert events_of(order).count("charge") == 1


def test_prometheus_is_told_how_steps_and_messages_fare(worker_process: WorkerProcess, place: PlaceOrder) -> None:
    order = place(lines=[NewLine("RUG", 1, 5_000)])
    wait_for_status(order, "completed")

    with urllib.request.urlopen(f"http://{worker_process.figures_at}/metrics") as page:
        told = page.read().decode()

    assert re.search(r'countersign_outbox_delivered_total{.*message="start".*} 1\n', told)
    assert re.search(r'temporal_activity_execution_latency_count{.*activity_type="charge_payment".*} 1\n', told)
    assert "temporal_workflow_completed_total{" in told


def test_a_place_for_figures_that_is_taken_is_told_in_one_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ImproperlyConfigured, match=f"WORKER_METRICS_BIND names '{address}'.*in use"):
            expose_figures(address)


ASKED_TO_CHARGE = """
    SELECT FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%INSERT INTO simulator.bank%'
"""


def test_the_second_sigterm_stops_at_once(worker_process: WorkerProcess, place: PlaceOrder) -> None:
    wait_for_status(place(lines=[NewLine("RUG", 1, 5_000)]), "completed")  # the worker has made its ledger ready
    with psycopg.connect(django_settings.SIMULATOR_DATABASE_URL) as bank:
        bank.execute("LOCK TABLE simulator.bank")  # the bank does not answer as long as this is held
        order = place(lines=[NewLine("RUG", 1, 5_000)])
        wait_until(lambda: "charge_requested" in events_of(order))
        ends = time.monotonic() + 30
        while not ledger(ASKED_TO_CHARGE):  # a worker whose bank nobody has asked yet is drained at once
            assert time.monotonic() < ends
            time.sleep(0.02)

        worker_process.signal(signal.SIGTERM)
        worker_process.wait_for_line("Draining")
        worker_process.signal(signal.SIGTERM)

        assert worker_process.wait() == 128 + signal.SIGTERM


class TestFewThreads:
    @pytest.fixture
    def worker_process(self, transactional_db: None, queues: None) -> Iterator[WorkerProcess]:
        process = WorkerProcess(WORKER_DATABASE_THREADS="2")
        yield process
        process.kill()

    def test_a_step_gives_its_thread_back_where_somebody_holds_the_row_and_other_orders_go_on(
        self, worker_process: WorkerProcess, place: PlaceOrder
    ) -> None:
        for _ in range(2):
            place(lines=[NewLine("RUG", 1, 5_000)])
        with psycopg.connect(database_url()) as somebody:
            somebody.execute("SELECT 1 FROM orders_order FOR UPDATE")
            worker_process.start()
            worker_process.wait_for_line("failed: OrderBusy")  # it gave its thread back
            order = place(lines=[NewLine("RUG", 1, 5_000)])

            wait_for_status(order, "completed")


def ledger(query: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(django_settings.SIMULATOR_DATABASE_URL) as books:
        return books.execute(query.encode()).fetchall()


def is_entered(order: Order, table: str) -> bool:
    """Whether the bank or the carrier has acted, by its own ledger."""
    with psycopg.connect(django_settings.SIMULATOR_DATABASE_URL) as books:
        if books.execute("SELECT to_regclass(%s)", [f"simulator.{table}"]).fetchone() == (None,):
            return False
    return any(f"order-{order.pk}:" in key for (key,) in ledger(f"SELECT key FROM simulator.{table}"))  # noqa: S608


def assert_all_is_well_with(order: Order) -> None:
    wait_for_status(order, "completed")
    wait_until(lambda: not order.outbox.filter(delivered_at=None).exists())
    events = events_of(order)
    assert len(events) == len(set(events))
    books = judge.read_books(ledger, only=[order.pk])
    assert judge.unsafe(books, {"RUG": 1_000}) == []
    assert judge.unfinished(books) == []


def test_orders_outlive_a_worker_killed_between_each_effect_and_its_record_and_with_their_stock_reserved(
    worker_process: WorkerProcess, place: PlaceOrder
) -> None:
    order = place(lines=[NewLine("RUG", 1, 5_000)])
    for asked, table in (("charge_requested", "bank"), ("dispatch", "carrier")):
        wait_until(order.events.filter(type=asked).exists)
        with transaction.atomic():
            Order.objects.select_for_update().get(pk=order.pk)  # so that the answer cannot be recorded
            ends = time.monotonic() + 30
            while not is_entered(order, table):
                assert time.monotonic() < ends
                time.sleep(0.02)  # a ledger tells nobody
            assert events_of(order)[-1] == asked
            worker_process.signal(signal.SIGKILL)
            worker_process.wait()
        worker_process.start()

    other = place(lines=[NewLine("RUG", 1, 5_000)])
    wait_until(lambda: "reserve" in events_of(other))
    worker_process.kill_and_replace()

    assert_all_is_well_with(order)
    assert_all_is_well_with(other)


HOLD_UP = """
    CREATE FUNCTION hold_up() RETURNS trigger LANGUAGE plpgsql AS
        'BEGIN PERFORM pg_advisory_xact_lock(1); RETURN NEW; END';
    CREATE TRIGGER hold_up BEFORE INSERT ON orders_event FOR EACH ROW
        WHEN (NEW.type = 'charge_requested') EXECUTE FUNCTION hold_up();
"""


def test_what_was_done_by_a_task_that_temporal_never_heard_of_is_undone(
    worker_process: WorkerProcess, place: PlaceOrder, as_alice: Actor
) -> None:
    with psycopg.connect(database_url(), autocommit=True) as somebody:
        somebody.execute(HOLD_UP)
        somebody.execute("SELECT pg_advisory_lock(1)")  # so that the task in which goods are reserved cannot end
        order = place(lines=[NewLine("RUG", 1, 5_000)])
        wait_until(lambda: "reserve" in events_of(order))
        worker_process.signal(signal.SIGKILL)
        worker_process.wait()
        somebody.execute("SELECT pg_advisory_unlock(1)")
        somebody.execute("DROP FUNCTION hold_up CASCADE")
    undoing.cancel(order_id=order.pk, actor=as_alice, at=datetime.now(UTC), reason="")

    worker_process.start()

    wait_for_status(order, "cancelled")
    assert {"charge_cancelled", "release"} < set(events_of(order))
    assert judge.unsafe(judge.read_books(ledger, only=[order.pk]), {"RUG": 1_000}) == []


def test_orders_go_on_when_every_database_connection_is_cut(
    worker_process: WorkerProcess, place: PlaceOrder, as_alice: Actor
) -> None:
    orders = [place() for _ in range(3)]
    for order in orders:
        wait_for_status(order, "in_review")

    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        assert len(cursor.fetchall()) >= 3
    for order in orders:
        reviewing.approve(order_id=order.pk, actor=as_alice, at=datetime.now(UTC))

    for order in orders:
        wait_for_status(order, "completed")
        assert events_of(order).count("charge") == 1

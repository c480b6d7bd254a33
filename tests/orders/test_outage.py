"""A database without room or connections: what people, programs and workers are told, and that nothing is given up."""

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection
from django.test import Client
from pytest_django import Settings
from temporalio.testing import ActivityEnvironment

from orders import outage
from orders.models import ApiScope, Bulk, InfoRequest, Order
from orders.services import asking, bulk, clients
from orders.services.actors import Actor
from orders.states import Action, Status
from temporal_workers.activities import orders as steps
from temporal_workers.contracts import SettleReview

DISK_FULL = """
CREATE FUNCTION disk_full() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = 'disk_full', MESSAGE = 'could not extend file "base/1/2": No space left on device';
END $$;
CREATE TRIGGER disk_full BEFORE INSERT ON orders_event FOR EACH STATEMENT EXECUTE FUNCTION disk_full();
"""


@pytest.fixture
def full_disk(order_in_review: Order) -> Iterator[Callable[[], None]]:
    """Nothing that happens to an order can be written, as PostgreSQL says it, until this is called."""
    with connection.cursor() as cursor:
        cursor.execute(DISK_FULL)

    def make_room() -> None:
        with connection.cursor() as cursor:
            cursor.execute("DROP FUNCTION IF EXISTS disk_full CASCADE")

    yield make_room
    make_room()


@pytest.mark.parametrize("debug", [True, False])
def test_who_decides_while_the_disk_is_full_is_told_so(
    alice: User, order_in_review: Order, full_disk: object, settings: Settings, *, debug: bool
) -> None:
    settings.DEBUG = debug
    at_alices = Client(raise_request_exception=False)
    at_alices.force_login(alice)

    answer = at_alices.post(f"/orders/{order_in_review.pk}/approve/")

    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "2"
    assert "default-src" in answer.headers["Content-Security-Policy"]
    page = answer.content.decode()
    assert "The database&#x27;s disk is full." in page
    assert "was either carried out entirely or not at all" in page
    assert "No space left" not in page
    order_in_review.refresh_from_db()
    assert order_in_review.status == Status.IN_REVIEW
    assert at_alices.get("/").status_code == 200


def test_a_program_is_told_so_in_a_problem(alice: User, order_in_review: Order, full_disk: object) -> None:
    token = clients.create_client(name="alice", scopes=[ApiScope.DECIDE], user=alice, at=datetime.now(UTC))

    program = Client(headers={"Authorization": f"Bearer {token}"})

    answer = program.post(f"/api/v1/orders/{order_in_review.pk}/approve", {}, content_type="application/json")

    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "2"
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["detail"] == "The database's disk is full. Try again in a moment."


def test_a_command_ends_with_a_sentence_that_says_so(alice: User, order_in_review: Order, full_disk: object) -> None:
    with pytest.raises(CommandError, match="The database's disk is full ") as told:
        call_command("order", "approve", order_in_review.number, "--as", "alice")

    assert "No space left on device" in str(told.value)


@pytest.mark.django_db(transaction=True)
def test_a_step_is_tried_again_and_done_once_there_is_room(
    order_in_review: Order, full_disk: Callable[[], None]
) -> None:
    step = SettleReview(order_in_review.pk, at=datetime.now(UTC) + timedelta(days=2))

    with pytest.raises(OperationalError):  # which Temporal tries again; nothing is given up for it
        ActivityEnvironment().run(steps.settle_review, step)
    full_disk()

    assert ActivityEnvironment().run(steps.settle_review, step).status == Status.EXPIRED


def test_a_bulk_leaves_no_order_out_for_it(as_alice: Actor, order_in_review: Order, full_disk: object) -> None:
    now, chosen = datetime.now(UTC), {order_in_review.pk: order_in_review.version}
    begun = bulk.begin(bulk_id=uuid.uuid4(), action=Action.APPROVE, chosen=chosen, actor=as_alice, at=now)

    with pytest.raises(OperationalError):
        bulk.carry_out(bulk_id=begun.pk, at=now)

    assert [member.result for member in Bulk.objects.get(pk=begun.pk).members.all()] == [""]


@pytest.mark.parametrize(
    ("told", "trouble"),
    [
        ("FATAL:  sorry, too many clients already", "The database has no connection to give"),
        ("FATAL:  remaining connection slots are reserved", "The database has no connection to give"),
        ("connection refused", "The database is away or busy"),
    ],
)
def test_who_cannot_connect_is_told_why(told: str, trouble: str) -> None:
    assert outage.trouble(OperationalError(f'connection failed: "host": {told}')) == trouble


@pytest.mark.django_db(transaction=True)
def test_a_customer_reads_nothing_of_a_desk(client: Client) -> None:
    client.raise_request_exception = False
    with a_pool_of_one():
        page = client.get(urlsplit(asking.link_to(InfoRequest(pk=1))).path)

    assert page.status_code == 503
    assert "Please try again in a moment." in page.content.decode()
    assert "Countersign" not in page.content.decode()
    assert page.headers["X-Robots-Tag"] == "noindex"


@contextmanager
def a_pool_of_one() -> Iterator[None]:
    """As the web tier has one, and somebody has its only connection."""
    ours: Any = connection
    options = ours.settings_dict["OPTIONS"]
    ours.close()
    options["pool"] = {"min_size": 1, "max_size": 1, "timeout": 0.1}
    try:
        ours.pool.open()
        with ours.pool.connection(timeout=10):
            yield
    finally:
        ours.close_pool()
        del options["pool"]


@pytest.mark.django_db(transaction=True)
def test_without_a_connection_pages_and_their_stream_are_worth_another_try(alice: User) -> None:
    at_alices = Client(raise_request_exception=False)
    at_alices.force_login(alice)

    for address in ("/", "/live/"):
        with a_pool_of_one():
            answer = at_alices.get(address)

        assert answer.status_code == 503, address
        assert answer.headers["Retry-After"] == "2"
        assert "The database has no connection to give." in answer.content.decode()
        assert f'href="{address}">Try again' in answer.content.decode()

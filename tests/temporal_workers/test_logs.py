"""The story of an order in the log: whole, in order, found by its number, and without what is nobody's business."""

import asyncio
import io
import itertools
import json
import logging
import runpy
import sys
import threading
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from django.db import IntegrityError
from pytest_django.fixtures import Settings

from orders.models import ActorKind, Order
from orders.services import reviewing, undoing
from orders.services.actors import Actor
from orders.services.placing import Address, NewLine
from orders_site.logs import JsonFormatter, LineFormatter, hide
from temporal_workers.attempts import level_of
from temporal_workers.providers.protocols import ProviderUnavailable
from temporal_workers.providers.simulated import SimulatedBank, World
from temporal_workers.workflows import steps
from tests.conftest import PlaceOrder
from tests.temporal_workers.conftest import Engine, wait_for_status

SMALL = [NewLine("LAMP", 1, 20_000)]


class Log:
    """What the root logger is given, as JSON lines."""

    def __init__(self, formatter: logging.Formatter) -> None:
        self.stream = io.StringIO()
        self.handler = logging.StreamHandler(self.stream)
        self.handler.setFormatter(formatter)

    @property
    def text(self) -> str:
        return self.stream.getvalue()

    def of(self, order: Order) -> list[dict[str, Any]]:
        """Grep by the number."""
        return [json.loads(line) for line in self.text.splitlines() if order.number in line]


def kept(formatter: logging.Formatter) -> Iterator[Log]:
    log = Log(formatter)
    root = logging.getLogger()
    root.addHandler(log.handler)
    yield log
    root.removeHandler(log.handler)


@pytest.fixture
def log() -> Iterator[Log]:
    yield from kept(JsonFormatter())


@pytest.fixture
def plain_log() -> Iterator[Log]:
    yield from kept(LineFormatter())


def changes(story: list[dict[str, Any]]) -> list[str]:
    return [line["step"] for line in story if line["logger"] == "orders.services.transitions"]


def attempts(story: list[dict[str, Any]]) -> list[tuple[str, int, str]]:
    found = [line for line in story if line["logger"] == "temporal_workers.attempts"]
    return [(line["step"], line["attempt"], line["message"].split(", ", 1)[1]) for line in found]


def test_the_whole_story_of_an_order_is_found_by_its_number(
    log: Log, engine: Engine, place: PlaceOrder, as_alice: Actor
) -> None:
    order = place()
    other = place()
    wait_for_status(order, "in_review")
    reviewing.approve(order_id=order.pk, actor=as_alice, at=datetime.now(UTC))
    wait_for_status(order, "completed")
    engine.stop()

    story = log.of(order)
    # The approval is this thread's: its line may stand before one that a worker's thread is about to write.
    assert changes(story).count("approve") == 1
    assert [change for change in changes(story) if change != "approve"] == [
        *["receive", "validate", "open_review", "fraud_check", "reserve", "charge_requested", "charge"],
        *["prepare", "package_ready", "dispatch", "confirm_dispatch", "loyalty_points", "complete"],
    ]
    assert f"{order.number} approve: in_review -> approved, by alice" in [line["message"] for line in story]
    assert [line["message"] for line in story if "Told" in line["message"]] == [
        f"Told Temporal: start {order.number}",
        f"Told Temporal: approve {order.number}",
    ]
    assert {line["order"] for line in story} == {order.number}
    assert [line["at"] for line in story] == sorted(line["at"] for line in story)
    assert other.number not in json.dumps(story)


def test_each_failed_attempt_and_each_further_one_is_told_once(
    log: Log, engine: Engine, place: PlaceOrder, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = itertools.count()
    monkeypatch.setattr(World, "_strikes", staticmethod(lambda rate: next(calls) < 2))

    order = place(lines=SMALL)
    wait_for_status(order, "completed")
    engine.stop()

    story = log.of(order)
    failed = "failed: ProviderUnavailable: The simulated provider is out of order."
    assert attempts(story) == [
        ("check_fraud", 1, f"attempt 1 {failed}"),
        ("check_fraud", 2, "attempt 2 begins"),
        ("check_fraud", 2, f"attempt 2 {failed}"),
        ("check_fraud", 3, "attempt 3 begins"),
    ]
    retry = next(line for line in story if line.get("attempt") == 2)
    assert (retry["level"], retry["order"], retry["workflow"]) == ("WARNING", order.number, f"order-{order.pk}")
    assert retry["run"]
    assert log.text.count("attempt 1 failed") == 1
    assert "Completing activity as failed" not in log.text


def test_an_attempt_that_takes_too_long_is_told(
    log: Log, engine: Engine, place: PlaceOrder, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, answers = itertools.count(), World.call

    @asynccontextmanager
    async def call(world: World) -> AsyncIterator[None]:
        if next(calls) == 0:
            await asyncio.Event().wait()
        async with answers(world):
            yield

    monkeypatch.setattr(World, "call", call)
    monkeypatch.setitem(steps.A_FEW_TIMES, "start_to_close_timeout", timedelta(seconds=2))

    order = place(lines=SMALL)
    wait_for_status(order, "completed")
    engine.stop()

    assert sorted(attempts(log.of(order))) == [
        ("check_fraud", 1, "attempt 1 took too long"),
        ("check_fraud", 2, "attempt 2 begins"),
    ]


def test_a_cancellation_and_its_undoing_are_told(log: Log, engine: Engine, place: PlaceOrder, as_alice: Actor) -> None:
    order = place()
    wait_for_status(order, "in_review")
    undoing.cancel(order_id=order.pk, actor=as_alice, at=datetime.now(UTC), reason="A change of mind")
    engine.stop()

    told = [line for line in log.of(order) if line.get("step") == "cancel"]
    assert [(line["message"], line["actor"]) for line in told] == [
        (f"{order.number} cancel: in_review -> cancelled, by alice", "alice")
    ]


def test_no_secret_and_nothing_of_the_customer_is_in_any_line(
    log: Log, engine: Engine, place: PlaceOrder, as_alice: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = itertools.count()
    monkeypatch.setattr(World, "_strikes", staticmethod(lambda rate: next(calls) == 0))
    known = {
        "customer_name": "Zenobia Quill",
        "customer_email": "zenobia.quill@example.net",
        "address": Address("DE", line1="Geheimgasse 77", city="Kleinmachnow", postal_code="14532"),
    }
    shipped, cancelled, rejected = place(**known, lines=SMALL), place(**known), place(**known)
    for order in (cancelled, rejected):
        wait_for_status(order, "in_review")
    reviewing.reject(order_id=rejected.pk, actor=as_alice, at=datetime.now(UTC), reason="Zenobia again")
    customer = Actor(ActorKind.CUSTOMER, "Zenobia Quill")
    undoing.cancel(order_id=cancelled.pk, actor=customer, at=datetime.now(UTC), reason="Zenobia's wish")
    wait_for_status(shipped, "completed")
    engine.stop()

    assert len(log.of(shipped)) > 10
    for private in ("Zenobia", "Quill", "zenobia", "Geheimgasse", "Kleinmachnow", "14532"):
        assert private not in log.text
    assert django_settings.SECRET_KEY not in log.text


def test_a_change_of_state_by_the_engine_is_told_with_its_run_and_attempt(
    log: Log, engine: Engine, place: PlaceOrder
) -> None:
    order = place(lines=SMALL)
    wait_for_status(order, "completed")
    engine.stop()

    line = next(line for line in log.of(order) if line.get("step") == "charge")
    assert (line["order"], line["workflow"], line["attempt"]) == (order.number, f"order-{order.pk}", 1)
    assert line["run"]
    assert line["actor"] == "Countersign"


class TestUndoing:
    @pytest.fixture
    def providers(self, queues: None, settings: Settings) -> None:
        settings.UNDO_RETRY_AFTER = timedelta(seconds=0.1)

    def test_retry_time_out_cancellation_and_undoing_are_found_by_the_number_in_both_formats(
        self,
        log: Log,
        plain_log: Log,
        engine: Engine,
        place: PlaceOrder,
        as_alice: Actor,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        charges, refunds = itertools.count(1), itertools.count(1)
        refund, begun = SimulatedBank.refund, threading.Event()

        async def hang(_: object, **asked: object) -> None:
            if next(charges) == 1:
                raise ProviderUnavailable("No answer for card 4111 1111 1111 1111 of zenobia.quill@example.net.")
            begun.set()
            await asyncio.Event().wait()

        async def refund_at_the_second_try(bank: SimulatedBank, **asked: Any) -> str:
            if next(refunds) == 1:
                raise ProviderUnavailable("The bank is closed.")
            return await refund(bank, **asked)

        monkeypatch.setattr(SimulatedBank, "charge", hang)
        monkeypatch.setattr(SimulatedBank, "refund", refund_at_the_second_try)
        monkeypatch.setitem(steps.OUTSIDE, "start_to_close_timeout", timedelta(seconds=2))
        monkeypatch.setitem(steps.OUTSIDE, "schedule_to_close_timeout", timedelta(seconds=4))
        order = place(lines=SMALL)
        assert begun.wait(30)
        undoing.cancel(order_id=order.pk, actor=as_alice, at=datetime.now(UTC), reason="")
        wait_for_status(order, "cancelled")
        engine.stop()

        both = ["\n".join(line for line in kept.text.splitlines() if order.number in line) for kept in (log, plain_log)]
        for told in (
            "charge_payment, attempt 1 failed",
            "charge_payment, attempt 2 begins",
            "charge_payment, attempt 2 took too long",
            "cancel: reserved -> cancelling, by alice",
            "undo_failed, attempt 1, by Countersign",
            "finish_undo: cancelling -> cancelled",
        ):
            assert all(told in found for found in both)
        for private in ("4111", "example.net"):
            assert private not in log.text + plain_log.text


@pytest.mark.parametrize("formatter", [LineFormatter(), JsonFormatter()])
@pytest.mark.parametrize(
    "private",
    [
        "4111111111111111",
        "4111 1111 1111 1111",
        "ann.lee@example.com",
        "Authorization: Bearer c3VwZXItc2VjcmV0.x-y_z",
        "postgresql://countersign:hunter2@10.0.0.4/countersign",
    ],
)
def test_what_others_may_quote_is_hidden(formatter: logging.Formatter, private: str) -> None:
    secrets = {"4111", "ann.lee", "c3VwZXItc2VjcmV0", "hunter2"}
    record = logging.getLogger("x").makeRecord("x", logging.ERROR, "x.py", 1, "CS-104233 failed: %s", (private,), None)

    told = formatter.format(record)

    assert "CS-104233 failed: " in told
    assert not any(secret in told for secret in secrets)


def test_ids_and_numbers_of_ours_are_not_hidden() -> None:
    told = f"CS-104233 order-{uuid.UUID(int=0)} 2026-11-21 13:50:11.123456 MP123456789012 worker 4242@desk"

    assert hide(told) == told


def test_failures_without_end_are_errors_now_and_then() -> None:
    errors = [attempt for attempt in range(1, 1_001) if level_of(attempt) == logging.ERROR]

    assert errors == [10, 100, 1_000]


@pytest.mark.parametrize("formatter", [LineFormatter(), JsonFormatter()])
def test_what_postgresql_quotes_of_a_row_is_left_out(formatter: logging.Formatter) -> None:
    quoted = "null value in column\nDETAIL:  Failing row contains (Geheimgasse 77)."
    try:
        try:
            raise ValueError(quoted)
        except ValueError as cause:
            raise IntegrityError(str(cause)) from cause
    except IntegrityError:
        record = logging.getLogger("x").makeRecord("x", logging.ERROR, "x.py", 1, "It broke", (), None)
        record.exc_info = sys.exc_info()

    told = formatter.format(record)

    assert "IntegrityError: null value in column" in told
    assert "ValueError: null value in column" in told
    assert "test_logs.py" in told
    assert "Geheimgasse" not in told


def test_a_json_line_is_one_line_whatever_the_message_has_in_it() -> None:
    record = logging.getLogger("x").makeRecord("x", logging.INFO, "x.py", 1, "one\ntwo %s", ("ü",), None)

    told = JsonFormatter().format(record)

    assert "\n" not in told
    assert json.loads(told)["message"] == "one\ntwo ü"


def test_an_unknown_format_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOG_FORMAT", "xml")

    with pytest.raises(ImproperlyConfigured, match="LOG_FORMAT must be line or json, not 'xml'"):
        runpy.run_path("orders_site/settings.py")

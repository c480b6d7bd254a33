"""Where an order stands at this moment, in words: from the rows, and from what Temporal says besides."""

import io
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from orders import wording
from orders.live_state import live_state
from orders.models import Order
from orders.runs import Attempt, Run, RunState, Told
from orders.services import fulfilling, paying, reviewing
from orders.services.actors import Actor

NOW = datetime.now(UTC)
SOON = NOW + timedelta(hours=20)
AWAY_SINCE = datetime(2026, 11, 21, 12, 3, tzinfo=UTC)


class Temporal:
    """What Temporal would say; it stands where ORDER_RUNS points."""

    def __init__(self) -> None:
        self.says = Told()
        self.asked_in_transaction: list[bool] = []
        self.meanwhile: Callable[[], object] = lambda: None

    def __call__(self, order_id: UUID, version: int) -> Told:
        self.asked_in_transaction.append(connection.in_atomic_block)
        self.meanwhile()
        return self.says


temporal = Temporal()


@pytest.fixture(autouse=True)
def _temporal(settings: Settings) -> None:
    temporal.__init__()  # type: ignore[misc]
    settings.ORDER_RUNS = f"{__name__}.temporal"


@pytest.fixture
def charging(order_in_review: Order, as_alice: Actor) -> Order:
    reviewing.approve(order_id=order_in_review.pk, actor=as_alice, at=NOW)
    fulfilling.reserve_stock(order_id=order_in_review.pk, at=NOW)
    paying.begin_charge(order_id=order_in_review.pk, at=NOW)
    order_in_review.refresh_from_db()
    return order_in_review


def says(*, step: str = "charge_payment", number: int = 3, **attempt: Any) -> None:
    temporal.says = Told(Run(RunState.RUNNING, Attempt(step, number, **attempt)), NOW)


def caught_up(client: Client, order: Order) -> str:
    url = reverse("orders:catch_up_order", args=[order.pk])
    fragments: list[str] = client.get(url, {"shown": f"{order.pk}.{order.version}"}).json()["fragments"]
    return next((fragment for fragment in fragments if 'id="live-' in fragment), "")


def test_a_try_is_told_with_its_number_its_error_and_when_the_next_one_is(at_alices: Client, charging: Order) -> None:
    says(error="The bank gave no answer.", error_kind="ProviderUnavailable", next_at=SOON)

    page = at_alices.get(charging.get_absolute_url()).content.decode()

    assert "Charging the card, 3rd try: the bank gave no answer." in page
    assert f'datetime="{SOON.isoformat()}"' in page
    assert re.search("data-next>in (19|20) h", page)


@pytest.mark.parametrize(
    ("kind", "error", "said"),
    [
        ("TimeOut", "", "There was no answer in time."),
        ("OperationalError", "FATAL: password of Zenobia", "The database did not answer."),
        ("OperationalError", "could not extend file: No space left on device", "The database's disk is full."),
        ("ValueError", "Half a penny", "Half a penny."),
        ("ValueError", "", "It failed without a word."),
    ],
)
def test_an_error_is_told_in_plain_words(charging: Order, kind: str, error: str, said: str) -> None:
    says(error=error, error_kind=kind)

    assert live_state(charging.pk, ask_engine=True).last_error == said


def test_no_name_of_the_engines_reaches_an_operator(at_alices: Client, charging: Order) -> None:
    for step in (*wording.ENGINE_STEPS, "a_step_of_tomorrow"):
        says(step=step, error="It broke", error_kind="ProviderUnavailable")

        page = at_alices.get(charging.get_absolute_url()).content.decode()

        assert step not in page
        assert "ProviderUnavailable" not in page


def test_with_temporal_away_it_says_what_the_rows_know_and_since_when(at_alices: Client, charging: Order) -> None:
    temporal.says = Told(away_since=AWAY_SINCE)
    said = io.StringIO()

    page = at_alices.get(charging.get_absolute_url()).content.decode()
    call_command("order", "show", charging.number, stdout=said)

    assert "Charging the card." in page
    assert "If it is stopped: " in page
    assert "Temporal does not answer since 21 Nov, 12:03:00" in page or "since 12:03:00" in page
    assert "This is what our own records say." in page
    assert "Temporal  does not answer since" in said.getvalue()


def test_what_was_heard_last_is_told_with_its_time(at_alices: Client, charging: Order) -> None:
    run = Run(RunState.RUNNING, Attempt("charge_payment", 2, "The bank is closed.", "ProviderUnavailable"))
    temporal.says = Told(run, AWAY_SINCE - timedelta(seconds=9), AWAY_SINCE)

    page = at_alices.get(charging.get_absolute_url()).content.decode()

    assert "Charging the card, 2nd try: the bank is closed." in page
    assert "12:02:51." in page


@pytest.mark.parametrize(
    ("run", "said"),
    [
        (Run(RunState.CUT), wording.RUN_CUT),
        (Run(RunState.ENDED), wording.RUN_CUT),
        (Run(RunState.UNKNOWN), wording.RUN_LOST),
        (Run(RunState.RUNNING, is_broken=True), wording.RUN_BROKEN),
        (Run(RunState.RUNNING), ""),
    ],
)
def test_an_order_that_nothing_carries_on_says_so(order_in_review: Order, run: Run, said: str) -> None:
    temporal.says = Told(run, NOW)

    assert live_state(order_in_review.pk, ask_engine=True).problem == said


def test_a_run_that_has_just_brought_its_order_to_the_end_is_no_problem(charging: Order) -> None:
    temporal.says = Told(Run(RunState.ENDED), NOW)
    temporal.meanwhile = lambda: Order.objects.filter(pk=charging.pk).update(version=charging.version + 1)

    assert live_state(charging.pk, ask_engine=True).problem == ""


def test_one_that_has_just_been_placed_has_no_run_yet(charging: Order) -> None:
    Order.objects.update(status="placed")
    temporal.says = Told(Run(RunState.UNKNOWN), NOW)

    assert live_state(charging.pk, ask_engine=True).problem == ""


def test_a_page_asks_again_while_the_engine_is_at_it(at_alices: Client, charging: Order) -> None:
    says(number=4, error="The bank is closed.", error_kind="ProviderUnavailable", next_at=SOON)

    fragment = caught_up(at_alices, charging)

    assert "data-again" in fragment
    assert "Charging the card, 4th try: the bank is closed." in fragment


def test_it_does_not_while_people_are_waited_for(at_alices: Client, order_in_review: Order) -> None:
    page = at_alices.get(order_in_review.get_absolute_url()).content.decode()

    assert "data-again" not in page
    assert caught_up(at_alices, order_in_review) == ""


def test_nor_once_it_has_ended_and_then_temporal_is_not_asked(at_alices: Client, expired_order: Order) -> None:
    page = at_alices.get(expired_order.get_absolute_url()).content.decode()

    assert "data-again" not in page
    assert caught_up(at_alices, expired_order) == ""
    assert temporal.asked_in_transaction == []


def test_the_answer_to_a_decision_does_not_wait_for_temporal(at_alices: Client, order_in_review: Order) -> None:
    url = reverse("orders:approve", args=[order_in_review.pk])

    at_alices.post(url, headers={"HX-Request": "true", "HX-Target": f"order-{order_in_review.pk}"})

    assert temporal.asked_in_transaction == []


@pytest.mark.django_db(transaction=True)
def test_it_is_never_asked_within_a_transaction(at_alices: Client, charging: Order) -> None:
    at_alices.get(charging.get_absolute_url())
    caught_up(at_alices, charging)

    assert temporal.asked_in_transaction == [False, False]


@pytest.mark.parametrize(
    ("number", "said"),
    [(1, "1st"), (2, "2nd"), (3, "3rd"), (4, "4th"), (11, "11th"), (112, "112th"), (1_021, "1,021st")],
)
def test_tries_are_counted_as_people_count(number: int, said: str) -> None:
    assert wording.ordinal(number) == said

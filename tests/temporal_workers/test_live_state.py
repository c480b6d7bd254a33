"""Where an order stands: the same on its page, in the API, on the command line and in the workflow's own answer."""

import html
import io
import itertools
import json
import re
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client
from django.urls import reverse
from pytest_django.fixtures import Settings

from orders import wording
from orders.models import ApiScope, Order
from orders.services import clients, undoing
from orders.services.actors import Actor
from orders.services.placing import Address, NewLine
from temporal_workers import contracts, describing
from temporal_workers.client import connect
from temporal_workers.contracts import OrderState
from temporal_workers.providers.protocols import ProviderUnavailable
from temporal_workers.providers.simulated import SimulatedBank, SimulatedCarrier
from tests.conftest import PlaceOrder
from tests.temporal_workers.conftest import SECONDS_TO_SETTLE, Engine, wait_for_status, wait_until
from tests.threads import at_once

HOUR = timedelta(hours=1)
SMALL = [NewLine("LAMP", 1, 20_000)]
SOUTH_POLE = Address("AQ", line1="1 Scott Way", city="South Pole")
ALL = ["recall package", "refund payment", "release stock"]
MONEY_AND_STOCK = ["refund payment", "release stock"]


@pytest.fixture
def providers(queues: None, settings: Settings, tmp_path: Path) -> None:
    """What fails is tried again much later, so that the order stands still while four ways of looking look."""
    settings.DISPATCH_RETRY_AFTER = HOUR
    settings.UNDO_RETRY_AFTER = HOUR
    settings.STATIC_ROOT = tmp_path
    settings.STORAGES = {"staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}}


@pytest.fixture(autouse=True)
def _one_answer_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tries go on while we look: all who look within this time are told the same."""
    monkeypatch.setattr(describing, "REMEMBERED_SECONDS", 60.0)


class World:
    """Brings an order to each stage of its life."""

    def __init__(self, place: PlaceOrder, patch: pytest.MonkeyPatch, settings: Settings, operator: Actor) -> None:
        self._place = place
        self._patch = patch
        self._settings = settings
        self._operator = operator

    def is_away(self, provider: type, method: str) -> threading.Event:
        """Have every call fail; the event is set once the third one does, for no row tells of it."""
        calls, tried = itertools.count(1), threading.Event()

        async def away(_: object, **asked: object) -> None:
            if next(calls) == 3:
                tried.set()
            raise ProviderUnavailable("The other side gave no answer.")

        self._patch.setattr(provider, method, away)
        return tried

    def in_review(self) -> Order:
        order = self._place()
        wait_for_status(order, "in_review")
        return order

    def stock_short(self) -> Order:
        order = self._place(lines=[NewLine("RARE", 2, 10_000)])
        wait_for_status(order, "stock_short")
        return order

    def charging(self) -> Order:
        tried = self.is_away(SimulatedBank, "charge")
        order = self._place(lines=SMALL)
        assert tried.wait(SECONDS_TO_SETTLE)
        return order

    def awaiting_customer(self) -> Order:
        self._settings.SIMULATOR_CONFIRM_RATE = 1.0
        order = self._place(lines=SMALL)
        wait_for_status(order, "awaiting_customer")
        return order

    def unconfirmed(self) -> Order:
        self._settings.SIMULATOR_CONFIRM_RATE = 1.0
        self._settings.PAYMENT_CONFIRM_WITHIN = timedelta(seconds=0.5)
        order = self._place(lines=SMALL)
        wait_for_status(order, "unconfirmed")
        return order

    def packing(self) -> Order:
        tried = self.is_away(SimulatedCarrier, "prepare")
        order = self._place(lines=SMALL)
        assert tried.wait(SECONDS_TO_SETTLE)
        return order

    def dispatch_failing(self) -> Order:
        self.is_away(SimulatedCarrier, "dispatch")
        order = self._place(lines=SMALL)
        wait_until(lambda: order.events.filter(type="dispatch_failed").exists())
        return order

    def undeliverable(self) -> Order:
        order = self._place(lines=SMALL, address=SOUTH_POLE)
        wait_for_status(order, "undeliverable")
        return order

    def undoing(self) -> Order:
        self.is_away(SimulatedBank, "refund")
        order = self.undeliverable()
        undoing.cancel(order_id=order.pk, actor=self._operator, at=datetime.now(UTC), reason="Nobody can reach it")
        wait_until(lambda: order.events.filter(type="undo_failed").exists())
        return order

    def ended(self) -> Order:
        order = self._place(lines=SMALL)
        wait_for_status(order, "completed")
        return order


@pytest.fixture
def world(
    place: PlaceOrder, monkeypatch: pytest.MonkeyPatch, settings: Settings, as_alice: Actor, engine: Engine
) -> World:
    return World(place, monkeypatch, settings, as_alice)


Stage = Callable[[World], Order]
STAGES: list[tuple[Stage, str, list[str]]] = [
    (World.in_review, "Waiting for a decision", []),
    (World.stock_short, "Waiting for help: restock and retry, or cancel", []),
    (World.charging, "Charging the card", MONEY_AND_STOCK),
    (World.awaiting_customer, "Waiting for the customer to confirm the payment with their bank", MONEY_AND_STOCK),
    (World.unconfirmed, "Waiting for help: reach the customer and retry, or cancel", MONEY_AND_STOCK),
    (World.packing, "Having the package made ready", ALL),
    (World.dispatch_failing, "Offering the package to the carrier again", ALL),
    (World.undeliverable, "Waiting for help: correct the address and retry, or cancel with a refund", ALL),
    (World.undoing, "Giving the money back", MONEY_AND_STOCK),
    (World.ended, "", []),
]


@pytest.mark.parametrize(("stage", "doing", "to_undo"), STAGES, ids=[stage[0].__name__ for stage in STAGES])
def test_page_api_command_line_and_workflow_say_the_same(
    world: World, alice: User, stage: Stage, doing: str, to_undo: list[str]
) -> None:
    order = stage(world)

    api, command, page, query = from_api(order), from_command_line(order), from_page(order, alice), from_query(order)

    assert (api["doing"], api["to_undo"]) == (doing, to_undo)
    assert {name: api[name] for name in command} == command
    assert page == {"told": told_of(api), "to_undo": to_undo, "next_try_at": api["next_try_at"]}
    assert query.to_undo == to_undo
    assert (to_the_millisecond(query.due_at) if query.due_at else None) == api["deadline"]
    assert api["problem"] == ""


@pytest.mark.parametrize("stage", [World.charging, World.packing])
def test_a_try_that_no_row_knows_of_is_told_with_its_error_and_the_next(world: World, stage: Stage) -> None:
    told = from_api(stage(world))

    assert told["attempt"] > 2
    assert told["last_error"] == "The other side gave no answer."


@pytest.mark.parametrize("stage", [World.dispatch_failing, World.undoing])
def test_a_try_that_the_rows_know_of_is_told_as_the_workflow_tells_it(world: World, stage: Stage) -> None:
    order = stage(world)

    told, query = from_api(order), from_query(order)

    assert query.trouble is not None
    assert (told["attempt"], told["last_error"]) == (query.trouble.attempt + 1, query.trouble.error)
    assert query.trouble.retry_at is not None
    assert told["next_try_at"] == to_the_millisecond(query.trouble.retry_at)


def test_a_run_that_was_ended_from_outside_is_told(world: World, engine: Engine) -> None:
    order = world.in_review()

    engine.terminate(contracts.order_workflow_id(order.pk))

    assert from_api(order)["problem"].startswith("The run of this order was ended in Temporal")


class TestWhoWatches:
    @pytest.fixture
    def tries_follow_soon(self) -> None:
        """As in production: who watches looks once a second."""

    def test_is_told_of_tries_that_fail_in_words_and_in_json(
        self, place: PlaceOrder, monkeypatch: pytest.MonkeyPatch, engine: Engine
    ) -> None:
        calls, charge = itertools.count(), SimulatedBank.charge

        async def late(bank: SimulatedBank, **asked: Any) -> Any:
            if next(calls) < 3:
                raise ProviderUnavailable("The bank is closed.")
            return await charge(bank, **asked)

        monkeypatch.setattr(SimulatedBank, "charge", late)
        order, words, as_json = place(lines=SMALL), io.StringIO(), io.StringIO()

        at_once(
            lambda: call_command("order", "watch", order.number, stdout=words),
            lambda: call_command("order", "watch", order.number, "--json", stdout=as_json),
        )

        for said, told in ((words, "Charging the card, "), (as_json, '"last_error": "The bank is closed."')):
            lines = [line for line in said.getvalue().splitlines() if "bank is closed" in line]
            assert lines
            assert all(told in line for line in lines)
            assert said.getvalue().count("Completed") == 1


def from_api(order: Order) -> dict[str, Any]:
    token = clients.create_client(name=f"c{order.version}", scopes=[ApiScope.READ], user=None, at=datetime.now(UTC))
    answer = Client(headers={"Authorization": f"Bearer {token}"}).get(f"/api/v1/orders/{order.pk}/live")
    return with_instants(answer.json())


def from_command_line(order: Order) -> dict[str, Any]:
    said = io.StringIO()
    call_command("order", "show", order.number, "--json", stdout=said)
    return with_instants(json.loads(said.getvalue())["live"])


def from_page(order: Order, user: User) -> dict[str, Any]:
    client = Client()
    client.force_login(user)
    page = client.get(reverse("orders:order", args=[order.pk])).content.decode()
    told = re.search(r'class="trying[^"]*" title="([^"]*)"', page)
    listed = re.search(r'<ol class="undo".*?</ol>|class="to-undo">[^<]*<', page, re.DOTALL)
    to_undo = re.sub(r'<li class="done">.*?</li>', "", listed[0]).lower() if listed else ""
    next_try = re.search(r'<time datetime="([^"]*)" title="[^"]*" data-next', page)
    return {
        "told": html.unescape(told[1]) if told else "",
        "to_undo": [entry for entry, words in wording.UNDO_WORDS.items() if words.lower() in to_undo],
        "next_try_at": to_the_millisecond(datetime.fromisoformat(next_try[1])) if next_try else None,
    }


@async_to_sync
async def from_query(order: Order) -> OrderState:
    client = await connect(lazy=False)
    handle = client.get_workflow_handle(contracts.order_workflow_id(order.pk))
    state: OrderState = await handle.query(contracts.STATE_QUERY, result_type=OrderState)
    return state


def told_of(live: dict[str, Any]) -> str:
    """The page's sentence, from what the API says; of an order that nobody works at it has none."""
    if not live["attempt"]:
        return ""
    which = f"{live['doing']}, {({2: '2nd', 3: '3rd'}).get(live['attempt'], str(live['attempt']) + 'th')} try"
    return f"{which}: {live['last_error'][0].lower()}{live['last_error'][1:]}"


def with_instants(told: dict[str, Any]) -> dict[str, Any]:
    instants = ("next_try_at", "deadline", "engine_seen_at", "engine_away_since")
    return told | {name: to_the_millisecond(datetime.fromisoformat(told[name])) for name in instants if told[name]}


def to_the_millisecond(at: datetime) -> datetime:
    """As the API says it."""
    return at.replace(microsecond=at.microsecond // 1_000 * 1_000)

"""The fraud check on an order's way: asked by real workers of a check that has its moods."""

import runpy
from datetime import UTC, datetime

import pytest
from django.core.exceptions import ImproperlyConfigured
from pytest_django.fixtures import Settings

from orders.models import LoyaltyEntry, Product
from orders.services import undoing
from orders.services.actors import Actor
from orders.services.placing import NewLine
from temporal_workers.activities.outside import FraudCalls
from temporal_workers.contracts import CheckFraud, FraudResult
from temporal_workers.providers.protocols import FraudAnswer, ProviderUnavailable
from temporal_workers.providers.simulated import Temper
from temporal_workers.providers.simulated_fraud import SimulatedFraudCheck
from tests.conftest import PlaceOrder
from tests.temporal_workers.conftest import Engine, events_of, wait_for_status

ASKED = CheckFraud("order-1:fraud", 120_000, "EUR", "DE")


def test_an_order_that_looks_honest_goes_on_and_earns_points(place: PlaceOrder, engine: Engine) -> None:
    order = place(lines=[NewLine("LAMP", 1, 20_050)])

    wait_for_status(order, "completed")

    events = events_of(order)
    assert events[events.index("clear") + 1 : events.index("reserve")] == ["fraud_check"]
    assert events[events.index("confirm_dispatch") + 1 : events.index("complete")] == ["loyalty_points"]
    assert LoyaltyEntry.objects.get(order=order).points == 200


class TestOrdersThatLookLikeFraud:
    @pytest.fixture
    def providers(self, queues: None, settings: Settings) -> None:
        settings.SIMULATOR_FRAUD_RATE = 1.0

    def test_an_order_that_looks_like_fraud_fails_with_nothing_taken(self, place: PlaceOrder, engine: Engine) -> None:
        order = place(lines=[NewLine("LAMP", 1, 20_000)])

        wait_for_status(order, "failed")

        assert events_of(order) == ["place", "receive", "validate", "clear", "fraud_check", "fail", "finish_undo"]
        assert order.outcome.startswith("Looks like fraud, with a score of ")
        assert not order.reservations.exists()
        assert not order.payments.exists()
        assert Product.objects.get(sku="LAMP").stock == 1_000


async def nobody_answers(check: SimulatedFraudCheck, **asked: object) -> FraudAnswer:
    raise ProviderUnavailable("the fraud check is away")


class TestACheckThatIsAway:
    @pytest.fixture
    def providers(self, queues: None, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(SimulatedFraudCheck, "check", nobody_answers)

    def test_without_an_answer_the_approval_stands(self, place: PlaceOrder, engine: Engine) -> None:
        order = place(lines=[NewLine("LAMP", 1, 20_000)])

        wait_for_status(order, "completed")

        assert order.events.get(type="fraud_unanswered").payload == {"error": "the fraud check is away"}

    def test_an_order_can_be_cancelled_while_the_check_is_away(
        self, place: PlaceOrder, engine: Engine, as_alice: Actor
    ) -> None:
        order = place(lines=[NewLine("LAMP", 1, 20_000)])
        wait_for_status(order, "approved")

        undoing.cancel(order_id=order.pk, actor=as_alice, at=datetime.now(UTC), reason="Ordered twice")
        wait_for_status(order, "cancelled")

        engine.stop()
        assert events_of(order)[-1] == "cancel"

    class TestWhereThatFailsOrders:
        @pytest.fixture
        def providers(self, queues: None, monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
            monkeypatch.setattr(SimulatedFraudCheck, "check", nobody_answers)
            settings.FRAUD_UNANSWERED = "fail"

        def test_without_an_answer_the_order_fails(self, place: PlaceOrder, engine: Engine) -> None:
            order = place(lines=[NewLine("LAMP", 1, 20_000)])

            wait_for_status(order, "failed")

            assert order.outcome == "The fraud check could not be asked: the fraud check is away."
            assert not order.payments.exists()


class Check:
    def __init__(self, score: float) -> None:
        self._score = score

    async def check(self, *, key: str, amount_minor: int, currency: str, country: str) -> FraudAnswer:
        return FraudAnswer(self._score, f"{key} {amount_minor} {currency} {country}")


async def test_the_check_is_asked_with_key_amount_and_country() -> None:
    assert await FraudCalls(Check(0.2)).check_fraud(ASKED) == FraudResult(0.2, "order-1:fraud 120000 EUR DE")


@pytest.mark.parametrize("score", [-0.1, 1.1, float("nan"), float("inf")])
async def test_a_score_that_is_none_counts_as_no_answer(score: float) -> None:
    with pytest.raises(ProviderUnavailable, match="not one from 0 to 1"):
        await FraudCalls(Check(score)).check_fraud(ASKED)


async def test_the_simulated_check_gives_the_same_answer_to_the_same_key() -> None:
    check = SimulatedFraudCheck(Temper(), fraud_rate=0.5)

    async def ask(key: str) -> FraudAnswer:
        return await check.check(key=key, amount_minor=1, currency="EUR", country="DE")

    answers = [await ask(f"order-{number}:fraud") for number in range(40)]

    assert answers == [await ask(f"order-{number}:fraud") for number in range(40)]
    assert {answer.score > 0.9 for answer in answers} == {True, False}


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("FRAUD_LIMIT", "1.5", "FRAUD_LIMIT must be from 0 to 1, not 1.5"),
        ("FRAUD_UNANSWERED", "maybe", "FRAUD_UNANSWERED must be pass or fail, not 'maybe'"),
    ],
)
def test_a_setting_that_makes_no_sense_stops_the_start(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    monkeypatch.setenv(name, value)

    with pytest.raises(ImproperlyConfigured, match=said):
        runpy.run_path("orders_site/settings.py")

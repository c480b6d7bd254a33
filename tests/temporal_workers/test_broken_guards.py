"""That the judge of `make chaos` can find fault: one guard at a time is taken away, and it is seen what follows."""

import itertools
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from django.db import connection

from orders.models import Order, Product
from orders.services import relaying, reviewing, transitions
from orders.services.actors import Actor
from orders.services.placing import NewLine
from orders.states import Status
from temporal_workers.providers.protocols import ProviderUnavailable
from temporal_workers.providers.simulated import SimulatedBank
from tests import judge
from tests.chaos.traffic import Answer, Book, Told
from tests.chaos.verdict import broken_words
from tests.conftest import PlaceOrder
from tests.temporal_workers.conftest import Engine, wait_for_status

SMALL = [NewLine("LAMP", 1, 20_000)]


@pytest.fixture
def stock(transactional_db: None, goods: dict[str, Product]) -> dict[str, int]:
    return {sku: product.stock for sku, product in goods.items()}


def violations(received: dict[str, int]) -> list[str]:
    with connection.cursor() as cursor:

        def ask(query: str) -> list[Any]:
            cursor.execute(query)
            return list(cursor.fetchall())

        books = judge.read_books(ask)
    return judge.unsafe(books, received) + judge.unfinished(books)


@pytest.mark.parametrize("is_kept", [True, False])
def test_without_its_key_a_charge_whose_answer_is_lost_is_made_twice(
    stock: dict[str, int], engine: Engine, place: PlaceOrder, monkeypatch: pytest.MonkeyPatch, *, is_kept: bool
) -> None:
    tries, charge = itertools.count(1), SimulatedBank.charge

    async def loses_its_first_answer(bank: SimulatedBank, *, key: str, **asked: Any) -> Any:
        number = next(tries)
        answer = await charge(bank, key=key if is_kept else f"{key}-{number}", **asked)
        if number == 1:
            raise ProviderUnavailable("The answer is lost.")
        return answer

    monkeypatch.setattr(SimulatedBank, "charge", loses_its_first_answer)
    order = place(lines=SMALL)
    wait_for_status(order, "completed")

    found = violations(stock)

    assert (found == []) is is_kept
    assert any("charged 2 times" in words for words in found) is not is_kept


def test_without_the_conditional_update_two_decide_the_opposite(
    stock: dict[str, int], order_in_review: Order, as_alice: Actor, as_bob: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def as_it_was(order_id: UUID) -> Order:
        """Everybody decides on what they read before the others."""
        order = Order.objects.get(pk=order_id)
        order.status = Status.IN_REVIEW
        return order

    def whatever_it_is(orders: Sequence[Order], _: object) -> None:
        for order in orders:
            order.version += 1
            order.save(update_fields=["status", "status_at", "outcome", "version"])

    now = datetime.now(UTC)
    reviewing.approve(order_id=order_in_review.pk, actor=as_alice, at=now)
    before = [words for words in violations(stock) if "nobody is at it" not in words and "wait" not in words]
    monkeypatch.setattr(reviewing, "lock", as_it_was)
    monkeypatch.setattr(reviewing, "why_not", lambda *_, **__: None)
    monkeypatch.setattr(transitions, "_move", whatever_it_is)
    reviewing.reject(order_id=order_in_review.pk, actor=as_bob, at=now, reason="No")

    found = violations(stock)

    assert before == []
    assert any("begins at in_review, and the order was approved" in words for words in found)


def test_without_the_outbox_an_order_is_forgotten(stock: dict[str, int], place: PlaceOrder) -> None:
    """What was marked as delivered and was not is never told again."""
    order = place(lines=SMALL)
    relaying.deliver_outbox(deliver=lambda messages: [""] * len(messages), at=datetime.now(UTC))

    assert any(f"{order.number}: is placed, and nobody is at it" in words for words in violations(stock))


class TestWords:
    """What people were told against what stands in the story."""

    @pytest.fixture
    def book(self, order_in_review: Order, as_alice: Actor) -> Book:
        reviewing.approve(order_id=order_in_review.pk, actor=as_alice, at=datetime.now(UTC))
        reference = order_in_review.reference
        return Book(placed={reference: str(order_in_review.pk)}, tried={reference})

    @pytest.mark.parametrize(
        ("actor", "told", "finds"),
        [
            ("alice", Told.DONE, ""),
            ("alice", Told.NOTHING, ""),
            ("bob", Told.NOTHING, ""),
            ("bob", Told.REFUSED, ""),
            ("bob", Told.DONE, "was told that it was done, and it stands 0 times"),
            ("alice", Told.REFUSED, "and it stands in the story"),
        ],
    )
    def test_they_are_held_against_it(self, book: Book, actor: str, told: Told, finds: str) -> None:
        book.answers.append(Answer(next(iter(book.placed.values())), "approve", actor, told))

        found = list(broken_words(book))

        assert bool(found) is bool(finds)
        assert all(finds in words for words in found)

    def test_an_accepted_order_that_is_not_there_is_missed(self, book: Book) -> None:
        book.placed["lost"] = "0b6e6d0c-0000-4000-8000-000000000000"

        assert "lost was accepted as 0b6e6d0c-0000-4000-8000-000000000000, and is not there" in broken_words(book)

    def test_an_order_that_nobody_placed_is_found(self, book: Book) -> None:
        book.tried.clear()

        assert any("was never placed, and is there" in words for words in broken_words(book))

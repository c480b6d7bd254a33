"""An order under any sequence of what the engine, people, the bank, the carrier and time may do to it.

The services and the database are the real ones; the bank and the carrier are ledgers in memory that answer as the
simulated ones do, late, or not at all. Whatever comes, nothing that `tests.judge` knows is ever violated; and once
everybody has done what is theirs, nothing is left open.
"""

import json
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction
from hypothesis import settings as drawing
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from orders.models import Order, Payment, Product
from orders.services import (
    addressing,
    asking,
    attending,
    claiming,
    fulfilling,
    paying,
    refunding,
    relaying,
    reviewing,
    shipping,
    stocking,
    undoing,
)
from orders.services.actors import Actor, NotPermitted
from orders.services.paying import BankNews, MoneyMove
from orders.services.placing import Address, NewLine
from orders.services.transitions import ActionRefused
from orders.states import UNDOING
from tests import judge
from tests.conftest import PlaceOrder

ORDERS: dict[str, dict[str, Any]] = {
    "to be reviewed": {},
    "clear": {"lines": [NewLine("LAMP", 1, 20_000)]},
    "of more than there is": {"lines": [NewLine("RARE", 2, 5_000)]},
    "to nowhere": {"lines": [NewLine("LAMP", 1, 20_000)], "address": Address("AQ", line1="1 Scott Way", city="Pole")},
}
ENGINE = ["look", "charge", "charge", "charge late", "ship", "ship", "complete", "undo", "give up"]
WORLD = ["hour", "days", "the customer answers the bank", "the bank tells", "the carrier collects", "goods come in"]
BERLIN = Address("DE", line1="Lindenstr. 4", city="Berlin", postal_code="10969")
PARIS = Address("FR", line1="1 rue de la Paix", city="Paris", postal_code="75002")


@dataclass
class Charge:
    amount_minor: int
    declined: str
    pending: bool


@dataclass
class Bank:
    """Each key once, whatever comes under it later; a charge that is refunded before it came is void."""

    charges: dict[str, Charge] = field(default_factory=dict)
    refunds: dict[str, int] = field(default_factory=dict)

    def charge(self, move: MoneyMove, answer: str) -> Charge:
        declined = "no money" if answer == "declines" else ""
        return self.charges.setdefault(move.key, Charge(move.amount_minor, declined, answer == "asks the customer"))

    def refund(self, move: MoneyMove) -> str:
        charge = self.charges.setdefault(move.of_charge, Charge(move.amount_minor, "void", pending=False))
        if charge.pending:
            charge.pending, charge.declined = False, "void"
        if charge.declined:
            return ""
        self.refunds.setdefault(move.key, move.amount_minor)
        return f"re_{move.key[-8:]}"

    def rows(self) -> Iterable[tuple[Any, ...]]:
        yield from ((key, "charge", one.amount_minor, one.declined, one.pending) for key, one in self.charges.items())
        yield from ((key, "refund", amount, "", False) for key, amount in self.refunds.items())


@dataclass
class Carrier:
    packages: dict[str, judge.Package] = field(default_factory=dict)
    collected: set[str] = field(default_factory=set)

    def dispatch(self, parcel: shipping.Parcel) -> str:
        """Why it was refused; empty where it was taken."""
        if parcel.address["country"] == "AQ":
            return "Nobody lives there."
        package = self.packages.setdefault(parcel.key, judge.Package(parcel.key, parcel.address))
        return "It was taken back." if package.withdrawn else ""

    def withdraw(self, key: str) -> bool:
        """Whether it has gone all the same."""
        package = self.packages.setdefault(key, judge.Package(key, {}))
        if key not in self.collected:
            self.packages[key] = judge.Package(key, package.address, withdrawn=True)
        return key in self.collected


@dataclass
class Cast:
    place: PlaceOrder
    people: list[User]
    stock: dict[str, int]


class Life(RuleBasedStateMachine):
    cast: Cast

    def __init__(self) -> None:
        super().__init__()
        self.example = transaction.atomic()
        self.example.__enter__()
        self.now, self.bank, self.carrier = datetime.now(UTC), Bank(), Carrier()
        self.stock = dict(self.cast.stock)
        self.late: list[MoneyMove] = []
        self.stood: object = None

    def teardown(self) -> None:
        try:
            self.come_to_rest()
        finally:
            transaction.set_rollback(True)
            self.example.__exit__(None, None, None)

    @initialize(kind=st.sampled_from([*ORDERS, "clear"]), steps=st.integers(0, 3))
    def somebody_orders(self, kind: str, steps: int) -> None:
        """It has gone some of its way already: what is of interest happens there."""
        self.pk = self.cast.place(**ORDERS[kind]).pk
        for step in ("look", "charge", "ship")[:steps]:
            self.the_engine_goes_on(step=step, answer=0, well=True)

    @property
    def order(self) -> Order:
        return Order.objects.get(pk=self.pk)

    @property
    def now_is(self) -> dict[str, Any]:
        return {"order_id": self.pk, "at": self.now}

    # The engine, which may repeat a step, and may come late with it. Few rules: of many, Hypothesis leaves most out.

    @rule(step=st.sampled_from(ENGINE), answer=st.integers(0, 3), well=st.sampled_from([True, True, False]))
    def the_engine_goes_on(self, step: str, answer: int, *, well: bool) -> None:
        match step:
            case "charge":
                kind = ("takes", "takes", "declines", "asks the customer")[answer]
                self.charges(kind, arrives=well, late=answer == 1)
            case "ship":
                self.ships(("takes", "takes", "is not heard", "cannot be reached")[answer], given_up=well)
            case "undo":
                self.undoes(4 if well else answer)
            case "charge late" if self.late:
                self._charge(self.late.pop(), "takes", arrives=well)
            case "complete":
                fulfilling.complete_order(**self.now_is)
            case "give up" if answer == 0:
                undoing.fail_order(**self.now_is, reason="It took too long.")
            case _:
                self.looks_at_it()

    def looks_at_it(self) -> None:
        for step in (reviewing.receive_order, reviewing.validate_order, reviewing.settle_review):
            step(**self.now_is)

    def charges(self, answer: str, *, arrives: bool, late: bool) -> None:
        fulfilling.reserve_stock(**self.now_is)
        move = paying.begin_charge(**self.now_is)
        if move.key and late:
            self.late.append(move)
        elif move.key:
            self._charge(move, answer, arrives=arrives)

    def _charge(self, move: MoneyMove, answer: str, *, arrives: bool) -> None:
        charge = self.bank.charge(move, answer)
        if arrives:
            told: dict[str, Any] = {"reference": "" if charge.declined else "ch_1", "declined": charge.declined}
            paying.record_charge(**self.now_is, **told, needs_customer=charge.pending)

    def ships(self, answer: str, *, given_up: bool) -> None:
        shipping.begin_package(**self.now_is)
        shipping.record_package(**self.now_is)
        parcel = shipping.begin_dispatch(**self.now_is)
        if not parcel.key:
            return
        gone = [key for key in parcel.withdraw if self.carrier.withdraw(key)]
        refused = "" if gone or answer == "cannot be reached" else self.carrier.dispatch(parcel)
        if gone or (answer == "takes" and not refused):
            shipping.record_dispatch(**self.now_is, carrier="Meridian", tracking_number="MP1")
        elif refused or given_up:
            attempt: dict[str, Any] = {"key": parcel.key, "tries": parcel.tries, "refused": bool(refused)}
            shipping.record_dispatch_failure(**self.now_is, **attempt, reason=refused or "No answer.")

    def undoes(self, steps: int) -> None:
        """Last step first; what is done already changes nothing."""
        if self.order.status_now not in UNDOING:
            return
        for step in (self._recall, self._refund, self._release, self._finish)[:steps]:
            step()

    def _recall(self) -> None:
        recall = shipping.recall_package(**self.now_is)
        gone = [key for key in recall.withdraw if self.carrier.withdraw(key)]
        if recall.withdraw:
            told: dict[str, Any] = dict.fromkeys(("carrier", "tracking_number"), "Meridian" if gone else "")
            shipping.record_recall(**self.now_is, **told)

    def _refund(self) -> None:
        if (move := undoing.begin_refund(**self.now_is)).key:
            undoing.record_refund(**self.now_is, reference=self.bank.refund(move))

    def _release(self) -> None:
        undoing.release_stock(**self.now_is)

    def _finish(self) -> None:
        undoing.finish_undo(**self.now_is)

    # The world

    @rule(what=st.sampled_from(WORLD), well=st.booleans())
    def the_world_goes_on(self, what: str, *, well: bool) -> None:
        match what:
            case "hour" | "days":
                self.now += timedelta(hours=1 if what == "hour" else 30)
                claiming.end_idle_claims(at=self.now)
            case "the customer answers the bank":
                for charge in self.bank.charges.values():
                    if charge.pending:
                        charge.pending, charge.declined = False, "" if well else "the customer did not want it"
            case "the bank tells":
                self.the_bank_tells_by_itself()
            case "the carrier collects":
                self.carrier.collected |= {key for key, one in self.carrier.packages.items() if not one.withdrawn}
            case "goods come in":
                stocking.restock(product_id=Product.objects.get(sku="RARE").pk, units=1)
                self.stock["RARE"] += 1

    def the_bank_tells_by_itself(self) -> None:
        for key, charge in self.bank.charges.items():
            state = Payment.State.REQUIRES_ACTION if charge.pending else Payment.State.SUCCEEDED
            says = Payment.State.FAILED if charge.declined else state
            news = BankNews("evt_1", says, key, "ch_1", charge.amount_minor, "EUR", charge.declined)
            paying.hear_bank(news=news, at=self.now)

    # People, who may be refused

    @rule(data=st.data(), who=st.integers(0, 2), seen=st.booleans())
    def a_person_acts(self, data: st.DataObject, who: int, *, seen: bool) -> None:
        deed = data.draw(st.sampled_from(DEEDS))
        told = {"actor": Actor.operator(self.cast.people[who]), "seen": self.order.version if seen else None}
        with suppress(ActionRefused, NotPermitted):
            deed(self, told | self.now_is)

    # What holds

    @invariant()
    def nothing_is_violated(self) -> None:
        if not hasattr(self, "pk"):
            return
        stands = (self.order.version, list(self.bank.rows()), dict(self.carrier.packages))
        if stands != self.stood:
            assert judge.unsafe(self._books(), self.stock) == []
            self.stood = stands

    def come_to_rest(self) -> None:
        """The engine goes on for as long as there is something to do without anybody."""
        if not hasattr(self, "pk"):
            return
        while self.late:
            self._charge(self.late.pop(), "takes", arrives=False)
        for _ in range(20):
            before = self.order.version
            self.looks_at_it()
            if not self.order.payments.filter(confirm_by__gt=self.now, status="requires_action").exists():
                self.charges("takes", arrives=True, late=False)
            self.undoes(4)
            self.ships("takes", given_up=False)
            fulfilling.complete_order(**self.now_is)
            for payment in self.order.payments.filter(kind=Payment.Kind.REFUND, status=Payment.State.PROCESSING):
                number = int(payment.idempotency_key.rpartition("-")[2])
                move = refunding.find_refund(order_id=self.pk, number=number)
                refunding.settle_refund(**self.now_is, number=number, reference=self.bank.refund(move))
            if self.order.version == before:
                break
        while relaying.deliver_outbox(deliver=lambda messages: [""] * len(messages), at=self.now):
            pass
        books = self._books()
        assert judge.unsafe(books, self.stock) + judge.unfinished(books) == []

    def _books(self) -> judge.Books:
        def ask(query: str) -> Iterable[tuple[Any, ...]]:
            if "simulator.bank" in query:
                return self.bank.rows()
            return [(key, json.dumps(dict(one.address)), one.withdrawn) for key, one in self.carrier.packages.items()]

        return judge.read_books(ask)


Deed = Callable[[Life, dict[str, Any]], object]
DEEDS: list[Deed] = [
    lambda _, told: reviewing.approve(**told),
    lambda _, told: reviewing.reject(**told, reason="No."),
    lambda _, told: undoing.cancel(**told, reason="She rang."),
    lambda _, told: attending.retry(**told),
    lambda life, told: reviewing.extend(**told, due_at=life.now + timedelta(hours=40), reason="More time."),
    lambda _, told: addressing.change_address(**told, address=PARIS),
    lambda _, told: addressing.change_address(**told, address=BERLIN),
    lambda life, told: asking.snooze(**told, reason="Later.", until=life.now + timedelta(hours=2)),
    lambda _, told: asking.resume(**told),
    lambda _, told: claiming.claim(**_unseen(told)),
    lambda _, told: claiming.unclaim(**_unseen(told)),
    lambda _, told: claiming.hand_over(**told, to="bob"),
    lambda _, told: claiming.take_over(**told),
    lambda _, told: refunding.refund(**told, amount_minor=1_000, reason="Late."),
]


def _unseen(told: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in told.items() if name != "seen"}


def test_no_sequence_of_what_may_happen_breaks_what_must_hold(
    place: PlaceOrder, goods: dict[str, Product], alice: User, bob: User, lead: User
) -> None:
    Life.cast = Cast(place, [alice, bob, lead], {sku: product.stock for sku, product in goods.items()})
    run_state_machine_as_test(Life, settings=drawing(drawing(), max_examples=drawing().max_examples))

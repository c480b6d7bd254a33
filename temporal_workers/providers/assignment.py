"""The order-lifecycle assignment's world: six functions, each of which first fails or hangs two times out of three.

`flaky_call` and what the functions answer are the assignment's own. The classes below ask them on the desk's behalf,
bound how long they may hang, and keep the simulator's ledgers, so that what was done can be counted afterwards.
"""

import asyncio
import random
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from temporal_workers.providers.protocols import BankEntry, Booking, ChargeAnswer, ProviderUnavailable
from temporal_workers.providers.simulated import SimulatedBank, SimulatedCarrier

Order = dict[str, Any]  # {"order_id": …, "items": [{"sku": …, "qty": …}]}
Answer = TypeVar("Answer")


class Database(Protocol):
    """Where a charge is written. The same payment again is the same charge."""

    async def charge(self, payment_id: str, amount: int) -> None: ...


async def flaky_call() -> None:
    """Fail, hang for five minutes, or do nothing, with about equal odds."""
    r = random.random()  # noqa: S311 - a simulation
    if r < 0.33:
        raise RuntimeError("Forced failure for testing")
    if r < 0.67:
        await asyncio.sleep(300)


async def order_received(order_id: str) -> Order:
    await flaky_call()
    return {"order_id": order_id, "items": [{"sku": "ABC", "qty": 1}]}


async def order_validated(order: Order) -> bool:
    """Raises ValueError where the order has no items."""
    await flaky_call()
    if not order.get("items"):
        raise ValueError("No items to validate")
    return True


async def payment_charged(order: Order, payment_id: str, db: Database) -> dict[str, Any]:
    await flaky_call()
    amount = sum(item.get("qty", 1) for item in order.get("items", []))
    await db.charge(payment_id, amount)
    return {"status": "charged", "amount": amount}


async def order_shipped(order: Order) -> str:
    await flaky_call()
    return "Shipped"


async def package_prepared(order: Order) -> str:
    await flaky_call()
    return "Package ready"


async def carrier_dispatched(order: Order) -> str:
    await flaky_call()
    return "Dispatched"


async def bounded(call: Awaitable[Answer], seconds: float) -> Answer:
    """What `call` answers, if it does within `seconds`.

    Raises ProviderUnavailable where it does not, and what `call` raises.
    """
    try:
        async with asyncio.timeout(seconds):
            return await call
    except TimeoutError:
        raise ProviderUnavailable(f"There was no answer within {seconds:g} s.") from None


class NotCharged(Exception):
    """The bank has declined, for good."""


@dataclass(frozen=True)
class Books:
    """The bank's ledger in one currency, as the assignment's database."""

    bank: SimulatedBank
    currency: str

    async def charge(self, payment_id: str, amount: int) -> None:
        """Raises NotCharged where the charge was voided before it came, ProviderUnavailable."""
        answer = await self.bank.charge(key=payment_id, amount_minor=amount, currency=self.currency)
        if answer.declined:
            raise NotCharged(answer.declined)


class AssignmentBank:
    """Charges by `payment_charged`; the assignment has no refund, so `bank` gives back by itself."""

    def __init__(self, bank: SimulatedBank, seconds: float) -> None:
        self._bank = bank
        self._seconds = seconds

    async def charge(self, *, key: str, amount_minor: int, currency: str) -> ChargeAnswer:
        # The assignment adds up quantities and knows no prices: to it, the amount is so many items of one minor unit.
        order = {"order_id": key, "items": [{"sku": currency, "qty": amount_minor}]}
        try:
            await bounded(payment_charged(order, key, Books(self._bank, currency)), self._seconds)
        except NotCharged as declined:
            return ChargeAnswer("", str(declined))
        return ChargeAnswer(key)

    async def refund(self, *, key: str, of_charge: str, amount_minor: int, currency: str) -> str:
        return await self._bank.refund(key=key, of_charge=of_charge, amount_minor=amount_minor, currency=currency)

    async def entries(self) -> Sequence[BankEntry]:
        return await self._bank.entries()


class AssignmentCarrier:
    """Prepares and dispatches by the assignment's functions; `carrier` books the parcel that was dispatched."""

    def __init__(self, carrier: SimulatedCarrier, seconds: float) -> None:
        self._carrier = carrier
        self._seconds = seconds

    async def prepare(self, *, key: str) -> str:
        return await bounded(package_prepared({"order_id": key}), self._seconds)

    async def dispatch(self, *, key: str, recipient: str, address: dict[str, str]) -> Booking:
        await bounded(carrier_dispatched({"order_id": key}), self._seconds)
        return await self._carrier.dispatch(key=key, recipient=recipient, address=address)

    async def withdraw(self, *, key: str) -> Booking | None:
        return await self._carrier.withdraw(key=key)


class AssignmentShop:
    """The shop by `order_received`, `order_validated` and `order_shipped`."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    async def received(self, *, order_id: str) -> dict[str, int]:
        order = await bounded(order_received(order_id), self._seconds)
        return {item["sku"]: item["qty"] for item in order["items"]}

    async def validated(self, *, order_id: str, items: dict[str, int]) -> str:
        try:
            await bounded(order_validated(_order(order_id, items)), self._seconds)
        except ValueError as error:
            return str(error)
        return ""

    async def shipped(self, *, order_id: str, items: dict[str, int]) -> str:
        return await bounded(order_shipped(_order(order_id, items)), self._seconds)


def _order(order_id: str, items: dict[str, int]) -> Order:
    return {"order_id": order_id, "items": [{"sku": sku, "qty": quantity} for sku, quantity in items.items()]}

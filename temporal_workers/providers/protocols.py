"""What we ask of a bank, of a carrier, and of a shop. A setting chooses who answers.

Every call carries an idempotency key: the same key again is the same effect and the same answer.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


class ProviderUnavailable(Exception):
    """The provider gave no answer; whether it acted is unknown. The same key may be tried again."""


@dataclass(frozen=True)
class ChargeAnswer:
    reference: str
    declined: str = ""  # why; a decline is final
    needs_customer: bool = False  # no money has moved: the customer has to confirm first


@dataclass(frozen=True)
class BankEntry:
    """A line of the provider's own ledger."""

    key: str
    kind: str  # charge or refund
    amount_minor: int
    currency: str
    declined: str = ""  # why no money moved
    pending: bool = False  # no money has moved yet: the customer has to confirm first


@dataclass(frozen=True)
class Booking:
    carrier: str
    tracking_number: str
    refused: str = ""  # why the carrier takes no such package; final for this address


@dataclass(frozen=True)
class FraudAnswer:
    """`score` is from 0 (no sign of fraud) to 1."""

    score: float
    reason: str = ""


class FraudProvider(Protocol):
    async def check(self, *, key: str, amount_minor: int, currency: str, country: str) -> FraudAnswer:
        """Say how much an order of `amount_minor` minor units, sent to `country`, looks like fraud.

        Raises ProviderUnavailable.
        """
        ...


class PaymentProvider(Protocol):
    async def charge(self, *, key: str, amount_minor: int, currency: str) -> ChargeAnswer:
        """Take `amount_minor` minor units of `currency` from the customer.

        Where the customer has to confirm first, the same key again tells how that stands.

        Raises ProviderUnavailable.
        """
        ...

    async def refund(self, *, key: str, of_charge: str, amount_minor: int, currency: str) -> str:
        """Give back what the charge with the key `of_charge` took; answer the refund's reference.

        An empty answer says that there is no such charge, and that there will be none under that key: one that waits
        for the customer is voided.

        Raises ProviderUnavailable.
        """
        ...

    async def entries(self) -> Sequence[BankEntry]:
        """All that the provider has done or declined to do, by its own ledger.

        Raises ProviderUnavailable.
        """
        ...


class CarrierProvider(Protocol):
    async def prepare(self, *, key: str) -> str:
        """Have the package made ready; answer the warehouse's note.

        Raises ProviderUnavailable.
        """
        ...

    async def dispatch(self, *, key: str, recipient: str, address: dict[str, str]) -> Booking:
        """Hand the package to the carrier.

        Raises ProviderUnavailable.
        """
        ...

    async def withdraw(self, *, key: str) -> Booking | None:
        """Take the package back, and see to it that none goes under this key any more.

        Answers its booking where it has gone already, and stays gone.

        Raises ProviderUnavailable.
        """
        ...


class ShopProvider(Protocol):
    """Where an order came from, and wants to be asked about. Only the assignment has one."""

    async def received(self, *, order_id: str) -> dict[str, int]:
        """Say that the order is here; answer how many it has of each item.

        Raises ProviderUnavailable.
        """
        ...

    async def validated(self, *, order_id: str, items: dict[str, int]) -> str:
        """Answer what is wrong with the order; empty where it is valid.

        Raises ProviderUnavailable.
        """
        ...

    async def shipped(self, *, order_id: str, items: dict[str, int]) -> str:
        """Say that the order has left; answer the shop's note.

        Raises ProviderUnavailable.
        """
        ...

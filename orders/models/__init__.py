"""The tables. What must never be untrue is a constraint here; nothing in this module writes.

A column that came later has a `db_default`: while a new version starts, the one before still writes.

Money is whole minor units (cents) beside a currency; `_at` is an instant in UTC.
"""

from orders.models.bulks import Bulk, BulkMember
from orders.models.engine import Drift, Heartbeat, Outbox
from orders.models.events import ActorKind, Event
from orders.models.goods import Reservation, Shipment
from orders.models.mails import Mail
from orders.models.notes import Mention, Note
from orders.models.orders import Order, OrderLine, Product
from orders.models.payments import PAYMENT_STEPS, LoyaltyEntry, Payment
from orders.models.people import AccountEvent, Preferences, SavedView, SecondFactor, SignInTry
from orders.models.programs import ApiClient, ApiScope, IdempotencyKey
from orders.models.reviews import Decision, InfoRequest, RejectReason, Review

__all__ = [
    "PAYMENT_STEPS",
    "AccountEvent",
    "ActorKind",
    "ApiClient",
    "ApiScope",
    "Bulk",
    "BulkMember",
    "Decision",
    "Drift",
    "Event",
    "Heartbeat",
    "IdempotencyKey",
    "InfoRequest",
    "LoyaltyEntry",
    "Mail",
    "Mention",
    "Note",
    "Order",
    "OrderLine",
    "Outbox",
    "Payment",
    "Preferences",
    "Product",
    "RejectReason",
    "Reservation",
    "Review",
    "SavedView",
    "SecondFactor",
    "Shipment",
    "SignInTry",
]

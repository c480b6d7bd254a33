"""The only wire format: names, ids, payloads, and a typed stub for each activity.

Imports nothing but the standard library, temporalio and `orders.states`, so that workflows may import it.
Payloads carry ids and amounts, never rows. A field may be added with a default; none may be taken away while
an order that was started with it is still running.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from temporalio import activity

from orders.states import Action, Status

ORDER_WORKFLOW = "order"
SHIPPING_WORKFLOW = "shipping"
REFUND_WORKFLOW = "refund"
RECONCILE_WORKFLOW = "reconcile"

# How long Temporal waits for a worker that took a workflow task and was killed: so long its order stands still.
TASK_TIMEOUT = timedelta(seconds=5)

STATE_QUERY = "state"
DISPATCH_FAILED = "dispatch_failed"  # from a shipment to its order
PAYMENT_NEWS = "payment_news"  # a signal: the bank has said something of the charge
SIGNALS = ("approve", "reject", "cancel", "extend", "retry", "change_address")


def order_workflow_id(order_id: UUID) -> str:
    return f"order-{order_id}"


def shipping_workflow_id(order_id: UUID) -> str:
    return f"shipping-{order_id}"


def reconcile_id(queue: str) -> str:
    """Of the schedule, and of the runs that it starts, on the orders' queue of that name."""
    return f"reconcile-{queue}"


def refund_workflow_id(order_id: UUID, number: int) -> str:
    return f"refund-{order_id}-{number}"


def readable(text: str, most: int = 500) -> str:
    """What the outside says, in one line, cut, and without what no database keeps, such as NUL and lone surrogates.

    Something stays something: an empty reason would be none.
    """
    kept = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    return kept[:most] or ("?" if text else "")


# Workflows


@dataclass(frozen=True)
class OrderInput:
    order_id: UUID
    shipping_queue: str = "shipping"
    assignment: bool = False  # ask the shop at each turn too, and try again at once: see providers/assignment.py
    budget_seconds: float = 0  # how long the machine may work on it, people's time not counted; 0: no limit


@dataclass(frozen=True)
class OrderResult:
    status: Status


@dataclass(frozen=True)
class FindDrift:
    """Nothing is said yet."""


@dataclass(frozen=True)
class DriftFound:
    orders: int


@dataclass(frozen=True)
class ShippingInput:
    order_id: UUID
    assignment: bool = False
    budget_seconds: float = 0  # what is left of the order's; it counts until dispatching begins


@dataclass(frozen=True)
class ShippingResult:
    status: Status
    out_of_budget: bool = False
    failed: "DispatchFailed | None" = None


@dataclass(frozen=True)
class DispatchFailed:
    """The shipment asks its order to try again. `key` and `tries` say which attempt it was that failed."""

    reason: str
    refused: bool = False  # by the carrier, for good: trying the same again is no use
    key: str = ""
    tries: int = 0  # failed ones before it under that key


@dataclass(frozen=True)
class RefundInput:
    order_id: UUID
    number: int  # which refund of the order, from 1


@dataclass(frozen=True)
class RefundOutcome:
    """The order's status, and the provider's reference; empty where it knows no charge to refund."""

    status: Status
    reference: str = ""


@dataclass(frozen=True)
class News:
    """A signal's payload. From the relay, which names its `outbox` row, it is news: the order's row was changed
    already. Sent by hand, it asks for the change, with the rights of the user named `actor`.
    """

    actor: str = ""
    outbox: int = 0
    reason: str = ""
    due_at: datetime | None = None  # of `extend`
    address: dict[str, str] = field(default_factory=dict)  # of `change_address`


@dataclass(frozen=True)
class OrderState:
    """The answer to the state query. `to_undo` names what would be undone, first entry first."""

    status: Status
    due_at: datetime | None = None
    to_undo: list[str] = field(default_factory=list)
    trouble: "Trouble | None" = None


@dataclass(frozen=True)
class Trouble:
    """What went wrong last, and when it is tried again."""

    step: str
    attempt: int
    error: str
    retry_at: datetime | None = None


# Activities that write the database


@dataclass(frozen=True)
class OrderStep:
    order_id: UUID
    at: datetime | None = None  # the workflow's clock, where a deadline is held against it


@dataclass(frozen=True)
class StepResult:
    """The status in which the step left the order."""

    status: Status


@dataclass(frozen=True)
class SettleReview:
    order_id: UUID
    at: datetime  # the workflow's clock, which the deadline is held against


@dataclass(frozen=True)
class ObeySignal:
    order_id: UUID
    action: Action
    actor: str
    reason: str = ""
    due_at: datetime | None = None
    address: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class StandingResult:
    status: Status
    due_at: datetime | None = None  # set while a review is open
    remind_at: datetime | None = None  # set until its reminder was given


@dataclass(frozen=True)
class MoneyResult:
    """Money to move, under a key that is stored; without a key there is none.

    `confirm_by` is set while the customer is asked to confirm.
    """

    status: Status
    key: str = ""
    amount_minor: int = 0
    currency: str = ""
    of_charge: str = ""
    confirm_by: datetime | None = None


@dataclass(frozen=True)
class RecordCharge:
    order_id: UUID
    reference: str
    declined: str = ""
    needs_customer: bool = False
    at: datetime | None = None  # the workflow's clock


@dataclass(frozen=True)
class RecordRefund:
    order_id: UUID
    reference: str  # empty: there had been no charge


@dataclass(frozen=True)
class FindRefund:
    order_id: UUID
    number: int


@dataclass(frozen=True)
class SettleRefund:
    order_id: UUID
    number: int
    reference: str  # empty: the provider knows no charge to refund


@dataclass(frozen=True)
class ParcelResult:
    status: Status
    key: str = ""
    recipient: str = ""
    address: dict[str, str] = field(default_factory=dict)
    tries: int = 0  # failed ones under this key
    withdraw: list[str] = field(default_factory=list)  # keys to take back first


@dataclass(frozen=True)
class RecallResult:
    status: Status
    withdraw: list[str] = field(default_factory=list)  # keys that the carrier may have packages under


@dataclass(frozen=True)
class RecordRecall:
    """What the carrier could not give back; empty where it gave all back."""

    order_id: UUID
    carrier: str = ""
    tracking_number: str = ""


@dataclass(frozen=True)
class RecordDispatchFailure:
    order_id: UUID
    failed: DispatchFailed


@dataclass(frozen=True)
class NoteUndoTrouble:
    order_id: UUID
    entry: str
    attempt: int
    error: str


@dataclass(frozen=True)
class RetryResult:
    status: Status
    attempt: int = 0
    retry_at: datetime | None = None  # None: not to be tried again


@dataclass(frozen=True)
class RecordDispatch:
    order_id: UUID
    carrier: str
    tracking_number: str


@dataclass(frozen=True)
class FailOrder:
    order_id: UUID
    reason: str
    unless_charged: bool = False  # it is none where the money is ours after all


@dataclass(frozen=True)
class FraudQuestion:
    """What to ask the fraud check; without a key there is nothing to ask."""

    status: Status
    key: str = ""
    amount_minor: int = 0
    currency: str = ""
    country: str = ""


@dataclass(frozen=True)
class RecordFraudCheck:
    order_id: UUID
    score: float = 0.0  # from 0 to 1
    reason: str = ""
    no_answer: str = ""  # why there is none


# Activities that call the outside


@dataclass(frozen=True)
class CheckFraud:
    key: str
    amount_minor: int
    currency: str
    country: str


@dataclass(frozen=True)
class FraudResult:
    score: float
    reason: str = ""


@dataclass(frozen=True)
class ChargePayment:
    key: str
    amount_minor: int
    currency: str


@dataclass(frozen=True)
class ChargeResult:
    reference: str
    declined: str = ""  # the provider's reason; final
    needs_customer: bool = False  # the customer has to confirm first


@dataclass(frozen=True)
class RefundPayment:
    key: str
    of_charge: str  # the key of the charge
    amount_minor: int
    currency: str


@dataclass(frozen=True)
class RefundResult:
    reference: str  # empty: the provider knows no such charge


@dataclass(frozen=True)
class PreparePackage:
    key: str


@dataclass(frozen=True)
class PackageResult:
    note: str = ""


@dataclass(frozen=True)
class AskShop:
    """`items` says how many there are of each."""

    order_id: UUID
    items: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class ShopResult:
    """What the shop has said; `wrong` is why it does not want the order."""

    items: dict[str, int] = field(default_factory=dict)
    wrong: str = ""
    note: str = ""


@dataclass(frozen=True)
class DispatchParcel:
    key: str
    recipient: str
    address: dict[str, str]


@dataclass(frozen=True)
class DispatchResult:
    carrier: str
    tracking_number: str
    refused: str = ""  # the carrier's reason; final for this address


@dataclass(frozen=True)
class WithdrawParcel:
    key: str


@dataclass(frozen=True)
class WithdrawResult:
    """The booking of what has gone already; empty where nothing has, and nothing will under that key."""

    carrier: str = ""
    tracking_number: str = ""


# The stubs. Workflows call them; `temporal_workers.activities` implements each once, under the same name.


@activity.defn
def receive_order(step: OrderStep) -> StepResult:
    raise NotImplementedError


@activity.defn
def validate_order(step: OrderStep) -> StandingResult:
    raise NotImplementedError


@activity.defn
def settle_review(settle: SettleReview) -> StandingResult:
    raise NotImplementedError


@activity.defn
def obey_signal(obey: ObeySignal) -> StepResult:
    raise NotImplementedError


@activity.defn
def begin_fraud_check(step: OrderStep) -> FraudQuestion:
    raise NotImplementedError


@activity.defn
async def check_fraud(check: CheckFraud) -> FraudResult:
    raise NotImplementedError


@activity.defn
def record_fraud_check(record: RecordFraudCheck) -> StepResult:
    raise NotImplementedError


@activity.defn
def reserve_stock(step: OrderStep) -> StepResult:
    raise NotImplementedError


@activity.defn
def begin_charge(step: OrderStep) -> MoneyResult:
    raise NotImplementedError


@activity.defn
async def charge_payment(charge: ChargePayment) -> ChargeResult:
    raise NotImplementedError


@activity.defn
def record_charge(record: RecordCharge) -> MoneyResult:
    raise NotImplementedError


@activity.defn
def begin_package(step: OrderStep) -> ParcelResult:
    raise NotImplementedError


@activity.defn
async def prepare_package(package: PreparePackage) -> PackageResult:
    raise NotImplementedError


@activity.defn
def record_package(step: OrderStep) -> StepResult:
    raise NotImplementedError


@activity.defn
def begin_dispatch(step: OrderStep) -> ParcelResult:
    raise NotImplementedError


@activity.defn
async def dispatch_parcel(parcel: DispatchParcel) -> DispatchResult:
    raise NotImplementedError


@activity.defn
def record_dispatch(record: RecordDispatch) -> StepResult:
    raise NotImplementedError


@activity.defn
def award_points(step: OrderStep) -> StepResult:
    raise NotImplementedError


@activity.defn
def complete_order(step: OrderStep) -> StepResult:
    raise NotImplementedError


@activity.defn
def fail_order(fail: FailOrder) -> StepResult:
    raise NotImplementedError


@activity.defn
def release_stock(step: OrderStep) -> StepResult:
    raise NotImplementedError


@activity.defn
def begin_refund(step: OrderStep) -> MoneyResult:
    raise NotImplementedError


@activity.defn
async def refund_payment(refund: RefundPayment) -> RefundResult:
    raise NotImplementedError


@activity.defn
def record_refund(record: RecordRefund) -> StepResult:
    raise NotImplementedError


@activity.defn
def recall_package(step: OrderStep) -> RecallResult:
    raise NotImplementedError


@activity.defn
async def withdraw_parcel(parcel: WithdrawParcel) -> WithdrawResult:
    raise NotImplementedError


@activity.defn
def record_recall(record: RecordRecall) -> StepResult:
    raise NotImplementedError


@activity.defn
def record_dispatch_failure(record: RecordDispatchFailure) -> RetryResult:
    raise NotImplementedError


@activity.defn
def note_undo_trouble(note: NoteUndoTrouble) -> RetryResult:
    raise NotImplementedError


@activity.defn
def finish_undo(step: OrderStep) -> StepResult:
    raise NotImplementedError


@activity.defn
def find_refund(find: FindRefund) -> MoneyResult:
    raise NotImplementedError


@activity.defn
def settle_refund(settle: SettleRefund) -> StepResult:
    raise NotImplementedError


@activity.defn
async def announce_order(ask: AskShop) -> ShopResult:
    raise NotImplementedError


@activity.defn
async def check_order(ask: AskShop) -> ShopResult:
    raise NotImplementedError


@activity.defn
async def announce_shipment(ask: AskShop) -> ShopResult:
    raise NotImplementedError


@activity.defn
def find_drift(look: FindDrift) -> DriftFound:
    raise NotImplementedError

"""Where an order stands at this moment: our own rows, and what Temporal says of its run. Nothing here writes."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from django.utils import timezone

from orders import runs, selectors, wording
from orders.finding import is_put_off
from orders.models import Event, Order, Payment, Review, Shipment
from orders.runs import RunState
from orders.selectors import OrderDetail
from orders.states import MAY_BE_UNDONE, TERMINAL, UNDOING, WAITS_FOR_PEOPLE, Status, Undo
from orders.wording import Step


@dataclass(frozen=True)
class LiveState:
    """Where an order stands at this moment: our own rows, and what Temporal says of its run where it was asked.

    `attempt` counts the tries at what is being done, the one under way or the next one included; 0 where no step is
    under way that we know of.
    """

    order_id: uuid.UUID
    number: str
    status: Status
    step: str  # in words
    since: datetime
    deadline: datetime | None  # of the open review, or of the customer's word
    outcome: str  # why it ended; empty before
    doing: str  # in words; empty once it has ended
    approvals_needed: int = 0  # people, while it is in review
    endorsed_by: str = ""  # who was the first of two to approve
    put_off_until: datetime | None = None
    waits_for: str = ""  # what the customer was asked, or why it is put off
    attempt: int = 0
    last_error: str = ""  # in words
    next_try_at: datetime | None = None
    to_undo: tuple[str, ...] = ()  # what would be undone, or still is to be, first entry first
    undone: tuple[str, ...] = ()  # what was done and is undone by now, of an order that is being undone
    problem: str = ""  # in words: why nothing drives the order
    engine_seen_at: datetime | None = None  # what Temporal said is from then
    engine_away_since: datetime | None = None

    @property
    def has_ended(self) -> bool:
        return self.status in TERMINAL

    @property
    def is_worked_on(self) -> bool:
        """Whether the engine is at it, so that a try may begin or fail without any row telling of it."""
        return not self.has_ended and self.status not in WAITS_FOR_PEOPLE | {Status.AWAITING_CUSTOMER}

    @property
    def undoing(self) -> list[Step]:
        """The stack of what is undone, in an operator's words: done, at it now, to come."""
        left = [(entry, "ahead" if place else "live") for place, entry in enumerate(self.to_undo)]
        stack = [*((entry, "done") for entry in self.undone), *left] if self.status in UNDOING else []
        return [Step(wording.UNDO_WORDS[entry], state) for entry, state in stack]

    @property
    def if_stopped(self) -> str:
        """What would be undone, in words."""
        return "" if self.status in UNDOING else wording.all_of([wording.UNDO_WORDS[entry] for entry in self.to_undo])

    @property
    def told(self) -> str:
        """What is being done, which try it is, and why there has to be another."""
        return wording.trying(self.doing, self.attempt, self.last_error)


def live_state(order_id: uuid.UUID, *, ask_engine: bool = False) -> LiveState:
    """From our rows, and where `ask_engine` from Temporal too, which takes a second at most.

    Raises Order.DoesNotExist.
    """
    order = selectors.with_stock().get(pk=order_id)
    if order.status_now in TERMINAL:
        return _live_state(order)
    return _live_state(
        order,
        review=order.reviews.select_related("endorsed_by").filter(decision="").first(),
        payments=list(order.payments.all()),
        shipment=Shipment.objects.filter(order=order).first(),
        events=list(order.events.order_by("-sequence")[:TROUBLE_WITHIN]),
        told=runs.ask(order.pk, version=order.version) if ask_engine else None,
    )


def live_state_of(detail: OrderDetail, *, ask_engine: bool = False) -> LiveState:
    """The same, of an order whose rows are here already."""
    order = detail.order
    if order.status_now in TERMINAL:
        return _live_state(order)
    is_open = detail.review is not None and not detail.review.decision
    return _live_state(
        order,
        review=detail.review if is_open else None,
        payments=detail.payments,
        shipment=detail.shipment,
        events=detail.events,
        told=runs.ask(order.pk, version=order.version) if ask_engine else None,
    )


def _live_state(
    order: Order,
    *,
    review: Review | None = None,
    payments: Sequence[Payment] = (),
    shipment: Shipment | None = None,
    events: Sequence[Event] = (),
    told: runs.Told | None = None,
) -> LiveState:
    status = order.status_now
    told = told or runs.Told()
    put_off = review if review and is_put_off(review, at=timezone.now()) else None
    state = LiveState(
        order_id=order.pk,
        number=order.number,
        status=status,
        step=wording.STATUS_WORDS[status],
        since=order.status_at,
        deadline=review.due_at if review else _confirm_by(status, payments),
        put_off_until=put_off.back_at if put_off else None,
        waits_for=put_off.waits_for if put_off else "",
        outcome=order.outcome,
        doing="" if status in TERMINAL else doing(status, review).rstrip("."),
        approvals_needed=review.approvals_needed if review else 0,
        endorsed_by=endorsed_by(review),
        to_undo=_to_undo(order, payments, shipment),
        undone=_undone(order, payments, shipment) if status in UNDOING else (),
        problem=_problem(order, told.run),
        engine_seen_at=told.at,
        engine_away_since=told.away_since,
    )
    if not state.is_worked_on:
        return state
    return _with_tries(state, _trouble(events), told.run.attempt if told.run else None)


def doing(status: Status, review: Review | None, *, refunded: str = "") -> str:
    """What is going on now, in a sentence; `review` is the latest of the order."""
    needed = review.approvals_needed if review else 0
    return wording.doing(status, refunded=refunded, approvals_needed=needed, endorsed_by=endorsed_by(review))


def endorsed_by(review: Review | None) -> str:
    """Who was the first of two to approve what is open still."""
    return review.endorsed_by.get_username() if review and not review.decision and review.endorsed_by else ""


def _with_tries(state: LiveState, trouble: "_Trouble | None", attempt: runs.Attempt | None) -> LiveState:
    """What has been tried: what our own rows know of, and what Temporal is at, or waits for, besides."""
    if trouble:
        state = replace(
            state,
            doing=trouble.doing,
            attempt=trouble.attempt + 1,
            last_error=trouble.error,
            next_try_at=trouble.retry_at,
        )
    if attempt:
        state = replace(
            state,
            doing=state.doing if trouble else wording.engine_step(attempt.step) or state.doing,
            attempt=state.attempt or attempt.number,
            last_error=wording.step_error(attempt.error_kind, attempt.error) or state.last_error,
            next_try_at=attempt.next_at,
        )
    return state


def _confirm_by(status: Status, payments: Sequence[Payment]) -> datetime | None:
    if status != Status.AWAITING_CUSTOMER:
        return None
    return max((payment.confirm_by for payment in payments if payment.confirm_by), default=None)


def _to_undo(order: Order, payments: Sequence[Payment], shipment: Shipment | None) -> tuple[str, ...]:
    """What the rows imply: a package made ready, money taken or asked for, stock held; in the order of undoing it."""
    refunded = any(p.kind == Payment.Kind.REFUND and p.status in SETTLED for p in payments)
    there = {
        Undo.RECALL: shipment is not None and shipment.status not in GONE,
        Undo.REFUND: not refunded and any(p.kind == Payment.Kind.CHARGE and p.status in CHARGING for p in payments),
        Undo.RELEASE: bool(getattr(order, "holds_stock", False)),
    }
    return tuple(entry.value for entry in MAY_BE_UNDONE.get(order.status_now, ()) if there[entry])


def _undone(order: Order, payments: Sequence[Payment], shipment: Shipment | None) -> tuple[str, ...]:
    """What the rows say was taken back already, in the order of undoing it."""
    back = {
        Undo.RECALL: shipment is not None and shipment.status == Shipment.State.RECALLED,
        Undo.REFUND: any((p.kind, p.status) in MONEY_IS_BACK for p in payments),
        Undo.RELEASE: bool(getattr(order, "gave_stock_back", False)),
    }
    return tuple(entry.value for entry in Undo if back[entry])


CHARGING = (Payment.State.PROCESSING, Payment.State.REQUIRES_ACTION, Payment.State.SUCCEEDED)
MONEY_IS_BACK = (
    (Payment.Kind.REFUND, Payment.State.SUCCEEDED),
    (Payment.Kind.REFUND, Payment.State.CANCELLED),
    (Payment.Kind.CHARGE, Payment.State.CANCELLED),
)
SETTLED = (Payment.State.SUCCEEDED, Payment.State.CANCELLED)
GONE = (Shipment.State.DISPATCHED, Shipment.State.RECALLED)
TROUBLE_WITHIN = 10  # events: after a try that failed, few follow before the next one


@dataclass(frozen=True)
class _Trouble:
    """The try that failed last, if nothing has come of another one since."""

    doing: str
    attempt: int
    error: str
    retry_at: datetime | None


def _trouble(events: Sequence[Event]) -> _Trouble | None:
    """From the events, newest first."""
    for event in events[:TROUBLE_WITHIN]:
        told = event.payload
        if event.type == "dispatch_failed":
            doing, error = wording.DISPATCH_AGAIN, told.get("reason", "")
        elif event.type == "undo_failed":
            doing, error = wording.undoing(told.get("entry", "")), told.get("error", "")
        elif "to" in told or event.type in UNDONE:
            return None
        else:
            continue
        retry_at = told.get("retry_at")
        return _Trouble(
            doing, int(told.get("attempt", 1)), error, datetime.fromisoformat(retry_at) if retry_at else None
        )
    return None


UNDONE = ("recall", "recall_failed", "refund", "release")


def _problem(order: Order, run: runs.Run | None) -> str:
    """Why nothing drives the order; one that has not begun yet has no run."""
    if run is None or order.status_now in TERMINAL:
        return ""
    if run.state == RunState.RUNNING:
        return wording.RUN_BROKEN if run.is_broken else ""
    if order.status_now == Status.PLACED or selectors.order_version(order.pk) != order.version:
        return ""  # the row has been left behind: the run may have brought it to its end meanwhile
    return wording.RUN_LOST if run.state == RunState.UNKNOWN else wording.RUN_CUT

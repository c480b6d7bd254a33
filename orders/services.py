"""Every write to the orders' tables. Each function is one transaction: the order's row is locked, the change is
made only if the transition table has it, and its event and outbox row go with it. Triggers on those two tables
send the NOTIFY, so that none can be forgotten.

The row decides every race. `actor` and the time `at` are passed in. The engine's steps may run more than once:
a step that is already behind the order does nothing, and every step answers with the status it left.
"""

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser, User
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import IntegrityError, transaction
from django.db.models import F

from orders import money, policy
from orders.models import (
    ActorKind,
    Decision,
    Event,
    Heartbeat,
    Order,
    OrderLine,
    Outbox,
    Payment,
    Product,
    Reservation,
    Review,
    Shipment,
)
from orders.roles import permission
from orders.states import Action, Status, may, next_status

MOST_LINES = 1_000
_LONGEST_ADDRESS_PART = {"country": 2, "line1": 200, "line2": 200, "city": 100, "region": 100, "postal_code": 20}
LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
LONGEST_DEADLINE = timedelta(days=366)
MOST_MINOR = 10**15  # well inside a bigint, and more than anybody's order


@dataclass(frozen=True)
class Actor:
    """Who does it: an operator (then `user` is set), a customer, or the system itself."""

    kind: ActorKind
    name: str
    user: User | None = None

    @classmethod
    def operator(cls, user: AbstractBaseUser | AnonymousUser) -> "Actor":
        if not isinstance(user, User):
            raise NotPermitted("Nobody is signed in.")
        return cls(ActorKind.OPERATOR, user.get_username(), user)


SYSTEM = Actor(ActorKind.SYSTEM, "Countersign")


class NotPermitted(Exception):
    """The actor's role does not allow the action."""


class InvalidOrder(Exception):
    """The order cannot be placed. `errors` names each field and what is wrong with it."""

    def __init__(self, errors: Mapping[str, str]) -> None:
        super().__init__("; ".join(f"{name}: {wrong}" for name, wrong in errors.items()))
        self.errors = dict(errors)


class DuplicateReference(Exception):
    """The source has sent this reference before. `order` is what came of it."""

    def __init__(self, order: Order) -> None:
        super().__init__(f"{order.source} has already sent {order.reference}: it is {order.number}")
        self.order = order


class ActionRefused(Exception):
    """The order is not, or no longer, in a state that allows the action. The message is for the operator."""

    def __init__(self, message: str, order: Order) -> None:
        super().__init__(message)
        self.order = order


class AlreadyDecided(ActionRefused):
    """Somebody, or the deadline, was first. `review` says who, what and when."""

    def __init__(self, order: Order, review: Review) -> None:
        by = review.decided_by.get_username() if review.decided_by else "the deadline"
        if review.decision == Decision.CANCELLED:
            by = review.decided_by.get_username() if review.decided_by else "the customer"
        super().__init__(f"Already {review.get_decision_display().lower()} by {by}.", order)
        self.review = review


class ShortStock(Exception):
    """More was to be taken from the free stock than there is."""


# Placing


@dataclass(frozen=True)
class Address:
    country: str
    line1: str = ""
    line2: str = ""
    city: str = ""
    region: str = ""
    postal_code: str = ""


@dataclass(frozen=True)
class NewLine:
    sku: str
    quantity: int
    unit_price_minor: int


@dataclass(frozen=True)
class NewOrder:
    """What a source asks us to place. Amounts in minor units of `currency`; times in UTC."""

    source: str
    customer_name: str
    address: Address
    currency: str
    lines: Sequence[NewLine]
    placed_at: datetime
    customer_email: str = ""
    reference: str = ""
    decide_within: timedelta | None = None


def place_order(*, new: NewOrder, actor: Actor, at: datetime) -> Order:
    """Accept an order and leave word for the engine to start on it.

    Raises InvalidOrder naming each bad field, and DuplicateReference where the source has sent it before.
    """
    _refuse_bad_input(new, at=at)
    skus = {line.sku for line in new.lines}
    products = {product.sku: product for product in Product.objects.filter(sku__in=skus)}
    if unknown := sorted(skus - products.keys()):
        raise InvalidOrder({"lines": f"unknown product {', '.join(unknown[:5])}"})
    try:
        with transaction.atomic():
            order = Order.objects.create(
                source=new.source,
                reference=new.reference,
                status=Status.PLACED,
                status_at=at,
                version=1,
                customer_name=new.customer_name.strip(),
                customer_email=new.customer_email.strip().lower(),
                **{f"address_{name}": value.strip() for name, value in asdict(new.address).items()},
                currency=new.currency,
                total_minor=_total(new.lines),
                decide_within=new.decide_within,
                placed_at=new.placed_at,
            )
            OrderLine.objects.bulk_create(
                OrderLine(
                    order=order,
                    product=products[line.sku],
                    position=position,
                    quantity=line.quantity,
                    unit_price_minor=line.unit_price_minor,
                )
                for position, line in enumerate(new.lines, start=1)
            )
            _write_event(order, "place", actor=actor, at=at, source=new.source, reference=new.reference)
            _tell_engine(order, "start", at=at)
    except IntegrityError:
        sent_before = new.reference and Order.objects.filter(source=new.source, reference=new.reference).first()
        if sent_before:
            raise DuplicateReference(sent_before) from None
        raise
    return order


def _total(lines: Sequence[NewLine]) -> int:
    return sum(line.quantity * line.unit_price_minor for line in lines)


def _refuse_bad_input(new: NewOrder, *, at: datetime) -> None:
    errors: dict[str, str] = {}
    texts = {
        "source": (new.source, 40),
        "reference": (new.reference, 80),
        "customer_name": (new.customer_name, 200),
        "customer_email": (new.customer_email, 254),
        **{f"address.{name}": (value, _LONGEST_ADDRESS_PART[name]) for name, value in asdict(new.address).items()},
    }
    for name, (value, most) in texts.items():
        if wrong := _wrong_with_text(value, most):
            errors[name] = wrong
    for name, value in (("source", new.source), ("customer_name", new.customer_name)):
        if not value.strip():
            errors[name] = "is missing"
    if new.customer_email.strip() and "customer_email" not in errors:
        try:
            validate_email(new.customer_email.strip())
        except ValidationError:
            errors["customer_email"] = "is not an e-mail address"
    if new.address.country not in money.countries():
        errors["address.country"] = "is not an ISO 3166 country code, such as DE"
    if not money.is_currency(new.currency):
        errors["currency"] = "is not an ISO 4217 currency code, such as EUR"
    errors |= _wrong_with_times(new, at)
    errors |= _wrong_with_lines(new.lines)
    if errors:
        raise InvalidOrder(errors)


def _wrong_with_text(value: str, most: int) -> str:
    if len(value) > most:
        return f"is longer than {most} characters"
    try:
        value.encode()
    except UnicodeEncodeError:
        return "is not valid text"
    if any(ord(character) < 32 or ord(character) == 127 for character in value):
        return "contains a control character"
    return ""


def _wrong_with_times(new: NewOrder, at: datetime) -> dict[str, str]:
    errors: dict[str, str] = {}
    if new.placed_at.tzinfo is None:
        errors["placed_at"] = "names no time zone"
    elif not LONG_AGO <= new.placed_at <= at + timedelta(days=1):
        errors["placed_at"] = f"must be between {LONG_AGO:%Y} and now"
    if new.decide_within is not None and not timedelta(0) < new.decide_within <= LONGEST_DEADLINE:
        errors["decide_within"] = f"must be longer than nothing and at most {LONGEST_DEADLINE.days} days"
    return errors


def _wrong_with_lines(lines: Sequence[NewLine]) -> dict[str, str]:
    if not lines:
        return {"lines": "are missing"}
    if len(lines) > MOST_LINES:
        return {"lines": f"are more than {MOST_LINES:,}"}
    errors: dict[str, str] = {}
    for index, line in enumerate(lines):
        if wrong := _wrong_with_text(line.sku, 40):
            errors[f"lines[{index}].sku"] = wrong
        if line.quantity < 1:
            errors[f"lines[{index}].quantity"] = "must be 1 or more"
        if line.unit_price_minor < 0:
            errors[f"lines[{index}].unit_price"] = "must not be negative"
        if line.quantity > 2**31 - 1:
            errors[f"lines[{index}].quantity"] = "is too large"
    if not errors and _total(lines) > MOST_MINOR:
        errors["total"] = "is too large"
    return errors


# The engine's way to a decision


def receive_order(*, order_id: uuid.UUID, at: datetime) -> Status:
    """Take the order up."""
    with transaction.atomic():
        order = _lock(order_id)
        if may(order.status_now, Action.RECEIVE):
            _transition(order, Action.RECEIVE, actor=SYSTEM, at=at)
        return order.status_now


@dataclass(frozen=True)
class Standing:
    """Where an order stands; `due_at` is set while a review is open."""

    status: Status
    due_at: datetime | None = None


def validate_order(*, order_id: uuid.UUID, at: datetime) -> Standing:
    """Check that the order is whole, let the policy judge it, and open a review where it asks for one."""
    with transaction.atomic():
        order = _lock(order_id)
        if order.status_now == Status.RECEIVED:
            if wrong := _inconsistency(order):
                _transition(order, Action.INVALIDATE, actor=SYSTEM, at=at, outcome=wrong)
            else:
                _transition(order, Action.VALIDATE, actor=SYSTEM, at=at)
                _apply_policy(order, at=at)
        return _standing(order)


def _inconsistency(order: Order) -> str:
    lines = list(order.lines.all())
    if not lines:
        return "The order has no lines."
    if sum(line.total_minor for line in lines) != order.total_minor:
        return "The lines do not add up to the total."
    return ""


def _apply_policy(order: Order, *, at: datetime) -> None:
    verdict = policy.judge(_facts(order), review_everything=settings.REVIEW_EVERY_ORDER)
    reasons = [asdict(reason) for reason in verdict.reasons]
    match verdict.ruling:
        case policy.Ruling.BLOCK:
            outcome = " ".join(reason.text for reason in verdict.reasons)
            _transition(order, Action.BLOCK, actor=SYSTEM, at=at, outcome=outcome, reasons=reasons)
        case policy.Ruling.PASS:
            _transition(order, Action.CLEAR, actor=SYSTEM, at=at, risk_score=verdict.risk_score)
        case policy.Ruling.REVIEW:
            due_at = at + (order.decide_within or settings.REVIEW_DEADLINE)
            Review.objects.create(
                order=order, opened_at=at, due_at=due_at, reasons=reasons, risk_score=verdict.risk_score
            )
            _transition(
                order,
                Action.OPEN_REVIEW,
                actor=SYSTEM,
                at=at,
                reasons=reasons,
                risk_score=verdict.risk_score,
                due_at=due_at.isoformat(),
            )


def _facts(order: Order) -> policy.Facts:
    lines = list(order.lines.select_related("product"))
    others = Order.objects.filter(customer_email=order.customer_email).exclude(pk=order.pk)
    earlier = others.filter(placed_at__lte=order.placed_at) if order.customer_email else Order.objects.none()
    hour_ago = order.placed_at - timedelta(hours=1)
    return policy.Facts(
        amount=money.to_amount(order.total_minor, order.currency),
        currency=order.currency,
        customer_email=order.customer_email,
        is_first_order=not earlier.exists(),
        orders_in_last_hour=earlier.filter(placed_at__gte=hour_ago).count(),
        most_of_one_product=max(line.quantity for line in lines),
        has_street=bool(order.address_line1),
        forbidden=tuple(
            (line.product.sku, line.product.forbidden_reason) for line in lines if line.product.forbidden_reason
        ),
    )


def settle_review(*, order_id: uuid.UUID, at: datetime) -> Standing:
    """Say how the review stands, and close it as expired where its deadline has passed with nobody deciding."""
    with transaction.atomic():
        order = _lock(order_id)
        review = _open_review(order)
        if review and review.due_at <= at:
            _close_review(order, Decision.EXPIRED, actor=SYSTEM, at=at)
            _transition(order, Action.EXPIRE, actor=SYSTEM, at=at, outcome="Nobody decided before the deadline.")
        return _standing(order)


# What people do


def approve(*, order_id: uuid.UUID, actor: Actor, at: datetime, note: str = "") -> Order:
    """Let the order go on to payment and shipping.

    Raises NotPermitted, AlreadyDecided where somebody or the deadline was first, ActionRefused otherwise.
    """
    return _decide(order_id, Action.APPROVE, Decision.APPROVED, actor=actor, at=at, note=note)


def reject(*, order_id: uuid.UUID, actor: Actor, at: datetime, reason: str) -> Order:
    """Refuse the order; `reason` is required.

    Raises NotPermitted, ActionRefused without a reason, AlreadyDecided where somebody or the deadline was first.
    """
    return _decide(order_id, Action.REJECT, Decision.REJECTED, actor=actor, at=at, note=reason)


def _decide(order_id: uuid.UUID, action: Action, decision: Decision, *, actor: Actor, at: datetime, note: str) -> Order:
    _authorise(actor, action)
    note = note.strip()
    with transaction.atomic():
        order = _lock(order_id)
        if not may(order.status_now, action):
            last = order.reviews.select_related("decided_by").exclude(decision="").order_by("-decided_at").first()
            if last:
                raise AlreadyDecided(order, last)
            raise ActionRefused(f"An order that is {words(order.status_now)} cannot be decided on.", order)
        if action == Action.REJECT and not note:
            raise ActionRefused("Give a reason: the customer and your colleagues will want to know why.", order)
        if wrong := _wrong_with_note(note):
            raise ActionRefused(f"The reason {wrong}.", order)
        _close_review(order, decision, actor=actor, at=at, note=note)
        outcome = f"Rejected: {note}"[:500] if action == Action.REJECT else ""
        _transition(order, action, actor=actor, at=at, outcome=outcome, note=note)
        _tell_engine(order, action, at=at, actor=actor.name)
    return order


def _wrong_with_note(note: str) -> str:
    return _wrong_with_text(note.replace("\n", " ").replace("\r", " ").replace("\t", " "), 2_000)


def cancel(*, order_id: uuid.UUID, actor: Actor, at: datetime, reason: str) -> Order:
    """Stop the order; what was done already is undone.

    Raises NotPermitted, and ActionRefused from the point of no return on.
    """
    _authorise(actor, Action.CANCEL)
    reason = reason.strip()
    with transaction.atomic():
        order = _lock(order_id)
        if not may(order.status_now, Action.CANCEL):
            raise ActionRefused(f"An order that is {words(order.status_now)} can no longer be cancelled.", order)
        if wrong := _wrong_with_note(reason):
            raise ActionRefused(f"The reason {wrong}.", order)
        _close_review(order, Decision.CANCELLED, actor=actor, at=at, note=reason)
        outcome = f"Cancelled: {reason}"[:500] if reason else "Cancelled."
        _transition(order, Action.CANCEL, actor=actor, at=at, outcome=outcome, note=reason)
        _tell_engine(order, Action.CANCEL, at=at, actor=actor.name)
    return order


# Stock, money, package: the engine's steps after approval


def reserve_stock(*, order_id: uuid.UUID, at: datetime) -> Status:
    """Hold the order's goods; short stock fails the order and holds nothing."""
    with transaction.atomic():
        order = _lock(order_id)
        if not may(order.status_now, Action.RESERVE):
            return order.status_now
        wanted: dict[int, int] = {}
        for line in order.lines.all():
            wanted[line.product_id] = wanted.get(line.product_id, 0) + line.quantity
        products = Product.objects.select_for_update(no_key=True).filter(pk__in=wanted).order_by("pk")
        short = [product for product in products if product.stock < wanted[product.pk]]
        if short:
            outcome = "Not enough in stock: " + ", ".join(
                f"{product.sku} (wanted {wanted[product.pk]}, there are {product.stock})" for product in short[:5]
            )
            _transition(order, Action.FAIL, actor=SYSTEM, at=at, outcome=outcome[:500])
            return order.status_now
        for product_id, quantity in wanted.items():
            Product.objects.filter(pk=product_id).update(stock=F("stock") - quantity)
        Reservation.objects.bulk_create(
            Reservation(order=order, product_id=product_id, quantity=quantity)
            for product_id, quantity in wanted.items()
        )
        _transition(order, Action.RESERVE, actor=SYSTEM, at=at, units=sum(wanted.values()))
        return order.status_now


@dataclass(frozen=True)
class MoneyMove:
    """A charge or refund to ask the provider for; None of it where there is nothing to move."""

    status: Status
    key: str = ""
    amount_minor: int = 0
    currency: str = ""
    of_charge: str = ""  # a refund names the provider's reference, or the key, of its charge


def begin_charge(*, order_id: uuid.UUID, at: datetime) -> MoneyMove:
    """Store the charge and its idempotency key before anybody calls the provider."""
    with transaction.atomic():
        order = _lock(order_id)
        if order.status_now != Status.RESERVED:
            return MoneyMove(order.status_now)
        payment, created = Payment.objects.get_or_create(
            idempotency_key=f"order-{order.id}:charge",
            defaults={
                "order": order,
                "kind": Payment.Kind.CHARGE,
                "amount_minor": order.total_minor,
                "currency": order.currency,
                "status": Payment.State.PROCESSING,
                "created_at": at,
            },
        )
        if created:
            _note_event(order, "charge_requested", at=at, amount_minor=payment.amount_minor, currency=order.currency)
        return MoneyMove(order.status_now, payment.idempotency_key, payment.amount_minor, payment.currency)


def record_charge(*, order_id: uuid.UUID, reference: str, declined: str, at: datetime) -> Status:
    """Record the provider's answer: a reference, or why it declined.

    A charge that comes home to an order that is being cancelled is recorded all the same: its refund follows.
    """
    with transaction.atomic():
        order = _lock(order_id)
        settled = Payment.objects.filter(
            idempotency_key=f"order-{order.id}:charge", status=Payment.State.PROCESSING
        ).update(
            status=Payment.State.FAILED if declined else Payment.State.SUCCEEDED,
            provider_reference=reference,
            error=declined[:300],
            settled_at=at,
        )
        if not settled:
            return order.status_now
        if declined and may(order.status_now, Action.FAIL):
            _transition(order, Action.FAIL, actor=SYSTEM, at=at, outcome=f"The payment was declined: {declined}"[:500])
        elif may(order.status_now, Action.CHARGE) and not declined:
            _transition(
                order,
                Action.CHARGE,
                actor=SYSTEM,
                at=at,
                amount_minor=order.total_minor,
                currency=order.currency,
                reference=reference,
            )
        else:
            _note_event(order, "charge_declined" if declined else "charge_arrived", at=at, reference=reference)
        return order.status_now


@dataclass(frozen=True)
class Parcel:
    """What the warehouse or the carrier is asked for; without a key there is nothing to ask."""

    status: Status
    key: str = ""
    recipient: str = ""
    address: dict[str, str] = field(default_factory=dict)


def begin_package(*, order_id: uuid.UUID, at: datetime) -> Parcel:
    """Open the shipment, with its idempotency key, before anybody calls the warehouse."""
    with transaction.atomic():
        order = _lock(order_id)
        if may(order.status_now, Action.PREPARE):
            Shipment.objects.create(order=order, idempotency_key=f"order-{order.id}:dispatch", created_at=at)
            _transition(order, Action.PREPARE, actor=SYSTEM, at=at)
        waits = Shipment.objects.filter(order=order, status=Shipment.State.PREPARING).exists()
        return Parcel(order.status_now, f"order-{order.id}:package" if waits else "")


def record_package(*, order_id: uuid.UUID, at: datetime) -> Status:
    """The package stands ready for the carrier."""
    with transaction.atomic():
        order = _lock(order_id)
        if Shipment.objects.filter(order=order, status=Shipment.State.PREPARING).update(status=Shipment.State.PREPARED):
            _note_event(order, "package_ready", at=at)
        return order.status_now


def begin_dispatch(*, order_id: uuid.UUID, at: datetime) -> Parcel:
    """Pass the point of no return, and fix the address that the carrier gets."""
    with transaction.atomic():
        order = _lock(order_id)
        if may(order.status_now, Action.DISPATCH):
            Shipment.objects.filter(order=order).update(
                status=Shipment.State.DISPATCHING, address=asdict(address_of(order))
            )
            _transition(order, Action.DISPATCH, actor=SYSTEM, at=at)
        if order.status_now != Status.DISPATCHING:
            return Parcel(order.status_now)
        shipment = order.shipment
        return Parcel(order.status_now, shipment.idempotency_key, order.customer_name, shipment.address or {})


def record_dispatch(*, order_id: uuid.UUID, carrier: str, tracking_number: str, at: datetime) -> Status:
    """The carrier has the package: what was held for the order is gone."""
    with transaction.atomic():
        order = _lock(order_id)
        if may(order.status_now, Action.CONFIRM_DISPATCH):
            Shipment.objects.filter(order=order).update(
                status=Shipment.State.DISPATCHED,
                carrier=carrier,
                tracking_number=tracking_number,
                dispatched_at=at,
            )
            Reservation.objects.filter(order=order, state=Reservation.State.HELD).update(
                state=Reservation.State.SHIPPED
            )
            _transition(
                order,
                Action.CONFIRM_DISPATCH,
                actor=SYSTEM,
                at=at,
                carrier=carrier,
                tracking_number=tracking_number,
            )
        return order.status_now


def complete_order(*, order_id: uuid.UUID, at: datetime) -> Status:
    with transaction.atomic():
        order = _lock(order_id)
        if may(order.status_now, Action.COMPLETE):
            _transition(order, Action.COMPLETE, actor=SYSTEM, at=at)
        return order.status_now


# Undoing


def fail_order(*, order_id: uuid.UUID, reason: str, at: datetime) -> Status:
    """A step has failed for good: begin to undo, unless the order is being undone or has ended already."""
    with transaction.atomic():
        order = _lock(order_id)
        if may(order.status_now, Action.FAIL):
            _transition(order, Action.FAIL, actor=SYSTEM, at=at, outcome=reason[:500])
        return order.status_now


def release_stock(*, order_id: uuid.UUID, at: datetime) -> Status:
    """Give back exactly what the order holds."""
    with transaction.atomic():
        order = _lock(order_id)
        held = list(order.reservations.filter(state=Reservation.State.HELD).order_by("product_id"))
        if not held:
            return order.status_now
        for reservation in held:
            Product.objects.filter(pk=reservation.product_id).update(stock=F("stock") + reservation.quantity)
        order.reservations.filter(pk__in=[reservation.pk for reservation in held]).update(
            state=Reservation.State.RELEASED
        )
        _note_event(order, "release", at=at, units=sum(reservation.quantity for reservation in held))
        return order.status_now


def begin_refund(*, order_id: uuid.UUID, at: datetime) -> MoneyMove:
    """Store the refund of the order's charge before anybody calls the provider.

    A charge whose answer we never saw is refunded by its key: the provider knows whether there is anything to undo.
    """
    with transaction.atomic():
        order = _lock(order_id)
        charge = order.payments.filter(
            kind=Payment.Kind.CHARGE, status__in=[Payment.State.SUCCEEDED, Payment.State.PROCESSING]
        ).first()
        if charge is None:
            return MoneyMove(order.status_now)
        refund, _ = Payment.objects.get_or_create(
            idempotency_key=f"order-{order.id}:refund",
            defaults={
                "order": order,
                "kind": Payment.Kind.REFUND,
                "amount_minor": charge.amount_minor,
                "currency": charge.currency,
                "status": Payment.State.PROCESSING,
                "created_at": at,
            },
        )
        if refund.status != Payment.State.PROCESSING:
            return MoneyMove(order.status_now)
        return MoneyMove(
            order.status_now,
            refund.idempotency_key,
            refund.amount_minor,
            refund.currency,
            charge.idempotency_key,
        )


def record_refund(*, order_id: uuid.UUID, reference: str, at: datetime) -> Status:
    """Record the refund; an empty `reference` says that the provider had never charged."""
    with transaction.atomic():
        order = _lock(order_id)
        refund = order.payments.filter(kind=Payment.Kind.REFUND, status=Payment.State.PROCESSING)
        if reference:
            refunded = refund.update(status=Payment.State.SUCCEEDED, provider_reference=reference, settled_at=at)
            charge_is = Payment.State.SUCCEEDED
        else:
            refunded = refund.update(status=Payment.State.CANCELLED, error="Nothing had been charged.", settled_at=at)
            charge_is = Payment.State.CANCELLED
        order.payments.filter(kind=Payment.Kind.CHARGE, status=Payment.State.PROCESSING).update(
            status=charge_is, settled_at=at
        )
        if refunded and reference:
            _note_event(
                order,
                "refund",
                at=at,
                amount_minor=order.total_minor,
                currency=order.currency,
                reference=reference,
            )
        return order.status_now


def recall_package(*, order_id: uuid.UUID, at: datetime) -> Status:
    """Take back a package that the carrier has not got."""
    with transaction.atomic():
        order = _lock(order_id)
        recalled = (
            Shipment.objects.filter(order=order)
            .exclude(status__in=[Shipment.State.DISPATCHED, Shipment.State.RECALLED])
            .update(status=Shipment.State.RECALLED)
        )
        if recalled:
            _note_event(order, "recall", at=at)
        return order.status_now


def finish_undo(*, order_id: uuid.UUID, at: datetime) -> Status:
    with transaction.atomic():
        order = _lock(order_id)
        if may(order.status_now, Action.FINISH_UNDO):
            _transition(order, Action.FINISH_UNDO, actor=SYSTEM, at=at, outcome=order.outcome)
        return order.status_now


# The outbox and the workers' life signs


def deliver_outbox(*, deliver: Callable[[Sequence[Outbox]], Sequence[str]], at: datetime, most: int = 50) -> int:
    """Hand undelivered messages to `deliver`, each order's in their order, and mark those that arrived.

    Rows stay locked while `deliver` runs, so many relays can work side by side and a killed one leaves its
    messages undelivered. `deliver` answers for each message with what went wrong, empty where it arrived; what it
    raises leaves everything as it was.

    Returns how many messages were taken in hand.
    """
    with transaction.atomic():
        heads = Outbox.objects.raw(
            """
            SELECT * FROM orders_outbox AS message
            WHERE delivered_at IS NULL AND NOT EXISTS (
                SELECT FROM orders_outbox AS earlier
                WHERE earlier.order_id = message.order_id AND earlier.delivered_at IS NULL AND earlier.id < message.id
            )
            ORDER BY attempts, id LIMIT %s FOR UPDATE SKIP LOCKED
            """,
            [most],
        )
        messages = list(heads)
        if not messages:
            return 0
        for message, wrong in zip(messages, deliver(messages), strict=True):
            Outbox.objects.filter(pk=message.pk, delivered_at=None).update(
                attempts=F("attempts") + 1, last_error=wrong[:300], delivered_at=None if wrong else at
            )
        return len(messages)


def record_heartbeat(
    *, worker: str, queues: str, started_at: datetime, temporal_seen_at: datetime | None, at: datetime
) -> None:
    """Keep the life sign of one worker process, and forget those silent for a day."""
    Heartbeat.objects.bulk_create(
        [
            Heartbeat(
                worker=worker,
                queues=queues,
                started_at=started_at,
                seen_at=at,
                temporal_seen_at=temporal_seen_at,
            )
        ],
        update_conflicts=True,
        unique_fields=["worker"],
        update_fields=["seen_at", "temporal_seen_at"],
    )
    Heartbeat.objects.filter(seen_at__lt=at - timedelta(days=1)).delete()


def forget_heartbeat(*, worker: str) -> None:
    Heartbeat.objects.filter(worker=worker).delete()


# Goods


def stock_products(*, products: Sequence[Product]) -> None:
    """Add products that are not there yet; those that are keep their name and stock."""
    Product.objects.bulk_create(products, ignore_conflicts=True)


def restock(*, product_id: int, units: int) -> None:
    """Add `units` to the free stock, or take them away where negative, on top of what orders take meanwhile.

    Raises ShortStock where less than that is free.
    """
    if not Product.objects.filter(pk=product_id, stock__gte=-units).update(stock=F("stock") + units):
        raise ShortStock("Orders have taken too much of it meanwhile: the stock cannot go below zero.")


# What all of the above are made of


def words(status: Status) -> str:
    return status.replace("_", " ")


def address_of(order: Order) -> Address:
    return Address(
        country=order.address_country,
        line1=order.address_line1,
        line2=order.address_line2,
        city=order.address_city,
        region=order.address_region,
        postal_code=order.address_postal_code,
    )


def _authorise(actor: Actor, action: Action) -> None:
    if actor.kind == ActorKind.OPERATOR:
        allowed = actor.user is not None and actor.user.is_active and actor.user.has_perm(permission(action))
    else:
        allowed = actor.kind == ActorKind.CUSTOMER and action == Action.CANCEL
    if not allowed:
        raise NotPermitted(f"{actor.name} may not {action} an order.")


def _lock(order_id: uuid.UUID) -> Order:
    return Order.objects.select_for_update(no_key=True).get(pk=order_id)


def _standing(order: Order) -> Standing:
    review = _open_review(order)
    return Standing(order.status_now, review.due_at if review else None)


def _open_review(order: Order) -> Review | None:
    return order.reviews.filter(decision="").first()


def _close_review(order: Order, decision: Decision, *, actor: Actor, at: datetime, note: str = "") -> None:
    order.reviews.filter(decision="").update(decision=decision, decided_by=actor.user, decided_at=at, note=note)


def _transition(
    order: Order, action: Action, *, actor: Actor, at: datetime, outcome: str = "", **details: object
) -> None:
    """Move a locked order along the transition table, with its event.

    Raises IllegalTransition where the table has no such step.
    """
    before, after = order.status_now, next_status(order.status_now, action)
    moved = Order.objects.filter(pk=order.pk, status=before, version=order.version).update(
        status=after, status_at=at, version=F("version") + 1, outcome=outcome
    )
    if moved != 1:
        raise RuntimeError(f"{order} was changed by somebody without the lock")
    order.status, order.status_at, order.outcome = after, at, outcome
    order.version += 1
    told = {name: value for name, value in details.items() if value not in ("", None)}
    _write_event(order, action, actor=actor, at=at, **{"from": before, "to": after}, **told)


def _note_event(order: Order, type_: str, *, at: datetime, **details: object) -> None:
    """Record what happened to a locked order without a change of status."""
    Order.objects.filter(pk=order.pk, version=order.version).update(version=F("version") + 1)
    order.version += 1
    _write_event(order, type_, actor=SYSTEM, at=at, **details)


def _write_event(order: Order, type_: str, *, actor: Actor, at: datetime, **payload: object) -> None:
    Event.objects.create(
        order=order,
        sequence=order.version,
        type=type_,
        actor_kind=actor.kind,
        actor=actor.name,
        payload=payload,
        at=at,
    )


def _tell_engine(order: Order, message: str, *, at: datetime, **payload: str) -> None:
    Outbox.objects.create(order=order, message=message, payload=payload, created_at=at)

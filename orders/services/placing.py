"""Accepting an order, or refusing it with the name of every bad field."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import IntegrityError, transaction

from orders import money
from orders.models import Order, OrderLine, Product
from orders.services.actors import Actor
from orders.services.texts import wrong_with_text
from orders.services.transitions import tell_engine, write_event
from orders.states import Status

MOST_LINES = 1_000


MOST_MINOR = 10**15  # well inside a bigint, and more than anybody's order


LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


LONGEST_DEADLINE = timedelta(days=366)


_LONGEST_ADDRESS_PART = {"country": 2, "line1": 200, "line2": 200, "city": 100, "region": 100, "postal_code": 20}


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


@dataclass(frozen=True)
class Address:
    country: str
    line1: str = ""
    line2: str = ""
    city: str = ""
    region: str = ""
    postal_code: str = ""

    def stripped(self) -> "Address":
        return Address(**{name: value.strip() for name, value in asdict(self).items()})


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
    card_fingerprint: str = ""  # as the bank tells one card from another; never the number
    reference: str = ""
    decide_within: timedelta | None = None


def place_order(*, new: NewOrder, actor: Actor, at: datetime) -> Order:
    """Accept an order and leave word for the engine to start on it. Its address need not keep the rules of its country.

    Raises InvalidOrder naming each bad field, and DuplicateReference where the source has sent it before.
    """
    _refuse_bad_input(new, at=at)
    if sent_before := _sent_before(new):
        raise DuplicateReference(sent_before)
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
                card_fingerprint=new.card_fingerprint.strip(),
                **{f"address_{name}": value for name, value in asdict(new.address.stripped()).items()},
                currency=new.currency,
                total_minor=_total(new.lines),
                decide_within=new.decide_within,
                placed_at=new.placed_at,
                placed_by=actor.user,
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
            write_event(order, "place", actor=actor, at=at, source=new.source, reference=new.reference)
            tell_engine(order, "start", at=at)
    except IntegrityError:
        if sent_before := _sent_before(new):  # by somebody else, since we looked
            raise DuplicateReference(sent_before) from None
        raise
    return order


def _sent_before(new: NewOrder) -> Order | None:
    """The order that has the reference. To look is cheap; to let the constraint refuse costs an order number."""
    if not new.reference:
        return None
    return Order.objects.filter(source=new.source, reference=new.reference).first()


def _total(lines: Sequence[NewLine]) -> int:
    return sum(line.quantity * line.unit_price_minor for line in lines)


def _refuse_bad_input(new: NewOrder, *, at: datetime) -> None:
    errors: dict[str, str] = {}
    texts = {
        "source": (new.source, 40),
        "reference": (new.reference, 80),
        "customer_name": (new.customer_name, 200),
        "customer_email": (new.customer_email, 254),
        "card_fingerprint": (new.card_fingerprint, 64),
    }
    for name, (value, most) in texts.items():
        if wrong := wrong_with_text(value, most):
            errors[name] = wrong
    for name, value in (("source", new.source), ("customer_name", new.customer_name)):
        if not value.strip():
            errors[name] = "is missing"
    if new.customer_email.strip() and "customer_email" not in errors:
        try:
            validate_email(new.customer_email.strip())
        except ValidationError:
            errors["customer_email"] = "is not an e-mail address"
    if "card_fingerprint" not in errors and _is_card_number(new.card_fingerprint):
        errors["card_fingerprint"] = "is a card's number, which is not kept here: send what tells one card from another"
    errors |= wrong_with_address(new.address)
    if not money.is_currency(new.currency):
        errors["currency"] = "is not an ISO 4217 currency code, such as EUR"
    errors |= _wrong_with_times(new, at)
    errors |= _wrong_with_lines(new.lines)
    if errors:
        raise InvalidOrder(errors)


def _is_card_number(text: str) -> bool:
    """Whether it is made of digits whose checksum is that of a payment card."""
    digits = [int(sign) for sign in re.sub(r"[\s-]", "", text) if sign.isdecimal()]
    if not 12 <= len(digits) <= 19 or not re.fullmatch(r"[\d\s-]+", text):
        return False
    doubled = (divmod(2 * digit, 10) for digit in digits[-2::-2])
    return (sum(digits[-1::-2]) + sum(tens + ones for tens, ones in doubled)) % 10 == 0


def wrong_with_address(address: Address) -> dict[str, str]:
    """What is wrong with each field, by names such as `address.country`, in whatever country it is."""
    errors = {
        f"address.{name}": wrong
        for name, value in asdict(address).items()
        if (wrong := wrong_with_text(value, _LONGEST_ADDRESS_PART[name]))
    }
    if address.country not in money.countries():
        errors["address.country"] = "is not an ISO 3166 country code, such as DE"
    return errors


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
        if wrong := wrong_with_text(line.sku, 40):
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


def address_of(order: Order) -> Address:
    return Address(
        country=order.address_country,
        line1=order.address_line1,
        line2=order.address_line2,
        city=order.address_city,
        region=order.address_region,
        postal_code=order.address_postal_code,
    )

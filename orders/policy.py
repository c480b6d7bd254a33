"""The policy gate: decides before any person is asked. Pure and replaceable: facts in, a verdict out.

Amounts are compared in the order's own currency: 1,000 means a thousand of it, whatever it is.
"""

from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum

from orders.money import format_money, to_minor

REVIEW_FROM = Decimal("1000.00")
FIRST_ORDER_FREE_UP_TO = Decimal("250.00")
RISK_FROM = Decimal("500.00")
RISK_FREE_UP_TO = 0.8

# From here on two different people have to approve. Both lie above what is reviewed at all.
FOUR_EYES_FROM = Decimal("5000.00")
FOUR_EYES_RISK = 0.9

DISPOSABLE_MAIL = frozenset({"mailinator.com", "guerrillamail.com", "10minutemail.com", "yopmail.com", "trashmail.com"})


class Ruling(StrEnum):
    PASS = "pass"  # noqa: S105 - a ruling, not a password
    REVIEW = "review"
    BLOCK = "block"


@dataclass(frozen=True)
class Facts:
    """What the policy may know of an order."""

    amount: Decimal
    currency: str
    customer_email: str
    is_first_order: bool
    orders_in_last_hour: int
    most_of_one_product: int
    has_street: bool
    forbidden: tuple[tuple[str, str], ...] = ()  # (sku, why)


@dataclass(frozen=True)
class Reason:
    code: str
    text: str


@dataclass(frozen=True)
class RiskPart:
    """What a risk score is made of; `weight` is from 0 to 1."""

    text: str
    weight: float


@dataclass(frozen=True)
class Verdict:
    ruling: Ruling
    risk_score: float
    reasons: tuple[Reason, ...] = field(default=())
    risk_parts: tuple[RiskPart, ...] = field(default=())
    needs_two: bool = False  # people, to approve it


def _money(amount: Decimal, currency: str) -> str:
    """As amounts are written beside it, without decimals where there are none: €1,000."""
    shown = format_money(to_minor(amount, currency), currency)
    whole, _, decimals = shown.partition(".")
    return shown if decimals.strip("0") else whole


def risk_parts(facts: Facts) -> tuple[RiskPart, ...]:
    """The parts of the risk score that apply, each with its weight.

    The weights are ours, set by judgement; none alone passes 0.8, and three together do.
    """
    domain = facts.customer_email.rpartition("@")[2].lower()
    parts = (
        ("first order", 0.25, facts.is_first_order),
        ("disposable mailbox", 0.40, domain in DISPOSABLE_MAIL),
        ("no e-mail address", 0.10, not facts.customer_email),
        ("no street", 0.10, not facts.has_street),
        (f"{_money(RISK_FROM, facts.currency)} or more", 0.20, facts.amount >= RISK_FROM),
        ("24 or more of one product", 0.15, facts.most_of_one_product >= 24),
        ("3 or more orders in an hour", 0.35, facts.orders_in_last_hour >= 3),
    )
    return tuple(RiskPart(text, weight) for text, weight, applies in parts if applies)


def judge(facts: Facts, *, review_everything: bool = False) -> Verdict:
    """Pass the order, send it to people with the reasons, or block it with the reason."""
    parts = risk_parts(facts)
    score = round(min(1.0, sum(part.weight for part in parts)), 2)
    if facts.forbidden:
        blocked = tuple(Reason("forbidden_goods", f"{sku} may not be sold: {why}") for sku, why in facts.forbidden)
        return Verdict(Ruling.BLOCK, score, blocked, parts)

    reasons = []
    if facts.amount >= REVIEW_FROM:
        reasons.append(Reason("high_amount", f"{_money(REVIEW_FROM, facts.currency)} or more"))
    if score > RISK_FREE_UP_TO:
        told = ", ".join(part.text for part in parts)
        reasons.append(Reason("high_risk", f"Risk {score:.2f}: {told}"))
    if facts.is_first_order and facts.amount > FIRST_ORDER_FREE_UP_TO:
        reasons.append(Reason("first_order", f"First order, over {_money(FIRST_ORDER_FREE_UP_TO, facts.currency)}"))
    if review_everything and not reasons:
        reasons.append(Reason("every_order", "Every order is reviewed"))
    if not reasons:
        return Verdict(Ruling.PASS, score, (), parts)
    needs_two = facts.amount >= FOUR_EYES_FROM or score >= FOUR_EYES_RISK
    return Verdict(Ruling.REVIEW, score, tuple(reasons), parts, needs_two)

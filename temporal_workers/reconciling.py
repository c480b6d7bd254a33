"""The provider's ledger held against our payments. Writes nothing."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from orders.models import Payment
from orders.states import Status
from temporal_workers.providers.protocols import BankEntry

# What each state here may be at the bank, in its words. Without an entry there no money has moved.
AGREES: dict[str, frozenset[str]] = {
    Payment.State.CREATED: frozenset({"not moved"}),
    Payment.State.PROCESSING: frozenset({"moved", "not moved", "pending"}),
    Payment.State.REQUIRES_ACTION: frozenset({"moved", "not moved", "pending"}),
    Payment.State.SUCCEEDED: frozenset({"moved"}),
    Payment.State.FAILED: frozenset({"not moved"}),
    Payment.State.CANCELLED: frozenset({"not moved"}),
}
# A payment that has been under way for so long is worth a look: any order that is carried on is done with it sooner.
LONG = timedelta(hours=1)


@dataclass(frozen=True)
class Difference:
    """What one side says otherwise than the other. `what` is missing here, missing there, kind, amount, currency,
    state, charged twice, or stuck: under way here, and nobody seems to be at it. Amounts are minor units.
    """

    key: str
    what: str
    here: str
    there: str


def reconcile(read_ledger: Callable[[], Sequence[BankEntry]], *, at: datetime) -> list[Difference]:
    """Every difference between the provider's ledger and our payments.

    A payment that is under way agrees with whatever the provider may have made of it by now. Ours are read before the
    ledger, so that orders may run meanwhile: what was settled here is settled there. What has begun since is left out.

    Raises what `read_ledger` raises.
    """
    ours = {payment.idempotency_key: payment for payment in Payment.objects.select_related("order").order_by("id")}
    entries = {entry.key: entry for entry in read_ledger()}
    unasked = [key for key in entries if key not in ours or ours[key].status == Payment.State.CREATED]
    begun_meanwhile = set(
        Payment.objects.filter(idempotency_key__in=unasked)
        .exclude(status=Payment.State.CREATED)
        .values_list("idempotency_key", flat=True)
    )
    found: list[Difference] = []
    for key, payment in ours.items():
        if key not in begun_meanwhile:
            found += _compare(payment, entries.get(key))
        found += _stuck(payment, at)
    found += [
        Difference(key, "missing here", "", f"{entries[key].kind} of {_amount(entries[key])}")
        for key in unasked
        if key not in ours and key not in begun_meanwhile and not entries[key].declined
    ]
    return found + _charged_twice(entries.values())


def _compare(payment: Payment, entry: BankEntry | None) -> list[Difference]:
    key = payment.idempotency_key
    if entry is None:
        if payment.status not in (Payment.State.SUCCEEDED, Payment.State.REQUIRES_ACTION):
            return []
        return [Difference(key, "missing there", f"{payment.kind} of {_amount(payment)}", "")]
    here = {"kind": payment.kind, "amount": str(payment.amount_minor), "currency": payment.currency}
    there = {"kind": entry.kind, "amount": str(entry.amount_minor), "currency": entry.currency}
    found = [Difference(key, what, here[what], there[what]) for what in here if here[what] != there[what]]
    if _state(entry) not in AGREES[payment.status]:
        found.append(Difference(key, "state", " or ".join(sorted(AGREES[payment.status])), _state(entry)))
    return found


def _state(entry: BankEntry) -> str:
    if entry.declined:
        return "not moved"
    return "pending" if entry.pending else "moved"


def _stuck(payment: Payment, at: datetime) -> list[Difference]:
    """Whom nobody asks for, or waits for, although it is time."""
    since = max(payment.confirm_by or payment.created_at, payment.order.status_at)
    if payment.status not in (Payment.State.PROCESSING, Payment.State.REQUIRES_ACTION) or since + LONG > at:
        return []
    if payment.status == Payment.State.REQUIRES_ACTION and payment.order.status == Status.UNCONFIRMED:
        return []  # people are asked
    return [Difference(payment.idempotency_key, "stuck", f"{payment.status} since {since:%Y-%m-%d %H:%M} UTC", "")]


def _charged_twice(entries: Iterable[BankEntry]) -> list[Difference]:
    """Orders of which the provider has charged, or may still charge, more than once. A key begins with its order."""
    charges: dict[str, list[BankEntry]] = {}
    for entry in entries:
        if entry.kind == Payment.Kind.CHARGE and not entry.declined:
            charges.setdefault(entry.key.partition(":")[0], []).append(entry)
    return [
        Difference(order, "charged twice", "", ", ".join(f"{entry.key} {_amount(entry)}" for entry in several))
        for order, several in charges.items()
        if len(several) > 1
    ]


def _amount(movement: Payment | BankEntry) -> str:
    return f"{movement.amount_minor} {movement.currency}"

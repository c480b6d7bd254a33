"""The provider's ledger held against our payments. Writes nothing."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from orders.models import Payment
from temporal_workers.providers.protocols import BankEntry

UNDER_WAY = (Payment.State.CREATED, Payment.State.PROCESSING, Payment.State.REQUIRES_ACTION)


@dataclass(frozen=True)
class Difference:
    """What one side says otherwise than the other. `what` is missing here, missing there, kind, amount, currency or
    state; amounts are minor units.
    """

    key: str
    what: str
    here: str
    there: str


def reconcile(read_ledger: Callable[[], Sequence[BankEntry]]) -> list[Difference]:
    """Every difference between the provider's ledger and our payments.

    A payment that is under way has no outcome to compare yet. Ours are read before the ledger, so that orders may run
    meanwhile: what was settled here is settled there.

    Raises what `read_ledger` raises.
    """
    ours = {payment.idempotency_key: payment for payment in Payment.objects.order_by("id")}
    entries = {entry.key: entry for entry in read_ledger()}
    new = [key for key in entries if key not in ours]
    begun_meanwhile = set(Payment.objects.filter(idempotency_key__in=new).values_list("idempotency_key", flat=True))
    found: list[Difference] = []
    for key, payment in ours.items():
        found += _compare(payment, entries.get(key))
    found += [_missing_here(entries[key]) for key in new if key not in begun_meanwhile and not entries[key].declined]
    return found


def _compare(payment: Payment, entry: BankEntry | None) -> Iterator[Difference] | Sequence[Difference]:
    key, amount = payment.idempotency_key, f"{payment.amount_minor} {payment.currency}"
    if entry is None:
        if payment.status != Payment.State.SUCCEEDED:
            return []
        return [Difference(key, "missing there", f"{payment.kind} of {amount}", "")]
    return (
        Difference(key, what, str(here), str(there))
        for what, here, there in (
            ("kind", payment.kind, entry.kind),
            ("amount", payment.amount_minor, entry.amount_minor),
            ("currency", payment.currency, entry.currency),
            ("state", *_states(payment, entry)),
        )
        if here != there
    )


def _states(payment: Payment, entry: BankEntry) -> tuple[str, str]:
    there = "moved" if not entry.declined else "not moved"
    if payment.status in UNDER_WAY:
        return there, there
    return "moved" if payment.status == Payment.State.SUCCEEDED else "not moved", there


def _missing_here(entry: BankEntry) -> Difference:
    return Difference(entry.key, "missing here", "", f"{entry.kind} of {entry.amount_minor} {entry.currency}")

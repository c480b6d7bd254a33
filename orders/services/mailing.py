"""What customers are told by mail, and of which events. The mail's row is written with the event itself, so that
neither is ever without the other; `posting` and a thread of each worker see to it that it is sent.

The words are the customer's. What operators note, the rules' reasons and the order's outcome are not for them: a
fraud rule that explains itself is soon got round, and a colleague's note was not written to be read by a stranger.

Which orders: those that were at most MAIL_ORDERS_UP_TO old when they came here. Who brings in the orders of past
years means to keep records, not to write to thousands of people who had their goods long ago; yet a file of this
morning's orders is as good as an order from the shop. So the age decides, and not the way in which an order came.
Demonstration orders have made-up addresses that may be somebody's: their mails never go further than a folder.
"""

from collections.abc import Iterator
from datetime import datetime
from email.utils import parseaddr

from django.conf import settings
from django.template.loader import render_to_string

from orders import money
from orders.models import Mail, Order, Payment, Shipment
from orders.states import Action, Status

ON_THE_WAY: dict[Action, Mail.Kind] = {
    Action.CLEAR: Mail.Kind.CONFIRMED,
    Action.APPROVE: Mail.Kind.CONFIRMED,
    Action.ASK_CUSTOMER: Mail.Kind.CONFIRM_PAYMENT,
    Action.CONFIRM_DISPATCH: Mail.Kind.SHIPPED,
}
AT_THE_END: dict[Status, Mail.Kind] = {
    Status.INVALID: Mail.Kind.NOT_ACCEPTED,
    Status.BLOCKED: Mail.Kind.NOT_ACCEPTED,
    Status.REJECTED: Mail.Kind.NOT_ACCEPTED,
    Status.EXPIRED: Mail.Kind.NOT_ACCEPTED,
    Status.CANCELLED: Mail.Kind.CANCELLED,
    Status.FAILED: Mail.Kind.FAILED,
}
_SUBJECTS = {
    Mail.Kind.CONFIRMED: "Order {} is confirmed",
    Mail.Kind.CONFIRM_PAYMENT: "Please confirm the payment for order {}",
    Mail.Kind.SHIPPED: "Order {} is on its way",
    Mail.Kind.NOT_ACCEPTED: "We could not accept order {}",
    Mail.Kind.CANCELLED: "Order {} is cancelled",
    Mail.Kind.FAILED: "We could not complete order {}",
    Mail.Kind.REFUNDED: "A refund for order {}",
}
MOST_LINES_SHOWN = 50
DEMONSTRATION = "demo-shop"  # is `orders.demo.SOURCE`, whose module builds on the services


def tell_customer(order: Order, action: Action, *, at: datetime) -> None:
    """Write the mail, if any, about the step that a locked order has just taken."""
    kind = ON_THE_WAY.get(action) or AT_THE_END.get(order.status_now)
    if kind is None or not _is_wanted(order):
        return
    match kind:
        case Mail.Kind.CONFIRMED:
            _write(order, kind, at=at, **_bought(order))
        case Mail.Kind.CONFIRM_PAYMENT:
            _write(order, kind, at=at, **_to_confirm(order))
        case Mail.Kind.SHIPPED:
            _write(order, kind, at=at, **_sent(order))
        case _:
            _write(order, kind, at=at, **_money_back(order))


def tell_of_refund(order: Order, refund: Payment, *, at: datetime) -> None:
    """Write the mail about a refund that an operator granted and the bank has made."""
    if _is_wanted(order):
        _write(order, Mail.Kind.REFUNDED, at=at, returned=money.format_money(refund.amount_minor, refund.currency))


def _is_wanted(order: Order) -> bool:
    if not settings.CUSTOMERS_GET_MAIL or not order.customer_email:
        return False
    if order.source == DEMONSTRATION and not settings.EMAIL_FILE_PATH:
        return False
    came_in = order.events.filter(sequence=1).values_list("at", flat=True).get()
    return came_in - order.placed_at <= settings.MAIL_ORDERS_UP_TO


def _write(order: Order, kind: Mail.Kind, *, at: datetime, **told: object) -> None:
    """Store the mail about the order's last event."""
    domain = parseaddr(settings.DEFAULT_FROM_EMAIL)[1].rpartition("@")[2]
    known = {"number": order.number, "name": one_line(order.customer_name), "placed_at": order.placed_at}
    Mail.objects.create(
        order=order,
        sequence=order.version,
        kind=kind,
        recipient=order.customer_email,
        subject=_SUBJECTS[kind].format(order.number),
        body=render_to_string(f"mails/{kind}.txt", known | told).strip() + "\n",
        message_id=f"<order-{order.pk}.{order.version}@{domain}>",
        created_at=at,
        next_try_at=at,
    )


def one_line(text: str) -> str:
    """The text as one line: a name that holds line breaks must not pass for something that we say."""
    return " ".join(text.split())


def _bought(order: Order) -> dict[str, object]:
    lines = list(order.lines.select_related("product"))
    return {
        "lines": [
            (line.quantity, one_line(line.product.name), money.format_money(line.total_minor, order.currency))
            for line in lines[:MOST_LINES_SHOWN]
        ],
        "more_lines": max(0, len(lines) - MOST_LINES_SHOWN),
        "total": money.format_money(order.total_minor, order.currency),
    }


def _to_confirm(order: Order) -> dict[str, object]:
    charge = order.payments.get(kind=Payment.Kind.CHARGE, status=Payment.State.REQUIRES_ACTION)
    return {"amount": money.format_money(charge.amount_minor, charge.currency), "confirm_by": charge.confirm_by}


def _sent(order: Order) -> dict[str, object]:
    shipment = Shipment.objects.get(order=order)
    return {
        "carrier": shipment.carrier,
        "tracking_number": shipment.tracking_number,
        "address": list(_address_lines(shipment.address or {})),
    }


def _address_lines(address: dict[str, str]) -> Iterator[str]:
    city = " ".join(address.get(part, "") for part in ("postal_code", "city"))
    country = money.country_name(address.get("country", ""))
    for line in (address.get("line1", ""), address.get("line2", ""), city, address.get("region", ""), country):
        if shown := one_line(line):
            yield shown


def _money_back(order: Order) -> dict[str, object]:
    """What was charged and goes back, from the payments themselves; only what has really happened is said."""
    payments = list(order.payments.all())
    charges = {payment.status for payment in payments if payment.kind == Payment.Kind.CHARGE}
    returned = sum(
        payment.amount_minor
        for payment in payments
        if (payment.kind, payment.status) == (Payment.Kind.REFUND, Payment.State.SUCCEEDED)
    )
    nothing_charged = charges <= {Payment.State.CREATED, Payment.State.FAILED, Payment.State.CANCELLED}
    return {
        "nothing_charged": nothing_charged,
        "returned": money.format_money(returned, order.currency) if returned else "",
        "payment_refused": nothing_charged and Payment.State.FAILED in charges,
        "has_gone": Shipment.objects.filter(order=order, status=Shipment.State.DISPATCHED).exists(),
    }

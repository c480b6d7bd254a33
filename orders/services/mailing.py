"""What customers are told by mail, and of which events. The mail's row is written with the event itself, so that
neither is ever without the other; `posting` and a thread of each worker see to it that it is sent.

The words are the customer's. What operators note, the rules' reasons and the order's outcome are not for them: a
fraud rule that explains itself is soon got round, and a colleague's note was not written to be read by a stranger.

Which orders: those that were at most MAIL_ORDERS_UP_TO old when they came here. Who brings in the orders of past
years means to keep records, not to write to thousands of people who had their goods long ago; yet a file of this
morning's orders is as good as an order from the shop. So the age decides, and not the way in which an order came.
Demonstration orders have made-up addresses that may be somebody's: their mails never go further than a folder.
"""

import uuid
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from email.utils import parseaddr
from typing import TypeVar

from django.conf import settings
from django.contrib.auth.models import User
from django.template.loader import render_to_string

from orders import conventions, money
from orders.models import Event, Mail, Note, Order, OrderLine, Payment, Shipment
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
    Mail.Kind.MENTIONED: "You are mentioned on order {}",
    Mail.Kind.QUESTION: "A question about order {}",
}
MOST_LINES_SHOWN = 50
DEMONSTRATION = "demo-shop"  # is `orders.demo.SOURCE`, whose module builds on the services


def tell_customers(orders: Sequence[Order], action: Action, *, at: datetime) -> None:
    """Write the mails, if any, about the step that these locked orders have just taken."""
    kinds = {order: kind for order in orders if (kind := ON_THE_WAY.get(action) or AT_THE_END.get(order.status_now))}
    wanted = _wanted(list(kinds))
    if not wanted:
        return
    texts = {
        Mail.Kind.CONFIRMED: _bought,
        Mail.Kind.CONFIRM_PAYMENT: _to_confirm,
        Mail.Kind.SHIPPED: _sent,
    }
    for kind in dict.fromkeys(kinds[order] for order in wanted):
        these = [order for order in wanted if kinds[order] == kind]
        _write(these, kind, texts.get(kind, _money_back)(these), at=at)


def tell_of_refund(order: Order, refund: Payment, *, at: datetime) -> None:
    """Write the mail about a refund that an operator granted and the bank has made."""
    if _wanted([order]):
        returned = money.format_money(refund.amount_minor, refund.currency)
        _write([order], Mail.Kind.REFUNDED, [{"returned": returned}], at=at)


def tell_mentioned(note: Note, colleagues: Sequence[User], *, at: datetime) -> None:
    """Write to those colleagues who have an address that they are mentioned in a note, which is the last event."""
    if not settings.CUSTOMERS_GET_MAIL:
        return
    order, kind = note.order, Mail.Kind.MENTIONED
    url = settings.DESK_URL.rstrip("/") + order.get_absolute_url() if settings.DESK_URL else ""
    told = {"number": order.number, "author": note.author.get_username(), "text": note.text, "url": url}
    Mail.objects.bulk_create(
        Mail(
            order=order,
            sequence=order.version,
            kind=kind,
            recipient=address,
            subject=_SUBJECTS[kind].format(order.number),
            body=_body(kind, {**told, "name": colleague.get_username()}),
            message_id=_message_id(order, f".{colleague.pk}"),
            created_at=at,
            next_try_at=at,
        )
        for address, colleague in {one.email.lower(): one for one in colleagues if one.email}.items()
    )


def ask_customer(order: Order, *, question: str, link: str, answer_by: datetime, at: datetime) -> None:
    """Write the mail with what an operator asks, and the address of the page where the customer answers.

    However old the order is: a person wants to know it.
    """
    _write([order], Mail.Kind.QUESTION, [{"question": question, "link": link, "answer_by": answer_by}], at=at)


def reaches(order: Order) -> bool:
    """Whether mail to the order's customer goes anywhere."""
    return bool(
        settings.CUSTOMERS_GET_MAIL
        and order.customer_email
        and (order.source != DEMONSTRATION or settings.EMAIL_FILE_PATH)
    )


def _wanted(orders: Sequence[Order]) -> list[Order]:
    """Those of the orders whose customers get mail."""
    reachable = [order for order in orders if reaches(order)]
    if not reachable:
        return []
    came_in = dict(Event.objects.filter(order__in=reachable, sequence=1).values_list("order_id", "at"))
    return [order for order in reachable if came_in[order.pk] - order.placed_at <= settings.MAIL_ORDERS_UP_TO]


def _write(orders: Sequence[Order], kind: Mail.Kind, told: Sequence[Mapping[str, object]], *, at: datetime) -> None:
    """Store the mail about each order's last event."""
    Mail.objects.bulk_create(
        Mail(
            order=order,
            sequence=order.version,
            kind=kind,
            recipient=order.customer_email,
            subject=_SUBJECTS[kind].format(order.number),
            body=_body(kind, {**_known(order), **tells}),
            message_id=_message_id(order),
            created_at=at,
            next_try_at=at,
        )
        for order, tells in zip(orders, told, strict=True)
    )


def _body(kind: Mail.Kind, told: Mapping[str, object]) -> str:
    """As the desk writes it, whoever's doing it tells of."""
    with conventions.by(conventions.of_the_desk()):
        return render_to_string(f"mails/{kind}.txt", {**told}).strip() + "\n"


def _message_id(order: Order, recipient: str = "") -> str:
    domain = parseaddr(settings.DEFAULT_FROM_EMAIL)[1].rpartition("@")[2]
    return f"<order-{order.pk}.{order.version}{recipient}@{domain}>"


def _known(order: Order) -> dict[str, object]:
    return {"number": order.number, "name": one_line(order.customer_name), "placed_at": order.placed_at}


def one_line(text: str) -> str:
    """The text as one line: a name that holds line breaks must not pass for something that we say."""
    return " ".join(text.split())


Part = TypeVar("Part", OrderLine, Payment)
Told = list[dict[str, object]]  # for each order, what its mail says besides


def _bought(orders: Sequence[Order]) -> Told:
    lines = _of_each(OrderLine.objects.filter(order__in=orders).select_related("product").order_by("position"))
    return [
        {
            "lines": [
                (line.quantity, one_line(line.product.name), money.format_money(line.total_minor, order.currency))
                for line in lines[order.pk][:MOST_LINES_SHOWN]
            ],
            "more_lines": max(0, len(lines[order.pk]) - MOST_LINES_SHOWN),
            "total": money.format_money(order.total_minor, order.currency),
        }
        for order in orders
    ]


def _to_confirm(orders: Sequence[Order]) -> Told:
    asking = Payment.objects.filter(order__in=orders, kind=Payment.Kind.CHARGE, status=Payment.State.REQUIRES_ACTION)
    asked = {charge.order_id: charge for charge in asking}
    return [
        {"amount": money.format_money(charge.amount_minor, charge.currency), "confirm_by": charge.confirm_by}
        for charge in (asked[order.pk] for order in orders)
    ]


def _sent(orders: Sequence[Order]) -> Told:
    sent = {shipment.order_id: shipment for shipment in Shipment.objects.filter(order__in=orders)}
    return [
        {
            "carrier": shipment.carrier,
            "tracking_number": shipment.tracking_number,
            "address": list(_address_lines(shipment.address or {})),
        }
        for shipment in (sent[order.pk] for order in orders)
    ]


def _address_lines(address: dict[str, str]) -> Iterator[str]:
    city = " ".join(address.get(part, "") for part in ("postal_code", "city"))
    country = money.country_name(address.get("country", ""))
    for line in (address.get("line1", ""), address.get("line2", ""), city, address.get("region", ""), country):
        if shown := one_line(line):
            yield shown


def _money_back(orders: Sequence[Order]) -> Told:
    """What was charged and goes back, from the payments themselves; only what has really happened is said."""
    payments = _of_each(Payment.objects.filter(order__in=orders).order_by("created_at", "id"))
    gone = set(
        Shipment.objects.filter(order__in=orders, status=Shipment.State.DISPATCHED).values_list("order_id", flat=True)
    )
    return [_money_of(order, payments[order.pk]) | {"has_gone": order.pk in gone} for order in orders]


def _money_of(order: Order, payments: Sequence[Payment]) -> dict[str, object]:
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
    }


def _of_each(parts: Iterable[Part]) -> Mapping[uuid.UUID, list[Part]]:
    """The parts of each order, in their sequence."""
    found: defaultdict[uuid.UUID, list[Part]] = defaultdict(list)
    for part in parts:
        found[part.order_id].append(part)
    return found

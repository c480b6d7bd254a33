"""A process of its own that works on the stack's database through the services, told what to do line by line.

A browser test cannot use the ORM itself: Playwright keeps an event loop running in its thread, and its process
has Django set up for another database. Each line is JSON: the name of a function here and its arguments.
"""

import itertools
import json
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import django

django.setup()

from django.conf import settings  # noqa: E402
from django.contrib.auth.models import Group, User  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.template.loader import render_to_string  # noqa: E402

from orders import accounts  # noqa: E402
from orders.management.commands.demo_orders import Stream  # noqa: E402
from orders.models import ActorKind, Order, Product, Review  # noqa: E402
from orders.services import asking, attending, claiming, placing, relaying, reviewing, stocking, undoing  # noqa: E402
from orders.services.actors import Actor  # noqa: E402
from orders.services.placing import Address, NewLine, NewOrder  # noqa: E402

_references = itertools.count(1)


def collect_static_files() -> None:
    """Those that the desk's own pages ask for."""
    call_command("collectstatic", "--no-input", "--ignore=admin", "--ignore=*-4*", verbosity=0)


def play_a_day(orders: int) -> None:
    Stream(seed=1).open(orders)


def page_of(template: str) -> str:
    return render_to_string(template)


def people(password: str) -> None:
    accounts.create_roles()
    for name, role in {"alice": "operator", "bob": "operator", "dana": "lead", "vera": "viewer"}.items():
        User.objects.create_user(name, password=password).groups.add(Group.objects.get(name=role))
    erin = User.objects.create_superuser("erin", password=password)
    erin.groups.add(Group.objects.get(name="admin"))
    stocking.stock_products(products=[Product(sku="LAMP", name="Brass desk lamp", stock=100_000)])


def place(
    name: str = "Ann Lee", quantity: int = 2, reviewed: bool = False, due_seconds: int = 0, country: str = "DE"
) -> dict[str, str]:
    """An order of lamps at 600.00 EUR each. `reviewed` does what a worker would do first."""
    now = datetime.now(UTC)
    new = NewOrder(
        source="e2e",
        reference=f"e2e-{now.timestamp()}-{next(_references)}",
        customer_name=name,
        customer_email=f"{name.lower().replace(' ', '.')}@example.com",
        address=Address(country, line1="Lindenstr. 4", city="Berlin", postal_code="10969"),
        currency="EUR",
        lines=[NewLine("LAMP", quantity, 60_000)],
        placed_at=now,
        decide_within=timedelta(seconds=due_seconds) if due_seconds else None,
    )
    order = placing.place_order(new=new, actor=Actor(ActorKind.CUSTOMER, name), at=now)
    if reviewed:
        reviewing.receive_order(order_id=order.pk, at=now)
        reviewing.validate_order(order_id=order.pk, at=now)
    order.refresh_from_db()
    return {"id": str(order.pk), "number": order.number}


def clear_the_queue() -> None:
    """Put off whatever waits, as if it had never come up."""
    far = datetime.now(UTC) + timedelta(days=900)
    Review.objects.filter(decision="").update(back_at=far, due_at=far)


def approve(order: str, by: str) -> None:
    reviewing.approve(order_id=_order(order).pk, actor=_operator(by), at=datetime.now(UTC))


def reject(order: str, by: str, reason: str) -> None:
    reviewing.reject(order_id=_order(order).pk, actor=_operator(by), at=datetime.now(UTC), reason=reason)


def cancel(order: str, by: str) -> None:
    undoing.cancel(order_id=_order(order).pk, actor=_operator(by), at=datetime.now(UTC), reason="")


def put_off(order: str, by: str, minutes: int) -> None:
    now = datetime.now(UTC)
    until = now + timedelta(minutes=minutes)
    asking.snooze(order_id=_order(order).pk, actor=_operator(by), at=now, reason="Calls back", until=until)


def take_back(order: str, by: str) -> None:
    asking.resume(order_id=_order(order).pk, actor=_operator(by), at=datetime.now(UTC))


def claim(order: str, by: str) -> None:
    claiming.claim(order_id=_order(order).pk, actor=_operator(by), at=datetime.now(UTC))


def retry(order: str, by: str) -> None:
    attending.retry(order_id=_order(order).pk, actor=_operator(by), at=datetime.now(UTC))


def expire(order: str) -> None:
    reviewing.settle_review(order_id=_order(order).pk, at=datetime.now(UTC) + timedelta(days=2))


def fail(order: str, reason: str) -> None:
    undoing.fail_order(order_id=_order(order).pk, at=datetime.now(UTC), reason=reason)


def forget(order: str) -> None:
    """Its deadline passed a day ago, and nobody saw to it."""
    _order(order).reviews.update(due_at=datetime.now(UTC) - timedelta(days=1))


def heartbeat(seconds_ago: float = 0, temporal_seconds_ago: float = 0) -> None:
    """The life sign of a worker that is not there."""
    now = datetime.now(UTC)
    relaying.record_heartbeat(
        worker="hands",
        queues=f"{settings.TEMPORAL_ORDERS_QUEUE}, {settings.TEMPORAL_SHIPPING_QUEUE}",
        started_at=now,
        temporal_seen_at=now - timedelta(seconds=temporal_seconds_ago),
        at=now - timedelta(seconds=seconds_ago),
    )


def status(order: str) -> str:
    return _order(order).status


def with_status(status: str) -> list[dict[str, str]]:
    """The orders of that status, the most valuable first."""
    orders = Order.objects.filter(status=status).order_by("-total_minor", "id")[:50]
    return [{"id": str(order.pk), "number": order.number} for order in orders]


def mail(order: str, kind: str) -> str:
    """What the customer was written last, of that kind."""
    return _order(order).mails.filter(kind=kind).latest("id").body


def decisions(order: str) -> list[list[str]]:
    """What the events say was decided, and by whom."""
    events = _order(order).events.filter(type__in=["approve", "reject", "cancel"]).order_by("sequence")
    return [[event.type, event.actor] for event in events]


def _order(number: str) -> Order:
    return Order.objects.get(number=number)


def _operator(name: str) -> Actor:
    return Actor.operator(User.objects.get(username=name))


KNOWN = (
    collect_static_files,
    play_a_day,
    page_of,
    people,
    place,
    clear_the_queue,
    approve,
    reject,
    claim,
    put_off,
    take_back,
    retry,
    cancel,
    expire,
    fail,
    forget,
    heartbeat,
    status,
    with_status,
    mail,
    decisions,
)


def main() -> None:
    known = {function.__name__: function for function in KNOWN}
    for line in sys.stdin:
        asked: dict[str, Any] = json.loads(line)
        answer = known[asked["do"]](**asked["with"])
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()

"""How long pages take at a size: in a process of its own, whose settings name a database of that size.

python -m tests.bench.pages RUNS    print the 95th percentiles as JSON, milliseconds by page
"""

import gc
import json
import sys
from uuid import uuid4

import django


def print_timings(runs: int) -> None:
    from django.contrib.auth.models import User
    from django.test import Client
    from django.urls import reverse

    from orders import benching
    from orders.accounts import create_bench_operator
    from orders.models import Order
    from orders.roles import Role
    from orders.states import WAITS_FOR_PEOPLE

    lead = create_bench_operator(Role.LEAD)
    keeper = User.objects.create_superuser(f"keeper-{uuid4().hex[:8]}")
    order = Order.objects.filter(status__in=WAITS_FOR_PEOPLE).order_by("-id")[:1].get()
    pages = {
        "queue": (lead, reverse("orders:queue")),
        "queue, searched": (lead, f"{reverse('orders:queue')}?q=anke"),
        "all orders": (lead, reverse("orders:orders")),
        "all orders, searched": (lead, f"{reverse('orders:orders')}?q=anke"),
        "an order's page": (lead, order.get_absolute_url()),
        "Django admin's list": (keeper, reverse("admin:orders_order_changelist")),
    }
    gc.collect()
    gc.freeze()  # as the web server does at its start
    timings = {}
    for name, (who, path) in pages.items():
        client = Client(headers={"host": "localhost", "accept-encoding": "gzip, br"})
        client.force_login(who)
        timings[name] = benching.timed(client, path, runs).p95
    sys.stdout.write(json.dumps(timings))


if __name__ == "__main__":
    django.setup()
    print_timings(int(sys.argv[1]))

"""How long pages take at a size: in a process of its own, whose settings name a database of that size.

python -m tests.bench.pages RUNS    print as JSON, by page, its 95th percentile in ms and how many orders it shows
"""

import gc
import json
import sys
from urllib.parse import urlencode
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
        "all orders": (lead, reverse("orders:orders")),
        **{
            f"{name}, searched for {what}": (lead, f"{reverse(f'orders:{url}')}?{urlencode({'q': words})}")
            for name, url in (("queue", "queue"), ("all orders", "orders"))
            for what, words in (("an order", order.number), ("what many have", "example"), ("a name", "anke"))
        },
        "an order's page": (lead, order.get_absolute_url()),
        "Django admin's list": (keeper, reverse("admin:orders_order_changelist")),
    }
    gc.collect()
    gc.freeze()  # as the web server does at its start
    found = {}
    for name, (who, path) in pages.items():
        client = Client(headers={"host": "localhost", "accept-encoding": "gzip, br"})
        client.force_login(who)
        shown = client.get(path, headers={"accept-encoding": "identity"}).content.count(b'<tr id="')
        found[name] = benching.timed(client, path, runs).p95, shown
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    django.setup()
    print_timings(int(sys.argv[1]))

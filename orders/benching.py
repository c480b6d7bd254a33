"""How long the desk's pages take on the server, each asked for again and again as a browser would."""

import gc
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from statistics import median, quantiles

from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext, override_settings
from django.urls import reverse

from orders import filters
from orders.filters import Sort
from orders.models import Order, Payment
from orders.states import WAITS_FOR_PEOPLE

WITHIN_MS = 50.0


@dataclass(frozen=True)
class Timing:
    """Milliseconds from the request to the whole answer, those in which Python computed, and how many queries."""

    path: str
    p50: float
    p95: float
    best: float
    computed: float
    queries: int

    @property
    def is_in_time(self) -> bool:
        return self.p95 <= WITHIN_MS


COMMON: Mapping[str, str] = {
    "q": "q=anke",
    "mail": "q=example.com",
    "city": "q=hamburg",
    "two": "q=jonas+brandt",
    "prefix": "q=a",
    "digits": "q=1",
    "status": "status=in_review",
    "attention": "status=attention",
    "amount": "amount_from=1000&amount_to=2000",
    "risk": "risk_from=0.4",
    "reason": "reason=high_amount",
    "sku": "sku=FLT-100",
    "country": "country=DE",
    "placed": "placed=24h",
    "due": "due=4h",
    "nobody": "assignee=nobody",
    "many": "country=DE&amount_from=1000&risk_from=0.2&reason=high_amount&q=hamburg",
}


def paths() -> Iterator[str]:
    """Every list, with each filter, sort and kind of search, common and rare; and the other pages."""
    queue, orders = reverse("orders:queue"), reverse("orders:orders")
    common, rare = COMMON, _rare()
    for base in (queue, orders):
        yield base
        yield from (f"{base}?sort={sort}" for sort in Sort)
        yield from (f"{base}?{query}" for query in (*common.values(), *rare.values()))
    yield from (f"{queue}?{query}" for _, query in filters.STANDING_VIEWS)
    yield f"{orders}?status=completed&country=DE&amount_from=100&amount_to=101&sku=ESP-LEV"
    yield f"{orders}?{common['q']}&sort=amount"
    yield f"{orders}?reason=high_risk&country=CH&sort=age"
    order = Order.objects.filter(status__in=WAITS_FOR_PEOPLE).order_by("-id")[:1].get()
    yield order.get_absolute_url()
    yield f"{queue}?order={order.pk}"
    yield from (reverse(f"orders:{name}") for name in ("me", "team", "roles", "catch_up_queue", "count_views"))


def _rare() -> Mapping[str, str]:
    found = {
        "nothing": "q=nobodyofthatname",
        "cheap": "amount_to=1",
        "dear": "amount_from=20000",
        "risky": "risk_from=0.99",
        "nowhere": "country=AQ",
        "unsold": "sku=TOR-GAS",
        "both": "country=AQ&q=example",
    }
    if order := Order.objects.exclude(customer_email="").order_by("id").first():
        found |= {"number": f"q={order.number}", "customer": f"customer={order.customer_email}"}
    if payment := Payment.objects.exclude(provider_reference="").order_by("id").first():
        found["payment"] = f"q={payment.provider_reference}"
    return found


def measure(user: User, *, runs: int) -> Iterator[Timing]:
    client = Client(headers={"host": "localhost", "accept-encoding": "gzip, br"})
    client.force_login(user)
    gc.collect()
    gc.freeze()  # as the web server does at its start
    try:
        with override_settings(SECOND_FACTOR=False):  # nobody is there to show one
            for path in paths():
                yield timed(client, path, runs)
    finally:
        client.logout()


def timed(client: Client, path: str, runs: int) -> Timing:
    with CaptureQueriesContext(connection) as asked:
        answer = client.get(path, secure=True)
    queries = len(asked)
    if answer.status_code != 200:
        raise RuntimeError(f"{path} answers with {answer.status_code}")
    took, computed = [], []
    for _ in range(runs):
        began, idle = time.perf_counter(), time.process_time()
        client.get(path, secure=True)
        took.append(1_000 * (time.perf_counter() - began))
        computed.append(1_000 * (time.process_time() - idle))
    cuts = quantiles(took, n=20, method="inclusive")
    return Timing(path, cuts[9], cuts[18], min(took), median(computed), queries)

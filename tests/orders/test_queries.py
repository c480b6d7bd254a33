"""How many queries a page makes, at most: none of them grows with what it lists."""

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext

from orders.models import Order
from tests.orders.conftest import SignedIn

MOST = {
    "/": 18,
    "/?country=DE&amount_from=1&q=ann&sku=LAMP&sort=amount": 20,
    "/?order={order}": 17,
    "/orders/": 9,
    "/orders/?country=DE&risk_from=0.1&q=ann&sku=LAMP": 10,
    "/orders/{order}/": 21,
    "/me/": 12,
    "/team/": 11,
    "/roles/": 8,
    "/live/queue/?shown={order}.1": 9,
    "/live/views/": 4,
}


@pytest.mark.parametrize("path", MOST)
def test_a_page_makes_no_more_queries_than_it_has_to(
    path: str, lead: User, signed_in: SignedIn, order_in_review: Order, short_order: Order
) -> None:
    at_leads = signed_in(lead)

    asks_for_the_order_alone = {"HX-Target": "opened"} if "order=" in path else {}
    with CaptureQueriesContext(connection) as asked:
        answer = at_leads.get(path.format(order=order_in_review.pk), headers=asks_for_the_order_alone)

    assert answer.status_code == 200
    assert len(asked) <= MOST[path], [query["sql"][:120] for query in asked.captured_queries]

"""What the web server and the worker log of an order that a program places: all of its story, nothing private.

How that is while calls fail, and in JSON, stands in `test_tries`.
"""

from tests.e2e.shop import Shop
from tests.e2e.stack import Stack


def test_no_log_of_any_process_has_a_secret_or_anything_of_the_customer(stack: Stack) -> None:
    shop = Shop(stack)
    order = shop.place()

    while not shop.wait(order)["has_ended"]:
        pass

    assert shop.private_in_logs(order) == []

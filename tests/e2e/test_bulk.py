"""Several orders decided on at once, before the eyes of those who did it and of others."""

import re

import psycopg
from playwright.sync_api import Page, expect

from tests.e2e.stack import Stack


def test_chosen_orders_are_looked_at_decided_on_and_told_of_live(stack: Stack, alice: Page, bob: Page) -> None:
    orders = [stack.hands("place", name=f"Bulky {word}", reviewed=True) for word in ("One", "Two", "Three")]
    for page in (alice, bob):
        page.goto("/?q=bulky")
    bar = alice.get_by_role("form", name="Decide on the chosen orders")
    expect(bar).to_be_hidden()
    for order in orders:
        alice.get_by_role("checkbox", name=f"Choose {order['number']}").check()

    with psycopg.connect(stack.database_url) as other:
        other.execute("SELECT FROM orders_order WHERE id = %s FOR NO KEY UPDATE", [orders[2]["id"]])
        bar.get_by_role("button", name="Approve…").click()
        expect(alice.get_by_role("heading", name="Approve 3 orders?")).to_be_visible()
        alice.get_by_role("button", name="Approve 3 orders").click()
        expect(alice.locator("#bulk-progress")).to_contain_text("2 of 3")
        expect(alice.get_by_role("cell", name="Done")).to_have_count(2)

    expect(alice.locator("#bulk-progress")).to_contain_text("All 3 were approved")
    expect(alice.get_by_role("cell", name="Done")).to_have_count(3)
    for order in orders:
        expect(bob.locator(f"#queue-{order['id']}")).to_have_class(re.compile("decided"))
    alice.goto("/bulk/")
    expect(alice.get_by_role("link", name="Approve 3 orders").first).to_be_visible()


def test_all_that_match_are_chosen_at_once_and_a_choice_is_taken_back(stack: Stack, alice: Page) -> None:
    orders = [stack.hands("place", name=f"Matching {word}", reviewed=True) for word in ("One", "Two")]
    alice.goto("/?q=matching")
    bar = alice.get_by_role("form", name="Decide on the chosen orders")
    alice.get_by_role("checkbox", name=f"Choose {orders[0]['number']}").check()

    bar.get_by_role("button", name="Choose none").click()
    expect(bar).to_be_hidden()
    alice.get_by_role("checkbox", name=f"Choose {orders[0]['number']}").check()
    bar.get_by_role("checkbox", name="All 2 that match").check()
    bar.get_by_role("button", name="Reject…").click()

    expect(alice.get_by_role("heading", name="Reject 2 orders?")).to_be_visible()
    alice.get_by_role("link", name="Back to the queue").click()
    expect(alice.locator(".queue .row")).to_have_count(2)

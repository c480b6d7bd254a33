"""A question to the customer: one operator asks, the customer answers, and another operator sees it come back."""

import re

from playwright.sync_api import Page, expect

from tests.e2e.stack import Stack, Visitors
from tests.e2e.test_two_operators import row


def test_alice_asks_the_customer_answers_and_bob_sees_it_come_back(
    stack: Stack, visitors: Visitors, alice: Page, bob: Page
) -> None:
    order = stack.hands("place", name="Flat Hunter", reviewed=True)
    bob.reload()
    expect(bob.locator("#live-sign")).to_have_text("Live")
    expect(row(bob, order)).to_be_visible()
    alice.goto(f"/orders/{order['id']}/")

    alice.get_by_text("Ask customer…").click()
    alice.get_by_label("What do you ask Flat Hunter?").fill("Which flat is it?")
    alice.get_by_label("For how long?").first.select_option("4 hours")
    alice.get_by_role("button", name="Ask customer", exact=True).click()

    expect(row(bob, order)).to_contain_text("Which flat is it?")
    expect(row(bob, order)).to_have_class(re.compile("decided"))
    expect(row(bob, order).get_by_role("button", name=f"Take back {order['number']}")).to_be_visible()
    expect(alice.locator(".put-off")).to_contain_text("Its deadline goes on running")
    bob.reload()
    expect(bob.locator("#live-sign")).to_have_text("Live")
    expect(row(bob, order)).to_have_count(0)

    link = re.search(r"http\S+/answer/\S+", stack.hands("mail", order=order["number"], kind="question"))
    assert link
    customer = visitors.browser(viewport={"width": 390, "height": 844}).new_page()
    customer.goto(link[0])
    expect(customer.get_by_role("heading", level=1)).to_have_text(f"Your order {order['number']}")
    customer.get_by_label("Your answer").fill("The second, on the left")
    customer.get_by_role("button", name="Send answer").click()
    expect(customer.get_by_role("status")).to_contain_text("Thank you")

    expect(bob.locator("#new")).to_be_visible()
    bob.locator("#new").click()
    expect(row(bob, order)).to_be_visible()
    expect(row(bob, order).get_by_role("button", name=f"Approve {order['number']}")).to_be_visible()
    expect(alice.locator(".asked")).to_contain_text("The second, on the left")
    expect(alice.locator(".timeline")).to_contain_text("The customer answered")
    expect(alice.locator(".put-off")).to_have_count(0)


def test_a_deadline_that_an_operator_moves_moves_on_every_screen(stack: Stack, alice: Page, bob: Page) -> None:
    order = stack.hands("place", name="More Time", reviewed=True)
    bob.reload()
    expect(bob.locator("#live-sign")).to_have_text("Live")
    due = row(bob, order).locator("time.due")
    before = due.get_attribute("datetime") or ""
    alice.goto(f"/orders/{order['id']}/")

    alice.get_by_text("Extend deadline…").click()
    alice.get_by_label("How much more time?").select_option("4 hours")
    alice.get_by_label("Why?").fill("She calls back")
    alice.get_by_role("button", name="Extend deadline").click()

    expect(due).not_to_have_attribute("datetime", before)
    expect(alice.locator(".timeline")).to_contain_text("More time")

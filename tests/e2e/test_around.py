"""What is around the orders: the menu of one's own, and times in the zone of who looks."""

import re

from playwright.sync_api import expect

from tests.e2e.conftest import at_the_queue
from tests.e2e.stack import Stack, Visitors


def test_the_computers_zone_is_offered_and_then_kept(stack: Stack, visitors: Visitors) -> None:
    order = stack.hands("place", name="Zoe Zone", reviewed=True)
    vera = at_the_queue(visitors, "vera", timezone_id="America/New_York")

    vera.get_by_role("button", name="Use America/New_York").click()

    expect(vera.get_by_text("Times are shown in America/New_York now")).to_be_visible()
    expect(vera.locator("#zone")).to_have_count(0)
    due = vera.locator(f"#queue-{order['id']} time.due")
    expect(due).to_have_attribute("title", re.compile(r"E[SD]T \(.*UTC\)"))
    stack.hands("approve", order=order["number"], by="bob")
    expect(vera.locator(f"#queue-{order['id']}")).to_contain_text("Approved by bob")
    assert vera.locator("body").get_attribute("data-zone") == "America/New_York"


def test_the_menu_opens_by_key_and_leads_to_the_rights(visitors: Visitors) -> None:
    vera = at_the_queue(visitors, "vera", viewport={"width": 390, "height": 844})

    vera.locator(".menu > summary").press("Enter")
    vera.get_by_role("link", name="Who may do what").press("Enter")

    expect(vera.get_by_role("heading", name="Who may do what")).to_be_visible()
    vera.locator(".menu > summary").press("Enter")
    expect(vera.get_by_role("button", name="Sign out")).to_be_visible()
    vera.keyboard.press("Escape")
    expect(vera.get_by_role("button", name="Sign out")).to_be_hidden()
    assert vera.evaluate("document.documentElement.scrollWidth") == 390

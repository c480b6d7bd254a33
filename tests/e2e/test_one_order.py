"""Two people before one order: notes and mentions, the timeline by kind, the address before it is saved."""

import re

from playwright.sync_api import Page, expect

from tests.e2e.stack import Stack


def test_a_mention_reaches_a_colleague_at_once_and_is_gone_once_seen(stack: Stack, alice: Page, bob: Page) -> None:
    order = stack.hands("place", name="Notable Person", reviewed=True)
    alice.goto(f"/orders/{order['id']}/")
    expect(alice.locator("#live-sign")).to_have_text("Live")
    alice.keyboard.press("n")
    expect(alice.locator(f"textarea#note-{order['id']}")).to_be_focused()

    alice.keyboard.type("Rang them, @bbo please look")
    alice.get_by_role("button", name="Add note").click()
    expect(alice.get_by_role("alert")).to_contain_text("Did you mean @bob?")
    alice.get_by_label("A note to your colleagues").fill("Rang them, @bob please look")
    alice.get_by_role("button", name="Add note").click()

    expect(alice.locator(".notes li").filter(has_text="Rang them, @bob please look")).to_be_visible()
    expect(alice.get_by_label("A note to your colleagues")).to_have_value("")
    badge = bob.locator("#mentions")
    expect(badge).to_contain_text("1")
    badge.get_by_role("link").click()
    bob.get_by_role("link", name=order["number"]).click()
    expect(bob.locator(".notes li.for-you")).to_contain_text("Rang them")
    bob.goto("/")
    expect(bob.locator("#mentions a")).to_have_count(0)


def test_the_timeline_stays_narrowed_while_the_order_goes_on(stack: Stack, alice: Page) -> None:
    order = stack.hands("place", name="Nora Narrow", reviewed=True)
    alice.goto(f"/orders/{order['id']}/")
    expect(alice.locator("#live-sign")).to_have_text("Live")
    kinds = alice.get_by_label("Narrow the timeline")

    kinds.get_by_role("link", name="Payment").click()
    expect(alice).to_have_url(re.compile(r"\?show=payment$"))
    expect(kinds.get_by_role("link", name="Payment")).to_have_attribute("aria-current", "true")
    stack.hands("approve", order=order["number"], by="bob")

    expect(alice.locator(".timeline > li").filter(has_text="Card charged")).to_be_visible()
    expect(alice.locator(".timeline > li").filter(has_text="Approved by bob")).to_be_hidden()
    expect(alice.locator(".timeline > li").filter(has_text="Order came in")).to_have_count(0)
    kinds.get_by_role("link", name="All").click()
    expect(alice.locator(".timeline > li").filter(has_text="Approved by bob")).to_be_visible()


def test_temporals_history_unfolds_below_the_timeline(stack: Stack, alice: Page) -> None:
    order = stack.hands("place", name="Ada Unfold")
    alice.goto(f"/orders/{order['id']}/")
    expect(alice.get_by_role("heading", name=order["number"])).to_contain_text("In review")

    alice.get_by_text("own history").click()

    expect(alice.locator(".history")).to_contain_text("Run started")


def test_an_address_is_checked_while_it_is_typed(stack: Stack, alice: Page) -> None:
    order = stack.hands("place", name="Homer Away", reviewed=True)
    alice.goto(f"/orders/{order['id']}/")
    alice.get_by_text("Change address…").click()

    alice.get_by_label("Country").select_option("FR")
    alice.get_by_label("Postal code").fill("7500")
    alice.get_by_label("Postal code").press("Tab")

    check = alice.locator(f"#address-check-{order['id']}")
    expect(check).to_contain_text("Postal code is none of France")
    expect(check.locator("del").filter(has_text="10969")).to_be_visible()
    alice.get_by_label("Postal code").fill("75007")
    alice.get_by_role("button", name="Change address", exact=True).click()
    expect(alice.locator("address")).to_contain_text("75007 Berlin")
    expect(alice.locator(".timeline .changes").first).to_contain_text("10969 → 75007")

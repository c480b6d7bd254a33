"""Two operators and a lead: whose an order is shows on every screen, and two pairs of eyes are two people's."""

import re

from playwright.sync_api import Page, expect

from tests.e2e.conftest import at_the_queue
from tests.e2e.stack import Stack, Visitors


def open_page(page: Page, order: dict[str, str]) -> None:
    page.goto(f"/orders/{order['id']}/")
    expect(page.locator("#live-sign")).to_have_text("Live")


def test_a_claim_shows_everywhere_and_a_lead_takes_it_over(
    stack: Stack, visitors: Visitors, alice: Page, bob: Page
) -> None:
    order = stack.hands("place", name="Claire Mine", reviewed=True)
    open_page(alice, order)
    bob.reload()
    row = bob.locator(f"#queue-{order['id']}")
    expect(row).to_be_visible()
    dana = at_the_queue(visitors, "dana")
    open_page(dana, order)

    alice.get_by_role("button", name="Claim", exact=True).click()

    expect(alice.locator(".claim")).to_contain_text("You have it in hand")
    expect(row.locator(".claimed")).to_have_text("alice")
    expect(dana.locator(".claim")).to_contain_text("alice has it in hand")
    with bob.expect_response(re.compile("/approve/")) as answer:
        row.get_by_role("button", name=f"Approve {order['number']}").click()
    assert answer.value.status == 409
    expect(row).to_contain_text("alice has it in hand since")
    assert stack.hands("decisions", order=order["number"]) == []

    dana.get_by_text("Take over…").click()
    dana.get_by_label("Why do you take it over?").fill("Alice is at lunch")
    dana.get_by_role("button", name="Take over").click()

    expect(alice.locator(".claim")).to_contain_text("dana has it in hand")
    expect(alice.locator(".timeline")).to_contain_text("Taken over by dana")
    expect(row.locator(".claimed")).to_have_text("dana")
    dana.get_by_text("Hand over…").click()
    dana.get_by_label("Who should decide?").select_option("bob")
    dana.get_by_role("button", name="Hand over").click()
    expect(row.locator(".claimed")).to_have_text("bob")
    row.get_by_role("button", name=f"Approve {order['number']}").click()
    expect(alice.get_by_role("heading", name=order["number"])).not_to_contain_text("In review")
    assert stack.hands("decisions", order=order["number"]) == [["approve", "bob"]]


def test_what_is_worth_it_needs_two_people(stack: Stack, alice: Page, bob: Page) -> None:
    order = stack.hands("place", name="Dora Dear", quantity=10, reviewed=True)
    for page in (alice, bob):
        open_page(page, order)
        expect(page.locator(".claim")).to_contain_text("Two people must approve.")

    alice.get_by_role("button", name=f"Approve {order['number']}").click()

    for page in (alice, bob):
        expect(page.locator(".claim")).to_contain_text("Endorsed by alice")
        expect(page.get_by_role("heading", name=order["number"])).to_contain_text("In review")
    expect(alice.get_by_role("button", name=f"Approve {order['number']}")).to_be_disabled()
    bob.get_by_role("button", name=f"Approve {order['number']}").click()

    expect(bob.locator(".why")).to_contain_text("Approved by bob")
    expect(alice.locator(".why")).to_contain_text("Approved by bob")
    assert stack.hands("decisions", order=order["number"]) == [["approve", "bob"]]


def test_who_decides_on_an_old_page_is_told_what_happened_and_keeps_the_text(
    stack: Stack, alice: Page, bob: Page
) -> None:
    order = stack.hands("place", name="Stella Stale", reviewed=True)
    bob.context.route("**/live/**", lambda route: route.abort())  # his page hears of nothing
    bob.goto(f"/orders/{order['id']}/")
    open_page(alice, order)
    alice.get_by_text("Change address…").click()
    alice.get_by_label("Town").fill("Potsdam")
    alice.get_by_role("button", name="Change address").click()
    expect(alice.locator(".timeline")).to_contain_text("Address changed by alice")
    alice.get_by_role("button", name="Release").click()
    expect(alice.locator(".claim")).to_contain_text("Nobody has it in hand")

    bob.get_by_text("Reject…").click()
    bob.get_by_label(f"Why is {order['number']} rejected?").select_option("address")
    bob.get_by_label("What is there to say?").fill("No such street in Berlin")
    bob.get_by_role("button", name="Reject order").click()

    expect(bob.get_by_role("alert")).to_contain_text("Address changed by alice at")
    expect(bob.get_by_label("What is there to say?")).to_have_value("No such street in Berlin")
    expect(bob.locator("address")).to_contain_text("Potsdam")
    assert stack.hands("decisions", order=order["number"]) == []
    bob.get_by_role("button", name="Reject order").click()
    expect(bob.get_by_role("heading", name=order["number"])).to_contain_text("Rejected")

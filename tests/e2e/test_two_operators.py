"""Two people at the desk: what one does, the other sees by itself."""

import re

from playwright.sync_api import Locator, Page, Route, expect

from tests.e2e.stack import Stack, Visitors, sign_in


def row(page: Page, order: dict[str, str]) -> Locator:
    return page.locator(f"#queue-{order['id']}")


def test_an_approval_in_one_browser_shows_in_the_other_and_the_order_ships(stack: Stack, visitors: Visitors) -> None:
    order = stack.hands("place", name="Nora Quinn")
    first, second = visitors.browser().new_page(), visitors.browser().new_page()
    sign_in(first, stack, "alice")
    sign_in(second, stack, "bob")
    expect(second.locator("#live-sign")).to_have_text("Live")
    for page in (first, second):
        new = page.locator("#new:not([hidden])")  # shown where it came to review after the page was loaded
        expect(row(page, order).or_(new).first).to_be_visible()
        if new.is_visible():
            new.click()
        expect(row(page, order)).to_be_visible()

    first.get_by_role("button", name=f"Approve {order['number']}").click()

    expect(row(second, order)).to_have_class(re.compile("decided"))
    expect(row(second, order)).to_contain_text("Approved by alice")
    expect(row(first, order)).to_contain_text("Approved by alice")
    for page in (first, second):
        expect(row(page, order).locator(".c-due")).to_have_text("Completed")
        expect(page.locator(".news")).to_have_count(0)
    assert stack.hands("status", order=order["number"]) == "completed"


def test_the_order_page_follows_charge_and_shipping_step_by_step(stack: Stack, alice: Page, bob: Page) -> None:
    order = stack.hands("place", name="Step Wise")
    bob.goto(f"/orders/{order['id']}/")
    expect(bob.locator("#live-sign")).to_have_text("Live")
    expect(bob.get_by_role("heading", name=re.compile("In review"))).to_be_visible()
    bob.evaluate(
        """() => {
          window.steps = [];
          const note = () => {
            const live = document.querySelector(".steps [aria-current]")?.firstChild.textContent;
            if (live && live !== window.steps.at(-1)) window.steps.push(live);
          };
          new MutationObserver(note).observe(document.body, {childList: true, subtree: true});
          note();
        }"""
    )

    stack.hands("approve", order=order["number"], by="alice")

    expect(bob.get_by_role("heading", name=re.compile("Completed"))).to_be_visible(timeout=20_000)
    seen = bob.evaluate("window.steps")
    assert seen[0] == "Review"
    assert len(seen) >= 3, seen  # changes that fall into one rendering are told together
    assert seen == sorted(seen, key=["Review", "Stock", "Payment", "Package", "Carrier", "Done"].index)
    timeline = bob.locator(".timeline")
    for said in ("Approved by alice", "Card charged", "The carrier has the package", "Completed"):
        expect(timeline).to_contain_text(said)


def test_the_page_of_the_one_who_approved_stays_true_to_the_end(stack: Stack, alice: Page) -> None:
    order = stack.hands("place", name="Hands Off")
    alice.goto(f"/orders/{order['id']}/")
    expect(alice.locator("#live-sign")).to_have_text("Live")
    heading = alice.get_by_role("heading", name=order["number"])
    expect(heading).to_contain_text("In review")

    alice.get_by_role("button", name=f"Approve {order['number']}").click()

    expect(heading).to_contain_text("Completed")
    expect(heading).to_be_focused()
    expect(alice.locator(".news")).to_have_count(0)
    expect(alice.locator(".order > .head")).not_to_contain_text("Approved")


def test_one_corrects_an_order_that_came_in_live_and_the_other_sees_it_arrive(
    stack: Stack, alice: Page, bob: Page
) -> None:
    order = stack.hands("place", name="Roald Amundsen", country="AQ")
    expect(alice.locator("#new")).to_be_visible()
    stack.hands("approve", order=order["number"], by="dana")
    for page in (alice, bob):
        expect(page.locator("#waiting .helpless")).to_be_visible(timeout=20_000)
        page.locator("#new").click()
        expect(row(page, order)).to_contain_text("Undeliverable")
        expect(row(page, order).get_by_role("button", name=f"Approve {order['number']}")).to_have_count(0)

    row(alice, order).get_by_role("link", name="Correct the address").click()
    form = alice.locator(f"#address-{order['id']} form")
    form.get_by_label("Country").select_option("DE")
    form.get_by_role("button", name="Correct and retry").click()

    expect(row(bob, order)).to_contain_text("Retried by alice")
    expect(row(bob, order).locator(".c-due")).to_have_text("Completed")
    expect(row(bob, order)).to_contain_text("Germany")
    expect(bob.locator("#waiting .helpless")).to_have_count(0)
    expect(alice.get_by_role("heading", name=order["number"])).to_contain_text("Completed")
    expect(alice.locator(".news")).to_have_count(0)


def test_a_half_filled_correction_survives_a_colleagues_retry(stack: Stack, alice: Page) -> None:
    order = stack.hands("place", name="Robert Scott", country="AQ")
    alice.goto(f"/orders/{order['id']}/")
    expect(alice.get_by_role("heading", name=order["number"])).to_contain_text("In review")
    stack.hands("approve", order=order["number"], by="dana")
    alice.get_by_text("Correct address…").click()
    town = alice.get_by_label("Town")
    town.fill("Tromsø")

    stack.hands("retry", order=order["number"], by="bob")

    # The carrier refuses it again: what was typed for it still fits.
    expect(alice.locator(".why .reasons")).to_contain_text("does not deliver there")
    expect(alice.locator(".timeline")).to_contain_text("Sent on its way again by bob")
    expect(town).to_have_value("Tromsø")
    alice.get_by_label("Country").select_option("DE")
    alice.get_by_role("button", name="Correct and retry").click()
    # It was tried between her look and her click: that is told once, and what was typed goes with the next one.
    expect(alice.get_by_role("alert")).to_contain_text("your correction was not carried out")
    expect(town).to_have_value("Tromsø")
    alice.get_by_role("button", name="Correct and retry").click()
    expect(alice.get_by_role("heading", name=order["number"])).to_contain_text("Completed")


def test_a_focused_button_that_would_vanish_stays_and_tells_why(stack: Stack, alice: Page) -> None:
    order = stack.hands("place", name="Finger Above", reviewed=True)
    alice.reload()
    expect(alice.locator("#live-sign")).to_have_text("Live")
    button = row(alice, order).get_by_role("button", name=f"Approve {order['number']}")
    button.focus()

    stack.hands("approve", order=order["number"], by="bob")

    expect(row(alice, order).locator(".news")).to_contain_text("Approved by bob")
    expect(button).to_be_focused()
    expect(button).to_be_disabled()


def test_of_two_at_once_one_decides_and_the_other_is_told_who(stack: Stack, alice: Page, bob: Page) -> None:
    order = stack.hands("place", name="Race Day", reviewed=True)
    alice.reload()
    bob.reload()
    # Bob's page hears of nothing: he decides on what he saw.
    bob.context.route("**/live/**", lambda route: route.abort())
    bob.reload()
    row(bob, order).get_by_text("Reject…").click()
    row(bob, order).get_by_label(f"Why is {order['number']} rejected?").select_option("fraud")
    row(bob, order).locator("textarea").fill("Card and address do not match")

    row(alice, order).get_by_role("button", name=f"Approve {order['number']}").click()
    expect(row(alice, order)).to_contain_text("Approved by alice")
    with bob.expect_response(lambda response: "/reject/" in response.url) as answer:
        row(bob, order).get_by_role("button", name="Reject order").click()

    assert answer.value.status == 409
    expect(row(bob, order)).to_contain_text("Approved by alice")
    expect(row(bob, order)).to_contain_text("your rejection was not carried out")
    expect(row(bob, order).locator("textarea")).to_have_value("Card and address do not match")
    assert stack.hands("decisions", order=order["number"]) == [["approve", "alice"]]


def test_a_double_click_decides_once(stack: Stack, alice: Page) -> None:
    order = stack.hands("place", name="Double Click", reviewed=True)
    alice.reload()

    row(alice, order).get_by_role("button", name=f"Approve {order['number']}").dblclick()

    expect(row(alice, order)).to_contain_text("Approved by alice")
    expect(row(alice, order).get_by_role("alert")).to_have_count(0)
    assert stack.hands("decisions", order=order["number"]) == [["approve", "alice"]]


def test_a_half_typed_reason_survives_what_others_do(stack: Stack, alice: Page) -> None:
    order = stack.hands("place", name="Half Typed", reviewed=True)
    other = stack.hands("place", name="Other Order", reviewed=True)
    alice.reload()
    expect(alice.locator("#live-sign")).to_have_text("Live")
    row(alice, order).get_by_text("Reject…").click()
    reason = row(alice, order).locator("textarea")
    reason.press_sequentially("The address is a")
    stack.hands("approve", order=other["number"], by="bob")
    expect(row(alice, other)).to_contain_text("Approved by bob")
    reason.press_sequentially(" parcel lo")

    stack.hands("approve", order=order["number"], by="bob")

    expect(row(alice, order).locator(".news")).to_contain_text("Approved by bob")
    expect(row(alice, order).locator(".news")).to_contain_text("Your text is kept")
    reason.press_sequentially("cker")
    expect(reason).to_have_value("The address is a parcel locker")
    expect(reason).to_be_focused()
    expect(row(alice, order).get_by_role("button", name="Reject order")).to_be_disabled()
    assert stack.hands("decisions", order=order["number"]) == [["approve", "bob"]]


def test_new_orders_wait_behind_a_button(stack: Stack, alice: Page) -> None:
    before = alice.locator("tr.row").count()

    order = stack.hands("place", name="Late Comer", reviewed=True)

    expect(alice.locator("#new")).to_have_text(re.compile(r"^\d+ new$"))
    assert alice.locator("tr.row").count() == before
    alice.locator("#new").click()
    expect(row(alice, order)).to_be_visible()
    expect(alice.locator("#new")).to_be_hidden()


def test_an_order_that_comes_while_the_page_catches_up_is_not_lost(stack: Stack, alice: Page) -> None:
    asked: list[Route] = []

    def answer_late(route: Route) -> None:
        asked.append(route)
        if len(asked) > 1:
            return  # a later answer would know of it
        answer = route.fetch()
        stack.hands("place", name="Between Times", reviewed=True)
        expect(alice.locator("#new")).to_have_text("1 new")
        told = answer.json()
        handled = '<p id="queue_sum" class="quiet" data-version="9999999999999">handled</p>'
        route.fulfill(response=answer, json={**told, "fragments": [*told["fragments"], handled]})

    alice.route("**/live/queue/?**", answer_late)

    alice.reload()

    expect(alice.locator("#queue_sum")).to_have_text("handled")
    expect(alice.locator("#new")).to_have_text("1 new")


def test_eight_tabs_of_one_browser_are_all_live_and_none_hangs(stack: Stack, visitors: Visitors) -> None:
    order = stack.hands("place", name="Eight Tabs", reviewed=True)
    browser = visitors.browser_of("alice")
    tabs = [browser.new_page() for _ in range(8)]
    for tab in tabs:
        tab.goto("/")
        expect(tab.locator("#live-sign")).to_have_text("Live")
        expect(row(tab, order)).to_be_visible()

    row(tabs[7], order).get_by_role("button", name=f"Approve {order['number']}").click()

    for tab in tabs:
        expect(row(tab, order)).to_contain_text("Approved by alice")
    # The one that held the stream goes: another takes over.
    tabs[0].close()
    late = stack.hands("place", name="After Eight", reviewed=True)
    for tab in tabs[1:]:
        expect(tab.locator("#new")).to_be_visible()
        tab.locator("#new").click()
        expect(row(tab, late)).to_be_visible()

"""What is around the orders: the menu of one's own, times in the zone of who looks, what is one's own and the team's,
and views of the queue.
"""

import re

from playwright.sync_api import Page, expect

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
    vera.wait_for_load_state()
    vera.locator(".menu > summary").press("Enter")
    expect(vera.get_by_role("button", name="Sign out")).to_be_visible()
    vera.keyboard.press("Escape")
    expect(vera.get_by_role("button", name="Sign out")).to_be_hidden()
    assert vera.evaluate("document.documentElement.scrollWidth") == 390


def test_what_is_in_ones_hands_and_how_the_team_is_doing_stay_true(stack: Stack, visitors: Visitors) -> None:
    order = stack.hands("place", name="Mia Mine", reviewed=True)
    alice, dana = at_the_queue(visitors, "alice"), at_the_queue(visitors, "dana")
    alice.goto("/me/")
    dana.goto("/team/")
    for page in (alice, dana):
        expect(page.locator("#live-sign")).to_have_text("Live")
    alice.get_by_label("Time zone").focus()
    decided = dana.locator(".figures > div", has_text="Decided").locator("dd").first
    before = int(decided.inner_text())

    stack.hands("claim", order=order["number"], by="alice")
    release = alice.get_by_role("button", name=f"Release {order['number']}")
    expect(release).to_be_visible()
    expect(alice.get_by_label("Time zone")).to_be_focused()
    alice.get_by_role("link", name=order["number"]).focus()
    stack.hands("approve", order=order["number"], by="alice")

    expect(release).to_have_count(0)
    mine = alice.locator("[data-part=decided]").get_by_role("row", name=order["number"])
    expect(mine).to_contain_text("Approved")
    expect(decided).to_have_text(str(before + 1))


def save_view(page: Page, name: str, *, shared: bool) -> None:
    page.get_by_text("Save view…").click()
    page.get_by_label("Name", exact=True).fill(name)
    if shared:
        page.get_by_label("For everybody").check()
    page.get_by_role("button", name="Save", exact=True).click()


def test_views_are_saved_for_oneself_or_all_and_count_as_others_decide(stack: Stack, visitors: Visitors) -> None:
    first, _ = (stack.hands("place", name=f"Petra {n}", reviewed=True, country="PT") for n in range(2))
    alice, dana = at_the_queue(visitors, "alice"), at_the_queue(visitors, "dana")
    dana.goto("/?country=PT")
    save_view(dana, "Portugal", shared=True)
    alice.goto("/?country=PT&sort=amount")
    save_view(alice, "My Portugal", shared=False)

    views = alice.get_by_role("navigation", name="Views")
    shared, own = (views.get_by_role("link", name=re.compile(f"^{name}")) for name in ("Portugal", "My Portugal"))
    expect(own).to_have_attribute("aria-current", "page")
    expect(own).to_have_attribute("title", "Only you see this view")
    for tab in (shared, own):
        expect(tab.locator(".count")).to_have_text("2")
    expect(alice.locator("#live-sign")).to_have_text("Live")
    stack.hands("approve", order=first["number"], by="bob")
    for tab in (shared, own):
        expect(tab.locator(".count")).to_have_text("1")
    dana.reload()
    expect(dana.get_by_role("link", name=re.compile("^Portugal"))).to_be_visible()
    expect(dana.get_by_role("link", name=re.compile("^My Portugal"))).to_have_count(0)

"""Pages on their own: without scripts, on a phone, and when the connection is lost."""

import re
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.conftest import at_the_queue
from tests.e2e.stack import Stack, Visitors, sign_in

Order = dict[str, str]


@pytest.fixture
def order(stack: Stack) -> Order:
    order: Order = stack.hands("place", name="Page Turner", reviewed=True)
    return order


@pytest.fixture
def plain(visitors: Visitors, stack: Stack) -> Page:
    """Alice with scripts switched off."""
    page = visitors.browser(java_script_enabled=False).new_page()
    sign_in(page, stack, "alice")
    return page


def test_approving_works_without_scripts(stack: Stack, plain: Page, order: Order) -> None:
    plain.reload()

    plain.locator(f"#queue-{order['id']}").get_by_role("button", name="Approve").click()

    expect(plain).to_have_url(f"{stack.url}/")
    expect(plain.get_by_role("status").filter(has_text="approved")).to_have_text(f"{order['number']} approved.")
    expect(plain.locator(f"#queue-{order['id']}")).to_have_count(0)
    assert stack.hands("decisions", order=order["number"]) == [["approve", "alice"]]


def test_rejecting_works_without_scripts(stack: Stack, plain: Page, order: Order) -> None:
    plain.reload()
    row = plain.locator(f"#queue-{order['id']}")
    row.get_by_text("Reject…").click()
    row.get_by_role("link", name="Reject it on its own page").click()
    plain.get_by_label(f"Why is {order['number']} rejected?").select_option("fraud")
    plain.get_by_label("What is there to say?").fill("Asked twice, no answer")

    plain.get_by_role("button", name="Reject order").click()

    expect(plain.get_by_role("heading", name=order["number"])).to_contain_text("Rejected")
    expect(plain.locator(".timeline")).to_contain_text("“Asked twice, no answer”")
    assert stack.hands("decisions", order=order["number"]) == [["reject", "alice"]]


def test_the_loser_is_told_without_scripts_too(stack: Stack, plain: Page, order: Order) -> None:
    plain.goto(f"/orders/{order['id']}/")
    plain.get_by_text("Reject…").click()
    plain.get_by_label(f"Why is {order['number']} rejected?").select_option("fraud")
    plain.get_by_label("What is there to say?").fill("Too late for this")
    stack.hands("approve", order=order["number"], by="bob")

    plain.get_by_role("button", name="Reject order").click()

    expect(plain.get_by_role("alert")).to_contain_text("Approved by bob")
    expect(plain.get_by_label("Your text, not sent")).to_have_value("Too late for this")


def test_a_reason_has_to_be_chosen(stack: Stack, alice: Page, order: Order) -> None:
    alice.reload()
    row = alice.locator(f"#queue-{order['id']}")
    row.get_by_text("Reject…").click()
    reason = row.get_by_label(f"Why is {order['number']} rejected?")
    expect(reason).to_be_focused()
    row.locator("textarea").fill("Words alone")

    row.get_by_role("button", name="Reject order").click()

    expect(reason).to_be_focused()
    reason.select_option("fraud")
    row.get_by_role("button", name="Reject order").click()
    expect(row).to_contain_text("Rejected by alice")


def test_a_viewer_looks_and_has_nothing_to_decide_with(visitors: Visitors, order: Order) -> None:
    vera = at_the_queue(visitors, "vera")

    expect(vera.locator(f"#queue-{order['id']}")).to_be_visible()
    expect(vera.get_by_role("button", name="Approve")).to_have_count(0)
    vera.goto(f"/orders/{order['id']}/")
    expect(vera.get_by_text("Reject…")).to_have_count(0)
    expect(vera.get_by_text("Cancel order…")).to_have_count(0)


def test_after_the_listener_is_cut_nothing_is_missed(stack: Stack, alice: Page, order: Order) -> None:
    alice.reload()
    expect(alice.locator("#live-sign")).to_have_text("Live")

    assert stack.end_listeners() >= 1
    stack.hands("approve", order=order["number"], by="bob")

    expect(alice.locator(f"#queue-{order['id']}")).to_contain_text("Approved by bob")


def test_a_lost_connection_is_told_and_caught_up_with(stack: Stack, alice: Page, order: Order) -> None:
    put_off = stack.hands("place", name="Back Meanwhile", reviewed=True)
    stack.hands("put_off", order=put_off["number"], by="bob", minutes=60)
    alice.reload()
    expect(alice.locator("#live-sign")).to_have_text("Live")
    row = alice.locator(f"#queue-{order['id']}")
    row.get_by_text("Reject…").click()
    row.locator("textarea").fill("Still here")

    stack.web.stop()
    expect(alice.locator("#live-sign")).to_have_text(re.compile(r"Not live since \d\d:\d\d:\d\d, trying again"))
    stack.hands("approve", order=order["number"], by="bob")
    late = stack.hands("place", name="While Away", reviewed=True)
    stack.hands("take_back", order=put_off["number"], by="bob")
    stack.start_web()

    expect(alice.locator("#live-sign")).to_have_text("Live")
    expect(row).to_contain_text("Approved by bob")
    expect(row.locator("textarea")).to_have_value("Still here")
    expect(alice.locator("#new")).to_have_text("2 new")
    alice.locator("#new").click()
    for new in (late, put_off):
        expect(alice.locator(f"#queue-{new['id']}")).to_be_visible()


def test_a_decision_that_cannot_be_sent_keeps_what_was_typed(stack: Stack, alice: Page, order: Order) -> None:
    alice.reload()
    row = alice.locator(f"#queue-{order['id']}")
    row.get_by_text("Reject…").click()
    row.get_by_label(f"Why is {order['number']} rejected?").select_option("fraud")
    row.locator("textarea").fill("Worth keeping")
    alice.route("**/reject/", lambda route: route.abort())

    row.get_by_role("button", name="Reject order").click()

    expect(row.get_by_role("alert")).to_contain_text("cannot be reached")
    expect(row.locator("textarea")).to_have_value("Worth keeping")
    alice.unroute("**/reject/")
    row.get_by_role("button", name="Reject order").click()
    expect(row).to_contain_text("Rejected by alice")


def test_an_approval_that_cannot_be_sent_is_told_where_there_is_room(stack: Stack, alice: Page, order: Order) -> None:
    alice.reload()
    expect(alice.locator("#live-sign")).to_have_text("Live")
    row = alice.locator(f"#queue-{order['id']}")
    alice.context.set_offline(True)

    row.get_by_role("button", name="Approve").click()

    expect(row.locator(".c-why").get_by_role("alert")).to_contain_text("cannot be reached")
    expect(alice.locator("#live-sign")).to_contain_text("Not live since")
    for width in (1440, 1024):
        alice.set_viewport_size({"width": width, "height": 900})
        box = row.bounding_box()
        assert box is not None
        assert box["height"] < 100, width
    alice.context.set_offline(False)
    expect(alice.locator("#live-sign")).to_have_text("Live")
    row.get_by_role("button", name="Approve").click()
    expect(row).to_contain_text("Approved by alice")
    expect(row.get_by_role("alert")).to_have_count(0)


def test_a_session_that_ended_is_told_and_nothing_typed_is_lost(stack: Stack, visitors: Visitors, order: Order) -> None:
    page = visitors.browser().new_page()
    sign_in(page, stack, "alice")
    row = page.locator(f"#queue-{order['id']}")
    row.get_by_text("Reject…").click()
    row.get_by_label(f"Why is {order['number']} rejected?").select_option("fraud")
    row.locator("textarea").fill("Worth keeping")
    page.context.clear_cookies(name="session")

    row.get_by_role("button", name="Reject order").click()

    expect(row.get_by_role("alert")).to_contain_text("You are signed out")
    expect(row.locator("textarea")).to_have_value("Worth keeping")
    assert stack.hands("decisions", order=order["number"]) == []

    other = page.context.new_page()
    sign_in(other, stack, "bob")
    row.get_by_role("button", name="Reject order").click()
    expect(row.get_by_role("alert")).to_contain_text("This page is out of date")
    row.get_by_role("button", name="Reject order").click()
    expect(row.get_by_role("alert")).to_contain_text("This page is out of date")
    assert stack.hands("decisions", order=order["number"]) == []

    page.context.clear_cookies(name="session")
    sign_in(other, stack, "alice")
    row.get_by_role("button", name="Reject order").click()
    expect(row.get_by_role("alert")).to_contain_text("You have signed in since")
    row.get_by_role("button", name="Reject order").click()

    expect(row).to_contain_text("Rejected by alice")


IS_CUT = "element => element.scrollWidth > element.clientWidth || element.scrollHeight > element.clientHeight"


@pytest.mark.parametrize("width", [1440, 1024])
def test_reasons_and_decisions_are_told_whole(stack: Stack, alice: Page, order: Order, width: int) -> None:
    alice.set_viewport_size({"width": width, "height": 900})
    alice.reload()
    expect(alice.locator("#live-sign")).to_have_text("Live")
    row = alice.locator(f"#queue-{order['id']}")
    assert not row.locator(".c-why .cut").evaluate(IS_CUT)

    stack.hands("approve", order=order["number"], by="bob")

    expect(row.locator(".outcome")).to_have_text(re.compile(r"^Approved by bob at\s\d\d:\d\d$"))
    assert not row.locator(".outcome").evaluate(IS_CUT)
    assert not row.locator(".c-customer .cut").evaluate(IS_CUT)


PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}


def test_everything_fits_a_phone_and_the_decision_stays_at_hand(stack: Stack, visitors: Visitors, order: Order) -> None:
    page = at_the_queue(visitors, "alice", **PHONE)
    for path in ("/", "/orders/", f"/orders/{order['id']}/", "/nothing-here/"):
        page.goto(path)
        expect(page.locator("main")).to_be_visible()
        expect(page.locator(".bar").get_by_text("alice")).to_be_visible()
        widths = "() => [document.documentElement.scrollWidth, window.innerWidth]"
        assert page.evaluate(widths) == [390, 390], path

    page.goto(f"/orders/{order['id']}/")
    expect(page.get_by_role("button", name="Approve")).to_be_in_viewport()
    page.mouse.wheel(0, 600)
    expect(page.get_by_role("button", name="Approve")).to_be_in_viewport()
    page.get_by_role("button", name="Approve").tap()
    expect(page.get_by_role("heading", name=order["number"])).not_to_contain_text("In review")


def test_it_is_all_there_for_the_keyboard(stack: Stack, alice: Page, order: Order) -> None:
    alice.goto(f"/orders/{order['id']}/")
    alice.get_by_role("button", name="Approve").focus()
    alice.keyboard.press("Tab")
    alice.keyboard.press("Enter")
    expect(alice.locator(f"#code-order-{order['id']}")).to_be_focused()
    alice.keyboard.type("Looks")
    alice.keyboard.press("Tab")
    alice.keyboard.type("By keyboard alone")

    alice.keyboard.press("Tab")
    alice.keyboard.press("Enter")

    expect(alice.get_by_role("heading", name=order["number"])).to_contain_text("Rejected")


def test_searching_narrows_the_list_as_one_types(stack: Stack, alice: Page) -> None:
    wanted = stack.hands("place", name="Zebulon Quarterman", reviewed=True)
    alice.goto("/orders/")

    alice.get_by_label("Search").press_sequentially("zebul quart")

    expect(alice.locator("tr.row")).to_have_count(1)
    expect(alice.locator("tr.row")).to_contain_text(wanted["number"])
    expect(alice).to_have_url(re.compile(r"/orders/\?q=zebul\+quart$"))
    alice.get_by_label("Search").fill("nobody of that name")
    expect(alice.get_by_text("No orders match")).to_be_visible()
